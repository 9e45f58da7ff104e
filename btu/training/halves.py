"""Each batch in two halves on two threads: how training and prediction use the cores of a CPU.

A step of a small model is hundreds of short operations, many of which gain nothing from a second
thread: MiniLM takes 0.8 s for 64 sentences with one thread, 0.53 s with two in each operation,
and 0.45 s with one in each half. The halves and their dropout noise are the same however many
threads there are, so one thread, which takes them in turn, gives the same bits as two.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Lock

import numpy as np
import torch
from torch import Tensor, nn

from btu.training.dropout import WordDropout
from btu.types import IntArray

HALVES = 2
PART_TOKENS = 2560  # with padding; MiniLM keeps 0.1 to 0.3 MB for each until the backward pass


@contextmanager
def two_threads() -> Iterator[ThreadPoolExecutor]:
    """Two workers that share torch's CPU threads; one worker where torch has one thread."""
    total = torch.get_num_threads()
    pool = ThreadPoolExecutor(
        min(HALVES, total),
        initializer=torch.set_num_threads,
        initargs=(max(1, total // HALVES),),
    )
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(total)  # new threads would start with the workers' number


class HalvedModel:
    """A model and its partner, which has the same weights and gradients of its own.

    Args:
        model: takes the first half of each batch, and collects the gradients of both. Its
            attribute `part_tokens`, where it has one, stands in for `PART_TOKENS`.
        loss: the mean loss of a model on some rows.
        lengths: tokens of every row.
        pool: where the halves are computed.
        seed: of dropout.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Callable[[nn.Module, Sequence[int]], Tensor],
        lengths: IntArray,
        pool: ThreadPoolExecutor,
        seed: int,
    ) -> None:
        shared = {id(p): nn.Parameter(p.data, p.requires_grad) for p in model.parameters()}
        self.models = (model, copy.deepcopy(model, dict(shared)))
        self.loss, self.lengths, self.pool = loss, lengths, pool
        self.part_tokens: int = getattr(model, "part_tokens", PART_TOKENS)
        self.noise = [WordDropout(seed + half) for half in range(HALVES)]
        pairs = zip(*(model.parameters() for model in self.models), strict=True)
        self.sums = [GradientSum(*pair) for pair in pairs if pair[0].requires_grad]

    def backward(self, rows: Sequence[int]) -> None:
        """Leave the gradients of the mean loss of these rows in the model's parameters."""
        middle = (len(rows) + 1) // 2
        both = (rows[:middle], rows[middle:])
        halves = [parts(half, self.lengths, self.part_tokens) for half in both if half]

        def work(half: int) -> None:
            for part in halves[half]:
                with self.noise[half]:
                    loss = self.loss(self.models[half], part)
                (loss * (len(part) / len(rows))).backward()

        for gradient in self.sums:
            gradient.awaited = sum(map(len, halves))
        list(self.pool.map(work, range(len(halves))))

    def end(self) -> None:
        """Leave the model as it was, except for its gradients."""
        for gradient in self.sums:
            gradient.end()


def parts(rows: Sequence[int], lengths: IntArray, tokens: int) -> list[Sequence[int]]:
    """A half of long texts in parts that fit into memory; their gradients are added up."""
    size = max(1, tokens // max(1, int(lengths[np.asarray(rows)].max())))
    return [rows[start : start + size] for start in range(0, len(rows), size)]


class GradientSum:
    """Adds the partner's gradient to the model's as soon as both are there, while caches hold them.

    Of two numbers the sum is the same in either order, so it does not matter which half is first.
    """

    def __init__(self, own: nn.Parameter, partner: nn.Parameter) -> None:
        self.own, self.partner = own, partner
        self.awaited = 0  # gradients that this batch still gives
        self.lock = Lock()
        self.hooks = [p.register_post_accumulate_grad_hook(self._arrived) for p in (own, partner)]

    def end(self) -> None:
        """Let go of the parameters, which their hooks would otherwise keep alive."""
        for hook in self.hooks:
            hook.remove()

    def _arrived(self, parameter: Tensor) -> None:
        with self.lock:
            self.awaited -= 1
            if self.awaited == 0 and self.partner.grad is not None:
                own = self.own.grad
                self.own.grad = self.partner.grad if own is None else own.add_(self.partner.grad)
                self.partner.grad = None
