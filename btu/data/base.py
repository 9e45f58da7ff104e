"""From raw columns to a checked data set: classes, empty rows, hold-outs and overlaps."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Annotated, ClassVar

import numpy as np

from btu.data.labels import Classes, find_classes, parse_labels
from btu.data.splits import count_contradictions, hold_out, separate
from btu.errors import DataError, listed
from btu.seeding import stream
from btu.settings.base import Settings
from btu.settings.ranges import Items, Name, Range, Word
from btu.types import Dataset, Split

MAX_EMPTY_SHARE = 0.05  # more empty texts than this look like a wrong column
ROLES = ("train", "tuning", "test")
NUM_SHOWN = 6
TENTH = "For ten percent write {key}=0.1."
Holdout = Annotated[float, Range(0, 0.9, "a share of the training rows", TENTH)]
Wrong = Annotated[float, Range(0, 0.5, "a share of the training labels,", TENTH, open_high=True)]
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RawSplit:
    """Columns of strings as read, one entry per row of the file."""

    texts: Sequence[str]
    labels: Sequence[str]
    columns: Mapping[str, Sequence[str]] = field(default_factory=dict)
    path: str = ""
    taken: str = ""  # the names of the columns of texts and labels
    label_column: str = ""
    notes: Sequence[str] = ()  # how the file was read, one sentence each


@dataclass(frozen=True)
class DatasetSource(Settings):
    """Settings that every data set shares. A subclass reads its raw splits (`read`).

    Where `read` gives no test or tuning split, that share of the training rows is held out, the
    same rows whatever the run's seed. A share of 0 leaves the split out.
    """

    name: Name
    label_names: Annotated[list[Word], Items(2)] | None
    first_label: Annotated[int, Range(-1_000_000, 1_000_000)]
    test_holdout: Holdout
    tuning_holdout: Holdout
    holdout_seed: Annotated[int, Range(0, 2**31 - 1)]
    wrong_labels: Wrong
    allow_overlap: bool

    place: ClassVar[str] = "dataset"

    def read(self) -> Mapping[str, RawSplit | None]:
        """Raw splits by role: train, tuning, test."""
        raise DataError(f"dataset {self.name} cannot be read.")

    def load(self) -> Dataset:
        """The checked data set.

        Raises:
            DataError: anything in the files that would make the results wrong.
        """
        raw, classes, splits, notes = self.open_files()
        self._hold_out(splits, notes)
        found, leaky = separate(splits, self.allow_overlap)
        notes += found
        self._turn_labels(splits, len(classes.names), notes)
        for role, split in splits.items():
            if split and (number := count_contradictions(split)):
                notes.append(f"{role}: {number:,} texts stand there with more than one label")
        test = splits["test"]
        assert splits["train"] is not None
        if test is None:
            raise DataError(
                f"dataset {self.name} has no test split.{self._advise('test', 'PATH')} To hold "
                "rows out of the training rows write dataset.test_holdout=0.1."
            )
        log.info(_describe(self.name, raw, splits, classes.names))
        return Dataset(
            self.name, classes.names, splits["train"], splits["tuning"], test, tuple(notes), leaky
        )

    def open_files(
        self,
    ) -> tuple[Mapping[str, RawSplit | None], Classes, dict[str, Split | None], list[str]]:
        """What was read, the classes, the splits as they stand in the files, and what was dropped.

        Raises:
            DataError: a file or a label in it is not as it has to be.
        """
        raw = self.read()
        train = raw.get("train")
        if train is None:
            raise DataError(
                f"dataset {self.name} has no training rows.{self._advise('train', 'PATH')}"
            )
        classes = find_classes(
            train.labels, self.label_names, self.first_label, _where("train", train)
        )
        notes = [classes.note] if classes.note else []
        splits: dict[str, Split | None] = {}
        for role in ROLES:
            part = raw.get(role)
            splits[role] = self._split(role, part, classes, notes) if part else None
            if role == "train":
                self._check_classes(splits[role], classes.names)
        return raw, classes, splits, notes

    def _advise(self, key: str, value: str = "NAME") -> str:
        """What to type, if a data set of this kind has such a key."""
        has_it = key in {each.name for each in fields(self)}
        return f" Write dataset.{key}={value}." if has_it else ""

    def _split(self, role: str, raw: RawSplit, classes: Classes, notes: list[str]) -> Split:
        where = _where(role, raw)
        kept = np.asarray([i for i, text in enumerate(raw.texts) if text.strip()], dtype=np.int64)
        num_empty = len(raw.texts) - len(kept)
        if not len(kept):
            raise DataError(f"{where} has no rows with text; expected at least one.")
        if num_empty > MAX_EMPTY_SHARE * len(raw.texts):
            raise DataError(
                f"{where}: {num_empty} of {len(raw.texts)} texts are empty, more than "
                f"{MAX_EMPTY_SHARE:.0%}. Is it the column of texts?{self._advise('text_column')}"
            )
        if num_empty:
            notes.append(f"{role}: {num_empty} of {len(raw.texts)} rows dropped, empty text")
        notes += [f"{role}: {note}" for note in raw.notes]
        labels = parse_labels([raw.labels[i] for i in kept], classes, where, kept)
        return Split(
            texts=tuple(raw.texts[i] for i in kept),
            labels=labels,
            source=kept,
            poisoned=np.zeros(len(kept), dtype=np.bool_),
            columns={k: tuple(v[i] for i in kept) for k, v in raw.columns.items()},
            num_rows_in_file=len(raw.texts),
            path=raw.path,
        )

    def _hold_out(self, splits: dict[str, Split | None], notes: list[str]) -> None:
        for role, share in (("test", self.test_holdout), ("tuning", self.tuning_holdout)):
            train = splits["train"]
            assert train is not None
            if splits[role] is not None or not share:
                continue
            rng = stream(self.holdout_seed, "holdout", role)
            held_out = hold_out(train, share, rng, f"dataset.{role}_holdout")
            splits[role] = train.take(np.flatnonzero(held_out))
            splits["train"] = train.take(np.flatnonzero(~held_out))
            notes.append(
                f"{role}: {held_out.sum()} of {len(train)} training rows held out, with whatever "
                "was planted in them"
            )

    def _turn_labels(
        self, splits: dict[str, Split | None], num_labels: int, notes: list[str]
    ) -> None:
        train = splits["train"]
        assert train is not None
        if not self.wrong_labels:
            return
        rng = stream(self.holdout_seed, "wrong labels")
        turned = rng.random(len(train)) < self.wrong_labels
        others = 1 + (rng.random(len(train)) * (num_labels - 1)).astype(np.int64)
        labels = np.where(turned, (train.labels + others) % num_labels, train.labels)
        splits["train"] = replace(train, labels=labels)
        notes.append(f"train: {turned.sum()} of {len(train)} labels turned at random")

    def _check_classes(self, train: Split | None, names: tuple[str, ...]) -> None:
        present = np.unique(train.labels if train else [])
        if len(present) < 2:
            raise DataError(
                f"dataset {self.name}: all training rows have the label {names[present[0]]}; a "
                f"classifier needs two or more.{self._advise('label_column')}"
            )


def _where(role: str, raw: RawSplit) -> str:
    return raw.path or f"split {role}"


def _describe(
    name: str,
    raw: Mapping[str, RawSplit | None],
    splits: Mapping[str, Split | None],
    names: tuple[str, ...],
) -> str:
    """One line: the columns that were taken, and the rows of each label in each split."""
    taken = dict.fromkeys(part.taken for part in raw.values() if part and part.taken)
    shown = [f"columns {' / '.join(taken)}"] if taken else []
    for role, split in splits.items():
        if split is not None:
            sizes = np.bincount(split.labels, minlength=len(names))
            counts = (f"{label}: {size:,}" for label, size in zip(names, sizes, strict=True))
            shown.append(f"{role} {len(split):,} ({listed(counts, NUM_SHOWN)})")
    return f"data {name}: {'; '.join(shown)}"


def relabel(raw: RawSplit, label_map: Mapping[str, str]) -> RawSplit:
    """The split with its labels renamed; labels that the map leaves out stay."""
    return replace(raw, labels=[label_map.get(x.strip(), x) for x in raw.labels])
