"""The reference: models of the trusted rows alone, which know no backdoor."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np

from btu.seeding import stream
from btu.training.outputs import Outputs
from btu.types import BoolArray, FloatArray, IntArray, Split

if TYPE_CHECKING:
    from btu.models.base import Training
    from btu.store.stages import Cost, Format, Stage

T = TypeVar("T")

NUM_HALVES = 2
LEAST_EPOCHS, LEAST_STEPS = 3, 45  # more steps were not better: docs/selfset.md has the figures


class Models(Protocol):
    """What trains models and asks them: a `btu.lab.Lab`, or one whose models are quicker."""

    seed: int

    @property
    def label_names(self) -> tuple[str, ...]:
        """The names of the labels, in order."""

    @property
    def ignores_case(self) -> bool:
        """Whether capital and small letters are one to the models."""

    @property
    def training(self) -> Training:
        """How the victim is trained."""

    def train(
        self, rows: Split, training: Training, *, title: str = ..., draws: str = ...
    ) -> Stage[Any]:
        """A model of these rows."""

    def outputs(self, model: Stage[Any], texts: Sequence[str]) -> Stage[Outputs]:
        """What a model says of texts."""

    def stage(
        self,
        name: str,
        compute: Callable[[], T],
        format: Format[T] | None,
        cost: Cost | None = None,
        *,
        by: Any,
        **parts: Any,
    ) -> Stage[T]:
        """A pass of a method's own."""

    def get(self, stage: Stage[T], or_else: Callable[[], T] | None = None) -> T:
        """What a stage gives."""


@dataclass(frozen=True)
class Reference:
    """Two models, each trained on half of the trusted rows, so that no row is judged by its own.

    Args:
        lab: where they are trained.
        trusted: n rows.
        epochs: of each; None: `LEAST_EPOCHS`, or as many as make `LEAST_STEPS`.
    """

    lab: Models
    trusted: Split
    epochs: int | None

    @cached_property
    def halves(self) -> tuple[IntArray, ...]:
        """The trusted rows that each model learns, of every label half."""
        rng = stream(self.lab.seed, "halves of the trusted rows")
        order = rng.permutation(len(self.trusted))
        order = order[np.argsort(self.trusted.labels[order], kind="stable")]
        return tuple(np.sort(order[number::NUM_HALVES]) for number in range(NUM_HALVES))

    @cached_property
    def models(self) -> tuple[Stage[Any], ...]:
        """The models, as stages."""
        training = self.lab.training
        epochs = self.epochs or count_epochs(len(self.trusted) / NUM_HALVES, training)
        training = replace(training, epochs=epochs)
        return tuple(
            self.lab.train(
                self.trusted.take(rows), training, title=f"reference {name}", draws=f"half {name}"
            )
            for name, rows in zip("AB", self.halves, strict=True)
        )

    @cached_property
    def judge_of_trusted(self) -> IntArray:
        """Which model judges each trusted row: the one that has not learned it. (n,)"""
        judges = np.ones(len(self.trusted), dtype=np.int64)
        judges[self.halves[1]] = 0
        return judges

    def draw_judges(self, number: int) -> IntArray:
        """Which model judges each of so many other rows, drawn so that it is either as often."""
        return stream(self.lab.seed, "judges").integers(0, NUM_HALVES, number)

    def predict(self, texts: Sequence[str], judges: IntArray) -> FloatArray:
        """What the judge of each text says of it. (N, C)"""
        found = np.zeros((len(texts), len(self.lab.label_names)), dtype=np.float32)
        for number, model in enumerate(self.models):
            rows = np.flatnonzero(judges == number)
            some = [texts[row] for row in rows.tolist()]
            found[rows] = say(self.lab, model, some).probabilities
        return found

    def predict_together(self, texts: Sequence[str]) -> FloatArray:
        """The mean of what both models say of each text; of no trusted row. (N, C)"""
        said = np.array([say(self.lab, model, texts).probabilities for model in self.models])
        mean: FloatArray = said.mean(0)
        return mean


def count_epochs(num_rows: float, training: Training) -> int:
    """The epochs in which so many trusted rows are learned as well as they will be."""
    steps = math.ceil(num_rows / training.batch_size)
    return max(LEAST_EPOCHS, math.ceil(LEAST_STEPS / steps))


def say(lab: Models, model: Stage[Any], texts: Sequence[str]) -> Outputs:
    """What a model says of texts; a plan, which knows no model, takes it to be undecided."""
    shape = (len(texts), len(lab.label_names))
    undecided = Outputs(
        np.zeros(len(texts), dtype=np.int64),
        np.full(shape, 1 / len(lab.label_names), dtype=np.float32),
    )
    if not len(texts):
        return undecided
    return lab.get(lab.outputs(model, texts), or_else=lambda: undecided)


def is_right(probabilities: FloatArray, labels: IntArray) -> BoolArray:
    """Whether the likeliest label is the true one. (N,)"""
    right: BoolArray = probabilities.argmax(1) == labels
    return right
