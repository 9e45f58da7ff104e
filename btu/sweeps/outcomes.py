"""What became of jobs that other processes ran: their own reports, or what the engine saw."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from hydra.core.utils import JobReturn, JobStatus

from btu.errors import BtuError
from btu.sweeps.jobs import DIED, FINISHED, JOB, NOT_RUN, RUNNING, STOPPED, JobReport, load_job

PATIENCE_SECONDS = 15.0  # a network disk may show a report this much later than it was written
ENDED_BY_ENGINE = (RUNNING, STOPPED)  # a stopped job was to be started again


class JobFailed(BtuError):
    """A job that another process ran has failed."""


def settle(
    folder: Path,
    first: int,
    job_overrides: Sequence[Sequence[str]],
    ending: Callable[[int], str],
    patience: float = PATIENCE_SECONDS,
) -> list[JobReturn]:
    """Read how each job ended; one that cannot have said it gets a report that does.

    Args:
        folder: of the sweep.
        first: number of the first job.
        job_overrides: the jobs' overrides.
        ending: the engine's sentence about a job whose process ended without saying why.
        patience: seconds to wait for reports that a network disk does not show yet.
    """
    numbers = range(first, first + len(job_overrides))
    deadline = time.monotonic() + patience
    reports = {number: _report(folder, number) for number in numbers}
    while (silent := _silent(reports)) and time.monotonic() < deadline:
        time.sleep(min(0.5, patience))
        reports |= {number: _report(folder, number) for number in silent}
    for number in silent:
        report = reports[number] or JobReport(overrides=list(job_overrides[number - first]))
        report.status, report.error = DIED, ending(number)
        report.write(folder / str(number))
        reports[number] = report
    return [_returned(report) for report in reports.values() if report is not None]


def mark_stopped(folder: Path, numbers: Iterable[int]) -> None:
    """Say of jobs that were ended with their launcher that they no longer run."""
    for number in numbers:
        report = _report(folder, number)
        if report is not None and report.status == RUNNING:
            report.status = STOPPED
            report.write(folder / str(number))


def _report(folder: Path, number: int) -> JobReport | None:
    with suppress(OSError, ValueError):
        return load_job(folder / str(number) / JOB)
    return None


def _silent(reports: Mapping[int, JobReport | None]) -> list[int]:
    return [
        n for n, report in reports.items() if report is None or report.status in ENDED_BY_ENGINE
    ]


def _returned(report: JobReport) -> JobReturn:
    """For a search, which reads the objective."""
    if report.status in (FINISHED, NOT_RUN):
        return JobReturn(status=JobStatus.COMPLETED, _return_value=report.objective)
    return JobReturn(status=JobStatus.FAILED, _return_value=JobFailed(str(report.error)))
