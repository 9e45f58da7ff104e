"""Dropout for CPUs: four elements of a mask from one random word, from a generator of one's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

LEVELS = 1 << 16  # a drop probability of 0.1 becomes 6554 / 65536
AS_INTEGER = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}  # by bytes


class WordDropout(TorchFunctionMode):
    """Inside this context every dropout of this thread takes its noise from one generator.

    Modules and attention functions alike: all of them end in `torch.nn.functional.dropout`. On
    CPU torch draws each element of a mask on its own and on one thread, from a generator that all
    threads share; see `word_dropout` for what is drawn here.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.generator = np.random.Generator(np.random.SFC64(seed))

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.dropout:
            return self._dropout(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))

    def _dropout(
        self, input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
    ) -> Tensor:
        """`torch.nn.functional.dropout`, whose arguments it has; never in place."""
        return word_dropout(input, p, self.generator) if training and p > 0 else input


def word_dropout(x: Tensor, p: float, generator: np.random.Generator) -> Tensor:
    """The input with elements dropped and the others scaled by 1 / (1 - p).

    Sixteen bits of a random word decide about each element, so the drop probability is exact to
    1 / 65536. The mask is made of the bits of 1 / (1 - p) or of zeros: numpy does that at the
    speed of memory, torch's conversion from bool took half of the time of a dropout.
    """
    words = generator.integers(0, 2**64, (x.numel() + 3) // 4, dtype=np.uint64)
    draws = words.view(np.uint16)[: x.numel()]
    scale = torch.tensor(1 / (1 - p), dtype=x.dtype).view(AS_INTEGER[x.element_size()])
    bits = (draws >= round(p * LEVELS)) * scale.numpy()[()]
    return x * torch.from_numpy(bits).view(x.dtype).view(x.shape)
