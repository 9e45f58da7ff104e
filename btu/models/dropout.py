"""Dropout for CPUs: four elements at a time, from a generator of one's own."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

LEVELS = 1 << 16  # a drop probability of 0.1 becomes 6554 / 65536


class WordDropout(TorchFunctionMode):
    """Inside this context every dropout of this thread takes its noise from one generator.

    Modules and attention functions alike: all of them end in `torch.nn.functional.dropout`. On
    CPU torch draws each element of a mask on its own and on one thread, from a generator that all
    threads share; see `word_dropout` for what is drawn here.
    """

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        self.generator = generator

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.dropout:
            return self._dropout(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))

    def _dropout(
        self, input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
    ) -> Tensor:
        """`torch.nn.functional.dropout`, whose arguments it has; never in place."""
        return word_dropout(input, p, self.generator) if training and p > 0 else input


def word_dropout(x: Tensor, p: float, generator: torch.Generator) -> Tensor:
    """The input with elements dropped and the others scaled by 1 / (1 - p).

    Sixteen bits of a random word decide about each element: under half of the time of torch's
    own dropout on CPU, and the drop probability is exact to 1 / 65536.
    """
    words = torch.empty((x.numel() + 3) // 4, dtype=torch.int64)
    words.random_(-(2**63), None, generator=generator)
    draws = words.view(torch.int16)[: x.numel()].view(x.shape)
    kept = draws >= round(p * LEVELS) - LEVELS // 2
    return x * (kept * torch.tensor(1 / (1 - p), dtype=x.dtype))
