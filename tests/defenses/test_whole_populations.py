"""Where trusted rows may be few, a population is more than its phrases, or it is none."""

from types import SimpleNamespace

import numpy as np
import pytest

from btu.defenses.populations import _weigh_share, goes_beyond
from btu.defenses.verdict import _judge_all_rows
from btu.evidence import ROWS
from tests.conftest import toy_split
from tests.defenses.test_selfset import find

NUM_ROWS = 200
POPULATION = np.arange(40)


def make_case(contradicted):
    """The rows 0 to 39 are a population of label 1; those from 100 on are trusted-like."""
    labels = np.ones(NUM_ROWS, dtype=np.int64)
    wrong = np.isin(np.arange(NUM_ROWS), contradicted)
    side = SimpleNamespace(labels=labels, contradicted=wrong)
    trusted = SimpleNamespace(labels=labels, contradicted=np.arange(NUM_ROWS) % 10 == 0)
    return SimpleNamespace(
        sides=(side, trusted), untrusted=toy_split(NUM_ROWS, 1), search=SimpleNamespace(q=0.05)
    )


@pytest.mark.parametrize(
    ("explained", "contradicted", "more"),
    [
        pytest.param([], [], True, id="no phrase explains any"),
        pytest.param(range(10), range(40), True, id="most are not explained"),
        pytest.param(range(10), range(10), False, id="those beyond are right"),
        pytest.param(range(25), range(40), False, id="most are explained"),
    ],
)
def test_a_population_is_more_than_its_phrases(explained, contradicted, more):
    marked = np.isin(np.arange(NUM_ROWS), list(explained))
    population = find(kind=ROWS, phrase=(), label=1)

    assert goes_beyond(make_case(list(contradicted)), population, POPULATION, marked) == more


@pytest.mark.parametrize(("more", "kept"), [(True, ROWS), (False, "words")])
def test_a_strong_phrase_in_its_rows_is_a_mark_whose_rows_are_its_own(monkeypatch, more, kept):
    case, rows = make_case(range(40)), np.array([0, 1, 2, 3, 90])
    population = find(kind=ROWS, phrase=(), label=1), POPULATION
    monkeypatch.setattr("btu.defenses.verdict.judge_populations", lambda *args: [population])
    monkeypatch.setattr("btu.defenses.verdict.goes_beyond", lambda *args: more)

    found = _judge_all_rows(case, [(find(), rows)], np.zeros(NUM_ROWS, dtype=np.bool_))

    convicted = [(f, r) for some in found for f, r in some if f.convicted]
    assert [finding.kind for finding, _ in convicted] == [kept]
    assert convicted[0][1].tolist() == ([*range(40), 90] if more else rows.tolist())
    assert convicted[0][0].rows == (41 if more else 30)


def test_where_other_labels_have_half_as_large_a_share_it_is_another_source():
    flagged, sizes = [np.arange(60), np.arange(100)], np.array([100, 100])

    assert _weigh_share(1, flagged, sizes, few_trusted=False) < 0.001
    assert _weigh_share(1, flagged, sizes, few_trusted=True) == 1
    assert _weigh_share(1, [np.arange(10), flagged[1]], sizes, few_trusted=True) < 0.001
