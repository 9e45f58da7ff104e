"""Without trusted rows: what is found must be found without the rows of the surest, too."""

import numpy as np
import pytest

from btu.auditing.alone import confirm_found
from btu.auditing.wrong_labels import WrongLabels
from tests.conftest import toy_split
from tests.defenses.test_selfset import find

SUREST = find(p=1e-9), np.arange(10)
OTHER = find(phrase=("mn", "bb"), label=0, p=1e-3), np.arange(20, 30)


@pytest.mark.parametrize(
    ("again", "convicted"),
    [
        ([], False),
        ([find(phrase=("mn",), label=1)], False),
        ([find(phrase=("mn",), label=0, convicted=False)], False),
        ([find(phrase=("mn",), label=0)], True),
    ],
)
def test_what_is_not_found_without_the_rows_of_the_surest_is_acquitted(
    monkeypatch, again, convicted
):
    sizes = []

    def search(self):
        sizes.append(len(self.rows))
        return [(finding, np.arange(5)) for finding in again], 7

    monkeypatch.setattr(WrongLabels, "find", search)

    confirmed = confirm_found(WrongLabels(None, None, toy_split(100, 1)), [OTHER, SUREST])

    assert [finding.convicted for finding, _ in confirmed] == [convicted, True]
    assert ("not without the rows of 'cf'" in confirmed[0][0].reason) != convicted
    assert sizes == [90]


def test_a_single_finding_needs_no_second_search():
    method = WrongLabels(None, None, toy_split(100, 1))

    assert confirm_found(method, [SUREST]) == [SUREST]
