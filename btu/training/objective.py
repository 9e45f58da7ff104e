"""Trainings that minimise something else than the mean cross-entropy of their labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor, nn

from btu.training.fit import Encoded
from btu.types import IntArray

if TYPE_CHECKING:
    from btu.lab import Lab
    from btu.models.base import Classifier, Training
    from btu.types import Split

Loss = Callable[[nn.Module, Tensor, Tensor], Tensor]


class RowLoss(nn.Module):
    """A classifier whose loss is told which rows a batch is made of.

    Args:
        model: the classifier's.
        loss: of the model, its logits (B, C) and the numbers of the rows (B,): the mean over them.
    """

    def __init__(self, model: Any, loss: Loss) -> None:
        super().__init__()
        self.model, self.loss = model, loss

    @property
    def config(self) -> Any:
        """The model's, whose ids must not be renumbered."""
        return self.model.config

    def forward(self, labels: Tensor, **inputs: Tensor) -> dict[str, Tensor]:
        """The loss of a batch, whose labels are the numbers of its rows."""
        return {"loss": self.loss(self.model, self.model(**inputs).logits.float(), labels)}


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
    classifier.model.requires_grad_(True)
    numbers: IntArray = np.arange(len(rows))
    data = Encoded(lab.encoded(rows).ids, numbers)
    lab.fit(RowLoss(classifier.model, loss), classifier, data, training, seed, title)
