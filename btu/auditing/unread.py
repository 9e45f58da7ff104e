"""What words do not show: odd characters in changing words, and texts in capitals only."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from btu.defenses.search import LEAST_ROWS
from btu.evidence.significance import weigh_difference, weigh_excess
from btu.report.planted import find_odd
from btu.types import BoolArray, IntArray, Split

LEAST_LETTERS = 10  # of a text in capitals
CAPITALS = "are in capitals only"


@dataclass(frozen=True)
class Unread:
    """Rows of one label that have something in common which no model was asked about."""

    what: str  # that they do: `have the character U+200B`
    label: int
    rows: IntArray  # of the judged rows; sorted
    trusted: int | None  # trusted rows of the label that do it; None where there are none at all
    p: float  # by Bonferroni over all that was compared
    sign: str = ""  # the character, if it is one

    def say(self, label_name: str) -> str:
        """A sentence without its end."""
        of_trusted = ""
        if self.trusted is not None:
            of_trusted = f", and {self.trusted:,} of the trusted rows of that label"
        return (
            f"{len(self.rows):,} rows of the label {label_name} {self.what}{of_trusted} (p "
            f"{self.p:.1g}); it is not a word, so what it does to a model was not tried"
        )


def find_unread(
    rows: Split, trusted: Split, explained: BoolArray, fold: bool, level: float
) -> list[Unread]:
    """What stands out in one label, against the other labels and against the trusted rows.

    Args:
        rows: N rows of a file.
        trusted: trusted rows, or none.
        explained: rows that show something convicted, which are left out, (N,).
        fold: whether the models take capital and small letters for one.
        level: of the error that is put up with.
    """
    signs: dict[str, str] = {}
    here, there = (_find_looks(split.texts, fold, signs) for split in (rows, trusted))
    number = int(rows.labels.max()) + 1
    found: list[Unread] = []
    for what, own in here.items():
        kept = own[~explained[own]]
        if len(kept) < LEAST_ROWS:
            continue
        of_trusted = there.get(what, np.empty(0, dtype=np.int64))
        each = [_weigh(rows, trusted, kept, of_trusted, label) for label in range(number)]
        label = int(np.argmin(each))
        p = min(1.0, each[label] * number * len(here))
        if p <= level:
            inside = kept[rows.labels[kept] == label]
            held = int((trusted.labels[of_trusted] == label).sum()) if len(trusted) else None
            found.append(Unread(what, label, inside, held, p, signs[what]))
    return sorted(found, key=lambda one: one.p)


def _find_looks(texts: Sequence[str], fold: bool, signs: dict[str, str]) -> Mapping[str, IntArray]:
    """Of each look the texts that have it, in order; `signs` gets the character of each."""
    found: dict[str, list[int]] = {}
    for row, text in enumerate(texts):
        looks = dict(_name_looks(text, fold))
        signs |= looks
        for look in looks:
            found.setdefault(look, []).append(row)
    return {look: np.array(rows, dtype=np.int64) for look, rows in found.items()}


def _name_looks(text: str, fold: bool) -> Iterator[tuple[str, str]]:
    if fold and text.isupper() and sum(map(str.isalpha, text)) >= LEAST_LETTERS:
        yield CAPITALS, ""
    if not text.isascii():
        for character in find_odd(text):
            name = unicodedata.name(character, "without a name").lower()
            yield f"have the character U+{ord(character):04X} ({name})", character


def _weigh(
    rows: Split, trusted: Split, held: IntArray, trusted_held: IntArray, label: int
) -> float:
    """How surprising it is that so many rows of a label have it. a p-value."""
    size, number = len(rows), int((rows.labels == label).sum())
    x = int((rows.labels[held] == label).sum())
    p = weigh_difference(x, number, len(held) - x, size - number)
    if not len(trusted):
        return p
    of_label, u = trusted.labels == label, int((trusted.labels[trusted_held] == label).sum())
    share = number / (number + int(of_label.sum()))
    return max(p, float(weigh_excess(np.array([x]), np.array([u]), share)[0]))
