"""What every defense shares: what it may decide, its one swept knob, and the defense of nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypeVar

import numpy as np

from btu.errors import ConfigError
from btu.models.base import Training
from btu.settings.base import Settings
from btu.settings.ranges import Items, Name, Number
from btu.store.stages import UNKEYED, Stage
from btu.types import (
    ACCURACY,
    ARM_NAMES,
    CONTROLS,
    Edit,
    FloatArray,
    IntArray,
    Knob,
    Screen,
    Split,
    Suspects,
)

if TYPE_CHECKING:
    from btu.lab import Lab
    from btu.models.base import Classifier

T = TypeVar("T")
Thresholds = Annotated[list[Number], Items()]


@dataclass(frozen=True)
class Repair:
    """What the arm `defended` is tuned on in place of the trusted rows, and how.

    Args:
        rows: that are learned.
        training: epochs, batch size, learning rate.
        kept: whether the tuned model stays in the cache: a method that asked it already wants it.
        edits: changes to the tuned model, in order.
    """

    rows: Split
    training: Training
    kept: bool = False
    edits: tuple[Edit, ...] = ()

    def train(self, lab: Lab, start: Stage[Classifier]) -> Stage[Classifier]:
        """The tuned model."""
        model = lab.train(
            self.rows,
            self.training,
            start=start,
            title="clean tuning",
            draws="tuning",
            kept=self.kept,
        )
        for edit in self.edits:
            model = lab.edit(model, edit)
        return model


@dataclass(frozen=True)
class Decision:
    """What the defenses decided at one threshold, and all that later stages see of it.

    Two thresholds with equal decisions share every stage that follows. A defense adds to the
    decision of those before it with `dataclasses.replace`.
    """

    kept: IntArray | None = None  # sorted training rows that stay; None: all
    training: Training | None = None  # how the victim is trained instead
    edits: tuple[Edit, ...] = ()  # changes to the trained model, in order
    repair: Repair | None = None  # how the model is tuned instead
    screens: tuple[Screen, ...] = ()  # what happens to inputs at test time, in order
    suspects: Suspects | None = None  # tokens that look planted
    suspicion: FloatArray | None = None  # (N,) of each training row, where a method tells
    found_words: tuple[str, ...] | None = (
        None  # whole words that were planted; None: not looked for
    )
    found_rows: IntArray | None = None  # sorted training rows that were planted; likewise
    evidence: Mapping[str, Any] = field(default_factory=dict)  # for the record; JSON
    stages: Mapping[str, Stage[Any]] = field(default_factory=dict)  # it was made from, by title

    @property
    def changes_nothing(self) -> bool:
        """Whether the victim stays as it would be without any defense."""
        changes = (self.kept is not None, self.training, self.edits, self.repair, self.screens)
        return not any(changes)

    def keep(self, rows: Split) -> Split:
        """The training rows that stay."""
        return rows if self.kept is None else rows.take(self.kept)

    def number(self, rows: IntArray) -> IntArray:
        """All rows found, with these of those that stay, by their number among all; sorted."""
        here = rows if self.kept is None else self.kept[rows]
        return here if self.found_rows is None else np.union1d(self.found_rows, here)

    def drop(self, rows: IntArray, num_rows: int) -> IntArray | None:
        """What is kept once these rows, by their number among all, are dropped as well."""
        before = np.arange(num_rows) if self.kept is None else self.kept
        return np.setdiff1d(before, rows).astype(np.int64) if len(rows) else self.kept


@dataclass(frozen=True)
class Defense(Settings):
    """One method: one file, one yaml. It adds to what the defenses before it decided.

    A method that drops training rows derives from `RowFilter`, one that rejects inputs from
    `InputFilter`; any other says in `decide` what becomes of the model or of its training.
    It sees `lab.rows`, the untrusted training rows, and `lab.trusted`, the clean tuning set.
    """

    name: Name
    threshold: Number | None  # where it is not swept; its range is the knob's
    thresholds: Thresholds = field(metadata=UNKEYED)  # where it is swept; none: decided once

    place: ClassVar[str] = "defense.{name}"
    knob: ClassVar[Knob | None] = Knob()  # None: there is nothing to sweep
    tunes: ClassVar[bool] = False  # whether the method ends with tuning on the trusted rows
    needs_trusted_rows: ClassVar[bool] = False
    learns_trusted_rows: ClassVar[bool] = False  # other than by tuning at the end
    drops_rows: ClassVar[bool] = False  # of the training rows, and so can feed one that
    takes_rows: ClassVar[bool] = False  # forgets what filters before it drop
    edits_embeddings: ClassVar[bool] = False  # takes back what training changed in them
    sets_tuning: ClassVar[bool] = False  # says how the model is tuned at the end
    rule: ClassVar[str] = ACCURACY  # how a defender sets the threshold

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_thresholds(self.thresholds, f"defense.{self.name}.thresholds")
        if self.threshold is not None:
            self.check_thresholds([self.threshold], f"defense.{self.name}.threshold")

    def check_thresholds(self, thresholds: Sequence[float], setting: str) -> None:
        """Raise a ConfigError if one lies outside this method's range."""
        knob = self.knob
        if knob is None:
            return
        several = setting.endswith("s")
        example = f"[{knob.example:g}]" if several else f"{knob.example:g}"
        for value in thresholds:
            if not knob.low <= value <= knob.high:
                raise ConfigError(
                    f"{setting}: {self.name} takes {knob.unit} between {knob.low:g} and "
                    f"{knob.high:g}, got {value:g}. For {knob.example_means} write "
                    f"{setting}={example}."
                )
            if knob.whole and value != round(value):
                raise ConfigError(
                    f"{setting}: {self.name} takes {knob.unit}, whole ones, got {value:g}. For "
                    f"{knob.example_means} write {setting}={example}."
                )

    def need(self, threshold: float | None) -> float:
        """The threshold; a ConfigError where there is none."""
        if threshold is None:
            example = 0.1 if self.knob is None else self.knob.example
            raise ConfigError(
                f"defense {self.name} has no threshold. Write for example "
                f"defense.{self.name}.threshold={example:g}."
            )
        return threshold

    def arms(self) -> tuple[str, ...]:
        """The arms that this defense can evaluate: the controls, and those that it decides."""
        return ARM_NAMES if self.tunes else (*CONTROLS, "defended")

    def check(self, rows: Split, trusted: Split | None) -> None:
        """Raise a ConfigError if the method cannot work on these rows, before any training."""

    def check_place(self, before: Sequence[Defense], after: Sequence[Defense]) -> None:
        """Raise a ConfigError if the method means nothing between these others."""

    def passes(self, lab: Lab) -> Sequence[Stage[Any]]:
        """The expensive stages that every threshold needs."""
        return ()

    def decide(self, lab: Lab, threshold: float | None, before: Decision) -> Decision:
        """What becomes of the victim at this threshold; everything expensive is a stage."""
        raise ConfigError(f"defense {self.name}: {type(self).__name__} has no method decide.")


def check_stage(given: Stage[T], name: str, method: str) -> Stage[T]:
    """What a method of a defense gives, if it is a stage."""
    if isinstance(given, Stage):
        return given
    raise ConfigError(
        f"defense {name}: {method} must return a stage, such as lab.stage(...) gives, but returned "
        f"a {type(given).__name__}."
    )


@dataclass(frozen=True)
class NoDefense(Defense):
    """Evaluate the victim as trained."""

    knob: ClassVar[Knob | None] = None

    def arms(self) -> tuple[str, ...]:
        """Those without any step after training."""
        return ("clean", "poisoned")

    def decide(self, lab: Lab, threshold: float | None, before: Decision) -> Decision:
        """Nothing."""
        return before


def describe_array(values: FloatArray) -> str:
    """What is wrong with an array, for errors: its shape, and how many are no numbers."""
    num_odd = int(values.size - np.isfinite(values).sum())
    return f"an array of shape {values.shape}" + (f", {num_odd} not finite" if num_odd else "")
