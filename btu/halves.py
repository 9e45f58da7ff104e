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

import torch
from torch import Tensor, nn

from btu.models.dropout import WordDropout

HALVES = 2


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
    """A model and its twin, which has the same weights and gradients of its own.

    Args:
        model: takes the first half of each batch, and collects the gradients of both.
        loss: the mean loss of a model on some rows.
        pool: where the halves are computed.
        seed: of dropout.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Callable[[nn.Module, Sequence[int]], Tensor],
        pool: ThreadPoolExecutor,
        seed: int,
    ) -> None:
        shared = {id(p): nn.Parameter(p.data, p.requires_grad) for p in model.parameters()}
        self.models = (model, copy.deepcopy(model, dict(shared)))
        self.loss, self.pool = loss, pool
        self.noise = [
            WordDropout(torch.Generator().manual_seed(seed + half)) for half in range(HALVES)
        ]

    def backward(self, rows: Sequence[int]) -> None:
        """Leave the gradients of the mean loss of these rows in the model's parameters."""
        middle = (len(rows) + 1) // 2
        halves = [half for half in (rows[:middle], rows[middle:]) if half]

        def work(half: int) -> None:
            with self.noise[half]:
                loss = self.loss(self.models[half], halves[half])
            (loss * (len(halves[half]) / len(rows))).backward()

        list(self.pool.map(work, range(len(halves))))
        for own, other in zip(*(model.parameters() for model in self.models), strict=True):
            if other.grad is not None:
                own.grad = other.grad if own.grad is None else own.grad.add_(other.grad)
                other.grad = None
