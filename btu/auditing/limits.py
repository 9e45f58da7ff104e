"""How much would have been found: the rows from which on a word, or a way of writing, shows."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from btu.auditing.rewritten import say_style_power
from btu.defenses.case import Case
from btu.defenses.phrases import FEW
from btu.defenses.verdict import Verdict, find_least_rows
from btu.evidence import ROWS, WORDS
from btu.evidence.populations import ESTIMATED
from btu.report.titles import listed
from btu.types import IntArray


def say_limits(case: Case, verdict: Verdict) -> Iterator[str]:
    """What would have been found in a file that was compared with trusted rows, each a clause."""
    sizes = np.bincount(case.untrusted.labels, minlength=case.num_labels)
    if WORDS in case.search.kinds:
        least = find_least_rows(case, verdict.share * case.search.q)
        tried = np.array([len(case.draw_probes(y)) >= FEW for y in range(case.num_labels)])
        least[~tried] = len(case.untrusted) + 1
        rows = _name_rows(least, sizes, len(case.untrusted))
        names = [case.lab.label_names[y] for y in np.flatnonzero(~tried & (sizes > 0))]
        if names and tried.any():
            yield (
                f"no word that makes texts {listed(names)} can be tried, since the model of the "
                "file gets too few trusted texts with other labels right"
            )
        yield (
            f"a planted word in {rows} would have been found, if it turns most texts"
            if rows
            else "the trusted rows are too few to find any one word"
        )
    if ROWS in case.search.kinds:
        rows = _name_rows(find_least_population(case), sizes, len(case.untrusted))
        if case.shift.differs:
            yield "rows that are written another way are not looked for, since the files differ"
        elif rows:
            yield (
                f"in the best case {rows} in an unusual style would have been noticed; many "
                "styles never are"
            )
            if not verdict.convicted and (tried_out := say_style_power(case)):
                yield tried_out
        else:
            yield "the trusted rows are too few to find texts that are written another way"


def find_least_population(case: Case) -> IntArray:
    """How many rows of a label must resemble no trusted one to be found. (C,)

    If all of them score above all n trusted ones, half of one of these is taken to score as high:
    N / 2n honest rows of N are expected among those found.
    """
    here, there = (
        np.bincount(side.labels, minlength=case.num_labels)
        for side in (case.untrusted, case.trusted)
    )
    honest = 0.5 * here / np.maximum(1, there)
    least: IntArray = np.ceil(honest / (ESTIMATED * case.search.q)).astype(np.int64)
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
    """`44 or more rows (1.5 %)`, of the label that needs most; empty if none has as many."""
    possible = least[least <= sizes]
    if not len(possible):
        return ""
    rows = int(possible.max())
    return f"{rows:,} or more rows ({100 * rows / number:.2g} %)"
