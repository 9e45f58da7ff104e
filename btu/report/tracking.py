"""Records mirrored to Weights & Biases: one run per job, never a prompt, always finished."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from hydra.core.hydra_config import HydraConfig

from btu.components import Tracker
from btu.errors import ConfigError, first_line
from btu.models.hub import reachable
from btu.report.open_run import OpenRun, telling_failures, where_is
from btu.report.upload import is_uploaded
from btu.settings.ranges import Choice, Items, Text, Word
from btu.store.cache import make_key
from btu.store.files import write_json
from btu.sweeps.jobs import SWEEP_NAME, in_multirun

log = logging.getLogger(__name__)
SWEEP_AGENT = "WANDB_SWEEP_ID"  # set where a W&B sweep agent started this job
MODES = ("auto", "online", "offline")
NAME = r"[^/\\#?%:]{1,128}"  # of a project, as W&B takes it
Tag = Annotated[str, Text(".{1,64}", "at most 64 characters")]
_PLAIN = (bool, int, float, str)


@dataclass(frozen=True)
class Mirrored(Tracker):
    """For a job that an earlier run mirrored."""

    run: str  # its page, or its folder if it was kept offline

    def log_result(self, result: Any, run_dir: Path, objective: float | None) -> str | None:
        """The earlier run's folder, if it is not uploaded yet (wandb sync marks it)."""
        folder = Path(self.run)
        return self.run if folder.is_dir() and not is_uploaded(folder) else None


@dataclass(frozen=True)
class WandbTracker(Tracker):
    """One W&B run per job, online when someone is logged in, else offline.

    Whatever goes wrong with W&B is said in the log, and the job goes on without it.
    """

    project: Annotated[str, Text(NAME, "at most 128 characters without any of / \\ # ? % :")]
    entity: Word | None
    group: Annotated[str, Text(".{1,128}", "at most 128 characters")] | None  # null: of a sweep
    tags: Annotated[list[Tag], Items()]
    mode: Annotated[str, Choice(MODES)]

    @contextmanager
    def job(self, experiment: Any, run_dir: Path) -> Iterator[Tracker]:
        """Open the job's run; on an error it is closed as failed.

        A job that was mirrored before and has nothing left to compute opens no second run.

        Raises:
            ConfigError: `mode=online` and nobody is logged in, or an agent's command is a sweep.
        """
        note, sweep = self._note(experiment), _sweep()
        mirrored = self._mirrored(note)
        if mirrored is not None and experiment.is_recorded():
            log.info("W&B: nothing new, see %s", mirrored.run)
            yield mirrored
            return
        open_run = None
        with telling_failures("begin a run"):
            open_run = self._begin(experiment.job, sweep)
        if open_run is None:
            yield Tracker("none")
            return
        try:
            yield open_run
        except BaseException:
            with telling_failures("close the run"):
                open_run.run.finish(exit_code=1)
            raise
        with telling_failures("finish the run"):
            where = where_is(open_run.run)
            open_run.run.finish()
            if open_run.is_whole:
                note.parent.mkdir(parents=True, exist_ok=True)
                write_json(note, {"run": _beside(note, where)})

    def _begin(self, job: Any, sweep: str | None) -> OpenRun:
        import wandb

        folder = job.outputs.resolve()
        folder.mkdir(parents=True, exist_ok=True)
        run = wandb.init(
            project=self.project,
            entity=self.entity,
            group=self.group or sweep,
            tags=self.tags,
            name="-".join(str(part) for part in job_name(job)),
            config=run_config(job.config),
            dir=str(folder),
            mode=self._mode(),
            reinit="finish_previous",
            settings=wandb.Settings(
                console="off",
                silent=True,
                save_code=False,
                disable_git=True,
                x_disable_stats=True,
                x_disable_meta=True,  # the command line and folders, with the user's name in them
            ),
        )
        return OpenRun("wandb", run)

    def _mirrored(self, note: Path) -> Mirrored | None:
        """What a note says of the run of an earlier job, if there is one."""
        if in_agent() or not note.is_file():
            return None
        with suppress(OSError, ValueError, KeyError, TypeError):
            where = str(json.loads(note.read_text(encoding="utf-8"))["run"])
            offline = note.parent / where
            return Mirrored("none", str(offline.resolve()) if offline.is_dir() else where)
        return None

    def _note(self, experiment: Any) -> Path:
        """The file that says which run holds these records."""
        identities = [experiment.identity(*point) for point in experiment.points]
        parts: dict[str, Any] = {
            "project": self.project,
            "entity": self.entity,
            "records": identities,
        }
        if experiment.job.stealth is not None:
            parts["stealth"] = asdict(experiment.job.stealth)
        key = make_key(parts)
        place: Path = experiment.job.outputs / "wandb" / "mirrored" / f"{key}.json"
        return place

    def _mode(self) -> Any:
        if self.mode == "offline":
            return self.mode
        if self.mode == "auto" and "WANDB_MODE" in os.environ:
            return None  # W&B's own variable decides
        import wandb

        nobody = "nobody is logged in"
        refused = nobody
        try:
            logged_in = wandb.login(prompt=False)
        except Exception as error:  # wandb raises errors of many kinds for a key it cannot use
            logged_in, refused = False, first_line(error)
        if self.mode == "online":
            if not logged_in:
                raise ConfigError(
                    f"tracking.mode=online: {refused}. Type wandb login, or leave the mode "
                    "out: then the run is kept offline."
                )
            return "online"
        if not logged_in:
            if refused != nobody:
                log.warning("W&B: not logged in (%s); the run is kept offline", refused)
            return "offline"
        server = wandb.setup().settings.base_url
        if not reachable(server):  # wandb.init would try for a minute and a half, then fail the job
            log.warning("W&B: %s cannot be reached; the run is kept offline", server)
            return "offline"
        return "online"


def _beside(note: Path, where: str) -> str:
    """A page as it is, a folder from the note's: outputs may be moved, and name no home."""
    return os.path.relpath(where, note.parent) if Path(where).is_dir() else where


def job_name(job: Any) -> tuple[str, str, str, str, int]:
    """dataset, attack, model, defense, seed: what a run is called."""
    return (job.dataset.name, job.attack.name, job.model.name, job.defense_name, job.seed)


def run_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """What W&B gets as the run's config: the job's, in a sweep agent with `attack.name` as a key.

    The agent sets the swept keys itself, and its `attack: badnets` would replace all settings of
    the attack. W&B shows nested keys with dots anyway.
    """
    if not in_agent():
        return dict(config)
    flat: dict[str, Any] = {}
    for key, value in config.items():
        flat |= (
            {f"{key}.{k}": v for k, v in value.items()} if isinstance(value, dict) else {key: value}
        )
    return flat


def in_agent() -> bool:
    """Whether a W&B sweep agent started this process; it gives one run id to one process."""
    return bool(os.environ.get(SWEEP_AGENT))


def _sweep() -> str | None:
    """In a sweep its name: its jobs form one group, even when it is typed again."""
    if not in_multirun():
        return None
    if in_agent():
        raise ConfigError(
            "a W&B sweep agent gives one run id to each command, so a command is one job. "
            "Leave -m out of the sweep's command."
        )
    return os.environ.get(SWEEP_NAME) or "-".join(Path(HydraConfig.get().sweep.dir).parts[-2:])
