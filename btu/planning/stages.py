"""Which stages each job asks for: its own pipeline, walked in a lab that computes nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from btu.defenses.base import Decision
from btu.errors import ConfigError
from btu.experiment import Experiment
from btu.job import Job
from btu.lab import Lab
from btu.models.base import Classifier
from btu.models.pretrained import Pretrained
from btu.pipeline import find_judging, make_model
from btu.planning.shapes import ModelPlanner, Shape
from btu.planning.sources import DataPlanner, PlantedData
from btu.store.cache import StageCache
from btu.store.stages import Cost, Stage
from btu.training.devices import Compute, resolve_device, resolve_precision
from btu.types import BY_NAME, Arm, Edit, Split, Suspects

POISONED_SET, CLEAN_MODEL = "poisoned set", "clean model"
T = TypeVar("T")


@dataclass(frozen=True)
class Work:
    """What a stage costs, as far as two stages can differ in it."""

    name: str  # of the stage
    dataset: str
    identity: str  # of the checkpoint
    device: str
    precision: str
    shape: Shape | None
    rows: int  # times epochs; 0 where they are unknown
    tokens: float  # in them
    passes: int  # forward passes' worth of matrix products per token
    batch_size: int
    how: str  # settings that the time of a row depends on


@dataclass(frozen=True)
class PlannedStage:
    """One stage under its key."""

    kind: str
    name: str  # its folder in the cache
    key: str
    work: Work
    in_cache: bool = True  # has an entry there once it is computed
    is_known: bool = True  # its key is the one that a run would give it
    decides: bool = False  # a defense needs it to decide


@dataclass(frozen=True)
class Point:
    """One arm at one threshold: its record, and the stages that it needs if there is none."""

    record: str  # its identity
    stages: tuple[PlannedStage, ...]  # its evaluation is the last
    num_suspects: int  # at most; 0 where that is unknown


@dataclass(frozen=True)
class Asked:
    """What one job asks for."""

    job: Job
    poisoned_set: PlannedStage | None
    points: tuple[Point, ...]
    poisoned_bytes: int  # of its poisoned set in the cache


@dataclass
class Decided:
    """What a plan knows of a decision: made up of stand-ins where stages are not finished."""

    decision: Decision
    stages: tuple[PlannedStage, ...]
    is_known: bool
    suspects: int = 0


class Undecided(Exception):
    """A defense needs what a plan cannot make up."""


class Planner:
    """Tells what jobs ask for. Jobs that agree on a part share its answer."""

    def __init__(self) -> None:
        self.data, self.models = DataPlanner(), ModelPlanner()
        self.notes: list[str] = []
        self._computes: dict[tuple[str, str], tuple[str, str]] = {}
        self._labs: dict[Any, PlanLab] = {}

    def ask(self, job: Job) -> Asked:
        """The stages of a job.

        Raises:
            BtuError: the job could not begin.
        """
        planted = self.data.plant(job.dataset, job.attack, job.seed)
        lab = self._lab(job, planted)
        experiment = Experiment(job, lab)
        self._note(*experiment.notes)
        points = tuple(lab.point(experiment, *point) for point in experiment.points)
        self._note(
            *(
                f"What {name} decides cannot be told before it runs: its stages are more than here."
                for name in sorted(lab.undecided)
            )
        )
        bytes_of_set = self.data.load(job.dataset).poisoned_bytes
        return Asked(job, lab.poisoned_set(), points, bytes_of_set)

    def _note(self, *notes: str) -> None:
        self.notes += [note for note in notes if note not in self.notes]

    def _lab(self, job: Job, planted: PlantedData) -> PlanLab:
        tuning = tuple(asdict(job.tuning).values())
        key = (id(planted), id(job.model), job.seed, job.device, tuning)
        if key not in self._labs:
            device, precision = self._compute(job)
            compute = Compute(device, precision, job.model.eval_batch_size)
            self._labs[key] = PlanLab(job, planted, compute, self.data, self.models)
        return self._labs[key]

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


class PlanLab(Lab):
    """A lab that names stages and computes none."""

    def __init__(
        self,
        job: Job,
        planted: PlantedData,
        compute: Compute,
        sources: DataPlanner,
        models: ModelPlanner,
    ) -> None:
        cache = StageCache(Path("not used"))
        super().__init__(job.model, planted.data, compute, cache, job.seed, {}, tuning=job.tuning)
        self.planted, self.models = planted, models
        self.is_read = not sources.load(job.dataset).missing
        self.rows = planted.data.train  # as it is: it has the name of the real one
        self.asked: dict[str, Stage[Any]] = {}  # what a defense asked for, in order
        self.first_unknown: int | None = None  # how many were asked for before one was made up
        self.undecided: set[str] = set()  # defenses of which it cannot be told what they decide
        self._shape: tuple[Shape | None] | None = None
        self._decided: dict[Any, Decided] = {}
        self._planned: dict[tuple[str, bool, bool], PlannedStage] = {}
        self._tokens: dict[int, float] = {}

    @property
    def identity(self) -> str:
        """What names the checkpoint."""
        return self.models.identity(self.source, self.data.clean.train)

    @property
    def shape(self) -> Shape | None:
        """The model's sizes; None where they cannot be had."""
        if self._shape is None:
            clean = self.data.clean
            can_be_had = self.is_read or isinstance(self.source, Pretrained)
            found = self.models.shape(self.source, clean.num_labels, clean.train)
            self._shape = (found if can_be_had else None,)
        return self._shape[0]

    @property
    def vocabulary_size(self) -> int:
        """V, or a size that tells thresholds apart where the model cannot be had."""
        return self.shape.vocabulary if self.shape else 100_000

    @property
    def ignores_case(self) -> bool:
        """As most do; a plan reads no word."""
        return True

    @property
    def protected_ids(self) -> frozenset[int]:
        """None: what a plan flags is made up."""
        return frozenset()

    def get(self, stage: Stage[T], or_else: Callable[[], T] | None = None) -> T:
        """The stand-in of a stage, and a note that it was asked for."""
        if self.first_unknown is None:
            self.first_unknown = len(self.asked) + 1
        self.asked.setdefault(stage.key, stage)
        if or_else is None:
            raise Undecided(stage.name)
        return or_else()

    def poisoned_set(self) -> PlannedStage | None:
        """The stage that plants the attack; None where nothing is planted."""
        key = self.planted.poison_key
        if key is None:
            return None
        return PlannedStage(POISONED_SET, "poison", key, self._work("poison", None))

    def point(self, experiment: Experiment, arm: Arm, threshold: float | None) -> Point:
        """What one arm at one threshold needs, in the order of a run; its evaluation is last."""
        decided = Decided(Decision(), (), is_known=True)
        if arm.defended:
            decided = self._decide(experiment, threshold)
        victim = make_model(experiment.job, self, BY_NAME["poisoned"], Decision())
        known = {stage.key for stage in victim.lineage()}
        model = make_model(experiment.job, self, arm, decided.decision)
        self.asked, self.first_unknown = {}, None
        judging = find_judging(experiment.job, self, arm)
        evaluation = self._evaluation(model, decided.decision, arm, judging)
        stages = list(decided.stages)
        asked = (stage for each in self.asked.values() for stage in each.lineage())
        compared = self.outputs(victim, judging.texts).lineage() if judging else ()
        for stage in (*asked, *compared, *evaluation.lineage()):
            is_known = decided.is_known or stage.key in known
            if stage.cost is not None and not any(s.key == stage.key for s in stages):
                stages.append(self._plan(stage, is_known))
        return Point(experiment.identity(arm, threshold), tuple(stages), decided.suspects)

    def _evaluation(
        self, model: Stage[Classifier], decision: Decision, arm: Arm, judging: Split | None
    ) -> Stage[Any]:
        """The evaluation of an arm, and its screens' stages among those that were asked for."""
        clean, triggered, trusted = self.data.clean.test, self.data.triggered, judging
        try:
            clean, _ = self._screened(model, decision.screens, clean)
            if triggered is not None:
                triggered, _ = self._screened(model, decision.screens, triggered)
            if trusted is not None:
                trusted, _ = self._screened(model, decision.screens, trusted)
        except Undecided:
            pass
        return self.evaluate(model, clean, triggered, f"scores of {arm.name}", trusted)

    def _decide(self, experiment: Experiment, threshold: float | None) -> Decided:
        job = experiment.job
        asked_for = (job.defenses, job.swept and job.swept.name, threshold)
        name = repr(asked_for)
        if name not in self._decided:
            self.asked, self.first_unknown = {}, None
            try:
                decision = experiment.decide(threshold)
            except Undecided:
                decision = Decision()
                self.undecided.add(job.defense_name)
            found = list(self.asked.values())
            if found and decision.changes_nothing:  # so far: it is told apart by what was typed
                typed = Edit("undecided", {"typed": name}, lambda *_: None)
                decision = replace(decision, edits=(typed,))
            passes = {s.key for d in job.defenses[:1] for p in d.passes(self) for s in p.lineage()}
            unknown = self.first_unknown if self.first_unknown is not None else len(found)
            planned = [
                self._plan(stage, place < unknown or stage.key in passes, decides=True)
                for place, each in enumerate(found)
                for stage in each.lineage()
                if stage.cost is not None
            ]
            self._decided[name] = Decided(
                decision,
                tuple(planned),
                not found,
                _count_suspects(decision.suspects),
            )
        return self._decided[name]

    def _plan(self, stage: Stage[Any], is_known: bool, decides: bool = False) -> PlannedStage:
        name = (stage.key, is_known, decides)
        if name not in self._planned:
            cost = stage.cost
            self._planned[name] = PlannedStage(
                cost.kind if cost else stage.name,
                stage.name,
                stage.key,
                self._work(stage.name, cost),
                stage.format is not None,
                is_known,
                decides,
            )
        return self._planned[name]

    def _work(self, name: str, cost: Cost | None) -> Work:
        cost = cost or Cost("", 0, None)
        num_rows = cost.rows
        if name == "evaluation":  # the triggered rows stand in for those of the run
            num_rows = len(self.data.clean.test) + self.planted.num_triggered
        each = min(cost.pad_to, self.source.max_length) if cost.pad_to else 0.0
        each = each if each and self._count_tokens(cost.split) else self._count_tokens(cost.split)
        return Work(
            name,
            self.data.clean.name,
            self.identity,
            self.compute.device.split(":")[0],
            self.compute.precision,
            self.shape,
            num_rows if self.is_read else 0,
            num_rows * each,
            cost.passes,
            cost.batch_size,
            cost.how,
        )

    def _count_tokens(self, split: Split | None) -> float:
        """Tokens of a row, on average; 0 where they cannot be counted."""
        if split is None or not self.is_read or self.shape is None:
            return 0.0
        if id(split) not in self._tokens:
            clean = self.data.clean
            found = self.models.tokens(self.source, clean.num_labels, clean.train, split)
            self._tokens[id(split)] = found
        return self._tokens[id(split)]


def _count_suspects(suspects: Suspects | None) -> int:
    return 0 if suspects is None else sum(len(ids) for ids in suspects.by_round)
