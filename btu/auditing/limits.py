"""How much would have been found: the rows from which on a word, or a way of writing, shows."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from btu.defenses.case import Case
from btu.defenses.verdict import Verdict, find_least_rows
from btu.evidence import ROWS, WORDS
from btu.types import IntArray


def say_limits(case: Case, verdict: Verdict) -> Iterator[str]:
    """What would have been found in a file that was compared with trusted rows, each a clause."""
    sizes = np.bincount(case.untrusted.labels, minlength=case.num_labels)
    if WORDS in case.search.kinds:
        least = find_least_rows(case, verdict.share * case.search.q)
        rows = _name_rows(least, sizes, len(case.untrusted))
        yield (
            f"a word that the model obeys and no trusted row holds would have been found {rows}"
            if rows
            else "the trusted rows are too few to find any one word"
        )
    if ROWS in case.search.kinds:
        rows = _name_rows(find_least_population(case), sizes, len(case.untrusted))
        if case.shift.differs:
            yield "rows that are written another way are not looked for, since the files differ"
        elif rows:
            yield f"texts written as no trusted row of their label is {rows}"
        else:
            yield "the trusted rows are too few to find texts that are written another way"


def find_least_population(case: Case) -> IntArray:
    """How many rows of a label must resemble no trusted one to be found. (C,)

    Each then has the smallest conformal p-value that there is, 1 / (1 + n), and as many as this are
    rejected by Benjamini and Hochberg.
    """
    here, there = (
        np.bincount(side.labels, minlength=case.num_labels)
        for side in (case.untrusted, case.trusted)
    )
    least: IntArray = np.ceil(here / (case.search.q * (1 + there))).astype(np.int64)
    return np.where(there > 0, np.maximum(least, 1), len(case.untrusted) + 1)


def find_enough_trusted(num_rows: int, here: int, of_file: int, level: float) -> int:
    """How many trusted rows show that a word of so many rows is in excess, if none of them has it.

    Args:
        num_rows: of the word's label that hold it.
        here: rows of that label in the file.
        of_file: rows of the file; the trusted ones have as large a share of each label.
        level: that the p-value of the excess must reach.
    """
    of_label: float = here * (level ** (-1 / num_rows) - 1)
    return math.ceil(of_label * of_file / here)


def _name_rows(least: IntArray, sizes: IntArray, number: int) -> str:
    """`from 44 rows on (1.5 %)`, of the label that needs most; empty if none has as many."""
    possible = least[least <= sizes]
    if not len(possible):
        return ""
    rows = int(possible.max())
    return f"from {rows:,} rows on ({100 * rows / number:.2g} %)"
