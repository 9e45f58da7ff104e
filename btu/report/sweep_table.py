"""The table that closes a sweep: every job in one row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import islice
from typing import Any

from rich.table import Table
from rich.text import Text

from btu.sweeps.jobs import DIED, FINISHED, NOT_BEGUN, RUNNING, JobReport
from btu.terminal.text import plain

YELLOW = ("stopped", "not run", NOT_BEGUN)
MOST_ROWS = 200  # of a longer sweep only the jobs that did not finish


def sweep_table(jobs: Mapping[int, JobReport], complete: bool = True) -> Table:
    """Number, what was varied, status, undefended and repaired scores in per cent, seconds.

    Below it stand the sentences of the jobs that did not finish. A sweep that is not `complete`
    was stopped, or still runs.
    """
    shown = _shown(jobs)
    table = Table(title=_title(jobs, complete), caption=_caption(shown, len(jobs)))
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
    for number, job in shown.items():
        varied = [_short(o) for o in job.overrides if o not in common]
        table.add_row(str(number), plain(" ".join(varied) or job.name), *_cells(job, complete))
    return table


def _title(jobs: Mapping[int, JobReport], complete: bool) -> str:
    """`7 of 9 jobs finished, 1 failed, 1 died`."""
    counts = Counter(_word(job, complete) for job in jobs.values() if job.status != FINISHED)
    done = len(jobs) - counts.total()
    others = "".join(f", {count} {word}" for word, count in sorted(counts.items()))
    return f"{done} of {len(jobs)} jobs finished{others}"


def _shown(jobs: Mapping[int, JobReport]) -> Mapping[int, JobReport]:
    if len(jobs) <= MOST_ROWS:
        return jobs
    left = ((number, job) for number, job in jobs.items() if job.status != FINISHED)
    return dict(islice(left, MOST_ROWS))


def _short(override: str) -> str:
    """`defense.cutoff=mean` as `cutoff=mean`; an element keeps its list's name."""
    key, _, value = override.partition("=")
    *_, last = outer = key.split(".")
    return f"{'.'.join(outer[-2:]) if last.isdigit() else last}={value}"


def _cells(job: JobReport, complete: bool) -> tuple[Text | str, ...]:
    chosen = job.scores.get("chosen")
    threshold = chosen["threshold"] if chosen else None
    at = "" if threshold is None else f"{threshold:g}"
    return (
        _status(job, complete),
        _shares(job.scores.get("poisoned"), with_base=False),
        _shares(chosen, with_base=True),
        at,
        f"{job.seconds:.0f}",
    )


def _status(job: JobReport, complete: bool) -> Text:
    word = _word(job, complete)
    color = "green" if job.status == FINISHED else "yellow" if word in YELLOW else "red"
    if job.status == FINISHED and job.records and not job.num_computed:
        word = "recorded"
    return Text(plain(word), style=color)


def _word(job: JobReport, complete: bool) -> str:
    """The status; a job that still runs when its sweep is complete has died."""
    return DIED if complete and job.status == RUNNING else job.status


def _caption(jobs: Mapping[int, JobReport], num_jobs: int) -> str:
    """What the columns hold, and the sentences of the jobs that did not finish."""
    lines = [f"of {num_jobs} jobs only those that did not finish are shown, at most {MOST_ROWS}"]
    lines = lines * (num_jobs > MOST_ROWS)
    lines += [
        "poisoned, repaired: CACC / ASR in per cent, repaired with its base rate, at the threshold",
        "that is best for this job alone (this needs the trigger). recorded: read, not computed.",
    ]
    lines += [f"job {number}: {job.error}" for number, job in jobs.items() if job.error]
    return "\n".join(map(plain, lines))


def _shares(scores: Mapping[str, Any] | None, with_base: bool) -> str:
    if scores is None:
        return ""
    text = f"{100 * scores['cacc']:.1f}"
    if scores["asr"] is None:
        return text
    base = f" ({100 * scores['base_rate']:.1f})" if with_base else ""
    return f"{text} / {100 * scores['asr']:.1f}{base}"
