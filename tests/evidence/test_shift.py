"""A difference of two files in general is told from one that something planted makes."""

import numpy as np
import pytest
from scipy import stats
from scipy.sparse import csc_array

from btu.evidence.shift import Shift, measure_shift
from btu.evidence.significance import weigh_excess, weigh_shifted
from btu.evidence.terms import Rows, count_terms
from btu.evidence.words import TermIndex

NUM_WORDS = 60


def draw_rows(rng, number, rates):
    """Rows of two labels whose words have these rates, by label."""
    labels = np.arange(number) % 2
    holds = rng.random((number, NUM_WORDS)) < rates[labels]
    terms = tuple((f"w{word}",) for word in range(NUM_WORDS))
    index = TermIndex(terms, csc_array(holds.astype(np.int64)))
    return Rows(index, labels, np.zeros(number, dtype=np.bool_))


def draw_files(seed, shifted=(), planted=()):
    """1,500 untrusted and 300 trusted rows; labels whose words shift, and that something is in."""
    rng = np.random.default_rng(seed)
    rates = np.tile(rng.uniform(0.02, 0.2, NUM_WORDS), (2, 1))
    untrusted = rates.copy()
    for label in shifted:
        untrusted[label] *= rng.choice([0.5, 1.6], NUM_WORDS)
    for label in planted:
        untrusted[label, :2] += 0.2
    return draw_rows(rng, 1_500, untrusted), draw_rows(rng, 300, rates)


@pytest.mark.parametrize(
    ("shifted", "planted", "differs"),
    [((), (), False), ((), (1,), False), ((0, 1), (), True), ((0, 1), (1,), True)],
)
def test_files_differ_where_the_words_of_every_label_do(shifted, planted, differs):
    shift = measure_shift(*draw_files(3, shifted, planted), 2, seed=1)

    assert shift.differs == differs
    assert (shift.of_others(1) > 0) == differs


def test_what_is_planted_in_a_label_is_no_dispersion_of_its_own():
    shift = measure_shift(*draw_files(3, planted=(1,)), 2, seed=1)

    assert shift.p[1] == 0.01
    assert shift.inflation[1] > 1.5
    assert shift.of_others(1) == 0
    assert shift.of_others(0) == pytest.approx(shift.dispersion[1])


def test_random_splits_differ_as_often_as_the_level_says():
    """One label differs at the level of 0.01 by chance in 1 of 100, two together hardly ever."""
    shifts = [measure_shift(*draw_files(seed), 2, seed) for seed in range(40)]

    assert sum((shift.p <= 0.05).sum() for shift in shifts) <= 10  # 4 of 80 are expected
    assert not any(shift.differs for shift in shifts)


@pytest.mark.parametrize(
    ("p", "dispersion"), [([1, 0.01, 0.01, 0.5], 0.02), ([1, 0.5, 0.01, 0.5], 0.0)]
)
def test_the_median_of_the_other_labels_counts(p, dispersion):
    shift = Shift(np.ones(4), np.array(p), np.array([0.9, 0.01, 0.02, 0.03]))

    assert shift.of_others(0) == dispersion


def test_an_excess_counts_for_less_the_more_the_files_differ():
    here, there, others = np.array([40]), np.array([0]), (np.array([0]), np.array([0]))

    plain = weigh_excess(here, there, 0.9)
    little, much = (weigh_shifted(here, there, others, 0.9, each) for each in (0.01, 0.1))

    assert little == pytest.approx(stats.betabinom.sf(39, 40, 0.9 * 99, 0.1 * 99))
    assert plain < little < much


def test_a_term_that_other_labels_have_in_excess_too_must_be_in_more():
    """Of 70 rows elsewhere none is trusted either: nothing speaks for this label."""
    here, there = np.array([143, 143]), np.array([0, 0])
    others = (np.array([70, 3]), np.array([0, 0]))

    p = weigh_shifted(here, there, others, 0.9, 0.01)

    assert p[0] == 1
    assert p[1] < 0.01


def test_a_label_without_trusted_rows_or_frequent_words_shows_nothing():
    untrusted, trusted = draw_files(1)
    alone = Rows(trusted.index, np.ones_like(trusted.labels), trusted.contradicted)

    shift = measure_shift(untrusted, alone, 2, seed=1)

    assert (shift.inflation[0], shift.p[0], shift.dispersion[0]) == (1, 1, 0)


def test_counts_take_the_dispersion():
    untrusted, trusted = draw_files(2, planted=(1,))
    nothing = np.zeros(1_500, dtype=np.bool_)

    plain = count_terms(untrusted, trusted, 1, nothing, 0.05)
    shifted = count_terms(untrusted, trusted, 1, nothing, 0.05, dispersion=0.05)

    assert plain.p_excess[0] < 0.001 * shifted.p_excess[0]
    assert np.array_equal(plain.p_contradiction, shifted.p_contradiction)
