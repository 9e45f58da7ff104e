"""Which further columns of a file tell where the rows found come from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from btu.evidence.significance import weigh_difference
from btu.types import BoolArray

MOST_VALUES = 100  # of a column whose values are compared one by one
MOST_SHOWN = 60  # characters of a value


@dataclass(frozen=True)
class Association:
    """A column in which the rows found differ from the others."""

    column: str
    value: str | None  # that they have more often; None: it is a number, and larger or smaller
    found: int  # rows found that have it
    of_found: int
    others: int  # other rows that have it
    of_others: int
    p: float  # by Bonferroni over all that was compared

    def describe(self) -> str:
        """`all 132 rows found have source = vendor_b, of the other rows 1,034 of 2,868`."""
        if self.value is None:
            return f"the rows found differ from the others in {self.column} (p {self.p:.1g})"
        shown = self.value if len(self.value) <= MOST_SHOWN else f"{self.value[:MOST_SHOWN]}..."
        many = f"{self.found:,} of the {self.of_found:,} rows found have"
        if self.found == self.of_found:
            many = f"all {self.of_found:,} rows found have"
        rest = f"of the other rows {self.others:,} of {self.of_others:,}"
        return f"{many} {self.column} = {shown}, {rest} (p {self.p:.1g})"


def find_associations(
    columns: Mapping[str, Sequence[str]], found: BoolArray, level: float
) -> list[Association]:
    """The columns that are associated with the rows found, the surest first.

    A value of a column that has few is compared by Fisher's exact test, a column of numbers by
    the rank sum; by Bonferroni over all values and columns together.

    Args:
        columns: of a file, by name; N cells each.
        found: which rows were found, (N,).
        level: of the error that is put up with.
    """
    if not found.any() or found.all():
        return []
    tests: list[Association] = []
    for name, cells in columns.items():
        counts = Counter(cells)
        if 1 < len(counts) <= MOST_VALUES:
            tests += [_compare_value(name, value, cells, found) for value in counts]
        elif (numbers := _as_numbers(cells)) is not None:
            p = float(stats.mannwhitneyu(numbers[found], numbers[~found]).pvalue)
            of_found, of_others = int(found.sum()), int((~found).sum())
            tests.append(Association(name, None, of_found, of_found, of_others, of_others, p))
    corrected = [
        Association(**{**vars(each), "p": min(1.0, each.p * len(tests))}) for each in tests
    ]
    return sorted((each for each in corrected if each.p <= level), key=lambda each: each.p)


def _compare_value(name: str, value: str, cells: Sequence[str], found: BoolArray) -> Association:
    has = np.array([cell == value for cell in cells], dtype=np.bool_)
    inside, outside = int((has & found).sum()), int((has & ~found).sum())
    of_found, of_others = int(found.sum()), int((~found).sum())
    p = weigh_difference(inside, of_found, outside, of_others)
    return Association(name, value, inside, of_found, outside, of_others, p)


def _as_numbers(cells: Sequence[str]) -> np.ndarray[tuple[int], np.dtype[np.float64]] | None:
    try:
        numbers = np.array([float(cell) for cell in cells], dtype=np.float64)
    except ValueError:
        return None
    return numbers if np.isfinite(numbers).all() else None
