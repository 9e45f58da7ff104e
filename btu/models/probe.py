"""The pooled classifier of detection rounds 1 and 2: an embedding module and a linear head."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from btu.models.base import Classifier


class PooledProbe(nn.Module):
    """Mean of the embedding module's output, and a fresh linear head.

    The embedding module is the model's own: word, position and type embeddings, LayerNorm and
    dropout. A model whose base has no such module is pooled over its word embeddings alone.

    Source: Jiang et al. 2025, backdoor token detection, rounds 1 and 2.
    """

    # Of btu.training.halves. It keeps too little for memory to matter, but sums over other parts
    # round otherwise, and the last of a few suspects may then be another token.
    part_tokens = 4096

    def __init__(
        self, classifier: Classifier, num_labels: int, over_padding: bool, train_all: bool
    ) -> None:
        super().__init__()
        base = classifier.model.base_model
        self.embedding_module = getattr(base, "embeddings", None) or classifier.embeddings
        self.over_padding = over_padding
        self.head = nn.Linear(self._width(classifier.embeddings.weight), num_labels)
        if not train_all:
            self.embedding_module.requires_grad_(False)
            classifier.embeddings.requires_grad_(True)

    def _width(self, table: Tensor) -> int:
        """D of what the module gives, which in MobileBERT and DeBERTa is not that of the table."""
        was_training = self.embedding_module.training
        with torch.no_grad():  # dropout would draw
            width = self.embedding_module.eval()(torch.zeros_like(table[:1, :1]).long()).shape[-1]
        self.embedding_module.train(was_training)
        return int(width)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor) -> dict[str, Any]:
        """The cross-entropy loss of a batch of (B, L) token ids."""
        hidden = self.embedding_module(input_ids)  # (B, L, D)
        if self.over_padding:
            pooled = hidden.mean(1)  # (B, D)
        else:
            mask = attention_mask.unsqueeze(-1).to(hidden.dtype)  # (B, L, 1)
            pooled = (hidden * mask).sum(1) / mask.sum(1)  # (B, D)
        loss = torch.nn.functional.cross_entropy(self.head(pooled).float(), labels)
        return {"loss": loss}
