"""What became of each job (`job.json` in its folder), and what closes a sweep."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from typing_extensions import TypedDict

from btu.errors import ConfigError
from btu.processes import started
from btu.store.cache import make_key
from btu.store.files import read_as, write_json
from btu.types import Share

FORMAT = 1
JOB, JOBS = "job.json", "jobs.json"
OFFLINE_RUNS = "offline_runs.txt"
PLAIN_SWEEPER = "hydra_plugins.btu.Sweeper"  # every combination; others search
SWEEP_NAME = "BTU_SWEEP"  # environment variable: what the jobs of a sweep have in common
FINISHED, FAILED, STOPPED, RUNNING, NOT_RUN = "finished", "failed", "stopped", "running", "not run"
DIED, NOT_BEGUN = "died", "not begun"  # what the jobs themselves cannot say
ON_FAILURE = ("continue", "stop")
NO_OTHER_SWEEP = ("force=", "report=", "on_failure=")  # overrides that leave its name


class Point(TypedDict):
    """What a job's report says of one arm."""

    arm: str
    threshold: float | None
    cacc: Share
    asr: Share | None
    base_rate: Share | None


@dataclass
class JobReport:
    """One job: written when it begins and when it ends, however it ends."""

    status: str = RUNNING
    error: str | None = None  # its one sentence
    name: str = ""  # dataset-attack-model-defense-seed
    overrides: list[str] = field(default_factory=list)
    records: list[str] = field(default_factory=list)  # paths, from the job's folder
    scores: dict[str, Point] = field(default_factory=dict)  # of `poisoned` and of `chosen`
    objective: float | None = None
    num_computed: int = 0  # records that were not there before
    seconds: float = 0.0
    offline_run: str | None = (
        None  # of the W&B run that is still to be uploaded, from the job's folder
    )
    folder: str = "."  # of its other files, from the report's own
    format: int = FORMAT

    def write(self, folder: Path) -> None:
        """Write the report whole or not at all."""
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / JOB, asdict(self))


def load_job(path: Path) -> JobReport:
    """The report of a job from its file.

    Raises:
        OSError: it cannot be read.
        ValueError: another format, or not the report of a job.
    """
    report = read_as(JobReport, path)
    if report.format != FORMAT:
        raise ValueError(f"format {report.format}")
    report.error = None if report.error is None else " ".join(report.error.split())
    return report


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
        listed = read_as(JobList, folder / JOBS)
    except (OSError, ValueError):
        return None
    return listed if listed.format == FORMAT else None


def jobs_of(sweep: Path) -> dict[int, JobReport]:
    """The jobs of a sweep's folder by their number.

    Those without a report have not begun; one whose report cannot be read counts as died.
    """
    listed = load_job_list(sweep)
    found = {
        number: JobReport(NOT_BEGUN, overrides=overrides)
        for number, overrides in enumerate(listed.jobs if listed else [])
    }
    for folder in sorted(
        (p for p in sweep.iterdir() if p.name.isdigit()), key=lambda p: int(p.name)
    ):
        number = int(folder.name)
        try:
            found[number] = load_job(folder / JOB)
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            known = found.get(number, JobReport())
            told = f"its {JOB} cannot be read ({error})"
            found[number] = JobReport(DIED, told, overrides=known.overrides)
    return found


def forget_jobs(sweep: Path) -> None:
    """Remove what an earlier sweep into this folder said of its jobs, before a new one begins."""
    (sweep / JOBS).unlink(missing_ok=True)
    for path in sweep.glob(f"*/{JOB}"):
        if path.parent.name.isdigit():
            path.unlink()


def in_multirun() -> bool:
    """Whether this job is one of a sweep, and so has a number in it."""
    if not HydraConfig.initialized():
        return False
    settings = HydraConfig.get()
    return settings.mode == RunMode.MULTIRUN and not OmegaConf.is_missing(settings.job, "num")


def sweep_folder() -> Path:
    """The folder of the sweep that this job is of."""
    settings = HydraConfig.get()
    return Path(settings.runtime.cwd, settings.sweep.dir)


def report_folder(run_dir: Path) -> Path:
    """Where a job's report lies: beside its files, or by its number in the folder of its sweep.

    The two differ where `hydra.sweep.subdir` names the jobs' folders.
    """
    if not in_multirun() or started().rank:
        return run_dir
    return sweep_folder() / str(HydraConfig.get().job.num)


def check_own_folder(run_dir: Path, place: Path) -> None:
    """Raise if `hydra.sweep.subdir` gives another job of the sweep the same folder.

    Raises:
        ConfigError: it does.
    """
    if place == run_dir:
        return
    for number, job in jobs_of(place.parent).items():
        other = place.parent / str(number)
        if other != place and job.folder != "." and _same(other / job.folder, run_dir):
            raise ConfigError(
                f"hydra.sweep.subdir gives this job the folder of job {number}, {run_dir.name}. "
                "Write one that differs between the jobs, such as "
                "'hydra.sweep.subdir=${attack.name}-${seed}'."
            )


def _same(one: Path, other: Path) -> bool:
    return os.path.abspath(one) == os.path.abspath(other)


def check_may_start(on_failure: str) -> None:
    """Raise if an earlier job failed and the sweep is to end then."""
    if on_failure != "stop":
        return
    for number, job in jobs_of(sweep_folder()).items():
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
        if config.hydra.sweeper._target_ != PLAIN_SWEEPER:  # that one begins its jobs itself
            forget_jobs(Path(config.hydra.sweep.dir))
        earlier = load_job_list(Path(config.rerun)) if config.rerun else None
        os.environ[SWEEP_NAME] = (
            earlier.name if earlier else sweep_name(config.hydra.overrides.task)
        )


def sweep_name(overrides: Sequence[str]) -> str:
    """A name that is the same when the same command is typed again."""
    lasting = sorted(o for o in overrides if not o.startswith(NO_OTHER_SWEEP))
    return f"sweep-{make_key({'overrides': lasting})[:8]}"
