"""What became of each job (`job.json` in its folder), and what closes a multirun."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from btu.cache import make_key
from btu.errors import ConfigError
from btu.files import write_json

FORMAT = 1
JOB, JOBS = "job.json", "jobs.json"
OFFLINE_RUNS = "offline_runs.txt"
PLAIN_SWEEPER = "hydra_plugins.btu.Sweeper"  # every combination; others search
SWEEP_NAME = "BTU_SWEEP"  # environment variable: what the jobs of a multirun have in common
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
    offline_run: str | None = None  # folder of the W&B run that is to be uploaded
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
    """All jobs of a multirun, written before the first begins."""

    name: str  # of the sweep, see `sweep_name`
    jobs: list[list[str]]  # the overrides of each
    cache_mark: str | None = None  # a file in the cache that all nodes have to see
    format: int = FORMAT

    def write(self, folder: Path) -> None:
        """Write the list whole or not at all."""
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / JOBS, asdict(self))


def load_job_list(folder: Path) -> JobList | None:
    """The list of a multirun's jobs; None where there is none (a search draws its jobs)."""
    try:
        raw = json.loads((folder / JOBS).read_text(encoding="utf-8"))
        jobs = [[str(word) for word in job] for job in raw["jobs"]]
        mark = raw["cache_mark"]
        mark = mark if mark is None else str(mark)
        return JobList(str(raw["name"]), jobs, mark) if raw["format"] == FORMAT else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def jobs_of(sweep: Path) -> dict[int, JobReport]:
    """The jobs of a multirun's folder by their number, those without a report as not begun."""
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
    """Remembers the multirun that this process launches (a Hydra callback)."""

    current: DictConfig | None = None

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Keep the multirun's settings, and name it for its jobs, whatever process they run in."""
        SweepWatch.current = config
        earlier = load_job_list(Path(config.rerun)) if config.rerun else None
        os.environ[SWEEP_NAME] = (
            earlier.name if earlier else sweep_name(config.hydra.overrides.task)
        )


def sweep_name(overrides: Sequence[str]) -> str:
    """A name that is the same when the same command is typed again."""
    lasting = sorted(o for o in overrides if not o.startswith(NO_OTHER_SWEEP))
    return f"sweep-{make_key({'overrides': lasting})[:8]}"


def close_sweep(config: DictConfig, complete: bool) -> int:
    """Print the table of all jobs, name offline W&B runs, write the report.

    Args:
        config: the multirun's, with Hydra's part.
        complete: whether the launcher came to its end; else no report is written.

    Returns:
        The number of jobs that did not finish.

    Raises:
        ConfigError: there were no jobs at all.
    """
    from rich.console import Console

    from btu.report.sweep_table import sweep_table

    folder = Path(config.hydra.sweep.dir)
    jobs = jobs_of(folder) if folder.is_dir() else {}
    if not jobs:
        if complete:
            raise ConfigError(_no_jobs(list(config.hydra.overrides.task)))
        return 0
    console = Console()
    console.print(sweep_table(jobs, complete))
    for lines in (_offline_runs(folder, jobs), _how_to_rerun(config, folder, jobs)):
        if lines:
            console.print("\n".join(lines), soft_wrap=True, highlight=False, markup=False)
    if complete and config.report:
        _write_report(folder, console)
    print(f"sweep: {folder}")
    return sum(job.status != FINISHED for job in jobs.values())


def _no_jobs(overrides: Sequence[str]) -> str:
    globs = [override for override in overrides if "glob(" in override]
    cause = f"{' and '.join(globs)} matches nothing" if globs else "its list of values is empty"
    return f"the sweep has no jobs: {cause}. `btu --help` lists the options of every group."


def _offline_runs(folder: Path, jobs: Mapping[int, JobReport]) -> list[str]:
    from btu.upload import not_uploaded

    runs = [os.path.relpath(run) for run in not_uploaded(folder, jobs.values())]
    if not runs:
        return []
    (folder / OFFLINE_RUNS).write_text("\n".join(runs) + "\n", encoding="utf-8")
    return [
        f"W&B runs of this sweep that are not uploaded: {len(runs)}. To upload them:",
        f"  python scripts/sweep.py sync {os.path.relpath(folder)}",
    ]


def _how_to_rerun(config: DictConfig, folder: Path, jobs: Mapping[int, JobReport]) -> list[str]:
    """The command for the jobs that did not finish, with the launcher that was typed."""
    left = sum(job.status != FINISHED for job in jobs.values())
    if not left or load_job_list(folder) is None:
        return []
    overrides = config.hydra.overrides
    launcher = [o for o in overrides.hydra if o.startswith(("hydra/launcher", "hydra.launcher"))]
    outputs = [o for o in overrides.task if o.startswith("outputs=")]
    rerun = f"rerun={os.path.relpath(folder)}"
    return [
        f"not finished: {left}. To go on with that, with what has to be other:",
        f"  {shlex.join(['btu', '-m', rerun, *outputs, *launcher])}",
    ]


def _write_report(folder: Path, console: Any) -> None:
    from btu.report.write import write_report

    if any(job.records for job in jobs_of(folder).values()):
        report = write_report([folder], folder / "report")
        console.print(f"report: {report.page}", soft_wrap=True, highlight=False)
