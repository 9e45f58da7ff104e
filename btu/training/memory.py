"""What this process does with memory that it no longer needs."""

from __future__ import annotations

import ctypes
import gc
import sys
from typing import Any

M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8  # of malloc.h


def keep_freed_memory() -> None:
    """Let this process reuse large blocks; glibc gives those over 32 MB back at every free.

    An embedding gradient and the activations of the pooled rounds are larger than that, and their
    pages were zeroed anew in each step. Other C libraries are left as they are.
    """
    mallopt = getattr(_libc(), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, -1)  # never
        mallopt(M_ARENA_MAX, 1)  # the arenas of other threads cannot hold such blocks


def give_memory_back() -> None:
    """Give free memory back to the system, between the jobs of a sweep."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    release_freed_memory()


def release_freed_memory() -> None:
    """Give back what was freed and kept; the pieces that one stage leaves fit no other."""
    malloc_trim = getattr(_libc(), "malloc_trim", None)
    if malloc_trim is not None:
        malloc_trim(0)


def _libc() -> Any:
    return ctypes.CDLL(None) if sys.platform == "linux" else None
