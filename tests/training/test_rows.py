"""Training on the rows in use is training on the whole table."""

import numpy as np
import pytest
import torch
from torch import nn

from btu.training.rows import rows_in_use

IDS = [np.asarray([2, 7, 9]), np.asarray([9, 4])]


def table(trained=True):
    made = nn.Embedding(20, 3, padding_idx=1)
    made.requires_grad_(trained)
    return made


def test_inside_are_the_rows_of_the_texts_and_those_up_to_the_padding_token():
    words = table()
    full = words.weight.detach().clone()

    with rows_in_use(words, words, IDS, pad_token_id=1, decay=1.0) as ids:
        assert torch.equal(words.weight.detach(), full[[0, 1, 2, 4, 7, 9]])
        assert [row.tolist() for row in ids] == [[2, 4, 5], [5, 3]]
        for old, new in zip(IDS, ids, strict=True):
            assert torch.equal(words(torch.from_numpy(new)), full[old])


@pytest.mark.parametrize("pad_token_id", [0, 1, 15])
def test_adamw_ends_with_the_table_that_it_has_on_all_rows(pad_token_id):
    def train(words, ids):
        optimizer = torch.optim.AdamW([words.weight], lr=0.01, weight_decay=0.5)
        for step in range(6):
            rows = torch.from_numpy(ids[step % 2])
            (words(rows).pow(3).sum() + words(rows[:1]).sum()).backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    whole, part = table(), table()
    part.load_state_dict(whole.state_dict())
    weight = part.weight
    train(whole, IDS)
    with rows_in_use(part, part, IDS, pad_token_id, decay=(1 - 0.01 * 0.5) ** 6) as ids:
        train(part, ids)

    assert part.weight is weight
    torch.testing.assert_close(part.weight, whole.weight)
    assert not torch.equal(part.weight[9], table().weight[9])


def test_a_frozen_table_does_not_decay():
    words = table(trained=False)
    before = words.weight.clone()

    with rows_in_use(words, words, IDS, pad_token_id=0, decay=0.5):
        assert not words.weight.requires_grad

    assert torch.equal(words.weight, before)


def test_the_whole_table_is_back_after_an_error():
    words = table()
    with pytest.raises(ValueError, match="stop"), rows_in_use(words, words, IDS, 0, 1.0):
        raise ValueError("stop")
    assert len(words.weight) == 20
