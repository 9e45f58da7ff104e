"""W&B runs that were kept offline: which they are, and uploading them with W&B's own command."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from btu.sweeps.jobs import JobReport

TOGETHER = 20  # runs given to one `wandb sync`, which takes seconds to start


def not_uploaded(sweep: Path, jobs: Mapping[int, JobReport]) -> list[Path]:
    """The folders of the jobs' offline runs that W&B has not marked.

    Outputs that were copied from a cluster may have them beside `runs/`, not where they were made.
    """
    runs = {
        (sweep / str(number) / job.offline_run).resolve(): None
        for number, job in jobs.items()
        if job.offline_run
    }
    beside = sweep.resolve().parents[2] / "wandb"
    here = [run if run.is_dir() else beside / run.name for run in runs]
    return [run for run in here if run.is_dir() and not is_uploaded(run)]


def is_uploaded(run: Path) -> bool:
    """Whether `wandb sync` has marked the run."""
    return any(run.glob("*.synced"))


def upload(runs: Sequence[Path], tell: Callable[[int], None]) -> list[Path]:
    """Upload the runs, some at a time; gives those that W&B did not mark.

    Args:
        runs: their folders.
        tell: called with the number of runs tried so far.
    """
    for first in range(0, len(runs), TOGETHER):
        some = runs[first : first + TOGETHER]
        subprocess.run([sys.executable, "-m", "wandb", "sync", *map(str, some)], check=False)
        tell(first + len(some))
    return [run for run in runs if not is_uploaded(run)]
