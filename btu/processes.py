"""Several processes for one job, as torchrun starts them: one for each device.

All of them run the same job. Process 0 decides and writes; the others follow: they take part in
each training and read what process 0 has written. `StageCache.get` and `RecordStore.get` are where
they meet. One process alone loads and does nothing of this.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from btu.errors import BtuError, ConfigError

READ, COMPUTE = 0, 1  # what process 0 tells the others to do
TIMEOUT = timedelta(days=7)  # process 0 may wait for what another job computes
VISIBLE_SECONDS = 20.0  # a network disk may show a file late
MESSAGE = 1024  # bytes
ENDED = 143  # exit code of a process that was ended, here by the end of another
LAUNCHED = "BTU_LAUNCHED"  # environment variable: a launcher started this one job of a sweep
T = TypeVar("T")


class ProcessGone(BtuError):
    """Another process of this job ended first."""


@dataclass(frozen=True)
class ProcessGroup:
    """This process among those of its job."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0  # among those of this machine
    local_size: int = 1

    def share(self, rows: Sequence[int]) -> tuple[Sequence[int], float]:
        """This process's rows of a batch, and the weight of their mean loss.

        The mean of the weighted losses of all processes is the mean loss of the batch. A process
        without a row computes one that does not count, since all of them add their gradients.
        """
        mine = rows[self.rank :: self.size]
        return mine or rows[:1], self.size * len(mine) / len(rows)


ALONE = ProcessGroup()
_joined = ALONE


def started() -> ProcessGroup:
    """What torchrun, or another launcher, says of this process in the environment."""
    size = int(os.environ.get("WORLD_SIZE", 1))
    if size == 1 or "RANK" not in os.environ:
        return ALONE
    rank = int(os.environ["RANK"])
    local_rank = int(os.environ.get("LOCAL_RANK", rank))
    return ProcessGroup(rank, size, local_rank, int(os.environ.get("LOCAL_WORLD_SIZE", size)))


def join(device: str) -> None:
    """Meet the other processes of this job, on the device that this one computes on."""
    global _joined
    group = started()
    if group.size == 1 or _joined is not ALONE:
        return
    import torch

    on_cuda = device.startswith("cuda")
    if on_cuda:
        torch.cuda.set_device(device)
    backend = "cpu:gloo,cuda:nccl" if on_cuda else "gloo"
    torch.distributed.init_process_group(backend, timeout=TIMEOUT)
    _joined = group


def leave() -> None:
    """Part from the other processes: from here on process 0 is alone."""
    global _joined
    if _joined is not ALONE:
        import torch

        torch.distributed.destroy_process_group()
        _joined = ALONE


def joined() -> ProcessGroup:
    """This process among those that have met; alone before and after."""
    return _joined


def follows() -> bool:
    """Whether this process does what process 0 tells it."""
    return _joined.rank > 0


def agree(number: int) -> int:
    """The number of process 0, in every process."""
    if _joined is ALONE:
        return number
    import torch

    told = torch.tensor([number])
    torch.distributed.broadcast(told, src=0)
    return int(told)


def follow(compute: Callable[[], object], read: Callable[[], T]) -> T:
    """What process 0 gets from the disk: computed with it where necessary, then read."""
    while agree(READ) == COMPUTE:
        compute()
    deadline = time.monotonic() + VISIBLE_SECONDS
    while True:
        try:
            return read()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


@contextmanager
def ends_with_the_others() -> Iterator[None]:
    """Turn what gloo raises when another process is gone into a sentence; a follower just ends.

    Raises:
        ProcessGone: another process ended first, and has said why.
    """
    try:
        yield
    except RuntimeError as error:
        if _joined is ALONE or not re.search(r"Connection (closed|reset) by peer", str(error)):
            raise
        if follows():
            sys.exit(ENDED)
        raise ProcessGone(
            f"another of this job's {_joined.size} processes has ended; it says why."
        ) from error


def check_shared(folders: Mapping[str, Path]) -> None:
    """Raise unless all processes see what process 0 writes into these folders.

    Args:
        folders: by the setting that names them.

    Raises:
        ConfigError: in all processes, with the host and the folder that it does not see.
    """
    if _joined is ALONE:
        return
    name = secrets.randbelow(2**31)
    if not follows():
        for folder in folders.values():
            (folder / f".seen.{name}").touch()
    name = agree(name)
    unseen = [s for s, folder in folders.items() if not appears(folder / f".seen.{name}")]
    answers = _gathered([socket.gethostname(), unseen])
    if not follows():
        for folder in folders.values():
            (folder / f".seen.{name}").unlink(missing_ok=True)
    for rank, (host, missing) in enumerate(answers):
        for setting in missing:
            raise ConfigError(
                f"{setting}={folders[setting]}: process {rank} on {host} cannot see what "
                f"process 0 on {answers[0][0]} writes there. Write {setting}=PATH for a folder on "
                "a disk that all nodes share."
            )


def appears(path: Path) -> bool:
    """Whether a file that another machine wrote can be seen, even where a disk lags behind."""
    deadline = time.monotonic() + VISIBLE_SECONDS
    while not path.exists():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


def _gathered(value: Any) -> list[Any]:
    """The value of each process, by rank; what JSON can hold, in at most `MESSAGE` bytes."""
    import torch

    text = json.dumps(value).encode().ljust(MESSAGE)
    own = torch.frombuffer(bytearray(text[:MESSAGE]), dtype=torch.uint8)
    all_of_them = [torch.empty_like(own) for _ in range(_joined.size)]
    torch.distributed.all_gather(all_of_them, own)
    return [json.loads(bytes(each.numpy())) for each in all_of_them]
