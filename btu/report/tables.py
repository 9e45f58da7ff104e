"""Tables for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table

from btu.metrics import BEST_RULE, BLIND_RULE, PICK_RULES, by_size, pick_of_run
from btu.report.planted import shorten, tell_planted
from btu.report.verdicts import find_verdicts
from btu.stealth.measure import describe
from btu.store.records import Record, Suspect
from btu.terminal.console import Terminal
from btu.terminal.text import plain

if TYPE_CHECKING:
    from btu.experiment import Result

NUM_SUSPECTS = 10
EXAMPLE_WIDTH = 48  # characters
REJECTED = ("rejected, clean", "rejected, attacked")  # columns
BLIND_CHOICE = f"{BLIND_RULE}; if all cost more, the most accurate that something is convicted at"
ABOUT_BLINDNESS = "no trigger is known, so nothing here tells whether one is left"


def print_result(result: Result, terminal: Terminal, with_suspects: bool = True) -> None:
    """The scores of every arm, what was found at the chosen threshold, and what to mind."""
    terminal.print(score_table(result.records, result.chosen))
    if with_suspects:
        print_planted(result.records, result.chosen, terminal)
    flagged = result.chosen or _first_flagged(result.records)
    if with_suspects and flagged is not None and flagged.suspects:
        terminal.print(suspect_table(flagged))
    print_stealth(result.stealth, terminal)
    print_notes(result.notes, terminal)


def _first_flagged(records: Sequence[Record]) -> Record | None:
    """Of the repairs that flagged something the one at the smallest threshold."""
    flagged = [record for record in records if record.suspects]
    return min(flagged, key=lambda record: by_size(record.threshold), default=None)


def print_planted(records: Sequence[Record], chosen: Record | None, terminal: Terminal) -> None:
    """What was convicted of having been planted, a line each, where a defense convicts."""
    told, notes = tell_planted(records, chosen)
    for sentence in told:
        terminal.say(sentence)
    print_notes(notes, terminal)


def print_notes(notes: Sequence[str], terminal: Terminal) -> None:
    """What to mind, a line each."""
    for note in notes:
        terminal.print(f"note: {plain(note)}", style="yellow")


def print_stealth(stealth: Mapping[str, Any] | None, terminal: Terminal) -> None:
    """What was measured of the trigger's stealth, if anything, in two or three lines."""
    if stealth is not None:
        for line in describe(stealth):
            terminal.say(line)


def score_table(records: Sequence[Record], chosen: Record | None) -> Table:
    """Arm, threshold, CACC, PACC, ASR, base rate, what was rejected, number of suspects."""
    scores = records[0].scores
    choices = records[0].choices
    counts = f"CACC of {scores.num_clean:,} test rows"
    if scores.asr is not None:
        counts += f"; PACC, ASR and base rate of {scores.num_triggered:,} non-target test rows"
    label = next((r.threshold_label for r in records if r.threshold is not None), None)
    if label is not None:
        counts += f"\nthreshold: {label}"
    thresholds = {r.threshold for r in records if r.threshold is not None}
    if chosen is not None and len(thresholds) > 1:
        counts += f"\n* {BEST_RULE if scores.asr is not None else BLIND_CHOICE}"
    picked = pick_of_run(records) if len(thresholds) > 1 else None
    if picked is not None and picked.choice is not None:
        counts += f"\n+ picked without the trigger: {PICK_RULES[picked.choice.rule]}"
    if scores.asr is None and chosen is not None and not find_verdicts(chosen):
        counts += f"\n{ABOUT_BLINDNESS}"
    title = plain(f"{choices['dataset']} / {choices['attack']} / {choices['model']}")
    if any(record.leaky for record in records):
        title += "  LEAKY: splits overlap"
    table = Table(title=title, caption=counts, caption_justify="left")
    attacked = ("PACC", "ASR", "base rate") if scores.asr is not None else ()
    rejected = [name for name in REJECTED if any(_rejected(r, name) is not None for r in records)]
    for column in ("arm", "threshold", "CACC", *attacked, *rejected, "suspects"):
        table.add_column(column, justify="left" if column == "arm" else "right")
    for record in records:
        marks = "*" * (record is chosen and len(thresholds) > 1) + "+" * (record is picked)
        table.add_row(*_cells(record, marks, rejected))
    return table


def suspect_table(record: Record) -> Table:
    """The suspects that ranked best, each with the label that its texts lean to."""
    suspects = record.suspects or ()
    title = f"{len(suspects)} suspect tokens"
    if record.threshold is not None:
        title += f" at threshold {record.threshold:g}"
    if any(s.is_trigger is not None for s in suspects):
        hits = sum(bool(s.is_trigger) for s in suspects)
        has_token = "num_trigger_tokens" in (record.detection or {})  # a way of writing has none
        title += f", {hits} of the trigger" if has_token else "; the trigger has no token"
    table = Table(title=title, caption=_more(suspects), caption_justify="left")
    for column in ("token", "best rank", "in rounds", "leans to", "texts", "an example"):
        table.add_column(column, justify="right" if column in ("best rank", "texts") else "left")
    for suspect in suspects[:NUM_SUSPECTS]:
        cells = (
            f"{suspect.token} (trigger)" if suspect.is_trigger else suspect.token,
            str(suspect.rank),
            ",".join(map(str, suspect.rounds)),
            f"{suspect.leans_to} ({suspect.lean_share:.0%})" if suspect.num_texts else "-",
            str(suspect.num_texts),
            shorten(suspect.examples[0], EXAMPLE_WIDTH) if suspect.examples else "-",
        )
        table.add_row(*map(plain, cells))
    return table


def _cells(record: Record, marks: str, rejected: Sequence[str]) -> tuple[str, ...]:
    scores = record.scores
    threshold = "" if record.threshold is None else f"{record.threshold:g}"
    shares = [_rejected(record, column) for column in rejected]
    return (
        record.arm,
        f"{threshold} {marks}".strip(),
        f"{100 * scores.cacc:.1f} %",
        *(
            f"{100 * share:.1f} %"
            for share in (scores.pacc, scores.asr, scores.base_rate)
            if share is not None
        ),
        *("" if share is None else f"{100 * share:.1f} %" for share in shares),
        "" if record.suspects is None else str(len(record.suspects)),
    )


def _rejected(record: Record, column: str) -> float | None:
    scores = record.scores
    return scores.rejected_clean if column == REJECTED[0] else scores.rejected_triggered


def _more(suspects: Sequence[Suspect]) -> str:
    hidden = len(suspects) - NUM_SUSPECTS
    more = f"and {hidden} more in suspects.csv\n" if hidden > 0 else ""
    return f"{more}leans to: the label that its texts have more often than all texts do"
