"""One owner for each piece of work, between processes and between machines.

A claim is a folder that is made elsewhere and renamed to its place, which succeeds for exactly one
process. Nothing else is asked of the file system: no locks, no common clock. The owner works in the
folder and touches it while it lives. Whoever waits takes the claim over when the owner is gone: at
once where it ran on the same machine, else when nothing has touched the claim for two minutes.

An owner that was only asleep and is taken for dead finds its folder gone and begins again, so that
the worst that can happen is that something is computed twice.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from uuid import uuid4

from btu.store.files import parse_as

log = logging.getLogger(__name__)
OWNER = "owner.json"
TOUCH_SECONDS = 10.0
SILENCE_SECONDS = 120.0  # a network disk may show a touch a minute late
POLL_SECONDS = 0.25


@dataclass(frozen=True)
class Owner:
    """A process, so that another on the same machine can see whether it lives."""

    host: str = ""
    machine: str = ""
    pid: int = 0
    born: str = ""
    claim: str = ""  # the folder that it works in


NOBODY = Owner()  # of a claim that was not written whole: a broken disk; patience decides


class ClaimLost(Exception):
    """Another process took this claim over; what was written into its folder is gone."""


def claim_path(final: Path) -> Path:
    """Where the claim for a file or folder lies: beside it."""
    return final.with_name(f"{final.name}.claim")


@contextmanager
def claimed(final: Path, what: str, finished: Callable[[], bool]) -> Iterator[Path | None]:
    """Hold the claim for `final` inside the block.

    Args:
        final: what the work will make.
        what: for the log of a process that waits.
        finished: whether somebody else has made it; asked before and while waiting.

    Yields:
        A folder to work in, removed afterwards; None if it was finished elsewhere.

    Raises:
        ClaimLost: the folder was taken over during the block.
    """
    place = claim_path(final)
    folder = _acquire(place, what, finished)
    if folder is None:
        yield None
        return
    stop = threading.Event()
    try:  # at once: starting a thread takes long enough for a signal to come in between
        threading.Thread(target=_touch, args=(place / OWNER, stop), daemon=True).start()
        yield folder
    except Exception as error:  # safetensors has its own for a folder that is gone
        if not _is_ours(place, folder):
            raise ClaimLost(str(place)) from error
        raise
    finally:
        stop.set()
        if _is_ours(place, folder):
            _remove(place)


def remove_dead(final: Path) -> int:
    """Remove what processes that are gone left of their claims on `final`; gives how many."""
    place = claim_path(final)
    left = [*place.parent.glob(f".{place.name}.*"), *([place] if place.exists() else [])]
    owners = [(path, found[0]) for path in left if (found := _read(path)) is not None]
    return sum(_is_gone(owner) and _take_away(path, owner) for path, owner in owners)


def last_touch(final: Path) -> float:
    """When the owner of the claim on `final` touched it, seconds since 1970; 0 if there is none."""
    found = _read(claim_path(final))
    return 0.0 if found is None else found[1] / 1e9


def _acquire(place: Path, what: str, finished: Callable[[], bool]) -> Path | None:
    last_touch, since, said = -1, time.monotonic(), False
    while not finished():
        if not place.exists() and (folder := _create(place)) is not None:
            return folder
        found = _read(place)
        if found is None:
            continue  # released meanwhile
        owner, touched = found
        if touched != last_touch:
            last_touch, since = touched, time.monotonic()
        if _is_gone(owner) or time.monotonic() - since > SILENCE_SECONDS:
            if _take_away(place, owner):
                log.info("%s: its owner is gone, taking it over", what)
            continue
        if not said:
            told = f"process {owner.pid} on {owner.host}"
            log.info("waiting for %s, which %s is computing", what, told)
            said = True
        time.sleep(POLL_SECONDS)
    return None


def _create(place: Path) -> Path | None:
    """Claim the place if it is free; gives the folder to work in."""
    name = uuid4().hex[:12]
    made = place.with_name(f".{place.name}.{name}")
    (made / name).mkdir(parents=True)
    (made / OWNER).write_text(json.dumps(asdict(_this_process(name))))
    try:
        made.rename(place)  # fails where the place is taken: a folder that is not empty
    except OSError as error:
        shutil.rmtree(made, ignore_errors=True)
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        return None
    return place / name


def _read(place: Path) -> tuple[Owner, int] | None:
    """The owner, and when it last touched its claim in ns; None where there is no claim."""
    try:
        with (place / OWNER).open("rb") as file:
            return parse_as(Owner, file.read()), os.fstat(file.fileno()).st_mtime_ns
    except FileNotFoundError:
        return (NOBODY, 0) if place.exists() else None
    except ValueError:
        return NOBODY, 0


def _is_ours(place: Path, folder: Path) -> bool:
    found = _read(place)
    return found is not None and found[0].claim == folder.name


def _touch(owner: Path, stop: threading.Event) -> None:
    while not stop.wait(TOUCH_SECONDS):
        with suppress(OSError):
            os.utime(owner)


def _take_away(place: Path, owner: Owner) -> bool:
    """Remove a dead owner's claim; only one of several processes does."""
    away = place.with_name(f".{place.name}.{uuid4().hex[:12]}")
    try:
        place.rename(away)
    except OSError:
        return False
    found = _read(away)
    if found is not None and found[0] != owner:  # a new owner came in between: give it back
        with suppress(OSError):
            away.rename(place)
            return False
    shutil.rmtree(away, ignore_errors=True)
    return True


def _remove(place: Path) -> None:
    away = place.with_name(f".{place.name}.{uuid4().hex[:12]}")
    with suppress(OSError):
        place.rename(away)
        shutil.rmtree(away, ignore_errors=True)


def _this_process(claim: str) -> Owner:
    pid = os.getpid()
    return Owner(socket.gethostname(), _machine(), pid, _born(pid), claim)


def _machine() -> str:
    """This boot of this machine and its process numbers, which a container has of its own."""
    parts = []
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
    with suppress(OSError):
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return " ".join([socket.gethostname(), *parts])


def _is_gone(owner: Owner) -> bool:
    """Whether the owner is a process of this machine that no longer runs."""
    if owner.machine != _machine() or not 0 < owner.pid < 1 << 31:
        return False
    try:
        os.kill(owner.pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return _born(owner.pid) != owner.born


def _born(pid: int) -> str:
    """When a process began, which tells it from a later one of its number; dead if a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""  # no such file system: the number alone decides
    return "dead" if fields[0] in "ZX" else fields[19]
