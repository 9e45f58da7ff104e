"""From raw columns to a checked data set: labels, empty rows, hold-outs and overlaps."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, ClassVar

import numpy as np

from btu.errors import DataError
from btu.seeding import stream
from btu.settings.base import Settings
from btu.settings.ranges import Items, Name, Range, Word
from btu.types import Dataset, IntArray, Split

MAX_EMPTY_SHARE = 0.05  # more empty texts than this look like a wrong column
MAX_SHARED_SHARE = 0.01  # of the smaller split; SST-2 as published shares two texts
MAX_LABEL_NAMES = 100  # more distinct strings than this are no label column
ROLES = ("train", "tuning", "test")
TENTH = "For ten percent write {key}=0.1."
Holdout = Annotated[float, Range(0, 0.9, "a share of the training rows", TENTH)]


@dataclass(frozen=True)
class RawSplit:
    """Columns of strings as read, one entry per row of the file."""

    texts: Sequence[str]
    labels: Sequence[str]
    columns: Mapping[str, Sequence[str]] = field(default_factory=dict)
    path: str = ""


@dataclass(frozen=True)
class DatasetSource(Settings):
    """Settings that every data set shares. A subclass reads its raw splits (`read`).

    Where `read` gives no test or tuning split, that share of the training rows is held out, the
    same rows whatever the seed. A share of 0 leaves the split out.
    """

    name: Name
    label_names: Annotated[list[Word], Items(2)] | None
    first_label: Annotated[int, Range(-1_000_000, 1_000_000)]
    test_holdout: Holdout
    tuning_holdout: Holdout
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
        raw = self.read()
        if raw.get("train") is None:
            raise DataError(f"dataset {self.name} has no training file. Write dataset.train=PATH.")
        names = self._names(raw)
        notes: list[str] = []
        splits: dict[str, Split | None] = {}
        for role in ROLES:
            part = raw.get(role)
            splits[role] = self._split(role, part, names, notes) if part else None
            if role == "train":
                _check_classes(splits[role], names)
        self._hold_out(splits, notes)
        leaky = self._separate(splits, notes)
        train, test = splits["train"], splits["test"]
        if train is None or test is None:
            raise DataError(
                f"dataset {self.name} has no test split. Write dataset.test=PATH, or hold rows "
                "out of the training file with dataset.test_holdout=0.1."
            )
        return Dataset(self.name, names, train, splits["tuning"], test, tuple(notes), leaky)

    def _names(self, raw: Mapping[str, RawSplit | None]) -> tuple[str, ...]:
        if self.label_names:
            return tuple(self.label_names)
        train = raw["train"]
        assert train is not None
        values = sorted({label.strip() for label in train.labels} - {""})
        numbers = [_as_number(value) for value in values]
        if not any(number is not None for number in numbers):
            if len(values) > MAX_LABEL_NAMES:
                raise DataError(
                    f"{_where('train', train)}: {len(values)} different labels such as "
                    f"{values[0]!r} look like texts. Write dataset.label_column=NAME."
                )
            return tuple(values)
        highest = max(number for number in numbers if number is not None)
        missing = set(range(self.first_label, highest + 1)) - set(numbers)
        if missing and len(missing) < MAX_LABEL_NAMES * 10:
            raise DataError(
                f"{_where('train', train)}: labels are {', '.join(values[:6])}, but numbers from "
                f"{self.first_label} to {highest} were expected and {min(missing)} does not occur. "
                "If they start elsewhere write dataset.first_label=N; if they are names write "
                "dataset.label_names=[...]."
            )
        if highest - self.first_label >= MAX_LABEL_NAMES:
            raise DataError(
                f"{_where('train', train)}: label {highest} is outside the range of a class number "
                f"(at most {MAX_LABEL_NAMES} classes). Write dataset.label_column=NAME."
            )
        return tuple(str(number) for number in range(highest - self.first_label + 1))

    def _split(self, role: str, raw: RawSplit, names: tuple[str, ...], notes: list[str]) -> Split:
        where = _where(role, raw)
        kept = np.asarray([i for i, text in enumerate(raw.texts) if text.strip()], dtype=np.int64)
        num_empty = len(raw.texts) - len(kept)
        if not len(kept):
            raise DataError(f"{where} has no rows with text; expected at least one.")
        if num_empty > MAX_EMPTY_SHARE * len(raw.texts):
            raise DataError(
                f"{where}: {num_empty} of {len(raw.texts)} texts are empty, more than "
                f"{MAX_EMPTY_SHARE:.0%}. Check dataset.text_column."
            )
        if num_empty:
            notes.append(f"{role}: {num_empty} of {len(raw.texts)} rows dropped, empty text")
        labels = parse_labels([raw.labels[i] for i in kept], names, self.first_label, where, kept)
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
            order = stream(0, "holdout", role).permutation(len(train))
            cut = round(share * len(train))
            splits[role] = train.take(np.sort(order[:cut]))
            splits["train"] = train.take(np.sort(order[cut:]))
            notes.append(
                f"{role}: {cut} of {len(train)} training rows held out, with whatever was planted "
                "in them"
            )

    def _separate(self, splits: dict[str, Split | None], notes: list[str]) -> bool:
        """Remove the few texts that two splits share; say whether many were let through."""
        leaky = False
        for first, second in (("train", "tuning"), ("train", "test"), ("tuning", "test")):
            one, other = splits[first], splits[second]
            if one is None or other is None:
                continue
            rows, num_texts = shared_rows(one, other)
            if num_texts > MAX_SHARED_SHARE * min(len(one), len(other)):
                if not self.allow_overlap:
                    raise DataError(_overlap_sentence(first, second, rows, num_texts, one, other))
                leaky = True
                notes.append(f"LEAKY: {first} and {second} share {num_texts} texts")
            elif len(rows):
                splits[first] = one.take(np.setdiff1d(np.arange(len(one)), rows))
                notes.append(f"{first}: {len(rows)} rows removed, their text is also in {second}")
        return leaky


def parse_labels(
    raw: Sequence[str],
    names: tuple[str, ...],
    first_label: int,
    where: str,
    source: IntArray,
) -> IntArray:
    """Label numbers from names or integers, blanks around them ignored. (N,)

    Raises:
        DataError: a label that is neither a known name nor a number in range, with its row.
    """
    by_name = {name: number for number, name in enumerate(names)}
    named_by_numbers = all(_as_number(name) is not None for name in names)
    labels = np.empty(len(raw), dtype=np.int64)
    for row, text in enumerate(raw):
        value = text.strip()
        if not value:
            raise DataError(
                f"{where}, row {source[row] + 1} has no label. Give it one or remove the row."
            )
        number = _as_number(value)
        if number is not None and (named_by_numbers or value not in by_name):
            labels[row] = number - first_label
        else:
            labels[row] = by_name.get(value, -1)
        if not 0 <= labels[row] < len(names):
            kind = "outside the range" if number is not None else "not a number or a known name"
            last = first_label + len(names) - 1
            raise DataError(
                f"{where}, row {source[row] + 1}: label {value!r} is {kind}; expected "
                f"{first_label} to {last}"
                + ("." if named_by_numbers else f" or one of {', '.join(names)}.")
            )
    return labels


def shared_rows(one: Split, other: Split) -> tuple[IntArray, int]:
    """Rows of `one` whose text, white space folded, is in `other`, and how many texts that is."""
    texts = {fold(text) for text in other.texts}
    rows = [row for row, text in enumerate(one.texts) if fold(text) in texts]
    return np.asarray(rows, dtype=np.int64), len({fold(one.texts[row]) for row in rows})


def fold(text: str) -> str:
    """The text with every run of white space as one blank."""
    return " ".join(text.split())


def _as_number(value: str) -> int | None:
    match = re.fullmatch(r"(-?\d+)(\.0+)?", value.strip())
    return int(match[1]) if match else None


def _where(role: str, raw: RawSplit) -> str:
    return raw.path or f"split {role}"


def _check_classes(train: Split | None, names: tuple[str, ...]) -> None:
    present = np.unique(train.labels if train else [])
    if len(present) < 2:
        raise DataError(
            f"dataset.train holds one class only ({names[present[0]]}); a classifier needs two or "
            "more. Check dataset.label_column."
        )


def _overlap_sentence(
    first: str, second: str, rows: IntArray, num_texts: int, one: Split, other: Split
) -> str:
    smaller = min(len(one), len(other))
    shown = ", ".join(str(one.source[row] + 1) for row in rows[:5])
    return (
        f"dataset.{first} and dataset.{second} share {num_texts} texts, more than "
        f"{MAX_SHARED_SHARE:.0%} of {smaller} (rows {shown} ... of {first}). Give disjoint files, "
        "or write dataset.allow_overlap=true and have every score marked LEAKY."
    )


def relabel(raw: RawSplit, label_map: Mapping[str, str]) -> RawSplit:
    """The split with its labels renamed; labels that the map leaves out stay."""
    return replace(raw, labels=[label_map.get(x.strip(), x) for x in raw.labels])
