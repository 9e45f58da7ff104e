"""Stages: pieces of work that are computed at most once, by name and by everything they need."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from btu.errors import ConfigError
from btu.store.cache import make_key
from btu.types import Split

T = TypeVar("T")
UNKEYED = {"keyed": False}  # metadata of a field that changes no number
ARRAY = "values"  # of a stage that is one array


@dataclass(frozen=True)
class Format(Generic[T]):
    """How what a stage gives is written into a folder and read again; never a pickle."""

    write: Callable[[T, Path], None]
    read: Callable[[Path], T]


@dataclass(frozen=True)
class Cost:
    """What a stage takes, for a plan: how often which rows go through how much of a model."""

    kind: str  # what a plan calls it
    rows: int  # times epochs
    split: Split | None  # whose texts are as long
    passes: int = 0  # forward passes' worth of matrix products for each token; 0: next to none
    batch_size: int = 1
    pad_to: int | None = None  # tokens of a row, where all have as many
    how: str = ""  # settings that the time of a row depends on


@dataclass(frozen=True, eq=False)
class Stage(Generic[T]):
    """One piece of work that is computed at most once; making a stage computes nothing.

    Args:
        name: the kind of stage, its folder in the cache: victim, detection, evaluation.
        parts: everything that the result depends on. Stages among them, also in lists and mappings,
            are its parents and count by their keys.
        compute: gives the result.
        format: how it is written and read; None: it is made anew wherever it is asked for.
        version: of its arithmetic: raised when what it computes changes.
        title: for logs and for people who look at the cache; in no key.
        cost: for a plan; in no key.
    """

    name: str
    parts: Mapping[str, Any]
    compute: Callable[[], T]
    format: Format[T] | None
    version: int = 1
    title: str = ""
    cost: Cost | None = None

    @cached_property
    def named_parts(self) -> dict[str, Any]:
        """The parts with the keys of stages in their place, as JSON can hold them."""
        return {"version": self.version, **_named(self.parts)}

    @cached_property
    def key(self) -> str:
        """What names the result: two stages of one key give the same."""
        return make_key({"stage": self.name, **self.named_parts})

    def lineage(self) -> Iterator[Stage[Any]]:
        """Everything that this stage needs and itself, parents first, each once."""
        seen: dict[str, Stage[Any]] = {}

        def visit(stage: Stage[Any]) -> None:
            if stage.key not in seen:
                for parent in _stages(stage.parts):
                    visit(parent)
                seen[stage.key] = stage

        visit(self)
        yield from seen.values()


def settings_of(component: Any) -> dict[str, Any]:
    """The settings of a dataclass that a number can depend on.

    A field that changes no number says so where it is declared: `field(metadata=UNKEYED)`.
    """
    return {
        each.name: _plain(getattr(component, each.name))
        for each in fields(component)
        if each.metadata.get("keyed", True)
    }


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return settings_of(value)
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, (list, tuple)) else value


def _named(value: Any) -> Any:
    if isinstance(value, Stage):  # one without an entry is told in full
        whole = {"stage": value.name, **value.named_parts}
        return whole if value.format is None else f"{value.name}/{value.key}"
    if isinstance(value, Mapping):
        return {str(name): _named(part) for name, part in value.items()}
    if isinstance(value, np.ndarray):
        return value.tolist()
    return [_named(part) for part in value] if isinstance(value, (list, tuple)) else value


def _stages(value: Any) -> Iterator[Stage[Any]]:
    if isinstance(value, Stage):
        yield value
    elif isinstance(value, (Mapping, list, tuple)):
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from _stages(part)


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write arrays by name as an npz file; what is None is left out."""
    named: Any = {name: values for name, values in arrays.items() if values is not None}
    np.savez(path, **named)


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of an npz file; never a pickle."""
    with np.load(path, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


def _write_one_array(values: Any, folder: Path) -> None:
    if not isinstance(values, np.ndarray):
        raise ConfigError(
            f"a stage in the format ONE_ARRAY must compute a numpy array, but gave a "
            f"{type(values).__name__}."
        )
    write_arrays(folder / f"{ARRAY}.npz", {ARRAY: values})


ONE_ARRAY: Format[NDArray[Any]] = Format(
    _write_one_array,
    lambda folder: read_arrays(folder / f"{ARRAY}.npz")[ARRAY],
)
