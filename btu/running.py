"""Run one job: poison, train and evaluate, write its folder, mirror it and print its tables."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from btu import processes
from btu.components import Tracker
from btu.config import GROUPS
from btu.job import Job, build_job
from btu.metrics import remark_on_cost
from btu.store.cache import StageCache
from btu.store.files import write_json
from btu.sweeps.jobs import JobReport, Point, in_multirun, report_folder
from btu.terminal.console import Terminal
from btu.types import VICTIM

if TYPE_CHECKING:
    from btu.experiment import Experiment, Result
    from btu.lab import Lab
    from btu.models.base import Classifier
    from btu.types import PoisonedDataset

log = logging.getLogger("btu")


@dataclass(frozen=True)
class Finished:
    """A job that is done: its experiment, which can make every model again, and what it found."""

    experiment: Experiment
    result: Result | None  # None of a job without arms
    notes: tuple[str, ...]
    stealth: Mapping[str, Any] | None
    objective: float | None


def run_job(cfg: DictConfig, run_dir: Path, report: JobReport | None = None) -> float | None:
    """Run one job, write its folder, mirror it and print its tables; gives its objective.

    What became of it is filled into the report.
    """
    finished = finish_job(cfg, run_dir, report or JobReport())
    if processes.started().rank:
        return finished.objective
    from btu.report.tables import print_notes, print_result, print_stealth

    terminal = Terminal()
    if finished.result is None:
        print_stealth(finished.stealth, terminal)
        print_notes(finished.notes, terminal)
        terminal.say(f"poisoned set: {finished.experiment.job.export_poisoned}")
    else:
        print_result(finished.result, terminal, with_suspects=not in_multirun())
        terminal.say(f"results: {run_dir}")
    return finished.objective


@processes.ends_with_the_others()
def finish_job(cfg: DictConfig, run_dir: Path, report: JobReport) -> Finished:
    """Run one job, write its folder and mirror it; prints nothing."""
    job, tracking = build_job(cfg)
    objective: Any = OmegaConf.to_object(cfg.objective)
    from btu.report.run import MODEL, remove_outputs, write_outputs

    if not processes.follows():
        remove_outputs(run_dir)
    experiment = prepare(job)
    objective.check_search([arm.name for arm, _ in experiment.points])
    stealth = _before_training(experiment)
    if not job.arms:
        return _end_without_training(experiment, stealth, run_dir)
    tracker = Tracker("none") if processes.follows() else tracking
    with tracker.job(experiment, run_dir) as mirror:
        result = replace(experiment.run(), stealth=stealth)
        if not processes.follows():
            write_outputs(job, result, run_dir)
        if job.save_model:
            log.info(save_repaired(experiment, result, run_dir / MODEL))
        processes.leave()
        value: float | None = objective.value(result.records)
        report.objective = value
        place = report_folder(run_dir)
        fill_report(report, experiment, result, place)
        offline = mirror.log_result(result, run_dir, value)
        report.offline_run = None if offline is None else os.path.relpath(offline, place)
    return Finished(experiment, result, result.notes, stealth, value)


def prepare(job: Job) -> Experiment:
    """Load the data set and plant the attack; everything that is wrong with either raises here."""
    from btu.attacks.stored import poison
    from btu.experiment import Experiment

    _meet_other_processes(job)
    cache = open_cache(job)
    data = poison(job.dataset.load(), job.attack, job.seed, cache)
    return Experiment(job, open_lab(job, data, cache))


def open_cache(job: Job) -> StageCache:
    """Where the job keeps finished stages."""
    limit = job.cache.limit_gb
    folder = Path(job.cache.folder).absolute()
    return StageCache(folder, job.force, None if limit is None else limit * 1e9)


def open_lab(job: Job, data: PoisonedDataset, cache: StageCache | None = None) -> Lab:
    """The lab of a job and a data set."""
    from btu.lab import Lab
    from btu.training.devices import Compute, resolve_device, resolve_precision

    device = resolve_device(job.device)
    compute = Compute(
        device=device,
        precision=resolve_precision(job.model.training.precision, device),
        eval_batch_size=job.model.eval_batch_size,
        group=processes.joined(),
    )
    about = {
        "dataset": job.dataset.name,
        "attack": job.attack.name,
        "model": job.model.name,
        "seed": job.seed,
    }
    kept = cache or open_cache(job)
    return Lab(job.model, data, compute, kept, job.seed, about, job.cache.save_every_s, job.tuning)


def save_repaired(experiment: Experiment, result: Result, folder: Path) -> str:
    """Write the chosen repaired model, if there is one, as a `save_pretrained` folder.

    The tokenizer goes with it.

    Returns:
        One line that names it.
    """
    record = result.chosen
    if record is None:
        return f"no model is saved: {remark_on_cost(result.records)}"
    classifier = experiment.classifier(record.arm, record.threshold)
    if not processes.follows():
        save_classifier(classifier, result.data.clean.label_names, folder)
    at = "" if record.threshold is None else f" @ {record.threshold:g}"
    empty = ", in which nothing was flagged and so nothing repaired" * (record.suspects == ())
    return f"saved {record.arm}{at} as {folder}{empty}"


def save_classifier(classifier: Classifier, label_names: Sequence[str], folder: Path) -> None:
    """Write a model with its tokenizer as a `save_pretrained` folder."""
    name_labels(classifier, label_names)
    classifier.model.cpu().save_pretrained(folder)
    classifier.tokenizer.save_pretrained(folder)


def name_labels(classifier: Classifier, label_names: Sequence[str]) -> None:
    """Write the labels' names into the model's config, in place."""
    names = dict(enumerate(label_names))
    classifier.model.config.id2label = names
    classifier.model.config.label2id = {name: number for number, name in names.items()}


def _before_training(experiment: Experiment) -> dict[str, Any] | None:
    """Do what is asked for of the poisoned set itself; gives what was measured of its stealth."""
    from btu.attacks.export import export
    from btu.stealth.measure import measure

    job, lab = experiment.job, experiment.lab
    if job.export_poisoned is not None and not processes.follows():
        export(lab.data, job.attack, job.seed, job.export_poisoned)
    if job.stealth is None:
        return None
    return measure(lab.data, job.stealth, lab.compute.device, lab.cache)


def _end_without_training(
    experiment: Experiment, stealth: Mapping[str, Any] | None, run_dir: Path
) -> Finished:
    """Report what was planted; there is no arm."""
    from btu.attacks.poisoning import remarks
    from btu.report.run import POISON_REPORT, poison_report

    job, data = experiment.job, experiment.lab.data
    notes = (*data.clean.notes, *remarks(data))
    if not processes.follows():
        run_dir.mkdir(parents=True, exist_ok=True)
        write_json(run_dir / POISON_REPORT, poison_report(job, data, notes, stealth))
    processes.leave()
    return Finished(experiment, None, notes, stealth, None)


def _meet_other_processes(job: Job) -> None:
    """Let the processes of this job meet, if there are several, and see that they share a disk."""
    if processes.started().size == 1:
        return
    from btu.training.devices import resolve_device

    processes.join(resolve_device(job.device))
    processes.check_shared({"outputs": job.outputs, "cache.folder": Path(job.cache.folder)})


def name_job(cfg: DictConfig) -> str:
    """dataset-attack-model-defense-seed, as far as the config says it."""
    groups = (OmegaConf.select(cfg, f"{group}.name", default="?") for group in GROUPS[:3])
    defenses = "+".join(map(str, cfg.defense or ())) or "?"
    return "-".join(map(str, (*groups, defenses, cfg.seed)))


def fill_report(report: JobReport, experiment: Experiment, result: Result, folder: Path) -> None:
    """Say in a job's report what it found and which records hold it."""
    store = experiment.store
    report.records = [os.path.relpath(store.path(r.identity), folder) for r in result.records]
    report.num_computed = experiment.num_computed
    undefended = next((r for r in result.records if r.arm == VICTIM.name), None)
    for name, record in ((VICTIM.name, undefended), ("chosen", result.chosen)):
        if record is not None:
            scores = record.scores
            report.scores[name] = Point(
                arm=record.arm,
                threshold=record.threshold,
                cacc=scores.cacc,
                asr=scores.asr,
                base_rate=scores.base_rate,
            )
