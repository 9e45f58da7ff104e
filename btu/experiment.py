"""One job's arms at their thresholds: which there are, what names each, and the record of each."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from btu.attacks.poisoning import remarks
from btu.defenses.base import Decision, Defense
from btu.errors import ConfigError
from btu.job import Job
from btu.lab import EVALUATION, TRAINING, Lab
from btu.metrics import CACC_MARGIN, choose, remark_on_cost
from btu.models.base import Classifier
from btu.pipeline import decide, make_model, measure
from btu.store.cache import identify
from btu.store.code import code_of, code_of_module
from btu.store.records import FORMAT, Record, RecordStore
from btu.store.stages import settings_of
from btu.types import ARMS, BY_NAME, PLAIN, REPAIRED, Arm, PoisonedDataset, Predictions

log = logging.getLogger(__name__)
WORTH_TELLING = 0.01  # of the training texts that are cut


@dataclass(frozen=True)
class Result:
    """What one job found, in the order of its arms and thresholds."""

    data: PoisonedDataset
    records: tuple[Record, ...]
    predictions: Mapping[str, Predictions]  # by record key
    chosen: Record | None  # the best repaired arm, see `choose`
    notes: tuple[str, ...]
    decisions: Mapping[float | None, Decision]  # by threshold, of records computed in this run
    stealth: Mapping[str, Any] | None = None  # of the triggered test rows, where it was asked for


class Experiment:
    """One job: its arms at their thresholds, and the record of each."""

    def __init__(self, job: Job, lab: Lab) -> None:
        self.job, self.lab = job, lab
        self.store = RecordStore(job.outputs / "records")
        arms, self.notes = possible_arms(job, lab)
        self.points: list[tuple[Arm, float | None]] = [
            (arm, threshold)
            for arm in arms
            for threshold in (job.thresholds if arm.defended else (None,))
        ]
        self.decisions: dict[float | None, Decision] = {}
        self.num_computed = 0  # records that were not there before

    def run(self) -> Result:
        """Evaluate every arm at every threshold; what is recorded already is read."""
        data, planted = self.lab.data, ""
        if data.target_label is not None:
            target = data.clean.label_names[data.target_label]
            planted = f", {int(data.train.poisoned.sum()):,} of them poisoned (target: {target})"
        log.info(f"{data.clean.name}: {len(data.train):,} training rows{planted}")
        found = [self.evaluate(arm, threshold) for arm, threshold in self.points]
        records = tuple(record for record, _ in found)
        predictions = {record.key: predicted for record, predicted in found}
        cost = remark_on_cost(records)
        notes = [*data.clean.notes, *remarks(data), *self.notes, *_remark_on_cuts(records)]
        notes += [cost] if cost else []
        return Result(data, records, predictions, choose(records), tuple(notes), self.decisions)

    def evaluate(self, arm: Arm, threshold: float | None) -> tuple[Record, Predictions]:
        """The record of one arm at one threshold, from the store or computed."""
        identity, before = self.identity(arm, threshold), self.num_computed
        record, predictions = self.store.get(
            identity, lambda: self._compute(identity, arm, threshold), anew=self.job.force
        )
        log.info(record.describe("" if self.num_computed > before else "recorded before"))
        return record, predictions

    def _compute(
        self, identity: str, arm: Arm, threshold: float | None
    ) -> tuple[Record, Predictions]:
        self.num_computed += 1
        trigger = self.trigger_ids  # raises where the tokenizer does not know it
        self.job.check_disk(self.lab.num_weights)
        decision = self.decide(threshold) if arm.defended else Decision()
        return measure(self.job, self.lab, arm, threshold, decision, trigger, identity)

    @cached_property
    def trigger_ids(self) -> frozenset[int] | None:
        """The trigger's token ids; None where none is known, empty where it is no token."""
        if self.lab.data.target_label is None:
            return None
        return self.lab.find_trigger_ids(self.job.attack.samples())

    def decide(self, threshold: float | None) -> Decision:
        """What the defenses decide at a threshold."""
        if threshold not in self.decisions:
            self.decisions[threshold] = decide(self.job, self.lab, threshold)
        return self.decisions[threshold]

    def classifier(self, arm: str, threshold: float | None) -> Classifier:
        """The model of an arm at a threshold, made from what is in the cache."""
        chosen = BY_NAME[arm]
        decision = self.decide(threshold) if chosen.defended else Decision()
        return self.lab.get(make_model(self.job, self.lab, chosen, decision))

    def is_recorded(self) -> bool:
        """Whether nothing is left to compute."""
        identities = (self.identity(*point) for point in self.points)
        return not self.job.force and all(self.store.load(i) is not None for i in identities)

    def identity(self, arm: Arm, threshold: float | None) -> str:
        """Names everything that the record's numbers depend on; its beginning is the key."""
        job, lab, data = self.job, self.lab, self.lab.data
        splits = [data.clean.train, data.train, data.clean.test, data.triggered]
        splits += [data.clean.tuning] if arm.defended or arm.needs_trusted_rows else []
        return identify(
            {
                "format": [FORMAT, TRAINING, EVALUATION],
                "arm": arm.name,
                "threshold": threshold,
                "seed": job.seed,
                "arithmetic": lab.arithmetic,
                "splits": [split.fingerprint if split else "none" for split in splits],
                "dataset": [job.dataset.name, list(data.clean.label_names)],
                "attack": self._named["attack"],
                "model": self._named["model"],
                "defenses": self._named["defenses"] if arm.defended else None,
                "tuning": self._tuning_parts(arm),
            }
        )

    @cached_property
    def _named(self) -> Mapping[str, Any]:
        """Components as they stand in a record's identity: their settings and their code."""
        job = self.job
        swept = job.swept.name if job.swept else None
        return {
            "attack": [job.attack.settings(), *job.attack.code],
            "model": settings_of(job.model),
            "defenses": [
                swept,
                code_of_module("btu.defenses.evidence"),
                *([settings_of(d), code_of(type(d))] for d in job.defenses),
            ],
        }

    def _tuning_parts(self, arm: Arm) -> Any:
        if not arm.needs_trusted_rows or (arm.defended and not self.job.tunes):
            return None
        tuning = asdict(self.job.tuning)
        alone = tuning.pop("trusted_only_epochs")
        kept = (tuning["max_samples"], tuning["share"])
        return [alone, *kept] if arm.rows == "trusted" else tuning


def _remark_on_cuts(records: Sequence[Record]) -> Iterator[str]:
    """Sentences about what the models do not read of long texts."""
    if not records:
        return
    cut = records[0].cut
    rest = f"a model reads model.max_length={cut.max_length} tokens of each"
    if cut.train >= WORTH_TELLING * cut.num_train and cut.train:
        share = f"{100 * cut.train / cut.num_train:.0f} %"
        yield f"{cut.train:,} of {cut.num_train:,} training texts ({share}) are cut: {rest}"
    for what, number, unseen in (
        ("poisoned rows", cut.num_poisoned, cut.poisoned),
        ("triggered test rows", cut.num_triggered, cut.triggered),
    ):
        if unseen:
            yield f"of {unseen:,} of the {number:,} {what} no model reads the trigger: {rest}"


def possible_arms(job: Job, lab: Lab) -> tuple[tuple[Arm, ...], tuple[str, ...]]:
    """The wanted arms that the data allow, and a sentence for each that they do not.

    Raises:
        ConfigError: none is left, a defense cannot work on these rows, or a model is to be saved
            that no arm repairs.
    """
    arms, notes = [arm for arm in ARMS if arm.name in job.arms], []
    if lab.data.target_label is None and len(arms) > 1 and arms[0].name == "clean":
        del arms[0]
        notes.append(_leave_out(["clean"], "without an attack it is the arm poisoned"))
    defends, trusted = any(arm.defended for arm in arms), lab.data.clean.tuning
    tuning = [arm for arm in arms if arm.tuned and (job.tunes or not arm.defended)]
    needing = [arm for arm in arms if arm in tuning or arm.rows == "trusted"]
    if trusted is None and needing:
        arms = [arm for arm in arms if arm not in needing]
        missing = [arm.name for arm in needing]
        notes.append(_leave_out(missing, "without dataset.tuning there are no clean rows"))
    if trusted is not None and needing and not job.tuning.num_rows(len(lab.rows), len(trusted)):
        left_out = [arm for arm in needing if arm.rows == "trusted"]
        arms = [arm for arm in arms if arm not in left_out]
        notes += [_leave_out([arm.name], "tuning uses no row") for arm in left_out]
    if job.arms and not arms:
        raise ConfigError(
            "arms: tuned, trusted_only and defended need clean labelled rows. Write "
            "dataset.tuning=PATH, or add poisoned to arms."
        )
    if defends:
        if job.without_arms:
            notes.append(_leave_out(job.without_arms, f"not part of {job.defense_name}"))
        for defense in job.defenses:
            _check(defense, lab)
    if job.save_model and not {arm.name for arm in arms} & set(REPAIRED):
        names = ", ".join(arm.name for arm in arms) or "none"
        raise ConfigError(
            f"save_model=true keeps a repaired model, but the arms are {names}. Choose "
            "defense=btu, and unlearned or defended among the arms."
        )
    if job.save_model and lab.data.target_label is None:
        _check_plain(job, {arm.name for arm in arms}, trusted is not None)
    return tuple(arms), tuple(notes)


def _leave_out(arms: Sequence[str], why: str) -> str:
    return f"{'arm' if len(arms) == 1 else 'arms'} {', '.join(arms)} left out: {why}"


def _check_plain(job: Job, arms: set[str], has_trusted_rows: bool) -> None:
    needed = [name for name in PLAIN if has_trusted_rows or not BY_NAME[name].needs_trusted_rows]
    if missing := [name for name in needed if name not in arms]:
        raise ConfigError(
            "save_model=true, where no trigger is known, keeps a repaired model that costs at most "
            f"{100 * CACC_MARGIN:.0f} points of accuracy against {' and '.join(needed)}. Write "
            f"arms=[{','.join([*missing, *job.arms])}]."
        )


def _check(defense: Defense, lab: Lab) -> None:
    if defense.needs_trusted_rows and lab.trusted is None:
        raise ConfigError(
            f"defense {defense.name} judges by trusted rows, and there are none. Write "
            "dataset.tuning=PATH for a file of clean labelled rows, or choose another defense."
        )
    judges = defense.needs_trusted_rows  # of others it does not matter how many are drawn
    defense.check(lab.rows, lab.trusted if judges else lab.data.clean.tuning)
