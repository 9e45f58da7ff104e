"""One job: everything a run was asked to do, built and checked, then run and written down."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from btu import processes
from btu.components import Tracker
from btu.config import GROUPS, build, check_run, resolve_device
from btu.errors import ConfigError, check_choice
from btu.sweeps.jobs import ON_FAILURE, JobReport

if TYPE_CHECKING:
    from btu.attacks.base import Attack
    from btu.data.base import DatasetSource
    from btu.defenses.base import Defense
    from btu.models.base import ModelSource
    from btu.pipeline import Experiment, Result
    from btu.stealth.settings import Stealth
    from btu.store.cache import CacheConfig

MOVE_NO_NUMBER = (
    *("tracking", "cache", "on_failure", "report", "rerun", "objective"),
    *("export_poisoned", "stealth", "attack.stealth"),
    *(f"attack.rewriter.{name}" for name in ("batch_size", "device", "folder")),
)
FIXED_NEED = 50_000_000  # bytes for records, logs, plots and W&B files
log = logging.getLogger("btu")


@dataclass(frozen=True)
class Job:
    """Everything one run was asked to do, built and checked."""

    dataset: DatasetSource
    attack: Attack
    model: ModelSource
    defense: Defense
    seed: int
    thresholds: tuple[float, ...]
    arms: tuple[str, ...]
    device: str
    outputs: Path
    cache: CacheConfig
    force: bool
    save_model: bool
    config: Mapping[str, Any]
    export_poisoned: Path | None = None
    stealth: Stealth | None = None  # None where the attack's is not to be measured


def build_job(cfg: DictConfig) -> tuple[Job, Any]:
    """Build and check every component before any work begins.

    Returns:
        The job, and the tracker that mirrors its results.
    """
    dataset, attack, model, defense, tracking = (build(cfg[group], group) for group in GROUPS)
    export = None if cfg.export_poisoned is None else Path(cfg.export_poisoned).expanduser()
    arms = check_run(cfg.thresholds, cfg.arms, defense.arms(), only_export=export is not None)
    if arms:
        model.check()
    stealth: Any = OmegaConf.to_object(cfg.stealth) if attack.stealth else None
    if stealth is not None:
        stealth.check()
    from btu.files import check_writable

    check_choice("on_failure", cfg.on_failure, ON_FAILURE)
    if cfg.rerun is not None:
        raise ConfigError(f"rerun={cfg.rerun} runs several jobs: type btu -m rerun={cfg.rerun}")
    cache: Any = OmegaConf.to_object(cfg.cache)
    check_writable(Path(cfg.outputs), FIXED_NEED)
    check_writable(Path(cache.folder), FIXED_NEED, "cache.folder")
    config = OmegaConf.to_container(cfg, resolve=True)
    if not isinstance(config, dict):
        raise ConfigError("the config is not a mapping.")
    for setting in MOVE_NO_NUMBER:
        _drop(config, setting)  # in no record
    job = Job(
        dataset=dataset,
        attack=attack,
        model=model,
        defense=defense,
        seed=cfg.seed,
        thresholds=tuple(dict.fromkeys(cfg.thresholds)),
        arms=arms,
        device=cfg.device,
        outputs=Path(cfg.outputs),
        cache=cache,
        force=cfg.force,
        save_model=cfg.save_model,
        config={str(k): v for k, v in config.items()},
        export_poisoned=export,
        stealth=stealth,
    )
    return job, tracking


def _drop(config: dict[Any, Any], setting: str) -> None:
    *groups, name = setting.split(".")
    for group in groups:
        config = config.get(group) or {}
    config.pop(name, None)


@processes.ends_with_the_others()
def run_job(cfg: DictConfig, run_dir: Path, report: JobReport | None = None) -> float | None:
    """Run one job, write its folder, mirror it and print its tables; gives its objective.

    What became of it is filled into the report.
    """
    report = report or JobReport()
    job, tracking = build_job(cfg)
    _meet_other_processes(job)
    objective: Any = OmegaConf.to_object(cfg.objective)
    from rich.console import Console

    from btu.pipeline import Experiment, prepare, run, save_repaired
    from btu.report.run import write_outputs
    from btu.report.tables import print_result

    experiment = Experiment(job, prepare(job))
    objective.check_search([arm for arm, _ in experiment.points])
    stealth = _before_training(experiment)
    if not job.arms:
        _end_without_training(experiment, stealth, run_dir)
        return None
    tracker = Tracker("none") if processes.follows() else tracking
    with tracker.job(experiment, run_dir) as mirror:
        result = replace(run(experiment), stealth=stealth)
        if not processes.follows():
            write_outputs(job, result, run_dir)
        if job.save_model:
            log.info(save_repaired(job, result, run_dir / "model"))
        processes.leave()
        value: float | None = objective.value(result.records)
        report.objective = value
        fill_report(report, experiment, result, run_dir)
        report.offline_run = mirror.log_result(result, run_dir, value)
    if processes.started().rank == 0:
        print_result(result, Console(), with_suspects=not in_multirun())
        print(f"results: {run_dir}")
    return value


def _before_training(experiment: Experiment) -> dict[str, Any] | None:
    """Do what is asked for of the poisoned set itself; gives what was measured of its stealth."""
    from btu.data.export import export

    job, bench = experiment.job, experiment.bench
    if job.export_poisoned is not None and not processes.follows():
        export(bench.data, job.attack, job.seed, job.export_poisoned)
    if job.stealth is None:
        return None
    from btu.stealth.measure import measure

    return measure(bench.data, job.stealth, bench.compute.device, bench.cache)


def _end_without_training(
    experiment: Experiment, stealth: Mapping[str, Any] | None, run_dir: Path
) -> None:
    """Say where the poisoned set is; there is no arm."""
    from rich.console import Console

    from btu.data.poisoning import remarks
    from btu.files import write_json
    from btu.report.run import POISON_REPORT, poison_report
    from btu.report.tables import print_notes, print_stealth

    job, data = experiment.job, experiment.bench.data
    notes = (*data.clean.notes, *remarks(data))
    if not processes.follows():
        run_dir.mkdir(parents=True, exist_ok=True)
        write_json(run_dir / POISON_REPORT, poison_report(job, data, notes, stealth))
    processes.leave()
    if processes.started().rank == 0:
        print_stealth(stealth, Console())
        print_notes(notes, Console())
        print(f"poisoned set: {job.export_poisoned}")


def _meet_other_processes(job: Job) -> None:
    """Let the processes of this job meet, if there are several, and see that they share a disk."""
    if processes.started().size == 1:
        return
    processes.join(resolve_device(job.device))
    processes.check_shared({"outputs": job.outputs, "cache.folder": Path(job.cache.folder)})


def in_multirun() -> bool:
    """Whether this job is one of a sweep."""
    settings = HydraConfig.get() if HydraConfig.initialized() else None
    return settings is not None and settings.mode == RunMode.MULTIRUN


def fill_report(report: JobReport, experiment: Experiment, result: Result, folder: Path) -> None:
    """Say in a job's report what it found and which records hold it."""
    store = experiment.store
    report.records = [os.path.relpath(store.path(r.identity), folder) for r in result.records]
    report.num_computed = experiment.num_computed
    undefended = next((r for r in result.records if r.arm == "poisoned"), None)
    for name, record in (("poisoned", undefended), ("chosen", result.chosen)):
        if record is not None:
            point = {"arm": record.arm, "threshold": record.threshold}
            report.scores[name] = point | asdict(record.scores)
