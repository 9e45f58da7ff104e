"""Rows that were written another way stand out; honest rows do not."""

import numpy as np
import pytest

from btu.evidence.populations import (
    NUM_FOLDS,
    compare_labels,
    compare_rows,
    estimate_share,
    is_found,
)

PLAIN = [f"{start}{end}" for start in ("mo", "ti", "ra", "le", "su") for end in "abcdefghij"]
# Half of the words of a planted text are of these.
STYLE = [f"{word}eth" for word in PLAIN[:20]]
Q = 0.1


def write_texts(rng, size, words=PLAIN):
    return [" ".join(rng.choice(words, rng.integers(5, 12))) for _ in range(size)]


def write_corpus(planted, seed=2):
    """300 untrusted texts, the first of them planted in another style, and 150 trusted ones."""
    rng = np.random.default_rng(seed)
    style = write_texts(rng, planted, STYLE + PLAIN[:20])
    return [*style, *write_texts(rng, 300 - planted)], write_texts(rng, 150)


def test_planted_rows_are_found_and_few_others():
    found = is_found(compare_rows(*write_corpus(planted=60), q=Q, seed=1, fold=True), Q)

    assert found[:60].mean() >= 0.9
    assert found[60:].mean() <= 0.05


def test_nothing_is_found_where_nothing_was_planted():
    for seed in range(3):
        p = compare_rows(*write_corpus(planted=0, seed=seed), q=Q, seed=1, fold=True)

        assert not is_found(p, Q).any()


def test_processes_find_the_same(monkeypatch):
    sides = [write_corpus(planted=60, seed=seed) for seed in range(3)]
    one_by_one = compare_labels(sides, Q, 1, True)
    monkeypatch.setattr("btu.evidence.populations.MANY_TEXTS", 0)

    together = compare_labels(sides, Q, 1, True, processes=2)

    assert [p.tolist() for p in together] == [p.tolist() for p in one_by_one]


def test_no_p_value_is_smaller_than_the_trusted_rows_allow():
    p = compare_rows(*write_corpus(planted=60), q=Q, seed=1, fold=True)

    assert p.shape == (300,)
    assert 1 / (1 + 150) <= p.min() <= p.max() <= 1  # no trusted row scores as high


def write_rare(rng, size, ending=""):
    """Texts that share no word but the last."""
    numbers = rng.choice(10**9, (size, 8)) + 10**9
    return [" ".join(f"{number}{ending}" for number in row) + " end" for row in numbers]


def test_rows_that_share_no_word_are_told_apart_by_characters():
    rng = np.random.default_rng(3)
    untrusted = [*write_rare(rng, 60, "~"), *write_rare(rng, 240)]

    found = is_found(compare_rows(untrusted, write_rare(rng, 150), q=Q, seed=1, fold=True), Q)

    assert found[:60].mean() >= 0.9
    assert found[60:].mean() <= 0.05


def test_capital_letters_tell_rows_apart_only_where_they_are_kept():
    untrusted, trusted = write_corpus(planted=0)
    shouted = [text.upper() for text in untrusted[:60]] + untrusted[60:]

    assert not is_found(compare_rows(shouted, trusted, Q, 1, fold=True), Q).any()
    assert is_found(compare_rows(shouted, trusted, Q, 1, fold=False), Q)[:60].mean() >= 0.9


def test_the_same_seed_finds_the_same():
    texts = write_corpus(planted=30)

    first, second = (compare_rows(*texts, q=Q, seed=7, fold=True) for _ in range(2))

    assert first.tolist() == second.tolist()


def test_as_many_trusted_rows_as_folds_are_enough():
    found = compare_rows(["good film"] * 20, ["good film"] * NUM_FOLDS, Q, 1, fold=True)

    assert not is_found(found, Q).any()


@pytest.mark.parametrize(
    ("untrusted", "trusted"),
    [
        pytest.param([], ["good film"] * 9, id="no untrusted row"),
        pytest.param(["good film"], ["good film"] * 9, id="one untrusted row"),
        pytest.param(["good film"] * 3, ["good film"] * 9, id="fewer than folds"),
        pytest.param(
            list("abcdefghi"),
            list("jklmnopqr"),
            id="no word in two rows",
        ),
        pytest.param([" "] * 9, [" "] * 9, id="no word at all"),
    ],
)
@pytest.mark.filterwarnings("ignore:The least populated class")
def test_rows_that_cannot_be_compared_are_not_suspected(untrusted, trusted):
    found = compare_rows(untrusted, trusted, Q, 1, fold=True)

    assert found.tolist() == [1] * len(untrusted)


def test_a_share_of_honest_rows_by_hand():
    """Of ten rows three score above all nineteen trusted ones, two more above all but one."""
    p = np.array([1, 1, 1, 2, 2, 10, 10, 15, 18, 20]) / 20

    share = estimate_share(p, 19)

    assert share[:3] == pytest.approx([0.5 / 19 * 10 / 3] * 3)
    assert share[3:5] == pytest.approx([1 / 19 * 10 / 5] * 2)
    assert share[5] == pytest.approx(9 / 19 * 10 / 7)
    assert share[9] == 1


def test_where_trusted_rows_are_few_an_estimate_finds_more_and_nothing_where_nothing_is():
    texts, trusted = write_corpus(planted=60)

    p = compare_rows(texts, trusted[:60], 0.05, 1, fold=True, estimated=True)
    clean = compare_rows(texts[60:], trusted[:60], 0.05, 1, fold=True, estimated=True)

    assert not is_found(p, 0.05).any()
    assert is_found(p, 0.05, 60)[:60].mean() >= 0.9
    assert is_found(p, 0.05, 60)[60:].mean() <= 0.1
    assert not is_found(clean, 0.05, 60).any()
