"""Hold-outs: equal texts on one side, labels in proportion, enough rows or an error."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from btu.data.splits import fold, hold_out, separate
from btu.errors import DataError
from btu.types import make_split


def held_out(texts, labels, share=0.25, seed=0):
    split = make_split(tuple(texts), np.asarray(labels))
    rows = hold_out(split, share, np.random.default_rng(seed), "dataset.test_holdout")
    return split.take(np.flatnonzero(rows)), split.take(np.flatnonzero(~rows))


def test_equal_texts_stay_on_one_side_whatever_their_blanks():
    texts = [f"text  {n % 40}" if n < 60 else f"text {n % 40} " for n in range(100)]

    test, train = held_out(texts, np.arange(100) % 2)

    assert not {fold(text) for text in test.texts} & {fold(text) for text in train.texts}
    assert 20 <= len(test) <= 25


def test_each_class_gives_its_share():
    labels = np.asarray([0] * 800 + [1] * 160 + [2] * 40)

    test, train = held_out([f"text {n}" for n in range(1000)], labels)

    assert np.bincount(test.labels).tolist() == [200, 40, 10]
    assert np.bincount(train.labels).tolist() == [600, 120, 30]


def test_the_only_row_of_a_class_is_never_held_out():
    for seed in range(20):
        _, train = held_out([f"text {n}" for n in range(24)], [0] * 23 + [1], 0.9, seed)
        assert 1 in train.labels


def test_many_small_classes_give_the_share_together():
    test, train = held_out([f"text {n}" for n in range(400)], np.arange(400) // 4, 0.1)

    assert len(test) == 40
    assert set(train.labels) == set(range(100))


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 3)), min_size=20, max_size=60),
    st.floats(0.05, 0.95),
    st.integers(0, 5),
)
def test_any_hold_out_keeps_its_promises(rows, share, seed):
    texts = [f"text {text}" for text, _ in rows]
    try:
        test, train = held_out(texts, [label for _, label in rows], share, seed)
    except DataError:
        assert len(set(texts)) < 20
        return
    assert 0 < len(test) <= round(share * len(rows))
    assert not set(test.texts) & set(train.texts)
    first = {text: label for (_, label), text in reversed(list(zip(rows, texts, strict=True)))}
    assert {first[text] for text in train.texts} == set(first.values())


@pytest.mark.parametrize(
    ("texts", "share", "sentence"),
    [
        ([f"text {n}" for n in range(19)], 0.1, r"training file, but it has 19; expected 20 or"),
        ([f"text {n}" for n in range(300)], 0.001, r"0\.001 of 300 training rows is 0; expected"),
        ([f"text {n}" for n in range(20)], 0.999, r"of 20 training rows is 20; expected one or"),
        ([f"text {n % 2}" for n in range(30)], 0.1, r"none of the 30 .* have 2 different texts"),
    ],
)
def test_a_hold_out_that_is_none_is_refused(texts, share, sentence):
    with pytest.raises(DataError, match=sentence) as error:
        held_out(texts, np.arange(len(texts)) % 2, share)

    assert "dataset.test_holdout" in str(error.value)


def test_few_shared_rows_are_all_listed_without_dots():
    one = make_split(tuple(f"text {n}" for n in range(40)), np.arange(40) % 2)

    with pytest.raises(DataError, match=r"share 2 texts, more than 1% of 2 \(rows 4, 9 of train\)"):
        separate({"train": one, "tuning": None, "test": one.take(np.asarray([3, 8]))}, False)
