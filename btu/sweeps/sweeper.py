"""Which jobs a sweep has: every combination, or what an earlier sweep left unfinished."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn
from omegaconf import OmegaConf

from btu.errors import ConfigError
from btu.sweeps.jobs import (
    FINISHED,
    JOBS,
    RUNNING,
    JobList,
    forget_jobs,
    jobs_of,
    load_job_list,
    sweep_name,
)
from btu.sweeps.shared import marked
from btu.terminal.overrides import join_attacks

RERUN = "rerun"
MOST_VALUES = 20  # of an override, tried before the first job begins
log = logging.getLogger(__name__)


def sweep(sweeper: Any, arguments: list[str]) -> list[Sequence[JobReturn]]:
    """Launch the jobs of a sweep in batches; what became of each is in its `job.json`."""
    config, launcher = sweeper.config, sweeper.launcher
    parser = OverridesParser.create(config_loader=sweeper.hydra_context.config_loader)
    jobs, name = sweep_jobs(parser, sweeper.params, arguments)
    folder = Path(config.hydra.sweep.dir)
    folder.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(config, folder / "multirun.yaml")
    sweeper.validate_batch_is_legal(covering(jobs))
    size = sweeper.max_batch_size or max(len(jobs), 1)
    elsewhere = getattr(launcher, "on_other_nodes", False)
    with marked(Path(config.cache.folder), wanted=elsewhere) as mark:
        forget_jobs(folder)
        JobList(name, jobs, mark).write(folder)
        try:
            return [
                launcher.launch(jobs[first : first + size], initial_job_idx=first)
                for first in range(0, len(jobs), size)
            ]
        except ConfigError:  # refused: no job of this sweep was started
            (folder / JOBS).unlink()
            raise


def sweep_jobs(
    parser: OverridesParser, params: dict[str, str], arguments: Sequence[str]
) -> tuple[list[list[str]], str]:
    """The overrides of each job, and the sweep's name.

    Args:
        parser: of overrides; it knows the groups.
        params: `hydra.sweeper.params`, a sweep that an experiment brings.
        arguments: what was typed. `rerun=FOLDER` takes the unfinished jobs of that sweep, with
            the other arguments added to each.
    """
    reruns = parser.parse_overrides([a for a in arguments if a.startswith(f"{RERUN}=")])
    folder = next((override.value() for override in reruns), None)
    typed = join_attacks([a for a in arguments if not a.startswith(f"{RERUN}=")])
    if folder is None:
        words = [*join_attacks([f"{key}={value}" for key, value in params.items()]), *typed]
        return combinations(parser, words), sweep_name(arguments)
    name, jobs = unfinished(Path(str(folder)))
    more = combinations(parser, typed)
    log.info(f"rerun: {len(jobs)} jobs did not finish in {folder}")
    again = [_replaced(job, extra) for job in jobs for extra in more]
    different = [list(job) for job in dict.fromkeys(map(tuple, again))]
    if len(different) < len(again):
        log.warning(
            f"with these overrides only {len(different)} of the {len(again)} jobs are different"
        )
    return different, name


def combinations(parser: OverridesParser, words: Sequence[str]) -> list[list[str]]:
    """Every combination of the values of these overrides."""
    (jobs,) = BasicSweeper.split_arguments(parser.parse_overrides(list(words)), None)
    return jobs


def unfinished(folder: Path) -> tuple[str, list[list[str]]]:
    """An earlier sweep's name, and the overrides of its jobs that did not finish.

    Raises:
        ConfigError: the folder is not that of a sweep, all of its jobs finished, or one names code.
    """
    listed = load_job_list(folder)
    if listed is None:
        raise ConfigError(
            f"rerun={folder} is not the folder of a sweep: it has no jobs.json that can be read. "
            "The last line that a sweep prints names its folder, as in "
            "rerun=outputs/runs/2026-01-31/10-30-00-1."
        )
    left = [job for job in jobs_of(folder).values() if job.status != FINISHED]
    if any(job.status == RUNNING for job in left):
        log.warning(
            "some of them have not ended. If they still run, nothing is computed twice: the new "
            "jobs wait for them"
        )
    jobs = [job.overrides for job in left]
    code = next((word for job in jobs for word in job if _names_code(word)), None)
    if code is not None:
        raise ConfigError(
            f"rerun={folder}: {code} names code, which is not taken from a folder of results. Type "
            "the sweep's own command again; what is finished is read, not computed."
        )
    if not jobs:
        raise ConfigError(f"rerun={folder}: all {len(listed.jobs)} jobs of that sweep finished.")
    return listed.name, jobs


def covering(jobs: Iterable[list[str]]) -> list[list[str]]:
    """Some of the jobs: every value of every override is among them, of long ranges the first.

    Composing a job takes a tenth of a second, and what cannot be composed is nearly always one
    value, not a combination. A value that is left out shows its error in its own job.
    """
    seen: set[str] = set()
    counts: Counter[str] = Counter()
    chosen = []
    for job in jobs:
        new = {word for word in job if word not in seen and counts[_key(word)] < MOST_VALUES}
        if new:
            chosen.append(job)
            seen |= new
            counts.update(map(_key, new))
    return chosen


def _replaced(job: Sequence[str], extra: Sequence[str]) -> list[str]:
    keys = {_key(word) for word in extra}
    return [word for word in job if _key(word) not in keys] + [*extra]


def _key(override: str) -> str:
    """`seed` of `seed=1`, `++seed=1` and `~seed`."""
    return override.partition("=")[0].lstrip("+~")


def _names_code(override: str) -> bool:
    """Whether an override can make Hydra or `build` import a module: that runs it."""
    return "_target_" in override or _key(override).startswith("hydra")
