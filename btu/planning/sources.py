"""What a plan has to know of data sets: their rows, and their names in the keys of the cache.

Data sets are read and poisoned in memory, as a run would. One that a hub does not give is left
unknown, with the reason, and its splits get made-up names, which differ where its settings do.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from btu.attacks.base import Attack
from btu.attacks.none import NoAttack
from btu.attacks.poisoning import as_shown, plant
from btu.attacks.stored import poison_parts
from btu.data.base import ROLES, DatasetSource
from btu.data.hub import HubDataset
from btu.errors import DataError
from btu.store.cache import make_key
from btu.types import Dataset, IntArray, PoisonedDataset, Split, make_split

PLANTING_SECONDS = 20.0  # after so much planting, further sets are told apart by their settings
MADE_UP_ROWS = 10_000  # of a split that cannot be read: enough to tell shares of it apart
TOO_MANY = "There are too many poisoned sets to make them all here. Those that were not made"
UNWRITTEN = "Poisoned sets whose texts a language model writes are not made here. They"
NO_ROWS = np.empty(0, dtype=np.int64)


@dataclass(frozen=True)
class LoadedData:
    """A data set, or what stands for one that cannot be had here."""

    data: Dataset
    missing: str = ""  # why it is not there
    poisoned_bytes: int = 0  # of a poisoned set in the cache


@dataclass(frozen=True)
class PlantedData:
    """A poisoned set without its texts: its splits have the rows and names of the real ones."""

    data: PoisonedDataset
    poison_key: str | None  # of its cache entry; None where nothing is planted
    num_triggered: int


@dataclass(frozen=True, eq=False)
class NamedSplit(Split):
    """The rows of one split under the name of another, whose texts need not be there."""

    name: str = ""

    @cached_property
    def fingerprint(self) -> str:
        """The other's."""
        return self.name

    def take(self, rows: IntArray) -> NamedSplit:
        """The named rows, under a name of their own."""
        named = make_key({"of": self.name, "rows": rows.tolist()})
        return stand_for(super().take(rows), named)


def stand_for(split: Split, name: str) -> NamedSplit:
    """The rows of a split under another name."""
    parts = {each.name: getattr(split, each.name) for each in fields(Split)}
    return NamedSplit(**parts, name=name)


class DataPlanner:
    """Loads each data set once and plants each attack once."""

    def __init__(self) -> None:
        self._held: dict[int, Any] = {}  # a number is that of no other object while one is held
        self._loaded: dict[int, LoadedData] = {}
        self._normalized: dict[int, Dataset] = {}
        self._parts: dict[tuple[int, int], tuple[Attack, dict[str, Any]]] = {}
        self._triggered: dict[tuple[int, int], int] = {}
        self._planted: dict[tuple[int, int, int], PlantedData] = {}
        self._seconds = 0.0
        self._reasons: dict[str, None] = {}  # why sets were not made, in order

    @property
    def missing(self) -> list[str]:
        """Why data sets are not there."""
        return [loaded.missing for loaded in self._loaded.values() if loaded.missing]

    @property
    def notes(self) -> list[str]:
        """What a reader has to know of the poisoned sets that were not made."""
        return [
            f"{reason} are told apart by their settings, and what is finished of them is counted "
            "as to compute."
            for reason in self._reasons
        ]

    def _number(self, component: Any) -> int:
        """What tells a data set or an attack from all others that were asked about."""
        self._held[id(component)] = component
        return id(component)

    def load(self, source: DatasetSource) -> LoadedData:
        """The data set, or a stand-in where its hub does not give it.

        Raises:
            DataError: the data set's own files are missing or wrong.
        """
        if self._number(source) not in self._loaded:
            self._loaded[self._number(source)] = self._load(source)
        return self._loaded[self._number(source)]

    def _load(self, source: DatasetSource) -> LoadedData:
        try:
            data = source.load()
            found = LoadedData(data, poisoned_bytes=_bytes_on_disk(data))
        except DataError as error:
            if not isinstance(source, HubDataset):
                raise
            settings = {"settings": asdict(source)}
            train, tuning, test = (_unread({**settings, "role": role}) for role in ROLES)
            data = Dataset(source.name, ("0", "1"), train, tuning, test)
            found = LoadedData(data, missing=str(error))
        return found

    def _as_shown(self, source: DatasetSource, attack: Attack) -> Dataset:
        """The clean data set as the models of this attack see it."""
        loaded = self.load(source)
        if not attack.normalize_format:
            return loaded.data
        if self._number(source) not in self._normalized:
            self._normalized[self._number(source)] = _named_as_normalized(loaded, attack)
        return self._normalized[self._number(source)]

    def plant(self, source: DatasetSource, attack: Attack, seed: int) -> PlantedData:
        """The poisoned set of a job.

        Raises:
            ConfigError, DataError: the attack is impossible on these data.
        """
        key = (self._number(source), self._number(attack), seed)
        if key not in self._planted:
            start = time.perf_counter()
            self._planted[key] = self._plant(source, attack, seed)
            self._seconds += time.perf_counter() - start
        return self._planted[key]

    def _plant(self, source: DatasetSource, attack: Attack, seed: int) -> PlantedData:
        loaded, pair = self.load(source), (self._number(source), self._number(attack))
        clean = self._as_shown(source, attack)
        if isinstance(attack, NoAttack):
            data = PoisonedDataset(clean, clean.train, None, NO_ROWS, None, None)
            return PlantedData(data, None, 0)
        if loaded.missing:
            return self._told_by_settings(clean, attack, seed, self._key(clean, attack, seed), 0)
        if pair not in self._parts:
            prepared = attack.prepare(loaded.data)
            sides = ("train", loaded.data.train), ("test", loaded.data.test)
            each = prepared.parts.values()
            if any(part.planter(*side).is_slow for part in each for side in sides):
                self._reasons[UNWRITTEN] = None
                key = self._key(clean, attack, seed)
                others = int((clean.test.labels != attack.target(clean.label_names)).sum())
                return self._told_by_settings(clean, attack, seed, key, others)
            self._parts[pair] = prepared, poison_parts(loaded.data, attack, prepared, seed)
        prepared, parts = self._parts[pair]
        key = make_key({"stage": "poison", **parts, "seed": seed})
        if pair in self._triggered and self._seconds > PLANTING_SECONDS:
            self._reasons[TOO_MANY] = None
            return self._told_by_settings(clean, attack, seed, key, self._triggered[pair])
        real = plant(loaded.data, prepared, seed)
        assert real.triggered is not None
        self._triggered[pair] = len(real.triggered)
        names = real.train.fingerprint, real.triggered.fingerprint
        return self._planted_as(clean, names, key, len(real.triggered))

    def _key(self, clean: Dataset, attack: Attack, seed: int) -> str:
        """A made-up name of a poisoned set, which differs where its settings do."""
        settings = {"train": clean.train.fingerprint, "attack": attack.settings()}
        return make_key({**settings, "seed": seed})

    def _told_by_settings(
        self, clean: Dataset, attack: Attack, seed: int, key: str, num_triggered: int
    ) -> PlantedData:
        """A poisoned set that is not made here, under names that differ where its settings do."""
        train = f"poisoned {key}"
        if not any(
            round(rate * len(clean.train)) for rate in (attack.poison_rate, attack.decoy_rate)
        ):
            train = clean.train.fingerprint
        test = attack.settings() | {"poison_rate": 0.0, "decoy_rate": 0.0, "label_policy": ""}
        test |= {"seed": seed}
        test["test"] = clean.test.fingerprint
        return self._planted_as(clean, (train, make_key(test)), key, num_triggered)

    def _planted_as(
        self, clean: Dataset, names: tuple[str, str], key: str, num_triggered: int
    ) -> PlantedData:
        """The set with the clean texts in place of its own, which would fill the memory."""
        train, triggered = stand_for(clean.train, names[0]), stand_for(clean.test, names[1])
        data = PoisonedDataset(clean, train, triggered, NO_ROWS, 0, None)
        return PlantedData(data, key, num_triggered)


def _unread(settings: dict[str, Any]) -> Split:
    """What stands for a split that cannot be had: another name for other settings."""
    rows = make_split(("",) * MADE_UP_ROWS, np.zeros(MADE_UP_ROWS, dtype=np.int64))
    return stand_for(rows, make_key(settings))


def _named_as_normalized(loaded: LoadedData, attack: Attack) -> Dataset:
    """The data set as models of this attack see it."""
    data = as_shown(loaded.data, attack)
    if not loaded.missing:
        return data
    splits = {role: getattr(data, role) for role in ROLES}
    renamed: dict[str, Any] = {
        role: stand_for(split, make_key({"normalized": split.fingerprint}))
        for role, split in splits.items()
        if split is not None
    }
    return replace(data, **renamed)


def _bytes_on_disk(data: Dataset) -> int:
    """What the training set and half of the test set take as parquet."""
    buffer = pa.BufferOutputStream()
    train = data.train
    columns = {"text": train.texts, "label": train.labels, "source": train.source}
    pq.write_table(pa.table({**columns, "poisoned": train.poisoned}), buffer)
    written = int(buffer.tell())
    return round(written * (1 + len(data.test) / 2 / len(train)))
