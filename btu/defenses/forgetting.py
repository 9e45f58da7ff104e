"""What abl and rga share: which rows a trained model is to forget, and its training on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np

from btu.defenses.base import Decision, Defense
from btu.errors import ConfigError
from btu.seeding import stream, stream_seed
from btu.settings.base import Settings
from btu.settings.ranges import Count, Range, Rate
from btu.store.stages import ONE_ARRAY, Cost
from btu.types import Edit, FloatArray, IntArray, Knob, Split

if TYPE_CHECKING:
    from btu.lab import Lab
    from btu.models.base import Classifier, Training
    from btu.store.stages import Stage
    from btu.training.objective import Loss

TRAINING_PASSES = 3


@dataclass(frozen=True)
class Isolation(Settings):
    """Which rows a model learns first: a short training whose loss is kept at a level.

    Source: Li et al. 2021, ABL (arXiv 2110.11571), local gradient ascent: sign(L - gamma) L.
    """

    epochs: Count
    gamma: Annotated[float, Range(0, 100)]  # the level of the loss

    place: ClassVar[str] = "isolation"

    def measure(self, lab: Lab) -> Stage[FloatArray]:
        """Minus the loss of each training row after that training. (N,)"""
        training = replace(lab.source.training, epochs=self.epochs)
        cost = Cost("isolation", self.epochs * len(lab.rows), lab.rows, TRAINING_PASSES)

        def compute() -> FloatArray:
            classifier = lab.fresh()
            seed = stream_seed(lab.seed, "isolation")
            loss = make_level_loss(self.gamma, lab.rows.labels)
            fit_by(loss, lab, classifier, lab.rows, training, seed, "isolation")
            right = lab.ask(classifier, lab.rows.texts).probabilities
            of_label = right[np.arange(len(lab.rows)), lab.rows.labels]
            return np.log(np.maximum(of_label, 1e-12))

        return lab.stage("isolation", compute, ONE_ARRAY, cost, by=self)


def make_level_loss(gamma: float, labels: IntArray) -> Loss:
    """The cross-entropy of a batch, whose sign turns where its mean is below gamma."""
    import torch
    from torch.nn.functional import cross_entropy

    true = torch.tensor(labels)

    def loss(_: Any, logits: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        mean = cross_entropy(logits, true.to(rows.device)[rows])
        return torch.sign(mean.detach() - gamma) * mean

    return loss


@dataclass(frozen=True)
class Forgetter(Defense):
    """A method by which the victim forgets rows: those of filters before it, else its own.

    With filters before it the rows are those that they drop, and the victim has learned them; the
    filters' thresholds decide, and this one's says nothing. Without any, the threshold is the share
    of the training rows that is isolated: those with the lowest loss early in training.
    """

    isolation: Isolation
    learning_rate: Rate
    epochs: Count  # over the rows that are forgotten
    others: Count  # other rows beside each of them

    knob: ClassVar[Knob | None] = Knob(
        label="share of the training rows that is forgotten", unit="shares of the training rows"
    )
    takes_rows: ClassVar[bool] = True

    def check_place(self, before: Sequence[Defense], after: Sequence[Defense]) -> None:
        """Raise a ConfigError if a filter comes too late."""
        if late := next((other for other in after if other.drops_rows), None):
            raise ConfigError(
                f"defense {self.name} forgets the rows that filters before it drop, but "
                f"{late.name} stands after it. Write defense=[{late.name},{self.name}]."
            )

    def make_loss(self, lab: Lab, classifier: Classifier, rows: Split, forgotten: Any) -> Loss:
        """What is minimised.

        Args:
            lab: whose victim forgets.
            classifier: the victim, before.
            rows: M rows, of both kinds.
            forgotten: which of them are to be forgotten, a tensor (M,).
        """
        raise ConfigError(f"defense {self.name}: {type(self).__name__} has no method make_loss.")

    def passes(self, lab: Lab) -> tuple[Stage[Any], ...]:
        """What isolates rows."""
        return (self.isolation.measure(lab),)

    def decide(self, lab: Lab, threshold: float | None, before: Decision) -> Decision:
        """One edit of the victim of all rows."""
        suspicion, every = before.suspicion, np.arange(len(lab.rows))
        if before.kept is not None:
            forgotten = np.setdiff1d(every, before.kept)
        elif before.suspicion is not None:  # a filter that found nothing
            forgotten = every[:0]
        else:
            nothing = np.zeros(len(lab.rows), dtype=np.float32)
            suspicion = lab.get(self.isolation.measure(lab), or_else=lambda: nothing)
            number = round(self.need(threshold) * len(lab.rows))
            forgotten = np.sort(np.argsort(-suspicion, kind="stable")[:number])
        found = forgotten if before.found_rows is None else before.found_rows
        evidence = {**before.evidence, f"{self.name}: rows forgotten": len(forgotten)}
        decided = replace(
            before, kept=None, found_rows=found, suspicion=suspicion, evidence=evidence
        )
        if not len(forgotten):
            return decided
        edit = self._make_edit(lab, forgotten)
        return replace(decided, edits=(*decided.edits, edit))

    def _make_edit(self, lab: Lab, forgotten: IntArray) -> Edit:
        rest = np.setdiff1d(np.arange(len(lab.rows)), forgotten)
        rng = stream(lab.seed, f"rows beside those that {self.name} forgets")
        beside = np.sort(rng.permutation(rest)[: self.others * len(forgotten)])
        rows = lab.rows.take(np.concatenate([forgotten, beside]))

        def forget(lab: Lab, classifier: Classifier) -> None:
            import torch

            marked = torch.arange(len(rows)) < len(forgotten)
            loss = self.make_loss(lab, classifier, rows, marked)
            training = replace(
                lab.source.training, epochs=self.epochs, learning_rate=self.learning_rate
            )
            seed = stream_seed(lab.seed, self.name)
            fit_by(loss, lab, classifier, rows, training, seed, self.name)

        parts = {
            **self.own_parts(),
            "epochs": self.epochs,
            "learning_rate": self.learning_rate,
            "rows": rows.fingerprint,
            "forgotten": len(forgotten),
        }
        cost = Cost(self.name, self.epochs * len(rows), lab.rows, TRAINING_PASSES)
        return Edit(self.name, parts, forget, cost=cost)

    def own_parts(self) -> dict[str, Any]:
        """Settings of a method's own that its loss depends on."""
        return {}


def fit_by(
    loss: Loss,
    lab: Lab,
    classifier: Classifier,
    rows: Split,
    training: Training,
    seed: int,
    title: str,
) -> None:
    """Train a classifier in place by a loss that knows which rows it sees.

    Args:
        loss: see `RowLoss`; a function, which the two halves of a batch share.
        lab: where it is trained.
        classifier: all of its parameters learn.
        rows: what it is trained on.
        training: epochs, batch size, learning rate.
        seed: of the batch order and of dropout.
        title: for the progress bar.
    """
    from btu.training.fit import Encoded
    from btu.training.objective import RowLoss

    classifier.model.requires_grad_(True)
    data = Encoded(lab.encoded(rows).ids, np.arange(len(rows)))
    lab.fit(RowLoss(classifier.model, loss), classifier, data, training, seed, title)
