"""The table that closes a multirun: every job in one row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.markup import escape
from rich.table import Table

from btu.sweep import FINISHED, RUNNING, JobReport

COLORS = {FINISHED: "green", "failed": "red", "stopped": "yellow", "not run": "yellow"}


def sweep_table(jobs: Mapping[int, JobReport], complete: bool = True) -> Table:
    """Number, what was varied, status, undefended and repaired scores in per cent, seconds.

    Below it stand the sentences of the jobs that did not finish. A sweep that is not `complete`
    was stopped, and does not know of the jobs that it had not begun.
    """
    done = sum(job.status == FINISHED for job in jobs.values())
    title = f"{done} of {len(jobs)} jobs finished"
    if not complete:
        title = f"stopped: of the jobs that were begun, {done} of {len(jobs)} finished"
    table = Table(title=title, caption=_caption(jobs))
    table.caption_justify = "left"
    for column, justify in (
        ("job", "right"),
        ("setting", "left"),
        ("status", "left"),
        ("poisoned", "right"),
        ("repaired", "right"),
        ("at", "right"),
        ("s", "right"),
    ):
        table.add_column(column, justify=justify, overflow="fold")  # type: ignore[arg-type]
    common = set.intersection(*(set(job.overrides) for job in jobs.values()))
    for number, job in jobs.items():
        varied = [_short(o) for o in job.overrides if o not in common]
        table.add_row(str(number), escape(" ".join(varied) or job.name), *_cells(job))
    return table


def _short(override: str) -> str:
    """`defense.cutoff=mean` as `cutoff=mean`; an element keeps its list's name."""
    key, _, value = override.partition("=")
    *_, last = outer = key.split(".")
    return f"{'.'.join(outer[-2:]) if last.isdigit() else last}={value}"


def _cells(job: JobReport) -> tuple[str, ...]:
    chosen = job.scores.get("chosen")
    at = f"{chosen['threshold']:g}" if chosen else ""
    return (
        _status(job),
        _shares(job.scores.get("poisoned"), with_base=False),
        _shares(chosen, with_base=True),
        at,
        f"{job.seconds:.0f}",
    )


def _status(job: JobReport) -> str:
    word = "died" if job.status == RUNNING else job.status
    if job.status == FINISHED and not job.num_computed:
        word = "recorded"
    color = COLORS.get(job.status, "red")
    return f"[{color}]{word}[/]"


def _caption(jobs: Mapping[int, JobReport]) -> str:
    """What the columns hold, and the sentences of the jobs that did not finish."""
    lines = [
        "poisoned, repaired: CACC / ASR in per cent, repaired with its base rate, at the threshold",
        "that is best for this job alone (this takes the trigger). recorded: read, not computed.",
    ]
    lines += [f"job {number}: {job.error}" for number, job in jobs.items() if job.error]
    return escape("\n".join(lines))


def _shares(scores: Mapping[str, Any] | None, with_base: bool) -> str:
    if scores is None:
        return ""
    text = f"{100 * scores['cacc']:.1f}"
    if scores["asr"] is None:
        return text
    base = f" ({100 * scores['base_rate']:.1f})" if with_base else ""
    return f"{text} / {100 * scores['asr']:.1f}{base}"
