"""Worked examples of the threshold that a defender, who knows no trigger, would pick."""

from dataclasses import replace

import pytest

from btu.metrics import pick
from tests.report.factory import judged, record, set_beforehand


def picked(*records):
    found = pick(records)
    return found and found.threshold


def test_the_strongest_threshold_that_costs_a_point_at_most_is_picked():
    rows = [judged(0.1, 0.895), judged(0.2, 0.891), judged(0.4, 0.88)]

    assert picked(*rows) == 0.2
    assert picked(*reversed(rows)) == 0.2


def test_a_stronger_threshold_is_picked_though_a_weaker_one_is_more_accurate():
    assert picked(judged(0.1, 0.95), judged(0.2, 0.5), judged(0.4, 0.9)) == 0.4


@pytest.mark.parametrize(
    ("accuracy", "undefended"), [(0.89, 0.9), (0.57, 0.58), (0.82, 0.83), (0.28, 0.29), (0.0, 0.01)]
)
def test_exactly_one_point_lost_is_allowed_however_it_is_rounded(accuracy, undefended):
    rows = [judged(0.1, undefended, undefended), judged(0.2, accuracy, undefended)]

    assert picked(*rows) == 0.2


def test_one_trusted_row_of_ten_thousand_beyond_a_point_is_too_much():
    assert picked(judged(0.1, 0.9), judged(0.2, 0.8899)) == 0.1


def test_where_small_thresholds_are_strong_the_smallest_is_picked():
    rows = [judged(t, a, low_is_strong=True) for t, a in ((0.1, 0.7), (0.2, 0.9), (0.4, 0.9))]

    assert picked(*rows) == 0.2


def test_where_all_cost_more_the_most_accurate_is_picked_and_of_equals_the_strongest():
    rows = [judged(0.1, 0.7), judged(0.2, 0.8), judged(0.4, 0.8)]

    assert picked(*rows) == 0.4
    assert picked(*(replace(r, choice=replace(r.choice, low_is_strong=True)) for r in rows)) == 0.2


def test_a_defense_that_gains_accuracy_loses_nothing():
    assert picked(judged(0.1, 0.9), judged(0.2, 0.97)) == 0.2


def test_the_rule_looks_at_no_test_row():
    blind = [judged(0.1, 0.9, cacc=1.0, asr=0.0), judged(0.2, 0.9, cacc=0.1, asr=1.0)]

    assert picked(*blind) == 0.2


def test_a_threshold_set_beforehand_is_picked_whatever_the_others_are():
    assert picked(*(set_beforehand(t) for t in (0.01, 0.05, 0.1))) == 0.05


def test_nothing_is_picked_that_was_not_tried():
    assert pick([set_beforehand(0.01)]) is None
    assert pick([]) is None


def test_nothing_is_picked_by_an_accuracy_that_nobody_measured():
    assert pick([judged(0.1, None), judged(0.2, 0.9, undefended=None)]) is None


def test_a_method_that_is_decided_once_has_its_one_record_picked():
    once = record("defended", choice=None)

    assert pick([once]) is once
