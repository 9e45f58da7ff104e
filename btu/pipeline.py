"""The experiment, in order: poison, train, detect, unlearn, tune, evaluate, record."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from btu.arms import WITH_DEFENSE, WITH_SUSPECTS, WITH_TUNING, choose, possible_arms
from btu.attacks.base import Attack
from btu.cache import StageCache, make_key
from btu.config import resolve_device
from btu.data.base import DatasetSource
from btu.data.poisoning import poison
from btu.defenses.base import Defense
from btu.errors import ConfigError
from btu.evidence import TokenIndex, describe_suspects
from btu.files import check_writable
from btu.metrics import score, score_detection
from btu.models.base import Classifier, ModelSource
from btu.records import FORMAT, Record, RecordStore, Suspect, provenance
from btu.training import Compute, resolve_precision
from btu.types import EditReport, PoisonedDataset, Predictions, Suspects
from btu.workbench import VERSION, Workbench, fingerprint

FIXED_NEED = 50_000_000  # bytes for records, logs, plots and W&B files
BYTES_PER_WEIGHT = 4

log = logging.getLogger(__name__)


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
    force: bool
    save_model: bool
    config: Mapping[str, Any]


@dataclass(frozen=True)
class Result:
    """What one run found, in the order of the arms and thresholds."""

    data: PoisonedDataset
    records: tuple[Record, ...]
    predictions: Mapping[str, Predictions]  # by record key
    chosen: Record | None  # the best repaired arm, see `choose`
    notes: tuple[str, ...]
    distances: Mapping[str, Any] = field(default_factory=dict)  # of rounds computed in this run


def prepare(job: Job) -> PoisonedDataset:
    """Load the data set and plant the attack; everything that is wrong with either raises here."""
    data = poison(job.dataset.load(), job.attack, job.seed)
    arms, _ = possible_arms(job.arms, data)
    if job.save_model and not set(arms) & set(WITH_SUSPECTS):
        raise ConfigError(
            f"save_model=true keeps a repaired model, but the arms are {', '.join(arms)}. Choose "
            "defense=btu, and unlearned or defended among the arms."
        )
    return data


def run(job: Job, data: PoisonedDataset) -> Result:
    """Run one experiment; what is already recorded is read, not computed."""
    arms, notes = possible_arms(job.arms, data)
    num_poisoned, num_train = int(data.train.poisoned.sum()), len(data.train)
    planted = f", {num_poisoned:,} of them poisoned" if data.target_label is not None else ""
    log.info(f"{job.dataset.name}: {num_train:,} training rows{planted}")
    experiment = Experiment(job, data)
    for arm in arms:
        for threshold in job.thresholds if arm in WITH_SUSPECTS else (None,):
            experiment.evaluate(arm, threshold)
    chosen = choose(experiment.records)
    return Result(
        data=data,
        records=tuple(experiment.records),
        predictions=experiment.predictions,
        chosen=chosen,
        notes=(*data.clean.notes, *notes),
        distances=experiment.distances(),
    )


class Experiment:
    """Evaluates arms one by one and keeps their records."""

    def __init__(self, job: Job, data: PoisonedDataset) -> None:
        self.job = job
        self.bench = _bench(job, data)
        self.store = RecordStore(job.outputs / "records")
        self.records: list[Record] = []
        self.predictions: dict[str, Predictions] = {}
        self._suspects: dict[float, Suspects] = {}
        self._rounds: dict[float, dict[str, str]] = {}  # threshold -> its stages
        self._index: TokenIndex | None = None
        self._trigger_ids: frozenset[int] | None = None

    def evaluate(self, arm: str, threshold: float | None) -> None:
        """Add the record of one arm at one threshold, from the store or computed."""
        key = self.key(arm, threshold)
        stored = None if self.job.force else self.store.load(key)
        note = "recorded before" if stored else ""
        if stored is None:
            stored = self._compute(key, arm, threshold)
            self.store.save(*stored)
        record, predictions = stored
        self.records.append(record)
        self.predictions[key] = predictions
        log.info(describe(record, note))

    def key(self, arm: str, threshold: float | None) -> str:
        """The record's key: everything that its numbers depend on."""
        job, bench = self.job, self.bench
        data = bench.data
        return make_key(
            {
                "format": [FORMAT, VERSION],
                "arm": arm,
                "threshold": threshold,
                "seed": job.seed,
                "device": bench.compute.device.split(":")[0],
                "precision": bench.compute.precision,
                "splits": [
                    fingerprint(part)
                    for part in (data.clean.train, data.train, data.clean.test, data.triggered)
                ],
                "dataset": job.dataset.name,
                "attack": asdict(job.attack),
                "model": [bench.identity, asdict(job.model)],
                "defense": asdict(job.defense) if arm in WITH_DEFENSE else None,
                "tuning": fingerprint(data.clean.tuning) if arm in WITH_TUNING else None,
            }
        )

    def build(
        self, arm: str, threshold: float | None
    ) -> tuple[Classifier, Suspects | None, EditReport | None]:
        """The model of an arm: trained, then unlearned and tuned as the arm says."""
        suspects = edits = None
        if arm in WITH_SUSPECTS and threshold is not None:
            suspects = self._detect(threshold)
        data = self.bench.data
        classifier = self.bench.victim(data.clean.train if arm == "clean" else data.train)
        if suspects is not None:
            edits = self.job.defense.repair(classifier, self.bench, suspects)
        tuning = self.job.defense.tuning()
        if arm in WITH_TUNING and tuning is not None:
            self.bench.tune(classifier, tuning)
        return classifier, suspects, edits

    def distances(self) -> dict[str, Any]:
        """The drift tables of this run: `round1`, and `round2@0.0005` where a threshold enters."""
        found: dict[str, Any] = {}
        for threshold, suspects in self._suspects.items():
            for drift in suspects.distances:
                same = [s.distances[drift.round - 1].values for s in self._suspects.values()]
                shared = all((values == drift.values).all() for values in same)
                suffix = "" if shared else f"@{threshold:g}"
                found[f"round{drift.round}{suffix}"] = drift.values
        return found

    def trigger_ids(self) -> frozenset[int] | None:
        """The trigger's token ids; None where none is known, empty where it is no token."""
        if self.bench.data.target_label is None:
            return None
        if self._trigger_ids is None:
            self._trigger_ids = self.bench.trigger_ids(self.job.attack.trigger_phrases())
        return self._trigger_ids

    def _detect(self, threshold: float) -> Suspects | None:
        if threshold not in self._suspects:
            with self.bench.stages_in_use() as rounds:
                suspects = self.job.defense.detect(self.bench, threshold)
            if suspects is None:
                return None
            self._rounds[threshold] = rounds
            if not len(suspects.token_ids):
                log.warning(
                    "threshold %g of %d tokens flags none: nothing will be unlearned",
                    threshold,
                    self.bench.vocabulary_size,
                )
            self._suspects[threshold] = suspects
        return self._suspects[threshold]

    def _compute(self, key: str, arm: str, threshold: float | None) -> tuple[Record, Predictions]:
        start = time.perf_counter()
        self._check_before_training()
        with self.bench.stages_in_use() as stages:
            classifier, suspects, edits = self.build(arm, threshold)
        if suspects is not None:
            stages |= self._rounds[suspects.threshold]
        predictions = self.bench.predict(classifier)
        detection = score_detection(suspects, self.trigger_ids() or ()) if suspects else None
        record = Record(
            key=key,
            identity=key,
            arm=arm,
            threshold=threshold,
            seed=self.job.seed,
            choices=self._choices(arm),
            scores=score(predictions, self.bench.data),
            suspects=self._describe(suspects, edits) if suspects and edits else None,
            detection=asdict(detection) if detection else None,
            drift=None,
            leaky=self.bench.data.clean.leaky,
            config=self.job.config,
            stages=stages,
            seconds=time.perf_counter() - start,
            provenance=provenance(self.bench.compute.device, self.bench.compute.precision),
        )
        return record, predictions

    def _check_before_training(self) -> None:
        """Raise if the tokenizer does not know the trigger, or the weights would fill the disk."""
        self.trigger_ids()
        num_weights = sum(p.numel() for p in self.bench.pristine.model.parameters())
        kept = 2 if "clean" in self.job.arms else 1
        check_writable(self.job.outputs, FIXED_NEED + kept * num_weights * BYTES_PER_WEIGHT)

    def _choices(self, arm: str) -> dict[str, str]:
        job = self.job
        return {
            "dataset": job.dataset.name,
            "attack": job.attack.name,
            "model": job.model.name,
            "defense": job.defense.name if arm in WITH_DEFENSE else "none",
        }

    def _describe(self, suspects: Suspects, edits: EditReport) -> tuple[Suspect, ...]:
        data = self.bench.data
        if self._index is None:
            self._index = TokenIndex(self.bench.encoded(data.train))
        tokenizer = self.bench.pristine.tokenizer
        tokens = tokenizer.convert_ids_to_tokens(suspects.token_ids.tolist())
        names = data.clean.label_names
        return describe_suspects(
            suspects, edits, self._index, data.train, names, tokens, self.trigger_ids()
        )


def save_repaired(job: Job, result: Result, folder: Path) -> str:
    """Write the chosen repaired model as a `save_pretrained` folder with its tokenizer.

    Returns:
        One line that names it.
    """
    if result.chosen is None:
        raise ValueError("no repaired model to save; prepare() refuses such a job")
    experiment = Experiment(replace(job, force=False), result.data)
    classifier, _, _ = experiment.build(result.chosen.arm, result.chosen.threshold)
    names = dict(enumerate(result.data.clean.label_names))
    classifier.model.config.id2label = names
    classifier.model.config.label2id = {name: number for number, name in names.items()}
    classifier.model.cpu().save_pretrained(folder)
    classifier.tokenizer.save_pretrained(folder)
    return f"saved {result.chosen.arm} @ {result.chosen.threshold:g} as {folder}"


def describe(record: Record, instead_of_seconds: str = "") -> str:
    """One line about a record."""
    scores = record.scores
    at = "" if record.threshold is None else f" @ {record.threshold:g}"
    asr = "" if scores.asr is None else f"  ASR {scores.asr:6.1%} of {scores.num_triggered}"
    return (
        f"{record.arm + at:<20} CACC {scores.cacc:6.1%} of {scores.num_clean}{asr}  "
        f"{instead_of_seconds or f'{record.seconds:.1f} s'}"
    )


def _bench(job: Job, data: PoisonedDataset) -> Workbench:
    device = resolve_device(job.device)
    compute = Compute(
        device=device,
        precision=resolve_precision(job.model.training.precision, device),
        eval_batch_size=job.model.eval_batch_size,
    )
    cache = StageCache(job.outputs / "cache", recompute=job.force)
    return Workbench(job.model, data, compute, cache, job.seed)
