"""Losses that know which rows they see, in place of the mean cross-entropy of their labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

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
