"""What closes a sweep: the table of its jobs, its offline W&B runs, its report."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from btu.errors import ConfigError
from btu.report.sweep_table import sweep_table
from btu.report.upload import not_uploaded
from btu.report.write import write_report
from btu.sweeps.jobs import FINISHED, JobReport, jobs_of, load_job_list
from btu.terminal.console import Terminal
from btu.terminal.overrides import written

OFFLINE_RUNS = "offline_runs.txt"


def close_sweep(config: DictConfig, complete: bool) -> int:
    """Print the table of all jobs, name offline W&B runs, write the report.

    Args:
        config: the sweep's, with Hydra's part.
        complete: whether the launcher came to its end; if not, no report is written.

    Returns:
        The number of jobs that did not finish.

    Raises:
        ConfigError: there were no jobs at all.
    """
    folder = Path(config.hydra.sweep.dir)
    jobs = jobs_of(folder) if folder.is_dir() else {}
    if not jobs:
        if complete:
            raise ConfigError(_no_jobs(list(config.hydra.overrides.task)))
        return 0
    terminal = Terminal()
    terminal.print(sweep_table(jobs, complete))
    for lines in (_offline_runs(folder, jobs), _how_to_rerun(config, folder, jobs)):
        for line in lines:
            terminal.say(line)
    if complete and config.report:
        _write_report(folder, terminal)
    terminal.say(f"sweep: {folder}")
    return sum(job.status != FINISHED for job in jobs.values())


def _no_jobs(overrides: Sequence[str]) -> str:
    globs = [override for override in overrides if "glob(" in override]
    cause = f"{' and '.join(globs)} matches nothing" if globs else "its list of values is empty"
    return f"the sweep has no jobs: {cause}. `btu --help` lists the options of every group."


def _offline_runs(folder: Path, jobs: Mapping[int, JobReport]) -> list[str]:
    runs = [os.path.relpath(run) for run in not_uploaded(folder, jobs)]
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
    rerun = f"rerun={written(os.path.relpath(folder))}"
    sources = OmegaConf.select(config, "hydra.runtime.config_sources") or ()
    own = [source.path for source in sources if source.provider == "command-line"]
    flags = [word for path in own for word in ("--config-dir", os.path.relpath(path))]
    return [
        f"jobs that did not finish: {left}. To run them again (append what must change):",
        f"  {shlex.join(['btu', *flags, '-m', rerun, *outputs, *launcher])}",
    ]


def _write_report(folder: Path, terminal: Terminal) -> None:
    if any(job.records for job in jobs_of(folder).values()):
        report = write_report([folder], folder / "report")
        terminal.say(f"report: {report.page}")
