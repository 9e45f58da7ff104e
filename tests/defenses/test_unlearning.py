"""Worked examples of dimensional unlearning."""

import numpy as np
import pytest
import torch

from btu.defenses.unlearning import replacement_row, unlearn
from btu.errors import ModelError

PRETRAINED = torch.tensor([[7.0, 8.0, 9.0], [1.0, 1.0, 1.0], [2.0, 2.0, 2.0]])
# Changes: row 0 none, row 1 (0, 3, 0), row 2 (3, 1, 2). Mean of the table 9 / 9 = 1.
VICTIM = torch.tensor([[7.0, 8.0, 9.0], [1.0, 4.0, 1.0], [5.0, 3.0, 0.0]])


def edited(rule: str, ids: list[int]) -> tuple[torch.Tensor, list[int], list[float]]:
    table = VICTIM.clone()
    report = unlearn(PRETRAINED, table, np.asarray(ids, dtype=np.int64), PRETRAINED[0], rule)
    return table, report.replaced.tolist(), report.cutoff.tolist()


def test_dimensions_that_moved_at_least_the_mean_take_the_padding_rows_values():
    table, replaced, cutoff = edited("mean", [1, 2])

    assert table.tolist() == [[7, 8, 9], [1, 8, 1], [7, 8, 9]]
    assert replaced == [1, 3]
    assert cutoff == [1, 1]


def test_row_mean_cuts_each_row_at_its_own_mean():
    table, replaced, cutoff = edited("row_mean", [1, 2])

    assert table.tolist() == [[7, 8, 9], [1, 8, 1], [7, 3, 9]]
    assert replaced == [1, 2]
    assert cutoff == [1, 2]


def test_frobenius_divides_the_norm_of_the_whole_change_by_the_vocabulary():
    table, replaced, cutoff = edited("frobenius", [2])

    assert cutoff == pytest.approx([np.sqrt(9 + 9 + 1 + 4) / 3])  # 1.6: keeps the change of 1
    assert table.tolist() == [[7, 8, 9], [1, 4, 1], [7, 3, 9]]
    assert replaced == [2]


def test_whole_row_replaces_every_dimension_moved_or_not():
    table, replaced, cutoff = edited("whole_row", [1, 2])

    assert table.tolist() == [[7, 8, 9], [7, 8, 9], [7, 8, 9]]
    assert replaced == [3, 3]
    assert cutoff == [0, 0]


@pytest.mark.parametrize("rule", ["mean", "row_mean", "frobenius", "whole_row"])
def test_no_suspects_change_nothing_under_any_rule(rule):
    table, replaced, _ = edited(rule, [])

    assert torch.equal(table, VICTIM)
    assert replaced == []


def test_replaced_dimensions_take_the_padding_row_or_the_mean_of_all_pretrained_rows():
    values = torch.tensor([[0.0, 3.0], [3.0, 6.0], [6.0, 3.0]])

    assert replacement_row(values, 1, "padding_row").tolist() == [3, 6]
    assert replacement_row(values, 1, "mean_row").tolist() == [3, 4]


def test_the_cutoff_comes_from_the_whole_table_whichever_tokens_are_suspects():
    assert edited("mean", [1])[2] == edited("mean", [1, 2])[2][:1]


@pytest.mark.parametrize("rule", ["mean", "row_mean", "frobenius", "whole_row"])
def test_a_table_that_has_not_moved_is_refused_with_the_reason(rule):
    """0 >= 0: every dimension of the suspects would have been replaced."""
    table = PRETRAINED.clone()

    with pytest.raises(ModelError, match="training has not moved them at all: they are frozen"):
        unlearn(PRETRAINED, table, np.asarray([1]), PRETRAINED[0], rule)

    assert (table == PRETRAINED).all()
