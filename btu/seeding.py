"""Named random streams from one seed: a draw added to one stage cannot move another."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np


def stream_seed(seed: int, *names: str) -> int:
    """A 63-bit seed for one named purpose under the run's seed."""
    digest = hashlib.sha256("\0".join([str(seed), *names]).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def stream(seed: int, *names: str) -> np.random.Generator:
    """The random generator of one named purpose under the run's seed."""
    return np.random.default_rng(stream_seed(seed, *names))


@contextmanager
def torch_stream(seed: int) -> Iterator[None]:
    """Give torch's global generators this seed inside the block; restore them after.

    Dropout and weight initialisation can draw from nothing but the global generator.
    """
    import torch

    devices = range(torch.cuda.device_count())
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield
