"""From labels as files spell them to class numbers from 0."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from btu.errors import DataError, listed, shorten
from btu.types import IntArray

MAX_CLASSES = 100  # more different labels than this are texts or measurements
NUMBER = re.compile(r"[-+]?\d{1,15}(\.\d{1,12})?")  # longer ones are serial numbers
NUM_SHOWN = 6


@dataclass(frozen=True)
class Classes:
    """The classes of a data set by number, and the class of each label, spelled by `spell`."""

    names: tuple[str, ...]
    numbers: Mapping[str, int]
    note: str = ""  # how labels became classes, where that is not plain


def spell(label: str) -> str:
    """One spelling for labels that are the same: `1`, `01` and `1.0`, or an accent's two forms."""
    value = unicodedata.normalize("NFC", label.strip())
    if not NUMBER.fullmatch(value):
        return value
    return format(Decimal(value).normalize() + 0, "f")  # + 0: no minus before zero


def find_classes(
    labels: Sequence[str], names: Sequence[str] | None, first_label: int, where: str
) -> Classes:
    """The classes of the training labels.

    Numbers from `first_label` on without a gap are classes as they are. Other numbers are classes
    in their order and named by themselves, words in the order of the alphabet. Where there are
    `names`, labels are these, or places among them from `first_label` on, or else as many numbers.

    Args:
        labels: of the training rows, as read.
        names: of the classes, if they are known.
        first_label: the number of the first class.
        where: the file, for errors.

    Raises:
        DataError: there are too many different labels, or words among numbers.
    """
    values = sorted({spell(label) for label in labels} - {""}, key=_place)
    if names:
        return _find_named(values, names, first_label)
    if len(values) > MAX_CLASSES:
        raise DataError(
            f"{where}: {len(values):,} different labels such as {shorten(values[0])!r} look like "
            f"texts or measurements (at most {MAX_CLASSES} labels are taken for classes). Name "
            "another column for the labels, or list the classes: dataset.label_names=[...]."
        )
    words = [value for value in values if not _is_number(value)]
    if not words:
        return _find_numbers(values, first_label)
    if len(words) < len(values):
        _refuse_mixture(labels, values, words, where)
    folded = [value.casefold() for value in values]
    twice = next((value for value in folded if folded.count(value) > 1), None)
    if twice is not None:
        same = [value for value in values if value.casefold() == twice]
        raise DataError(
            f"{where}: the labels {listed(map(repr, same))} differ in case only. Spell them alike, "
            "or name all classes with dataset.label_names=[...]."
        )
    return Classes(tuple(values), _in_order(values))


def parse_labels(labels: Sequence[str], classes: Classes, where: str, source: IntArray) -> IntArray:
    """The class of each row. (N,)

    Args:
        labels: as read.
        classes: what each of them means.
        where: the file, for errors.
        source: each label's row in the file, from 0. (N,)

    Raises:
        DataError: rows without a label, or a label that is not a class, with its row.
    """
    values = [spell(label) for label in labels]
    without = [row for row, value in enumerate(values) if not value]
    if without:
        more = f" (nor have {len(without) - 1:,} more)" if without[1:] else ""
        raise DataError(
            f"{where}, row {source[without[0]] + 1} has no label{more}. Give it one or remove the "
            "row."
        )
    numbers = [classes.numbers.get(value, -1) for value in values]
    if -1 in numbers:
        row = numbers.index(-1)
        alike = {known.casefold(): known for known in classes.numbers}.get(values[row].casefold())
        spelled = f" Spell it {alike!r}." if alike else ""
        raise DataError(
            f"{where}, row {source[row] + 1}: label {shorten(values[row])!r} is not a class; "
            f"expected one of {listed(classes.numbers)}, as in the training file.{spelled}"
        )
    return np.asarray(numbers, dtype=np.int64)


def _is_number(value: str) -> bool:
    return NUMBER.fullmatch(value) is not None


def _place(value: str) -> tuple[bool, float, str]:
    """Where a label stands among others: numbers by their value, then words."""
    return (False, float(value), "") if _is_number(value) else (True, 0.0, value)


def _in_order(values: Sequence[str]) -> dict[str, int]:
    return {value: number for number, value in enumerate(values)}


def _find_numbers(values: Sequence[str], first_label: int) -> Classes:
    if values == [str(first_label + number) for number in range(len(values))]:
        return Classes(tuple(map(str, range(len(values)))), _in_order(values))
    note = (
        f"the labels {listed(values, NUM_SHOWN)} are the classes 0 to {len(values) - 1}, in order"
    )
    return Classes(tuple(values), _in_order(values), note)


def _find_named(values: Sequence[str], names: Sequence[str], first_label: int) -> Classes:
    by_name = {spell(name): number for number, name in enumerate(names)}
    by_place = {str(first_label + number): number for number in range(len(names))}
    # Where names are numbers, a label is the one or the other for all rows.
    numbered = any(map(_is_number, by_name))
    ways = [by_name, by_place] if numbered else [by_place | by_name]
    numbers = next((way for way in ways if way.keys() >= set(values)), None)
    if numbers is not None:
        return Classes(tuple(names), numbers)
    if len(values) != len(names) or not all(map(_is_number, values)):
        return Classes(tuple(names), ways[0])  # whose labels are not known is told with its row
    note = f"the labels {listed(values, NUM_SHOWN)} are {listed(names, NUM_SHOWN)}, in order"
    return Classes(tuple(names), _in_order(values), note)


def _refuse_mixture(
    labels: Sequence[str], values: Sequence[str], words: Sequence[str], where: str
) -> None:
    numbers = [value for value in values if value not in words]
    row = next(row for row, label in enumerate(labels) if spell(label) in words)
    raise DataError(
        f"{where}, row {row + 1}: label {shorten(spell(labels[row]))!r} is not a number of at most "
        f"15 digits, but others are ({listed(numbers, NUM_SHOWN)}). If all are classes, name them "
        "with dataset.label_names=[...]."
    )
