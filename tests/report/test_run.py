"""What the terminal and the plot show."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from btu.arms import choose
from btu.report.plots import plot_curve
from btu.report.tables import score_table
from btu.types import Scores
from tests.report.factory import record


def blind_scores(cacc):
    """Scores where no trigger is known."""
    return Scores(cacc, 10, None, None, None, 0)


def shown(records, chosen=None) -> str:
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(score_table(records, chosen))
    return console.export_text()


def test_the_table_shows_percentages_with_their_counts():
    text = shown([record("poisoned"), record("defended", 0.001, asr=0.123)])

    assert "12.3 %" in text
    assert "CACC of 1,000 test rows" in text
    assert "base rate of 400 non-target" in text


def test_leaky_splits_are_in_the_title():
    assert "LEAKY" in shown([record("poisoned", leaky=True)])
    assert "LEAKY" not in shown([record("poisoned")])


@pytest.mark.parametrize(
    ("rows", "best"),
    [
        ([(0.1, 0.90, 0.5, 0.1), (0.2, 0.88, 0.1, 0.1)], 0.2),  # 0.50 against 0.88
        ([(0.1, 0.90, 0.1, 0.1), (0.2, 0.90, 0.1, 0.1)], 0.1),  # equal: the smaller
        ([(0.1, 0.90, 0.0, 0.2), (0.2, 0.91, 0.3, 0.3)], 0.2),  # below the base rate is no bonus
    ],
)
def test_the_chosen_threshold_weighs_accuracy_against_excess_asr(rows, best):
    records = [record("defended", t, cacc, asr, base) for t, cacc, asr, base in rows]

    assert choose([record("poisoned"), *records]).threshold == best


@pytest.mark.parametrize(
    ("caccs", "best"),
    [
        ({0.1: 0.90, 0.2: 0.89, 0.3: 0.88}, 0.3),  # all within two points: the most repair
        ({0.1: 0.90, 0.2: 0.885, 0.3: 0.77}, 0.2),
        ({0.1: 0.80, 0.2: 0.77, 0.3: 0.90}, 0.3),
    ],
)
def test_without_an_attack_the_most_repair_that_costs_little_is_chosen(caccs, best):
    rows = [record("defended", t, scores=blind_scores(cacc)) for t, cacc in caccs.items()]

    assert choose([record("poisoned", scores=blind_scores(0.9)), *rows]).threshold == best
    text = shown(rows, choose(rows))
    assert f"{best} *" in text
    assert "nothing here tells whether one is left" in " ".join(text.split())
    assert "ASR" not in text


def test_nothing_is_chosen_where_nothing_was_repaired():
    assert choose([record("poisoned")]) is None


def test_a_curve_is_drawn_with_and_without_an_attack(tmp_path):
    rows = [record("defended", t) for t in (0.001, 0.002)]
    unattacked = [replace(r, scores=blind_scores(0.9)) for r in rows]

    assert plot_curve([record("poisoned"), *rows], tmp_path / "a.png")
    assert plot_curve(unattacked, tmp_path / "b.png")
    assert not plot_curve([record("poisoned")], tmp_path / "c.png")
    assert (tmp_path / "a.png").stat().st_size > 10_000
    assert not (tmp_path / "c.png").exists()
