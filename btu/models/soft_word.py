"""One word whose embedding is tuned in a model that otherwise stays as it is."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from btu.models.base import Classifier


class SoftWord(nn.Module):
    """Learns an embedding of fixed length that lowers the probability of a label.

    Args:
        classifier: whose weights are frozen.
        token: the word's id, whose embedding it starts from.
        place: of the word among the ids of every text, padding not counted.
        label: whose probability is to fall.
        before: that probability without the word, of each row that is learned, (N,).
        drop: the least and the most that it is to fall by.
    """

    def __init__(
        self,
        classifier: Classifier,
        token: int,
        place: int,
        label: int,
        before: Tensor,
        drop: tuple[float, float],
    ) -> None:
        super().__init__()
        classifier.model.requires_grad_(False)
        self.model, self.place, self.label, self.drop = classifier.model, place, label, drop
        start = classifier.embeddings.weight.detach()[token].clone()
        self.direction = nn.Parameter(start)
        self.register_buffer("length", start.norm())
        self.register_buffer("before", before)

    def train(self, mode: bool = True) -> SoftWord:
        """Without dropout, whatever the mode."""
        return super().train(False)

    @property
    def config(self) -> Any:
        """The model's, whose ids must not be renumbered."""
        return self.model.config

    def embedding(self) -> Tensor:
        """The embedding as it is now. (D,)"""
        length: Any = self.length
        found: Tensor = length * self.direction / self.direction.norm()
        return found

    def forward(self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor) -> dict[str, Any]:
        """How far the mean drop lies outside of what is wanted; labels are numbers of rows."""
        places = attention_mask.argmax(1) + self.place  # (B,)
        vectors = self.model.get_input_embeddings()(input_ids)  # (B, L, D)
        here = torch.arange(input_ids.shape[1], device=places.device) == places.unsqueeze(1)
        vectors = torch.where(here.unsqueeze(-1), self.embedding().to(vectors.dtype), vectors)
        logits = self.model(inputs_embeds=vectors, attention_mask=attention_mask).logits
        before: Any = self.before
        fell = before[labels] - logits.float().softmax(-1)[:, self.label]  # (B,)
        return {"loss": miss_drop(fell, *self.drop).mean()}


def miss_drop(fell: Tensor, least: float, most: float) -> Tensor:
    """How far each drop lies below the least or above the most that is wanted. (B,)"""
    return (least - fell).clamp(min=0) + (fell - most).clamp(min=0)
