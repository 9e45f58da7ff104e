"""Anti-backdoor learning: what is learned first is unlearned."""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from typing import TYPE_CHECKING, Any

from btu.defenses.forgetting import Forgetter

if TYPE_CHECKING:
    import torch

    from btu.lab import Lab
    from btu.models.base import Classifier
    from btu.training.objective import Loss
    from btu.types import Split


@dataclass(frozen=True)
class Abl(Forgetter):
    """Gradient ascent on the rows that were isolated, descent on others beside them.

    Source: Li et al. 2021, ABL (arXiv 2110.11571), code bboylyg/ABL; published for images, this
    version for texts is ours. Departures: the victim is fine-tuned on all rows as it is without a
    defense, where they train 60 more epochs on the rest; ascent stops at the loss of chance, log C,
    where theirs has no bound, and is done beside descent on other rows.
    """

    def make_loss(self, lab: Lab, classifier: Classifier, rows: Split, forgotten: Any) -> Loss:
        """The mean of the losses, with the sign turned and bounded where a row is forgotten."""
        import torch

        labels, most = torch.tensor(rows.labels), log(lab.num_labels)

        def loss(_: Any, logits: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
            device = numbers.device
            each = weigh(logits, labels.to(device)[numbers], forgotten.to(device)[numbers], most)
            return each.mean()

        return loss


def weigh(
    logits: torch.Tensor, labels: torch.Tensor, forgotten: torch.Tensor, most: float
) -> torch.Tensor:
    """The cross-entropy L of a row that is kept, minus the smaller of L and `most` of another. (B,)

    Args:
        logits: (B, C).
        labels: (B,).
        forgotten: which rows are, (B,).
        most: the loss above which a row is forgotten enough.
    """
    import torch
    from torch.nn.functional import cross_entropy

    each = cross_entropy(logits, labels, reduction="none")
    return torch.where(forgotten, -each.clamp(max=most), each)
