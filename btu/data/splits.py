"""What splits have to do with each other: rows held out of one, texts that two share."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from btu.errors import DataError
from btu.types import BoolArray, IntArray, Split

LEAST_ROWS = 20  # of a split that rows are held out of
MAX_SHARED_SHARE = 0.01  # of the smaller split; SST-2 as published shares two texts
NUM_SHOWN = 5


def fold(text: str) -> str:
    """The text with every run of white space as one blank."""
    return " ".join(text.split())


def shared_rows(one: Split, other: Split) -> tuple[IntArray, int]:
    """Rows of `one` whose text, white space folded, is in `other`, and how many texts that is."""
    texts = {fold(text) for text in other.texts}
    rows = [row for row, text in enumerate(one.texts) if fold(text) in texts]
    return np.asarray(rows, dtype=np.int64), len({fold(one.texts[row]) for row in rows})


def hold_out(split: Split, share: float, rng: Generator, setting: str) -> BoolArray:
    """Which rows are held out: this share of each class, equal texts all or none. (N,)

    A class keeps at least one text. Equal texts count for the class of the first of them.

    Raises:
        DataError: there are fewer than 20 rows, or the share is not one row or leaves none.
    """
    wanted = round(share * len(split))
    if len(split) < LEAST_ROWS:
        raise DataError(
            f"{setting}={share:g} holds rows out of the training file, but it has {len(split)}; "
            f"expected {LEAST_ROWS} or more. Give more rows, or a file for the split."
        )
    if not 0 < wanted < len(split):
        raise DataError(
            f"{setting}={share:g} of {len(split)} training rows is {wanted}; expected one or more, "
            f"and some that stay. Write {setting}=0.1."
        )
    groups: dict[str, list[int]] = {}
    for row, text in enumerate(split.texts):
        groups.setdefault(fold(text), []).append(row)
    by_class: dict[int, list[list[int]]] = {}
    for rows in groups.values():
        by_class.setdefault(int(split.labels[rows[0]]), []).append(rows)
    classes = sorted(by_class)
    sizes = np.asarray([sum(map(len, by_class[number])) for number in classes])
    held_out = np.zeros(len(split), dtype=np.bool_)
    for number, quota in zip(classes, _quotas(sizes, wanted), strict=True):
        texts = by_class[number]
        left = quota
        for place in rng.permutation(len(texts))[1:]:  # the first of them stays
            if len(texts[place]) <= left:
                held_out[texts[place]] = True
                left -= len(texts[place])
    if not held_out.any():
        raise DataError(
            f"{setting}={share:g}: none of the {len(split)} training rows can be held out, they "
            f"have {len(groups)} different texts. Give a file for the split."
        )
    return held_out


def _quotas(sizes: IntArray, wanted: int) -> IntArray:
    """How many rows of each class make `wanted`, in proportion to their sizes. (C,)

    Shares are rounded down, and what is missing goes to those that lost most.
    """
    exact = sizes * wanted / sizes.sum()
    quotas: IntArray = np.floor(exact).astype(np.int64)
    most_lost = np.argsort(quotas - exact, kind="stable")
    quotas[most_lost[: wanted - quotas.sum()]] += 1
    return quotas


def count_contradictions(split: Split) -> int:
    """How many texts stand there with more than one label."""
    labels: dict[str, set[int]] = {}
    for text, label in zip(split.texts, split.labels.tolist(), strict=True):
        labels.setdefault(fold(text), set()).add(label)
    return sum(len(each) > 1 for each in labels.values())


def separate(splits: dict[str, Split | None], allow_overlap: bool) -> tuple[list[str], bool]:
    """Take the few texts out of a split that a later one has, too, in place.

    Returns:
        A sentence for each pair of splits that shares some, and whether many were let through.

    Raises:
        DataError: two splits share more than a few texts, and that is not allowed.
    """
    notes, leaky = [], False
    for first, second in (("train", "tuning"), ("train", "test"), ("tuning", "test")):
        one, other = splits[first], splits[second]
        if one is None or other is None:
            continue
        rows, num_texts = shared_rows(one, other)
        if num_texts > MAX_SHARED_SHARE * min(len(one), len(other)):
            if not allow_overlap:
                raise DataError(_overlap(first, second, rows, num_texts, one, other))
            leaky = True
            notes.append(f"LEAKY: {first} and {second} share {num_texts} texts")
        elif len(rows):
            splits[first] = one.take(np.setdiff1d(np.arange(len(one)), rows))
            notes.append(f"{first}: {len(rows)} rows removed, their text is also in {second}")
    return notes, leaky


def _overlap(
    first: str, second: str, rows: IntArray, num_texts: int, one: Split, other: Split
) -> str:
    shown = ", ".join(str(one.source[row] + 1) for row in rows[:NUM_SHOWN])
    more = " ..." if len(rows) > NUM_SHOWN else ""
    names = [
        f"{role} ({split.path})" if split.path else role
        for role, split in ((first, one), (second, other))
    ]
    return (
        f"the splits {names[0]} and {names[1]} share {num_texts} texts, more than "
        f"{MAX_SHARED_SHARE:.0%} of {min(len(one), len(other))} (rows {shown}{more} of {first}). "
        "Give disjoint files, or write dataset.allow_overlap=true and have every score marked "
        "LEAKY."
    )
