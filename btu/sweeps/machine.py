"""Sharing one machine between jobs: cores, GPUs, environment."""

from __future__ import annotations

import fcntl
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

SLOT_SECONDS = 60.0
_slot: list[tuple[int, IO[str]]] = []  # of this process, locked until it ends


def num_cores() -> int:
    """The cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on Linux
        return os.cpu_count() or 1


@contextmanager
def environment(**variables: str) -> Iterator[None]:
    """Set environment variables inside the block, for the processes started there."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def errors_into(path: Path) -> Iterator[None]:
    """Let processes that are started inside the block write their errors into a file."""
    sys.stderr.flush()
    own = os.dup(2)
    with path.open("a") as file:
        os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(own, 2)
        os.close(own)


def slot_of_this_process(folder: Path, num_slots: int) -> int:
    """A number below `num_slots` that no other living process has; the same at every call.

    The system frees it when the process ends, however it ends. Only for processes of one machine,
    with a folder on its own disk: a network disk may lie about locks.

    Raises:
        RuntimeError: there were more processes than slots for longer than a minute.
    """
    deadline = time.monotonic() + SLOT_SECONDS
    while not _slot:
        for number in range(num_slots):
            file = (folder / str(number)).open("w")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                file.close()
                continue
            _slot.append((number, file))
            break
        else:
            if time.monotonic() > deadline:
                raise RuntimeError(f"more processes than the {num_slots} slots")
            time.sleep(0.1)  # a process that joblib replaces may still be ending
    return _slot[0][0]
