"""Robust gradient ascent: rows are forgotten by an ascent that switches itself off."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from btu.defenses.forgetting import Forgetter
from btu.settings.ranges import Range

if TYPE_CHECKING:
    import torch

    from btu.lab import Lab
    from btu.models.base import Classifier
    from btu.training.objective import Loss
    from btu.types import Split


@dataclass(frozen=True)
class RobustGradientAscent(Forgetter):
    """Cross-entropy on other rows, minus w times that on the forgotten ones, plus a pull back.

    w = exp(-KL)^2, where KL is the divergence of what the model says of the row from what the
    victim said, and the pull is a weight times the sum of ||now - before|| of all weight matrices.

    Source: Zhao et al., "Don't Shift the Trigger" (ICLR 2026 submission 21532), code
    xingyizhao/RGA, bert_unlearn.py. Departures: w is one number for each row, not for each batch;
    the pull is towards the victim, not the pretrained model, and leaves the word embeddings out;
    the rows come from any filter before it (theirs are CUBE's), else from `isolation`.
    """

    pull: Annotated[float, Range(0, 1000)]  # weight of the distance to the victim

    def own_parts(self) -> dict[str, Any]:
        """The pull."""
        return {"pull": self.pull}

    def make_loss(self, lab: Lab, classifier: Classifier, rows: Split, forgotten: Any) -> Loss:
        """Asks the victim once what it says of the rows."""
        import torch

        said = torch.tensor(lab.ask(classifier, rows.texts).probabilities)
        labels, table = torch.tensor(rows.labels), classifier.embeddings.weight
        before = {
            name: weights.detach().clone()
            for name, weights in classifier.model.named_parameters()
            if weights is not table
        }

        def loss(model: Any, logits: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
            device = numbers.device
            victim, true, leaves = (each.to(device)[numbers] for each in (said, labels, forgotten))
            now = dict(model.named_parameters())
            away = sum(torch.linalg.vector_norm(now[name] - old) for name, old in before.items())
            found: torch.Tensor = weigh(logits, true, leaves, victim).mean() + self.pull * away
            return found

        return loss


def weigh(
    logits: torch.Tensor, labels: torch.Tensor, forgotten: torch.Tensor, victim: torch.Tensor
) -> torch.Tensor:
    """The cross-entropy of a row that is kept, minus exp(-KL)^2 times it of another. (B,)

    Args:
        logits: (B, C).
        labels: (B,).
        forgotten: which rows are, (B,).
        victim: the probabilities that the victim gave, (B, C).
    """
    import torch
    from torch.nn.functional import cross_entropy, kl_div

    each = cross_entropy(logits, labels, reduction="none")
    apart = kl_div(logits.detach().log_softmax(-1), victim, reduction="none").sum(-1)
    return torch.where(forgotten, -(torch.exp(-apart) ** 2) * each, each)
