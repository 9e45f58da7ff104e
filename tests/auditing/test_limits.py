"""From how many rows on something would be found, by hand."""

from types import SimpleNamespace

import numpy as np
from scipy.stats import binom

from btu.auditing.limits import find_enough_trusted, find_least_population
from btu.evidence.populations import ESTIMATED, estimate_share


class Rows(list):
    """The labels of some rows, in the place of a split."""

    @property
    def labels(self):
        return np.array(self)


def test_as_many_rows_as_are_told_are_found_and_one_fewer_are_not():
    case = SimpleNamespace(
        untrusted=Rows([0] * 900 + [1] * 100),
        trusted=Rows([0] * 150),
        num_labels=2,
        search=SimpleNamespace(q=0.05),
    )

    least = find_least_population(case)

    def share(number):
        p = np.append(np.full(number, 1 / 151), np.linspace(0.1, 1, 900 - number))
        return estimate_share(p, 150)[0]

    assert least.tolist() == [30, 1_001]  # no trusted row has the other label
    assert share(30) <= ESTIMATED * 0.05 < share(29)


def test_as_many_trusted_rows_as_are_told_make_an_excess():
    """Ten of a hundred rows of a label, which is half of the file."""
    needed = find_enough_trusted(num_rows=10, here=100, of_file=200, level=0.001)

    def p(trusted):
        return binom.sf(9, 10, 100 / (100 + trusted / 2))

    assert needed == 200
    assert p(needed) <= 0.001 < p(needed - 2)
