"""Without trusted rows: what is found must be found without the rows of the surest, too."""

import numpy as np
import pytest

from btu.auditing.alone import SHARE, confirm_found, convict_suspects
from btu.auditing.wrong_labels import WrongLabels
from tests.conftest import toy_split
from tests.defenses.test_selfset import find
from tests.defenses.test_unproven import find_all, open_case

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


@pytest.mark.parametrize(
    ("by_itself", "rows", "q"),
    [
        (find(phrase=("cf", "cf"), q=0.009), np.arange(8), 0.045),
        (find(q=0.011), np.arange(8), None),  # a fifth of the error rate
        (find(q=0.009, label=0), np.arange(8), None),
        (find(q=0.009), np.arange(5, 15), None),  # other rows
    ],
)
def test_a_suspect_is_convicted_with_the_same_rows_and_label(monkeypatch, by_itself, rows, q):
    suspect = find(convicted=False), np.arange(10)
    monkeypatch.setattr(WrongLabels, "find", lambda _: ([(by_itself, rows)], 7))
    case = open_case(1, None)

    ((finding, own),) = convict_suspects(case, [suspect], np.zeros(2_000, dtype=np.bool_))

    assert finding.convicted == (q is not None)
    assert finding.q == pytest.approx(q) or q is None
    assert len(own) == 10


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize(("planted_in", "proven"), [(0, [("zork",)]), (1, []), (None, [])])
def test_a_suspect_is_convicted_if_its_rows_have_wrong_labels(seed, planted_in, proven):
    """Of 2,000 rows 60 hold it, and none of 300 trusted ones."""
    case = open_case(seed, planted_in, number=60, words=60)
    none = np.zeros(len(case.untrusted), dtype=np.bool_)

    convicted = [one for one, _ in convict_suspects(case, find_all(case), none) if one.convicted]

    assert [finding.words for finding in convicted] == proven
    assert all(finding.p <= SHARE * finding.q <= SHARE * case.search.q for finding in convicted)
