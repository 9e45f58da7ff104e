"""Dropout for CPUs: the same noise, drawn four elements at a time."""

from __future__ import annotations

import torch
from torch import Tensor, nn

LEVELS = 1 << 16  # a drop probability of 0.1 becomes 6554 / 65536


class WordDropout(nn.Module):
    """What `nn.Dropout` does, with 16 bits of a random word per element.

    On CPU torch draws each element of a mask on its own and on one thread: a sixth to a quarter
    of a training step of a 6-layer BERT in bf16. This takes under half of that time. The drop
    probability is exact to 1 / 65536.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """The input with elements dropped and the others scaled by 1 / (1 - p), when training."""
        if not self.training or self.p == 0:
            return x
        words = torch.empty((x.numel() + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
        draws = words.view(torch.int16)[: x.numel()].view(x.shape)
        kept = draws >= round(self.p * LEVELS) - LEVELS // 2
        return x * (kept * torch.tensor(1 / (1 - self.p), dtype=x.dtype))


def use_word_dropout(model: nn.Module) -> None:
    """Replace every `nn.Dropout` inside a model."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Dropout):
                setattr(parent, name, WordDropout(child.p))
