"""What was planted, as a part of the page: figures, rows that show it, and what was acquitted."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from btu.report.grids import Cell, Grid, Line, labels
from btu.report.groups import Group
from btu.report.markup import data_of, table, text_of
from btu.report.planted import (
    MOST_TOLD,
    name_marks,
    say_finding,
    say_p,
    say_summary,
    say_verdict,
    share_of_rows,
    spell,
)
from btu.report.titles import subject_of, variant_of
from btu.report.verdicts import Effect, Example, Finding, Verdict, read_verdicts
from btu.terminal.text import plain

MOST_SHOWN = 60  # verdicts
MOST_CHARACTERS = 400  # of an example, around its first marked word
ABOUT_PLANTED = (
    "Of each defense's best row what it convicted of having been planted, each with up to three "
    "training rows in which it is marked, then what it suspected and acquitted. Turned: trusted "
    "texts that get the label once it is inserted, with the 95 % interval of their share. "
    "Contradicted: rows to which the reference, a model of the trusted rows, gives another label."
)


@dataclass(frozen=True)
class Shown:
    """One verdict and where it comes from."""

    title: str
    group: Group
    verdict: Verdict | str


@dataclass(frozen=True)
class Figure:
    """A column of the table of findings."""

    title: str
    text: Callable[[Finding, Verdict], str]
    numeric: bool = True


def show_planted(groups: Sequence[Group]) -> str:
    """The HTML of all verdicts of some rows; empty where no defense convicts."""
    shown = list(_find_shown(groups))
    counts = [
        f"<article{_data(group)}><p>{text_of(told)}.</p></article>\n"
        for group, told in count_convictions(groups)
    ]
    articles = [_article(one, number) for number, one in enumerate(shown[:MOST_SHOWN], 1)]
    left = len(shown) - MOST_SHOWN
    more = f"<p>{left} more are not shown: the findings.json of each run has all.</p>"
    return "".join([*counts, *articles]) + more * (left > 0)


def list_planted(groups: Sequence[Group]) -> list[tuple[str, list[str]]]:
    """The title and the sentences of each verdict, without any training text."""
    return [
        (one.title, [*say_verdict(one.verdict), *(f"note: {n}" for n in _notes(one.verdict))])
        for one in list(_find_shown(groups))[:MOST_SHOWN]
    ]


def count_convictions(groups: Sequence[Group]) -> list[tuple[Group, str]]:
    """For each row of several seeds a sentence: in how many of them something was convicted."""
    told = []
    for group in groups:
        every = [read_verdicts(record).values() for record in group.records]
        judged = [found for found in every if found]
        guilty = sum(any(isinstance(v, Verdict) and v.findings for v in found) for found in judged)
        if len(judged) > 1:
            seeds = f"in {guilty} of {len(judged)} seeds"
            told.append((group, f"{_title(group)}: something was convicted {seeds}"))
    return told


def _title(group: Group, name: str = "") -> str:
    """The row that a verdict belongs to, and the defense of several that gave it."""
    parts = [subject_of(group, variant_of(group))]
    parts += [plain(name)] * (bool(name) and name != group.defense)
    parts += [f"threshold {group.threshold:g}"] * (group.threshold is not None)
    return ", ".join(parts)


def _find_shown(groups: Sequence[Group]) -> Iterator[Shown]:
    for group in groups:
        for record in group.records:
            for name, verdict in read_verdicts(record).items():
                seed = f", seed {record.seed}" * (len(group.records) > 1)
                yield Shown(f"{_title(group, name)}{seed}", group, verdict)


def _notes(verdict: Verdict | str) -> tuple[str, ...]:
    return () if isinstance(verdict, str) else verdict.notes


def _data(group: Group) -> str:
    return data_of({name: json.dumps([value]) for name, value in labels(group).items()})


def _article(shown: Shown, number: int) -> str:
    inner = f"<h3>{text_of(shown.title)}</h3>"
    if isinstance(shown.verdict, str):
        inner += f"<p>{text_of(shown.verdict)}</p>"
    else:
        inner += _verdict(shown, shown.verdict, number)
    return f"<article{_data(shown.group)}>{inner}</article>\n"


def _verdict(shown: Shown, verdict: Verdict, number: int) -> str:
    parts = [f"<p>{text_of(say_summary(verdict))}.</p>"]
    if verdict.findings:
        parts.append(_told(verdict))
        parts.append(table(_grid(shown, verdict, verdict.findings), f"planted-{number}"))
    if verdict.acquitted:
        acquitted = table(_grid(shown, verdict, verdict.acquitted), f"acquitted-{number}")
        what = f"{len(verdict.acquitted)} suspected and acquitted"
        parts.append(f"<details><summary>{what}</summary>{acquitted}</details>")
    parts += [f"<p class=about>Note: {text_of(note)}.</p>" for note in verdict.notes]
    return "".join(parts)


def _told(verdict: Verdict) -> str:
    """A sentence for each of the surest findings, with the rows that show it."""
    items = (
        f"<li>{text_of(say_finding(finding, verdict))}{_examples(finding)}</li>"
        for finding in verdict.findings[:MOST_TOLD]
    )
    return f"<ul>{''.join(items)}</ul>"


def _examples(finding: Finding) -> str:
    items = "".join(f"<li>{_example(example)}</li>" for example in finding.examples)
    return f"<ul class=examples>{items}</ul>" * bool(items)


def _example(example: Example) -> str:
    about = f"row {example.row}, label {example.label}"
    about += f", reference {example.reference}" * bool(example.reference)
    return f"{text_of(about)}: <q>{mark_text(example.text, example.marked)}</q>"


def mark_text(text: str, marked: Sequence[tuple[int, int]]) -> str:
    """A text as HTML with parts of it marked, a long one cut around the first of them.

    Args:
        text: whatever it holds stays text.
        marked: from which character to which; what lies outside the text, or in a part that was
            marked already, is left out.
    """
    first = min((start for start, _ in marked), default=0)
    begin = max(0, min(first - MOST_CHARACTERS // 2, len(text) - MOST_CHARACTERS))
    end = min(len(text), begin + MOST_CHARACTERS)
    parts, at = ["... " * (begin > 0)], begin
    for start, stop in sorted(marked):
        start, stop = max(start, at), min(stop, end)
        if start < stop:
            inside = text_of(text[start:stop])
            parts += [text_of(text[at:start]), f"<mark>{inside}</mark>"]
            at = stop
    return "".join([*parts, text_of(text[at:end]), " ..." * (end < len(text))])


def _grid(shown: Shown, verdict: Verdict, findings: Sequence[Finding]) -> Grid:
    lines = (
        Line(tuple(Cell(figure.text(f, verdict)) for figure in FIGURES), labels(shown.group))
        for f in findings
    )
    titles, numeric = (tuple(getattr(f, name) for f in FIGURES) for name in ("title", "numeric"))
    return Grid(titles, numeric, tuple(lines))


def _what(finding: Finding, verdict: Verdict) -> str:
    if finding.text:
        place = "" if finding.place == "anywhere" else f", at the {finding.place}"
        return f"{spell(finding.text)}{place}"
    marks = ", ".join(spell(term, quoted=True) for term in name_marks(finding))
    return f"rows: {marks}" if marks else "rows"


def _rows(finding: Finding, verdict: Verdict) -> str:
    share = share_of_rows(finding, verdict)
    return f"{finding.rows:,}{f' ({share})' * bool(share)}"


def _count(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


def _of(number: int | None, total: int) -> str:
    return "" if number is None else f"{number:,} of {total:,}"


def _turned(number: int, effect: Effect, interval: tuple[float, float]) -> str:
    low, high = (f"{100 * share:.0f}" for share in interval)
    return f"{number:,} of {effect.texts:,} ({low} to {high} %)"


def _in_victim(finding: Finding, verdict: Verdict) -> str:
    effect = finding.effect
    return "" if effect is None else _turned(effect.victim, effect, effect.victim_interval)


def _in_reference(finding: Finding, verdict: Verdict) -> str:
    effect = finding.effect
    return "" if effect is None else _turned(effect.reference, effect, effect.reference_interval)


FIGURES = (
    Figure("what", _what, numeric=False),
    Figure("label", lambda f, v: f.label, numeric=False),
    Figure("why", lambda f, v: f.reason, numeric=False),
    Figure("rows of the label", _rows),
    Figure("rows of any label", lambda f, v: _count(f.held)),
    Figure("trusted rows of the label", lambda f, v: _count(f.trusted)),
    Figure("contradicted", lambda f, v: _of(f.contradicted, f.rows)),
    Figure("turned in the victim", _in_victim),
    Figure("turned in the reference", _in_reference),
    Figure("p of excess", lambda f, v: say_p(f.p_excess) if f.text else ""),
    Figure("p of contradiction", lambda f, v: say_p(f.p_contradiction)),
    Figure("p of effect", lambda f, v: say_p(f.p_effect)),
    Figure("p", lambda f, v: say_p(f.p)),
    Figure("q", lambda f, v: say_p(f.q)),
)
