"""Stage cache: what was computed once is not computed again, also after a kill, also by others.

An entry is `<cache>/<stage>/<key>/` with its files and `manifest.json`, which holds what the key
was made of and each file's checksum. It is written in the folder of a claim (`store/claims.py`),
manifest last, and renamed into place, so there is no half entry and jobs that run at once compute
it once. Files are verified when read and a bad entry is made again. Nothing is pickled: stages
write safetensors, npz, parquet and JSON.

What a stage needs to go on after a kill it keeps beside its entry, in `<key>.epochs/`, which looks
like an entry, counts as one, and is removed when the stage is finished (`btu/training/resume.py`).
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, ClassVar, TypeVar

from annotated_types import Predicate

from btu import processes
from btu.settings.base import Settings
from btu.settings.ranges import Place, Range
from btu.store.claims import ClaimLost, claim_path, claimed, last_touch, remove_dead
from btu.store.files import checksum, read_as, write_json
from btu.types import Count

log = logging.getLogger(__name__)
MANIFEST = "manifest.json"
UNFINISHED = ".epochs"
IN_USE_SECONDS = 600.0  # an entry read or made within this time is not removed to make room
LOOK_SHARE = 0.02  # of the limit: sizes are summed again when that much was written
T = TypeVar("T")


def make_key(parts: Mapping[str, Any]) -> str:
    """A short name for everything that a result depends on."""
    return identify(parts)[:16]


def identify(parts: Mapping[str, Any]) -> str:
    """The sha256 of everything that a result depends on."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass
class CacheConfig(Settings):
    """Where finished stages are kept, and how much of them."""

    folder: Place = "${outputs}/cache"
    limit_gb: Annotated[float, Range(0, 10**9, "a size in gigabytes,", open_low=True)] | None = None
    save_every_s: Annotated[float, Range(0, 10**9, "a number of seconds,")] | None = None

    place: ClassVar[str] = "cache"


def is_plain(name: str) -> bool:
    """Whether a name is that of a file in the folder itself."""
    return name == Path(name).name and "\0" not in name


@dataclass(frozen=True)
class DoneWork:
    """What making an entry took, of one kind of work."""

    kind: str
    rows: Count
    how: str


@dataclass(frozen=True)
class About:
    """What an entry is, for people who look at the cache and for plans; in no key."""

    title: str = ""
    dataset: str = ""
    attack: str = ""
    model: str = ""
    seed: int | None = None
    model_identity: str = ""
    device: str = ""
    precision: str = ""
    costs: tuple[DoneWork, ...] = ()
    own_seconds: float = 0.0  # without the entries that were made inside it
    clean: str = ""  # of a poisoned set: the fingerprint of its training rows before
    poisoned: str = ""  # and after


@dataclass(frozen=True)
class Manifest:
    """What an entry was made of, and the sha256 of each of its files."""

    key: str
    parts: Mapping[str, Any]
    files: Mapping[Annotated[str, Predicate(is_plain)], str]
    bytes: Count
    seconds: float = 0.0
    about: About = field(default_factory=About)


@dataclass(frozen=True)
class Entry:
    """One stage on disk, or the last epoch of one that is not finished."""

    folder: Path
    manifest: Manifest
    used: float  # when it was last read or made, seconds since 1970

    @property
    def stage(self) -> str:
        """The kind of stage, its folder."""
        return self.folder.parent.name

    @property
    def key(self) -> str:
        """What names it within the stage."""
        return self.folder.name

    @property
    def size(self) -> int:
        """Bytes of its files."""
        return self.manifest.bytes


class StageCache:
    """Content-addressed folders of finished stages.

    Args:
        root: the cache's folder.
        recompute: compute each stage once more.
        limit_bytes: entries are removed above this size, those first that were used least recently.
    """

    def __init__(
        self, root: Path, recompute: bool = False, limit_bytes: float | None = None
    ) -> None:
        self.root, self.recompute, self.limit_bytes = root, recompute, limit_bytes
        self.made: set[str] = set()  # keys computed here, which `recompute` keeps
        self._unsummed = limit_bytes or 0.0  # written since sizes were last summed

    def get(
        self,
        stage: str,
        parts: Mapping[str, Any],
        write: Callable[[Path], None],
        read: Callable[[Path], T],
        about: Mapping[str, Any] | None = None,
    ) -> tuple[T, str]:
        """What a finished stage holds, and its key; computed if there is none.

        Args:
            stage: name of the stage, its sub-folder.
            parts: everything the result depends on.
            write: computes the stage and writes its files into the folder it is given.
            read: gives the value from the finished folder.
            about: for people who look at the manifest; in no key.
        """
        key = make_key({"stage": stage, **parts})
        final = self.root / stage / key
        what = f"{(about or {}).get('title', stage)} (key {key})"
        if processes.follows():
            return processes.follow(lambda: _thrown_away(write), lambda: read(final)), key
        while True:
            stamp = _stamp(final)
            if self._is_usable(final):
                try:
                    value = read(final)
                except Exception:
                    if _stamp(final) == stamp and is_intact(final):
                        raise
                    continue  # removed, damaged or made anew while it was read
                self._mark_used(final)
                processes.agree(processes.READ)
                return value, key

            def made_elsewhere(seen: tuple[int, int] | None = stamp) -> bool:
                return _stamp(final) != seen and self._is_usable(final)

            with suppress(ClaimLost), claimed(final, what, made_elsewhere) as folder:
                if folder is not None:
                    manifest = {"key": key, "parts": parts, "about": about or {}}
                    self._make(folder, final, manifest, write)

    def took(self, stage: str, key: str) -> float:
        """Seconds that an entry took to make, without those made inside it; 0 if unknown."""
        try:
            return read_as(Manifest, self.root / stage / key / MANIFEST).about.own_seconds
        except (OSError, ValueError):
            return 0.0

    def unfinished(self, stage: str, key: str) -> Path:
        """The folder where whoever computes an entry keeps what another process can go on from."""
        return _unfinished(self.root / stage / key)

    def _is_usable(self, final: Path) -> bool:
        fresh = final.name in self.made or not self.recompute
        return fresh and final.exists() and is_intact(final)

    def _mark_used(self, final: Path) -> None:
        with suppress(OSError):
            os.utime(final / MANIFEST)
        remove_dead(final)

    def _make(
        self,
        folder: Path,
        final: Path,
        manifest: dict[str, Any],
        write: Callable[[Path], None],
    ) -> None:
        start = time.perf_counter()
        if self.recompute:
            shutil.rmtree(_unfinished(final), ignore_errors=True)
        processes.agree(processes.COMPUTE)
        write(folder)
        files = sorted(folder.iterdir())
        manifest["files"] = {path.name: checksum(path) for path in files}
        manifest["bytes"] = sum(path.stat().st_size for path in files)
        manifest["seconds"] = round(time.perf_counter() - start, 3)
        write_json(folder / MANIFEST, manifest)
        if final.exists():
            final.rename(folder.with_name(f"{folder.name}.old"))  # goes with the claim's folder
        folder.rename(final)
        shutil.rmtree(_unfinished(final), ignore_errors=True)
        self.made.add(final.name)
        self._make_room(manifest["bytes"])

    def _make_room(self, written: int) -> None:
        if self.limit_bytes is None:
            return
        self._unsummed += written
        if self._unsummed < LOOK_SHARE * self.limit_bytes:
            return
        self._unsummed = 0.0
        removed = prune(self.root, to_bytes=self.limit_bytes, idle_seconds=IN_USE_SECONDS)
        if removed:
            freed = sum(entry.size for entry in removed)
            log.info("cache: %d entries removed, %.2f GB, limit_gb", len(removed), freed / 1e9)


def _thrown_away(write: Callable[[Path], None]) -> None:
    """Compute a stage for the sake of process 0, whose result counts."""
    with TemporaryDirectory(prefix="btu-stage-") as folder:
        write(Path(folder))


def _unfinished(final: Path) -> Path:
    return final.with_name(f"{final.name}{UNFINISHED}")


def _stamp(final: Path) -> tuple[int, int] | None:
    """What changes when an entry is made anew; None where there is none."""
    try:
        status = (final / MANIFEST).stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns


def is_intact(folder: Path) -> bool:
    """Whether every file of an entry has its checksum; says so if not."""
    try:
        bad = [
            f"the checksum of {name} does not match"
            for name, wanted in read_as(Manifest, folder / MANIFEST).files.items()
            if checksum(folder / name) != wanted
        ]
    except FileNotFoundError as error:
        if not folder.exists():
            return False  # pruned meanwhile
        bad = [f"{Path(error.filename).name} is missing"]
    except (OSError, ValueError) as error:
        bad = [str(error)]
    if bad:
        log.warning("cache entry %s is damaged (%s) and will be made again", folder, bad[0])
    return not bad


def entries(root: Path) -> list[Entry]:
    """All entries under a cache folder, those used least recently first.

    An epoch that an unfinished training kept is one, in use as long as somebody works on it.
    """
    found = []
    for path in root.glob(f"*/*/{MANIFEST}"):
        folder = path.parent
        if folder.name.startswith(".") or ".claim" in folder.name:
            continue
        try:
            used = path.stat().st_mtime
            if folder.name.endswith(UNFINISHED):
                used = max(used, last_touch(folder.with_suffix("")))
            found.append(Entry(folder, read_as(Manifest, path), used))
        except FileNotFoundError:
            continue  # removed meanwhile
        except (OSError, ValueError) as error:
            log.warning("cache entry %s is left out: its manifest is damaged (%s)", folder, error)
    return sorted(found, key=lambda entry: (entry.used, entry.key))


def prune(
    root: Path,
    to_bytes: float | None = None,
    idle_seconds: float = 0.0,
    dry_run: bool = False,
) -> list[Entry]:
    """Remove entries, those used least recently first; gives what was removed.

    Args:
        root: the cache's folder.
        to_bytes: stop once the entries hold no more than this; None removes all that are idle.
        idle_seconds: leave entries alone that were used within this time.
        dry_run: remove nothing, only tell.
    """
    found = entries(root)
    total, removed = sum(entry.size for entry in found), []
    for entry in found:
        idle = time.time() - entry.used >= idle_seconds
        if not idle or (to_bytes is not None and total <= to_bytes):
            continue
        total -= entry.size
        removed.append(entry)
        if not dry_run:
            _remove(entry)
    return removed


def _remove(entry: Entry) -> None:
    """Take an entry away at once, so that nobody finds half of it."""
    away = entry.folder.with_name(f".{entry.key}.removed.{os.getpid()}")
    with suppress(OSError):
        entry.folder.rename(away)
    shutil.rmtree(away, ignore_errors=True)


def remove_leftovers(root: Path) -> int:
    """Remove what killed processes left behind: claims without an owner, folders half removed.

    An epoch that nobody works on stays, unless it is half written or its stage is finished: the
    next process continues there.
    """
    claims = {path.with_suffix("") for path in root.glob("*/*.claim")}
    claims |= {
        path.with_name(path.name[1:].split(".claim.")[0]) for path in root.glob("*/.*.claim.*")
    }
    count = sum(remove_dead(final) for final in claims)
    useless = [*root.glob("*/.*.removed.*")]
    for kept in root.glob(f"*/*{UNFINISHED}"):
        final = kept.with_suffix("")
        is_whole = (kept / MANIFEST).exists()
        if not claim_path(final).exists() and (final.exists() or not is_whole):
            useless.append(kept)
    for folder in useless:
        shutil.rmtree(folder, ignore_errors=True)
    return count + len(useless)
