"""What a machine can do: its own rate of matrix products, and the memory a block of work takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import torch

from btu.store.records import peak_memory_mb
from btu.training.halves import HALVES, two_threads
from btu.training.memory import release_freed_memory

SHAPES = ((1024, 384, 1536), (1024, 768, 3072), (2048, 2048, 2048))  # M, K, N; the best counts
GPU_SHAPES = ((8192, 8192, 8192),)
SECONDS = 0.5  # per shape and arithmetic
PRECISIONS = {"bf16": torch.bfloat16, "fp32": torch.float32}


def matrix_rate(device: str, precision: str) -> float:
    """Floating-point operations per second of the best matrix product of `SHAPES`.

    On a CPU two threads multiply side by side, as training does; the sum of both is given.
    """
    if device == "cpu":
        return max(_on_two_threads(shape, PRECISIONS[precision]) for shape in SHAPES)
    torch.set_float32_matmul_precision("highest")
    return max(_rate(shape, PRECISIONS[precision], device) for shape in GPU_SHAPES)


def _on_two_threads(shape: tuple[int, int, int], dtype: torch.dtype) -> float:
    with two_threads() as pool:
        workers = pool._max_workers
        rates = pool.map(lambda _: _rate(shape, dtype, "cpu"), range(min(HALVES, workers)))
        return sum(rates)


def _rate(shape: tuple[int, int, int], dtype: torch.dtype, device: str) -> float:
    rows, inner, columns = shape
    left = torch.randn(rows, inner, device=device, dtype=dtype)
    right = torch.randn(columns, inner, device=device, dtype=dtype)
    multiply: Callable[[], torch.Tensor] = lambda: torch.nn.functional.linear(left, right)  # noqa: E731
    multiply()
    wait_for(device)
    start, count = time.perf_counter(), 0
    while (seconds := time.perf_counter() - start) < SECONDS:
        multiply()
        wait_for(device)
        count += 1
    return 2.0 * rows * inner * columns * count / seconds


def wait_for(device: str) -> None:
    """Wait until a GPU has done what it was asked for."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


class PeakMemory:
    """The most memory since `start`, in MB: of the GPU on CUDA, of this process elsewhere.

    Linux lets a process forget its peak; where that is impossible the peak is that of its life.
    """

    def __init__(self, device: str) -> None:
        self.device = device

    def start(self) -> None:
        """Forget the peak so far."""
        if self.device.startswith("cuda"):
            torch.cuda.reset_peak_memory_stats(self.device)
            return
        release_freed_memory()  # what a training has kept would be in the peak
        try:
            Path("/proc/self/clear_refs").write_text("5")
        except OSError:
            return

    def megabytes(self) -> int:
        """The peak."""
        if self.device.startswith("cuda"):
            return int(torch.cuda.max_memory_allocated(self.device) / 1e6)
        try:
            lines = Path("/proc/self/status").read_text().splitlines()
        except OSError:
            return peak_memory_mb()
        return next((int(x.split()[1]) * 1024 // 10**6 for x in lines if x.startswith("VmHWM")), 0)
