"""Looking at a stage cache: what is in it, and why two entries are not one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.table import Table

from btu.errors import ConfigError
from btu.store.cache import Entry, entries

MISSING = "(nothing)"


def listing(found: Sequence[Entry]) -> Table:
    """Entries as a table, those used last on top, with the total at the end."""
    table = Table(box=None, pad_edge=False)
    for column in ("stage", "key", "MB", "made in", "last used", "what"):
        table.add_column(column, justify="right" if column in ("MB", "made in") else "left")
    for entry in reversed(found):
        used = datetime.fromtimestamp(entry.used).strftime("%Y-%m-%d %H:%M")
        seconds = f"{entry.manifest.seconds:.0f} s"
        size = f"{entry.size / 1e6:.1f}"
        table.add_row(entry.stage, entry.key, size, seconds, used, _about(entry))
    total = sum(entry.size for entry in found)
    table.add_row(f"{len(found)} entries", "", f"{total / 1e6:.1f}", "", "", "")
    return table


def differences(root: Path, one: str, other: str) -> list[str]:
    """Why two entries have two keys: lines that name what differs, with both values.

    Where the training set or the victim differs, the lines go on to what differs between those.

    Raises:
        ConfigError: no entry, or more than one, begins with the letters given.
    """
    found = entries(root)
    return list(_differences(_find(found, one), _find(found, other), found, ""))


def _differences(one: Entry, other: Entry, found: Sequence[Entry], indent: str) -> Iterator[str]:
    both = f"{one.stage} {one.key} and {other.stage} {other.key}"
    lines = [*_changed_parts(one, other, found, f"{indent}  ")]
    yield f"{indent}{both} " + ("differ in" if lines else "were made of the same parts")
    yield from lines


def _changed_parts(one: Entry, other: Entry, found: Sequence[Entry], indent: str) -> Iterator[str]:
    left, right = (dict(_flat(entry.manifest.parts)) for entry in (one, other))
    for name in sorted(left.keys() | right.keys()):
        values = left.get(name, MISSING), right.get(name, MISSING)
        if values[0] == values[1]:
            continue
        told = [f"{value}{_role(found, name, value)}" for value in values]
        yield f"{indent}{name}: {told[0]} | {told[1]}"
        parents = [_parent(found, name, value) for value in values]
        if parents[0] and parents[1] and parents[0].key != parents[1].key:
            yield from _differences(parents[0], parents[1], found, f"{indent}  ")


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Nested settings as dotted names; long lists stay whole."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _flat(inner, f"{path}.{name}" if path else str(name))
    else:
        yield path, value


def _parent(found: Sequence[Entry], name: str, value: Any) -> Entry | None:
    """The entry that a part names: by its stage and key, or the data of a poisoned set."""
    for entry in found:
        if value == f"{entry.stage}/{entry.key}":
            return entry
        is_poisoned_set = name.endswith("data") and entry.stage == "poison"
        if is_poisoned_set and value == entry.manifest.about.poisoned:
            return entry
    return None


def _role(found: Sequence[Entry], name: str, value: Any) -> str:
    """Whether a training set is a poisoned one."""
    if not name.endswith("data"):
        return ""
    for entry in found:
        about = entry.manifest.about
        if entry.stage == "poison" and value in (about.poisoned, about.clean):
            return " (poisoned)" if value == about.poisoned else " (not poisoned)"
    return ""


def _find(found: Sequence[Entry], beginning: str) -> Entry:
    hits = [entry for entry in found if entry.key.startswith(beginning)]
    if len(hits) != 1:
        what = "no entry" if not hits else f"{len(hits)} entries"
        raise ConfigError(
            f"{what} in the cache with a key that begins with {beginning!r}; expected one. "
            "List the keys with: python scripts/cache.py list"
        )
    return hits[0]


def _about(entry: Entry) -> str:
    about = entry.manifest.about
    names = filter(None, (about.dataset, about.attack, about.model))
    seed = "" if about.seed is None else f"  seed {about.seed}"
    return f"{about.title}  {'/'.join(names)}{seed}"
