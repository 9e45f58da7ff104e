"""Which stages each job asks for, under the keys that its run would give them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from btu.arms import WITH_SUSPECTS, WITH_TUNING
from btu.config import resolve_device
from btu.defenses.btu import BackdoorTokenUnlearning
from btu.defenses.detection import num_flagged
from btu.defenses.settings import Round
from btu.errors import ConfigError
from btu.job import Job
from btu.lab import Workbench
from btu.models.pretrained import Pretrained
from btu.pipeline import Experiment
from btu.planning.shapes import ModelPlanner, Shape
from btu.planning.sources import DataPlanner, PlantedData
from btu.store.cache import StageCache, make_key
from btu.training.fit import Compute, resolve_precision
from btu.types import Split

POISONED_SET, VICTIM, CLEAN_MODEL = "poisoned set", "victim", "clean model"
TUNING, EVALUATION = "tuning", "evaluation"
TRAINING_PASSES = 3  # forward, and gradients of activations and of weights
ROUND_PASSES = 2  # of a full round: its weights are frozen


@dataclass(frozen=True)
class Work:
    """What a stage costs, as far as two stages can differ in it."""

    kind: str
    dataset: str
    identity: str  # of the checkpoint
    device: str
    precision: str
    shape: Shape | None
    rows: int  # times epochs; 0 where they are unknown
    tokens: float  # in them
    passes: int  # forward passes' worth of matrix products per token
    batch_size: int
    how: str  # of a detection round: what it trains


@dataclass(frozen=True)
class Stage:
    """One stage under its key."""

    kind: str
    key: str
    work: Work
    folder: str = ""  # of the cache, where it has an entry
    is_known: bool = True  # its key is the one that a run would give it


@dataclass(frozen=True)
class Point:
    """One arm at one threshold: its record, and the stages that it needs if there is none."""

    record: str  # its identity
    stages: tuple[Stage, ...]
    num_suspects: int  # at most; 0 where that is unknown


@dataclass(frozen=True)
class Asked:
    """What one job asks for."""

    job: Job
    poisoned_set: Stage | None
    points: tuple[Point, ...]
    poisoned_bytes: int  # of its poisoned set in the cache


class Planner:
    """Tells what jobs ask for. Jobs that agree on a part share its answer."""

    def __init__(self) -> None:
        self.data, self.models = DataPlanner(), ModelPlanner()
        self.notes: list[str] = []
        self._computes: dict[tuple[str, str], tuple[str, str]] = {}
        self._benches: dict[Any, PlannedBench] = {}

    def ask(self, job: Job) -> Asked:
        """The stages of a job.

        Raises:
            BtuError: the job could not begin.
        """
        planted = self.data.plant(job.dataset, job.attack, job.seed)
        bench = self._bench(job, planted)
        experiment = Experiment(job, planted.data, bench)
        self._note(*experiment.notes)
        self._check_tuning(job, bench)
        points = tuple(
            Point(
                experiment.identity(arm, threshold),
                bench.stages(experiment, arm, threshold),
                bench.num_suspects(job.defense, threshold),
            )
            for arm, threshold in experiment.points
        )
        bytes_of_set = self.data.load(job.dataset).poisoned_bytes
        return Asked(job, bench.poisoned_set(), points, bytes_of_set)

    def _check_tuning(self, job: Job, bench: PlannedBench) -> None:
        tuning = job.defense.tuning()
        if tuning is not None and set(job.arms) & set(WITH_TUNING):
            bench.tuning_rows(tuning)  # raises where there are too few

    def _note(self, *notes: str) -> None:
        self.notes += [note for note in notes if note not in self.notes]

    def _bench(self, job: Job, planted: PlantedData) -> PlannedBench:
        key = (id(planted), id(job.model), job.seed, job.device)
        if key not in self._benches:
            device, precision = self._compute(job)
            compute = Compute(device, precision, job.model.eval_batch_size)
            self._benches[key] = PlannedBench(job, planted, compute, self.data, self.models)
        return self._benches[key]

    def _compute(self, job: Job) -> tuple[str, str]:
        wanted = job.device, job.model.training.precision
        if wanted not in self._computes:
            try:
                device = resolve_device(wanted[0])
                self._computes[wanted] = device, resolve_precision(wanted[1], device)
            except (ConfigError, RuntimeError):
                precision = "bf16" if wanted[1] == "auto" else wanted[1]
                self._computes[wanted] = wanted[0], precision
                self._note(
                    f"device={wanted[0]} is not on this machine; it is taken to compute in "
                    f"{precision}, and its hours are unknown without --rate."
                )
        return self._computes[wanted]


class PlannedBench(Workbench):
    """A workbench that names stages and computes none."""

    def __init__(
        self,
        job: Job,
        planted: PlantedData,
        compute: Compute,
        sources: DataPlanner,
        models: ModelPlanner,
    ) -> None:
        cache = StageCache(Path("not used"))
        super().__init__(job.model, planted.data, compute, cache, job.seed, {})
        self.planted, self.sources, self.models = planted, sources, models
        clean = planted.data.clean
        self.is_read = not sources.load(job.dataset).missing
        self.identity = models.identity(job.model, clean.train, self.fingerprint(clean.train))
        self.shape = self._shape()
        self._victims: dict[int, str] = {}
        self._rounds: dict[Any, tuple[tuple[Stage, ...], list[object]]] = {}
        self._works: dict[Any, Work] = {}
        self._lengths: dict[int, float] = {}

    def _shape(self) -> Shape | None:
        clean = self.data.clean
        if not self.is_read and not isinstance(self.source, Pretrained):
            return None  # its vocabulary is made from the texts
        name = self.fingerprint(clean.train)
        return self.models.shape(self.source, clean.num_labels, clean.train, name)

    def fingerprint(self, split: Split | None) -> str:
        """The split's name, as the plan of the data knows it."""
        return "none" if split is None else self.sources.fingerprints[id(split)]

    def victim_key(self, train: Split) -> str:
        """As of any workbench, computed once."""
        if id(train) not in self._victims:
            self._victims[id(train)] = super().victim_key(train)
        return self._victims[id(train)]

    def poisoned_set(self) -> Stage | None:
        """The stage that plants the attack; None where nothing is planted."""
        key = self.planted.poison_key
        if key is None:
            return None
        return Stage(POISONED_SET, key, self._work(POISONED_SET, 0, 0.0, 0, 0), "poison")

    def stages(
        self, experiment: Experiment, arm: str, threshold: float | None
    ) -> tuple[Stage, ...]:
        """What one arm at one threshold needs, in the order of a run; its evaluation is last."""
        rounds: tuple[Stage, ...] = ()
        unlearned: list[object] | None = None
        if arm in WITH_SUSPECTS and threshold is not None:
            rounds, unlearned = self._detection(experiment.job.defense, threshold)
        train = experiment.training_set(arm)
        changes = experiment.changes(arm, unlearned)
        parts = self.evaluation_parts(train, changes)
        key, is_known = make_key({"stage": EVALUATION, **parts}), not unlearned
        stages = [*rounds, self._training(arm, train)]
        if "tuned" in changes:
            epochs, _, batch_size, used, _ = changes["tuned"]
            tokens = used * self._tokens(self.data.clean.tuning)
            work = self._work(TUNING, epochs * used, epochs * tokens, TRAINING_PASSES, batch_size)
            stages.append(Stage(TUNING, key, work, "", is_known))
        stages.append(Stage(EVALUATION, key, self._prediction(), "evaluation", is_known))
        return tuple(stages)

    def num_suspects(self, defense: Any, threshold: float | None) -> int:
        """How many tokens a threshold makes suspects, at most; 0 where that is unknown."""
        if threshold is None:
            return 0
        count = self._num_flagged(defense, threshold)
        return count * len(defense.use_rounds) if isinstance(count, int) else 0

    def _detection(self, defense: Any, threshold: float) -> tuple[tuple[Stage, ...], list[object]]:
        """The rounds at a threshold, and what stands for the ids that they flag."""
        if not isinstance(defense, BackdoorTokenUnlearning):
            return (), [f"suspects of {defense!r} at {threshold:g}"]
        count = self._num_flagged(defense, threshold)
        asked = (repr(defense.rounds), *defense.use_rounds, defense.learning_rate, count)
        if asked not in self._rounds:
            self._rounds[asked] = self._detection_rounds(defense, count)
        return self._rounds[asked]

    def _num_flagged(self, defense: Any, threshold: float) -> float:
        """Tokens per round; the threshold itself where the vocabulary is unknown."""
        if not isinstance(defense, BackdoorTokenUnlearning):
            return threshold
        if self.shape is None and defense.reference_vocab_size is None:
            return threshold
        vocabulary = self.shape.vocabulary if self.shape else 0
        return num_flagged(threshold, vocabulary, defense.reference_vocab_size)

    def _detection_rounds(
        self, defense: BackdoorTokenUnlearning, count: float
    ) -> tuple[tuple[Stage, ...], list[object]]:
        flagged: list[object] = []
        stages = []
        for number in defense.use_rounds:
            settings = defense.rounds[number - 1]
            hidden = list(flagged) if settings.hide_suspects else []
            parts = self.round_parts(number, settings, defense.learning_rate, hidden)
            key = make_key({"stage": "detection", **parts})
            work = self._round_work(number, settings)
            stages.append(Stage(f"round {number}", key, work, "detection", not hidden))
            if count:
                flagged.append(f"the first {count:g} of {key}")
        return tuple(stages), flagged

    def _training(self, arm: str, train: Split) -> Stage:
        settings, data = self.source.training, self.data
        as_clean = self.fingerprint(train) == self.fingerprint(data.clean.train)
        kind = CLEAN_MODEL if as_clean and data.target_label is not None else VICTIM
        rows = settings.epochs * len(train)
        tokens = rows * self._tokens(data.clean.train)
        work = self._work(VICTIM, rows, tokens, TRAINING_PASSES, settings.batch_size)
        return Stage(kind, self.victim_key(train), work, "victim")

    def _round_work(self, number: int, settings: Round) -> Work:
        train = self.data.clean.train
        each = self._tokens(train)
        if settings.kind == "pooled" and settings.pooling == "all_positions":
            each = min(settings.max_length, self.source.max_length) if each else 0.0
        passes = ROUND_PASSES if settings.kind == "full" else 0
        how = f"{settings.kind} {settings.pooling} {settings.trainable}"
        return self._work(
            f"round {number}", len(train), len(train) * each, passes, settings.batch_size, how
        )

    def _prediction(self) -> Work:
        test = self.data.clean.test
        rows = len(test) + self.planted.num_triggered
        tokens = rows * self._tokens(test)
        return self._work(EVALUATION, rows, tokens, 1, self.source.eval_batch_size)

    def _work(
        self, kind: str, rows: int, tokens: float, passes: int, batch_size: int, how: str = ""
    ) -> Work:
        asked = (kind, rows, tokens, passes, batch_size, how)
        if asked not in self._works:
            self._works[asked] = Work(
                kind,
                self.data.clean.name,
                self.identity,
                self.compute.device.split(":")[0],
                self.compute.precision,
                self.shape,
                rows if self.is_read else 0,
                tokens,
                passes,
                batch_size,
                how,
            )
        return self._works[asked]

    def _tokens(self, split: Split | None) -> float:
        """Tokens of a row, on average; 0 where they cannot be counted."""
        if split is None or not self.is_read or self.shape is None:
            return 0.0
        if id(split) not in self._lengths:
            clean = self.data.clean
            name = self.fingerprint(clean.train)
            found = self.models.tokens(self.source, clean.num_labels, clean.train, name, split)
            self._lengths[id(split)] = found
        return self._lengths[id(split)]
