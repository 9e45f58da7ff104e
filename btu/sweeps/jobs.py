"""What became of each job (`job.json` in its folder), and what closes a sweep."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from btu.store.cache import make_key
from btu.store.files import write_json

FORMAT = 1
JOB, JOBS = "job.json", "jobs.json"
OFFLINE_RUNS = "offline_runs.txt"
PLAIN_SWEEPER = "hydra_plugins.btu.Sweeper"  # every combination; others search
SWEEP_NAME = "BTU_SWEEP"  # environment variable: what the jobs of a sweep have in common
FINISHED, FAILED, STOPPED, RUNNING, NOT_RUN = "finished", "failed", "stopped", "running", "not run"
DIED, NOT_BEGUN = "died", "not begun"  # what the jobs themselves cannot say
ON_FAILURE = ("continue", "stop")
NO_OTHER_SWEEP = ("force=", "report=", "on_failure=")  # overrides that leave its name


@dataclass
class JobReport:
    """One job: written when it begins and when it ends, however it ends."""

    status: str = RUNNING
    error: str | None = None  # its one sentence
    name: str = ""  # dataset-attack-model-defense-seed
    overrides: list[str] = field(default_factory=list)
    records: list[str] = field(default_factory=list)  # paths, from the job's folder
    scores: dict[str, Any] = field(default_factory=dict)  # of `poisoned` and of `chosen`
    objective: float | None = None
    num_computed: int = 0  # records that were not there before
    seconds: float = 0.0
    offline_run: str | None = (
        None  # of the W&B run that is still to be uploaded, from the job's folder
    )
    format: int = FORMAT

    def write(self, folder: Path) -> None:
        """Write the report whole or not at all."""
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / JOB, asdict(self))


def load_job(path: Path) -> JobReport:
    """The report of a job from its file.

    Raises:
        OSError, ValueError, KeyError, TypeError: no such file, another format, or no job's report.
    """
    raw = json.loads(path.read_text(encoding="utf-8"))
    if raw["format"] != FORMAT:
        raise ValueError(f"format {raw['format']}")
    words = {name: [str(word) for word in raw[name]] for name in ("overrides", "records")}
    texts = {name: str(raw[name]) for name in ("status", "name")}
    error = None if raw["error"] is None else " ".join(str(raw["error"]).split())
    return JobReport(**raw | words | texts | {"error": error, "seconds": float(raw["seconds"])})


@dataclass
class JobList:
    """All jobs of a sweep, written before the first begins."""

    name: str  # of the sweep, see `sweep_name`
    jobs: list[list[str]]  # the overrides of each
    cache_mark: str | None = None  # a file in the cache that all nodes must see
    format: int = FORMAT

    def write(self, folder: Path) -> None:
        """Write the list whole or not at all."""
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / JOBS, asdict(self))


def load_job_list(folder: Path) -> JobList | None:
    """The list of a sweep's jobs; None where there is none (a search draws its jobs)."""
    try:
        raw = json.loads((folder / JOBS).read_text(encoding="utf-8"))
        jobs = [[str(word) for word in job] for job in raw["jobs"]]
        mark = raw["cache_mark"]
        mark = mark if mark is None else str(mark)
        return JobList(str(raw["name"]), jobs, mark) if raw["format"] == FORMAT else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def jobs_of(sweep: Path) -> dict[int, JobReport]:
    """The jobs of a sweep's folder by their number, those without a report as not begun."""
    listed = load_job_list(sweep)
    found = {
        number: JobReport(NOT_BEGUN, overrides=overrides)
        for number, overrides in enumerate(listed.jobs if listed else [])
    }
    for folder in sorted(
        (p for p in sweep.iterdir() if p.name.isdigit()), key=lambda p: int(p.name)
    ):
        with suppress(OSError, ValueError, KeyError, TypeError):
            found[int(folder.name)] = load_job(folder / JOB)
    return found


def check_may_start(run_dir: Path, on_failure: str) -> None:
    """Raise if an earlier job failed and the sweep is to end then."""
    if on_failure != "stop":
        return
    for number, job in jobs_of(run_dir.parent).items():
        if job.status == FAILED:
            raise NotRun(f"not run: job {number} failed and on_failure=stop")


class NotRun(Exception):
    """A job that was left out because an earlier one failed."""


class SweepWatch(Callback):
    """Remembers the sweep that this process launches (a Hydra callback)."""

    current: DictConfig | None = None

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Keep the sweep's settings, and name it for its jobs, whatever process they run in."""
        SweepWatch.current = config
        earlier = load_job_list(Path(config.rerun)) if config.rerun else None
        os.environ[SWEEP_NAME] = (
            earlier.name if earlier else sweep_name(config.hydra.overrides.task)
        )


def sweep_name(overrides: Sequence[str]) -> str:
    """A name that is the same when the same command is typed again."""
    lasting = sorted(o for o in overrides if not o.startswith(NO_OTHER_SWEEP))
    return f"sweep-{make_key({'overrides': lasting})[:8]}"
