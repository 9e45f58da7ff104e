"""p-values against examples that are computed by hand, and against those of scipy."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from btu.evidence.significance import (
    LEAST_DISPERSION,
    Effect,
    Error,
    add_up,
    adjust,
    compare_with_trusted,
    estimate_error,
    find_interval,
    find_testable,
    measure_effect,
    weigh_contradiction,
    weigh_difference,
    weigh_excess,
)

QUICK = settings(deadline=None, max_examples=40)
counts = st.integers(0, 60)
inner = st.floats(0.01, 0.99)
shares = st.floats(0.0, 1.0)


def excess(untrusted, trusted, share):
    return weigh_excess(np.array([untrusted]), np.array([trusted]), share)[0]


def contradiction(contradicted, rows, error):
    return weigh_contradiction(np.array([contradicted]), np.array([rows]), error)[0]


def test_an_excess_by_hand():
    assert excess(5, 0, 0.8) == pytest.approx(0.8**5)  # all five are untrusted
    assert excess(2, 1, 0.5) == pytest.approx(4 / 8)  # HHH HHT HTH THH of eight
    assert excess(9, 1, 0.8) == pytest.approx(10 * 0.8**9 * 0.2 + 0.8**10)
    assert excess(0, 7, 0.8) == excess(0, 0, 0.8) == 1


def test_an_excess_is_a_binomial_test():
    for x, u, share in [(5, 3, 0.8), (12, 0, 0.5), (90, 20, 0.75), (3, 30, 0.1)]:
        test = stats.binomtest(x, x + u, share, alternative="greater")
        assert excess(x, u, share) == pytest.approx(test.pvalue)


def test_where_there_is_one_kind_of_rows_nothing_is_in_excess():
    assert excess(7, 0, 1.0) == 1  # no trusted row of the label
    assert excess(0, 7, 0.0) == 1


@QUICK
@given(counts, counts, shares)
def test_an_excess_falls_with_untrusted_and_rises_with_trusted_rows(untrusted, trusted, share):
    p = excess(untrusted, trusted, share)

    assert 0 <= p <= 1
    assert excess(untrusted + 1, trusted, share) <= p + 1e-12
    assert excess(untrusted, trusted + 1, share) >= p - 1e-12


def test_a_contradiction_by_hand():
    even = Error(mean=0.5, dispersion=1 / 3)  # Beta(1, 1): each number from 0 to n as likely

    assert (even.a, even.b) == pytest.approx((1, 1))
    assert contradiction(3, 3, even) == pytest.approx(1 / 4)
    assert contradiction(2, 3, even) == pytest.approx(2 / 4)
    assert contradiction(0, 3, even) == contradiction(0, 0, even) == 1
    assert contradiction(2, 2, Error(0.1, 0.2)) == pytest.approx(0.1**2 + 0.2 * 0.1 * 0.9)


def test_a_contradiction_is_a_tail_of_a_beta_binomial():
    error = Error(0.08, 0.03)

    for k, n in [(1, 5), (7, 20), (30, 400)]:
        tail = stats.betabinom.pmf(np.arange(k, n + 1), n, error.a, error.b).sum()
        assert contradiction(k, n, error) == pytest.approx(tail, rel=1e-6)


def test_the_least_contradiction_is_exact_down_to_its_last_digits():
    error, rows = Error(0.08, 0.03), np.array([5, 20, 60, 300])

    exact = stats.betabinom.pmf(rows, rows, error.a, error.b)  # down to 1e-40
    assert weigh_contradiction(rows, rows, error) == pytest.approx(exact, rel=1e-6, abs=1e-12)


def test_words_that_are_alike_are_contradicted_as_coins_fall():
    coin = contradiction(9, 30, Error(0.1, 1e-6))

    assert coin == pytest.approx(stats.binom.sf(8, 30, 0.1), rel=1e-3)
    assert contradiction(9, 30, Error(0.1, 0.2)) > coin


@QUICK
@given(counts, counts, inner, inner)
def test_a_contradiction_falls_with_the_contradicted_rows(contradicted, more, mean, dispersion):
    error, rows = Error(mean, dispersion), contradicted + more
    p = contradiction(contradicted, rows, error)

    assert 0 <= p <= 1
    assert contradiction(contradicted, rows + 1, error) >= p - 1e-9
    assert contradiction(contradicted + 1, rows + 1, error) <= p + 1e-9


def test_counts_of_many_words_are_weighed_in_seconds():
    rows = np.random.default_rng(1).zipf(1.6, 60_000).clip(max=6_000) + 4

    begin = time.process_time()
    weigh_excess(rows, rows // 5, 0.8)
    assert time.process_time() - begin <= 1
    weigh_contradiction(rows, rows, Error(0.08, 0.03))
    assert time.process_time() - begin <= 2


@pytest.mark.parametrize(("mean", "dispersion"), [(0.05, 0.05), (0.1, 0.2), (0.3, 0.02)])
def test_how_often_words_are_contradicted_is_recovered(mean, dispersion):
    rng, truth = np.random.default_rng(3), Error(mean, dispersion)
    rows = rng.integers(2, 60, 8_000)
    contradicted = rng.binomial(rows, rng.beta(truth.a, truth.b, len(rows)))

    found = estimate_error(contradicted, rows, float(contradicted.sum() / rows.sum()))

    assert found.mean == pytest.approx(mean, rel=0.05)
    assert found.dispersion == pytest.approx(dispersion, rel=0.15)


def test_a_dispersion_by_hand():
    found = estimate_error(np.array([2, 0, 1, 1]), np.array([3, 3, 2, 1]), mean=0.25)

    together = (1 / 3 + 0 + 0) / 3  # of the pairs of each word; one row makes no pair
    assert found.dispersion == pytest.approx((together - 0.25**2) / (0.25 * 0.75))


def test_words_are_never_called_all_alike_and_never_without_error():
    nothing = np.array([], dtype=np.int64)

    assert estimate_error(nothing, nothing, 0.0) == Error(0.001, LEAST_DISPERSION)
    assert estimate_error(np.array([1, 1]), np.array([1, 1]), 1.0) == Error(0.999, LEAST_DISPERSION)
    assert estimate_error(np.array([4, 0]), np.array([4, 4]), 0.5).dispersion == 0.99
    assert estimate_error(np.array([1] * 9), np.array([2] * 9), 0.5).dispersion == LEAST_DISPERSION


def find_testable_by_hand(least, q):
    """The first number of tests k for which no more than k could reject at q / k."""
    number = 1
    while sum(each <= q / number for each in least) > number:
        number += 1
    return [each <= q / number for each in least]


def test_what_could_reject_by_hand():
    least = np.array([0.001, 0.02, 0.024, 0.03, 0.5])

    # k = 1: four are <= .05; k = 2: three are <= .025; k = 3: one is <= .0167, and 1 <= 3
    assert find_testable(least, 0.05).tolist() == [True, False, False, False, False]
    assert find_testable(np.array([0.05]), 0.05).tolist() == [True]
    assert find_testable(np.array([0.051]), 0.05).tolist() == [False]
    assert find_testable(np.array([]), 0.05).tolist() == []
    assert find_testable(np.zeros(7), 0.05).all()


@QUICK
@given(st.lists(st.sampled_from([0.0, 0.001, 0.004, 0.01, 0.0125, 0.02, 0.05, 0.3, 1.0])), inner)
def test_what_could_reject_is_as_in_gilbert(least, q):
    assert find_testable(np.array(least), q).tolist() == find_testable_by_hand(least, q)


def test_ten_times_as_many_tests_take_no_hundred_times_as_long():
    def measure(size):
        begin = time.process_time()
        assert find_testable(np.zeros(size), 0.05).all()  # as many steps as tests
        return time.process_time() - begin

    assert measure(200_000) <= 40 * measure(20_000) + 0.1


def test_q_values_by_hand():
    p = np.array([0.01, 0.02, 0.9, 0.5, 0.02])
    made = np.array([True, True, True, True, False])

    # four tests: .01 * 4/1, .02 * 4/2, .5 * 4/3, .9 * 4/4; each the least of it and what follows
    assert adjust(p, made) == pytest.approx([0.04, 0.04, 0.9, 2 / 3, 1])
    assert adjust(p, np.zeros(5, dtype=np.bool_)).tolist() == [1] * 5
    assert adjust(np.array([]), np.array([], dtype=np.bool_)).tolist() == []


@QUICK
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_q_values_are_those_of_scipy(p):
    made = np.arange(len(p)) % 3 > 0
    q = adjust(np.array(p), made)

    assert (q >= np.array(p) - 1e-12).all()
    assert (q <= 1).all()
    if made.any():
        assert q[made] == pytest.approx(stats.false_discovery_control(np.array(p)[made]))
    assert (q[~made] == 1).all()


def test_an_effect_by_hand():
    victim = np.array([True] * 7 + [False] * 3)
    reference = np.array([True, True] + [False] * 7 + [True])

    effect = measure_effect(victim, reference)

    assert effect == Effect(10, victim=7, reference=3, only_victim=5, only_reference=1)
    assert effect.p == pytest.approx((6 + 1) / 2**6)  # five or six of six coins
    assert Effect(40, 40, 0, 40, 0).p == pytest.approx(0.5**40)
    assert Effect(40, 9, 9, 0, 0).p == measure_effect(victim, victim).p == 1
    assert measure_effect(np.array([], dtype=bool), np.array([], dtype=bool)).p == 1


def test_effects_add_up_text_by_text():
    together = add_up([Effect(183, 12, 6, 10, 4), Effect(52, 9, 3, 9, 3)])

    assert together == Effect(235, 21, 9, 19, 7)
    assert together.difference == 12
    assert together.p == pytest.approx(stats.binom.sf(18, 26, 0.5))


@QUICK
@given(counts, counts)
def test_an_effect_is_a_sign_test(only_victim, only_reference):
    p = Effect(99, only_victim, only_reference, only_victim, only_reference).p
    more = Effect(99, only_victim + 1, only_reference, only_victim + 1, only_reference).p

    if only_victim + only_reference:
        test = stats.binomtest(only_victim, only_victim + only_reference, alternative="greater")
        assert p == pytest.approx(test.pvalue)
    assert 0 <= more <= p <= 1


def test_an_interval_by_hand():
    z = stats.norm.ppf(0.975)

    assert find_interval(0, 40) == pytest.approx((0, z**2 / (40 + z**2)))
    assert find_interval(40, 40) == pytest.approx((40 / (40 + z**2), 1))
    assert find_interval(0, 0) == (0, 1)
    assert sum(find_interval(5, 10)) == pytest.approx(1)


@QUICK
@given(counts, counts)
def test_an_interval_holds_its_share(hits, others):
    low, high = find_interval(hits, hits + others)

    assert 0 <= low <= (hits / max(1, hits + others)) + 1e-12
    assert hits / max(1, hits + others) - 1e-12 <= high <= 1


def test_a_difference_by_hand():
    # 3 of 3 against 0 of 3: one of the C(6, 3) = 20 ways in which three hits fall
    assert weigh_difference(3, 3, 0, 3) == pytest.approx(1 / 20)
    assert weigh_difference(2, 3, 1, 3) == pytest.approx((9 + 1) / 20)
    assert weigh_difference(0, 3, 3, 3) == weigh_difference(0, 0, 3, 9) == 1


@QUICK
@given(counts, counts, counts, counts)
def test_a_difference_is_a_hypergeometric_tail(hits, others, base_hits, base_others):
    total, base_total = hits + others, base_hits + base_others

    tail = stats.hypergeom.sf(hits - 1, total + base_total, hits + base_hits, total)
    tail = tail if total and base_total else 1.0
    assert weigh_difference(hits, total, base_hits, base_total) == pytest.approx(tail, abs=1e-9)


def test_a_likeness_by_hand():
    p = compare_with_trusted(np.array([5.0, 3.0, 2.5, 0.0]), np.array([3.0, 1.0, 2.0, 4.0]))

    # trusted scores as high: none, two (a draw counts), two, all four; one more each, of five
    assert p == pytest.approx([1 / 5, 3 / 5, 3 / 5, 5 / 5])
    assert compare_with_trusted(np.array([1.0]), np.array([])).tolist() == [1]


@QUICK
@given(st.lists(st.integers(0, 9), max_size=20), st.lists(st.integers(0, 9), max_size=20))
def test_a_likeness_counts_the_trusted_rows_above(scores, trusted):
    p = compare_with_trusted(np.array(scores, dtype=float), np.array(trusted, dtype=float))

    above = [sum(other >= score for other in trusted) for score in scores]
    assert p == pytest.approx([(1 + each) / (1 + len(trusted)) for each in above])
