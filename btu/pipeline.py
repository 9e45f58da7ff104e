"""The experiment, in order: poison, train, detect, unlearn, tune, evaluate, record."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from btu import processes
from btu.arms import WITH_DEFENSE, WITH_SUSPECTS, WITH_TUNING, choose, possible_arms
from btu.config import resolve_device
from btu.data.poisoning import remarks
from btu.data.stored import poison
from btu.defenses.evidence import TokenIndex, describe_drift, describe_suspects
from btu.errors import ConfigError
from btu.files import check_writable
from btu.job import FIXED_NEED, Job
from btu.lab import VERSION, Workbench
from btu.metrics import score, score_detection
from btu.models.base import Classifier
from btu.store.cache import StageCache, identify
from btu.store.evaluation import Evaluation
from btu.store.records import FORMAT, KEY_LENGTH, Record, RecordStore, Suspect, provenance
from btu.training.fit import Compute, resolve_precision
from btu.types import EditReport, PoisonedDataset, Predictions, Split, Suspects

BYTES_PER_WEIGHT = 4

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Result:
    """What one run found, in the order of the arms and thresholds."""

    data: PoisonedDataset
    records: tuple[Record, ...]
    predictions: Mapping[str, Predictions]  # by record key
    chosen: Record | None  # the best repaired arm, see `choose`
    notes: tuple[str, ...]
    distances: Mapping[str, Any] = field(default_factory=dict)  # of rounds computed in this run
    stealth: Mapping[str, Any] | None = None  # of the triggered test rows, where it was asked for


def prepare(job: Job) -> PoisonedDataset:
    """Load the data set and plant the attack; everything that is wrong with either raises here."""
    data = poison(job.dataset.load(), job.attack, job.seed, _cache(job))
    arms, _ = possible_arms(job.arms, data)
    if job.save_model and not set(arms) & set(WITH_SUSPECTS):
        raise ConfigError(
            f"save_model=true keeps a repaired model, but the arms are {', '.join(arms) or 'none'}."
            " Choose defense=btu, and unlearned or defended among the arms."
        )
    tuning, rows = job.defense.tuning(), data.clean.tuning
    if tuning is not None and rows is not None and set(arms) & set(WITH_TUNING):
        tuning.num_rows(len(data.train), len(rows))  # raises where there are too few
    return data


def run(experiment: Experiment) -> Result:
    """Run one experiment; what is already recorded is read, not computed."""
    job, data = experiment.job, experiment.bench.data
    num_poisoned, num_train = int(data.train.poisoned.sum()), len(data.train)
    planted = f", {num_poisoned:,} of them poisoned" if data.target_label is not None else ""
    log.info(f"{job.dataset.name}: {num_train:,} training rows{planted}")
    for arm, threshold in experiment.points:
        experiment.evaluate(arm, threshold)
    chosen = choose(experiment.records)
    return Result(
        data=data,
        records=tuple(experiment.records),
        predictions=experiment.predictions,
        chosen=chosen,
        notes=(*data.clean.notes, *remarks(data), *experiment.notes),
        distances=experiment.distances(),
    )


class Experiment:
    """Evaluates arms one by one and keeps their records."""

    def __init__(self, job: Job, data: PoisonedDataset, bench: Workbench | None = None) -> None:
        self.job = job
        self.bench = bench or _bench(job, data)
        self.store = RecordStore(job.outputs / "records")
        arms, self.notes = possible_arms(job.arms, data)
        self.points: list[tuple[str, float | None]] = [
            (arm, threshold)
            for arm in arms
            for threshold in (job.thresholds if arm in WITH_SUSPECTS else (None,))
        ]
        self.num_computed = 0  # records that were not there before
        self.records: list[Record] = []
        self.predictions: dict[str, Predictions] = {}
        self._suspects: dict[float, Suspects] = {}
        self._rounds: dict[float, dict[str, str]] = {}  # threshold -> its stages
        self._index: TokenIndex | None = None
        self._trigger_ids: frozenset[int] | None = None

    def is_recorded(self) -> bool:
        """Whether nothing is left to compute."""
        identities = (self.identity(*point) for point in self.points)
        return not self.job.force and all(self.store.load(i) is not None for i in identities)

    def evaluate(self, arm: str, threshold: float | None) -> None:
        """Add the record of one arm at one threshold, from the store or computed."""
        identity = self.identity(arm, threshold)
        before = self.num_computed

        def compute() -> tuple[Record, Predictions]:
            self.num_computed += 1
            return self._compute(identity, arm, threshold)

        record, predictions = self.store.get(identity, compute, anew=self.job.force)
        self.records.append(record)
        self.predictions[record.key] = predictions
        log.info(describe(record, "" if self.num_computed > before else "recorded before"))

    def identity(self, arm: str, threshold: float | None) -> str:
        """Names everything that the record's numbers depend on; its beginning is the key."""
        job, bench = self.job, self.bench
        data = bench.data
        return identify(
            {
                "format": [FORMAT, VERSION],
                "arm": arm,
                "threshold": threshold,
                "seed": job.seed,
                "device": bench.compute.device.split(":")[0],
                "precision": bench.compute.precision,
                **bench.compute.several(),
                "splits": [
                    bench.fingerprint(part)
                    for part in (data.clean.train, data.train, data.clean.test, data.triggered)
                ],
                "dataset": job.dataset.name,
                "attack": self._settings["attack"],
                "model": [bench.identity, self._settings["model"]],
                "defense": self._settings["defense"] if arm in WITH_DEFENSE else None,
                "tuning": bench.fingerprint(data.clean.tuning) if arm in WITH_TUNING else None,
            }
        )

    @cached_property
    def _settings(self) -> Mapping[str, Any]:
        parts = {name: asdict(getattr(self.job, name)) for name in ("model", "defense")}
        return {"attack": self.job.attack.settings(), **parts}

    def build(self, arm: str, suspects: Suspects | None) -> tuple[Classifier, EditReport | None]:
        """The model of an arm: trained, then unlearned and tuned as the arm says."""
        edits = None
        classifier = self.bench.victim(self.training_set(arm))
        if suspects is not None:
            edits = self.job.defense.repair(classifier, self.bench, suspects)
        tuning = self.job.defense.tuning()
        if arm in WITH_TUNING and tuning is not None:
            self.bench.tune(classifier, tuning)
        return classifier, edits

    def detect(self, arm: str, threshold: float | None) -> Suspects | None:
        """The suspects of an arm at a threshold; None for arms that detect nothing."""
        if arm not in WITH_SUSPECTS or threshold is None:
            return None
        return self._detect(threshold)

    def _evaluation(self, arm: str, suspects: Suspects | None) -> Evaluation:
        """Predictions of an arm; models that were edited and tuned alike share them."""
        unlearned = None if suspects is None else suspects.token_ids.tolist()
        return self.bench.evaluate(
            arm,
            self.training_set(arm),
            self.changes(arm, unlearned),
            lambda: self.build(arm, suspects),
        )

    def changes(self, arm: str, unlearned: Sequence[object] | None) -> dict[str, Any]:
        """What an arm does to its trained model: the ids it unlearns and how, and its tuning."""
        defense, changes = self.job.defense, dict[str, Any]()
        if unlearned is not None:
            changes["unlearned"] = unlearned
            changes["repair"] = defense.repair_settings()
        tuning = defense.tuning() if arm in WITH_TUNING else None
        if tuning is not None and (used := self.bench.tuning_rows(tuning)):
            rows = self.bench.fingerprint(self.bench.data.clean.tuning)
            changes["tuned"] = [tuning.epochs, tuning.learning_rate, tuning.batch_size, used, rows]
        return changes

    def training_set(self, arm: str) -> Split:
        """What the model of an arm is trained on first."""
        data = self.bench.data
        return data.clean.train if arm == "clean" else data.train

    def distances(self) -> dict[str, Any]:
        """The drift tables of this run: `round1`, and `round2@0.0005` where a threshold enters."""
        found: dict[str, Any] = {}
        for threshold, suspects in self._suspects.items():
            for place, drift in enumerate(suspects.distances):
                same = [s.distances[place].values for s in self._suspects.values()]
                shared = all((values == drift.values).all() for values in same)
                suffix = "" if shared else f"@{threshold:g}"
                found[f"round{drift.round}{suffix}"] = drift.values
        return found

    def trigger_ids(self) -> frozenset[int] | None:
        """The trigger's token ids; None where none is known, empty where it is no token."""
        if self.bench.data.target_label is None:
            return None
        if self._trigger_ids is None:
            self._trigger_ids = self.bench.trigger_ids(self.job.attack.samples())
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

    def _compute(
        self, identity: str, arm: str, threshold: float | None
    ) -> tuple[Record, Predictions]:
        start = time.perf_counter()
        compute = self.bench.compute
        self._check_before_training()
        suspects = self.detect(arm, threshold)
        with self.bench.stages_in_use() as stages:
            evaluation = self._evaluation(arm, suspects)
        if suspects is not None:
            stages |= self._rounds[suspects.threshold]
        known = self.trigger_ids() or frozenset()
        detection = score_detection(suspects, known) if suspects else None
        edits = evaluation.edits
        record = Record(
            key=identity[:KEY_LENGTH],
            identity=identity,
            arm=arm,
            threshold=threshold,
            seed=self.job.seed,
            choices=self._choices(arm),
            scores=score(evaluation.predictions, self.bench.data),
            suspects=self._describe(suspects, edits) if suspects and edits else None,
            detection=asdict(detection) if detection else None,
            drift=describe_drift(suspects, known, self._tokens) if suspects else None,
            format_shifts=self.bench.data.format_shifts,
            leaky=self.bench.data.clean.leaky,
            config=self.job.config,
            stages=stages,
            seconds=time.perf_counter() - start,
            provenance=provenance(compute.device, compute.precision) | compute.several(),
        )
        return record, evaluation.predictions

    def _check_before_training(self) -> None:
        """Raise if the tokenizer does not know the trigger, or the weights would fill the disk."""
        self.trigger_ids()
        num_weights = sum(p.numel() for p in self.bench.pristine.model.parameters())
        kept = 2 if "clean" in self.job.arms else 1
        weights = kept * num_weights * BYTES_PER_WEIGHT
        check_writable(self.job.outputs, FIXED_NEED)
        check_writable(Path(self.job.cache.folder), FIXED_NEED + weights, "cache.folder")

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
        tokens = self._tokens(suspects.token_ids.tolist())
        names = data.clean.label_names
        return describe_suspects(
            suspects, edits, self._index, data.train, names, tokens, self.trigger_ids()
        )

    def _tokens(self, ids: list[int]) -> list[str]:
        tokens: list[str] = self.bench.pristine.tokenizer.convert_ids_to_tokens(ids)
        return tokens


def save_repaired(job: Job, result: Result, folder: Path) -> str:
    """Write the chosen repaired model as a `save_pretrained` folder with its tokenizer.

    Returns:
        One line that names it.
    """
    if result.chosen is None:
        raise ValueError("no repaired model to save; prepare() refuses such a job")
    experiment = Experiment(replace(job, force=False), result.data)
    arm = result.chosen.arm
    classifier, _ = experiment.build(arm, experiment.detect(arm, result.chosen.threshold))
    names = dict(enumerate(result.data.clean.label_names))
    classifier.model.config.id2label = names
    classifier.model.config.label2id = {name: number for number, name in names.items()}
    if not processes.follows():
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
        group=processes.joined(),
    )
    about = {
        "dataset": job.dataset.name,
        "attack": job.attack.name,
        "model": job.model.name,
        "seed": job.seed,
    }
    every = job.cache.save_every_s
    return Workbench(job.model, data, compute, _cache(job), job.seed, about, every)


def _cache(job: Job) -> StageCache:
    limit = job.cache.limit_gb
    return StageCache(Path(job.cache.folder), job.force, None if limit is None else limit * 1e9)
