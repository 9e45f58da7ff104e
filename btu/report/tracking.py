"""Records mirrored to Weights & Biases: one run per job, never a prompt, always finished."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from btu.components import Tracker
from btu.errors import ConfigError
from btu.models.hub import reachable
from btu.report.run import SUSPECT_COLUMNS, suspect_rows
from btu.report.upload import is_uploaded
from btu.settings.ranges import Choice, Items, Text, Word
from btu.store.cache import make_key
from btu.store.files import write_json
from btu.store.records import summary_rows
from btu.sweeps.jobs import SWEEP_NAME
from btu.types import REPAIRED

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
    """One W&B run per job, online when someone is logged in, else offline."""

    project: Annotated[str, Text(NAME, "at most 128 characters without any of / \\ # ? % :")]
    entity: Word | None
    group: Annotated[str, Text(".{1,128}", "at most 128 characters")] | None  # null: of a sweep
    tags: Annotated[list[Tag], Items()]
    mode: Annotated[str, Choice(MODES)]

    @contextmanager
    def job(self, experiment: Any, run_dir: Path) -> Iterator[Tracker]:
        """Open the job's run; on an error it is closed as failed.

        A job that was mirrored before and has nothing left to compute opens no second run.
        """
        job, note = experiment.job, self._note(experiment)
        if note.is_file() and not in_agent() and experiment.is_recorded():
            mirrored = Mirrored("none", json.loads(note.read_text())["run"])
            log.info("W&B: nothing new, see %s", mirrored.run)
            yield mirrored
            return
        import wandb

        sweep = _sweep()
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
                console="off", silent=True, save_code=False, disable_git=True, x_disable_stats=True
            ),
        )
        try:
            yield self
        except BaseException:
            run.finish(exit_code=1)
            raise
        where = _where(run)
        run.finish()
        note.parent.mkdir(parents=True, exist_ok=True)
        write_json(note, {"run": where})

    def log_result(self, result: Any, run_dir: Path, objective: float | None) -> str | None:
        """Curves over the threshold, tables of suspects and records, the plot, the summary."""
        import wandb

        run = wandb.run
        if run is None:
            return None
        run.define_metric("threshold")
        for arm in REPAIRED:
            run.define_metric(f"{arm}/*", step_metric="threshold")
        for point in curve_points(result.records):
            run.log(point)
        rows = [
            {k: v for k, v in row.items() if not isinstance(v, dict) and k != "detection"}
            for row in summary_rows(result.records)
        ]
        suspects = suspect_rows(result.records)
        media: dict[str, Any] = {
            "records": _table(wandb, rows, list(rows[0])),
            "suspects": _table(wandb, suspects, list(SUSPECT_COLUMNS)),
        }
        if (run_dir / "curve.png").is_file():
            media["curve"] = wandb.Image(str(run_dir / "curve.png"))
        if objective is not None:
            media["objective"] = objective  # logged, not only summarised: W&B sweeps want it so
        run.log(media)
        run.summary.update(summary_values(result))
        if run.settings.mode != "offline":
            return None
        log.info("W&B offline run; to upload it: wandb sync %s", _where(run))
        return _where(run)

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
        if self.mode != "auto":
            return self.mode
        if "WANDB_MODE" in os.environ:
            return None  # W&B's own variable decides
        import wandb

        try:
            if not wandb.login(prompt=False):
                return "offline"
        except Exception as error:  # wandb raises errors of many kinds for a key it cannot use
            log.warning(
                "W&B: not logged in (%s); the run is kept offline", str(error).split("\n")[0]
            )
            return "offline"
        server = wandb.setup().settings.base_url
        if not reachable(server):  # wandb.init would try for a minute and a half, then fail the job
            log.warning("W&B: %s cannot be reached; the run is kept offline", server)
            return "offline"
        return "online"


def _where(run: Any) -> str:
    """The page of a run, or the folder of one that was kept offline."""
    return str(Path(run.dir).parent) if run.settings.mode == "offline" else str(run.url)


def job_name(job: Any) -> tuple[str, str, str, str, int]:
    """dataset, attack, model, defense, seed: what a run is called."""
    return (job.dataset.name, job.attack.name, job.model.name, job.defense_name, job.seed)


def curve_points(records: Any) -> list[dict[str, Any]]:
    """One point per threshold, with the scores of every arm that has one there."""
    points: dict[float, dict[str, Any]] = {}
    for record in records:
        if record.threshold is not None:
            point = points.setdefault(record.threshold, {"threshold": record.threshold})
            point |= _scores(record)
    return [points[threshold] for threshold in sorted(points)]


def summary_values(result: Any) -> dict[str, Any]:
    """Scores of the arms without a threshold, and those at the chosen threshold."""
    values: dict[str, Any] = {}
    for record in result.records:
        if record.threshold is None or record is result.chosen:
            values |= _scores(record)
    if result.chosen is not None:
        if result.chosen.threshold is not None:
            values["chosen_threshold"] = result.chosen.threshold
        if result.chosen.threshold_label is not None:
            values["threshold_label"] = result.chosen.threshold_label
        values |= {
            f"evidence/{k}": v for k, v in result.chosen.evidence.items() if isinstance(v, _PLAIN)
        }
        values |= {f"detection/{k}": v for k, v in (result.chosen.detection or {}).items()}
    for metric, entries in (result.stealth or {}).items():
        if isinstance(entries, Mapping):
            values |= {f"stealth/{metric}/{k}": v for k, v in entries.items()}
    return values


def _scores(record: Any) -> dict[str, Any]:
    """The scores of a record, and how many suspects it has where its defense looks for any."""
    scores = {f"{record.arm}/{k}": v for k, v in asdict(record.scores).items() if v is not None}
    if record.suspects is not None:
        scores[f"{record.arm}/num_suspects"] = len(record.suspects)
    return scores


def _table(wandb: Any, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> Any:
    return wandb.Table(columns=list(columns), data=[[row[c] for c in columns] for row in rows])


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
    if not HydraConfig.initialized() or HydraConfig.get().mode != RunMode.MULTIRUN:
        return None
    if in_agent():
        raise ConfigError(
            "a W&B sweep agent gives one run id to each command, so a command is one job. "
            "Leave -m out of the sweep's command."
        )
    return os.environ.get(SWEEP_NAME) or "-".join(Path(HydraConfig.get().sweep.dir).parts[-2:])
