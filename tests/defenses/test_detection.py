"""Worked examples of drift, selection and their edge cases."""

import numpy as np
import pytest
import torch

from btu.defenses.btu import join
from btu.defenses.detection import embedding_distances, num_flagged, select_tokens
from btu.errors import ModelError
from btu.types import TokenDistances


def test_distance_is_the_euclidean_length_of_each_rows_change():
    before = torch.tensor([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]])
    after = torch.tensor([[3.0, 4.0], [1.0, 1.0], [2.0, 1.0]])

    np.testing.assert_allclose(embedding_distances(before, after), [5.0, 0.0, 1.0])


def test_tables_of_two_tokenizers_are_refused():
    with pytest.raises(ModelError, match=r"\(4, 2\) entries, expected \(3, 2\)"):
        embedding_distances(torch.zeros(3, 2), torch.zeros(4, 2))


def test_the_most_drifted_unprotected_tokens_are_selected_and_ties_go_by_id():
    drift = TokenDistances(1, np.asarray([9, 1, 3, 3, 8], dtype=np.float32), frozenset({0}))

    assert select_tokens(drift, 3).tolist() == [4, 2, 3]


def test_at_most_all_unprotected_tokens_are_selected():
    drift = TokenDistances(1, np.asarray([1, 2, 3], dtype=np.float32), frozenset({2}))

    assert select_tokens(drift, 3).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("threshold", "vocabulary", "reference", "expected"),
    [
        (0.0005, 30522, None, 15),  # 15.26
        (0.0005, 50265, None, 25),  # 25.13
        (0.0005, 30522, 35022, 17),  # the released code, 17.51 cut off
        (0.0005, 50265, 35022, 17),  # whatever the vocabulary
        (0.0, 30522, None, 0),
        (1.0, 30522, None, 30522),
    ],
)
def test_number_flagged(threshold, vocabulary, reference, expected):
    assert num_flagged(threshold, vocabulary, reference) == expected


def test_union_is_sorted_and_holds_each_token_once():
    assert join([np.asarray([5, 1]), np.asarray([3, 5])]).tolist() == [1, 3, 5]
    assert join([]).tolist() == []
