"""A batch in two halves is a batch, and one thread or two give the same bits."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from btu.models.base import Training
from btu.training import halves
from btu.training.fit import Compute, Encoded, Padder, fit, predict
from btu.training.halves import HalvedModel, two_threads

CPU = Compute("cpu", "fp32", 16)
TRAINING = Training(epochs=2, learning_rate=0.01, batch_size=8, weight_decay=0.1, precision="fp32")
PADDER = Padder(pad_token_id=0)


class Bag(nn.Module):
    """A mean of word vectors, dropout and a linear head."""

    def __init__(self, dropout: float = 0.2) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(1)
            self.words, self.head = nn.Embedding(40, 6), nn.Linear(6, 2)
        self.dropout = nn.Dropout(dropout)
        self.frozen = nn.Parameter(torch.ones(6), requires_grad=False)

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, labels: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        mask = attention_mask.unsqueeze(-1).float()
        pooled = (self.words(input_ids) * self.frozen * mask).sum(1) / mask.sum(1)
        return {"loss": F.cross_entropy(self.head(self.dropout(pooled)), labels)}


def some_data(size: int = 37) -> Encoded:
    rng = np.random.default_rng(1)
    ids = [rng.integers(1, 40, rng.integers(2, 9)) for _ in range(size)]
    return Encoded(ids, np.arange(size) % 2)


def mean_loss(data: Encoded) -> Callable[[nn.Module, Sequence[int]], torch.Tensor]:
    return lambda model, rows: model(**PADDER([data[row] for row in rows]))["loss"]


def lengths(data: Encoded) -> np.ndarray:
    return np.asarray([len(row) for row in data.ids])


@pytest.mark.parametrize("rows", [[3], [3, 7], [0, 1, 2, 3, 4], list(range(32))])
def test_the_gradient_of_the_halves_is_the_gradient_of_the_batch(rows):
    data, whole, halved = some_data(), Bag(dropout=0), Bag(dropout=0)

    mean_loss(data)(whole, rows).backward()
    with two_threads() as pool:
        HalvedModel(halved, mean_loss(data), lengths(data), pool, seed=1).backward(rows)

    for one, other in zip(whole.parameters(), halved.parameters(), strict=True):
        assert (one.grad is None) == (other.grad is None)
        if one.grad is not None:
            torch.testing.assert_close(one.grad, other.grad)


@pytest.mark.parametrize("part_tokens", [1, 10, 17])
def test_a_half_in_parts_has_the_same_gradient(part_tokens, monkeypatch):
    data, rows, seen = some_data(), list(range(13)), []
    monkeypatch.setattr(halves, "PART_TOKENS", part_tokens)

    def loss(model, part):
        seen.append(part)
        assert len(part) == 1 or len(part) * max(lengths(data)[part]) <= part_tokens
        return mean_loss(data)(model, part)

    whole, parted = Bag(dropout=0), Bag(dropout=0)
    mean_loss(data)(whole, rows).backward()
    with two_threads() as pool:
        HalvedModel(parted, loss, lengths(data), pool, seed=1).backward(rows)

    assert len(seen) > 2
    assert sorted(row for part in seen for row in part) == rows
    for one, other in zip(whole.parameters(), parted.parameters(), strict=True):
        if one.requires_grad:
            torch.testing.assert_close(one.grad, other.grad)


def test_a_model_may_say_how_many_tokens_fit():
    data, seen = some_data(), []

    def loss(model, part):
        seen.append(len(part))
        return mean_loss(data)(model, part)

    model = Bag()
    model.part_tokens = 1
    with two_threads() as pool:
        HalvedModel(model, loss, lengths(data), pool, seed=1).backward(range(6))

    assert seen == [1] * 6


def test_training_in_halves_is_training(monkeypatch):
    """Without dropout it ends where accelerate's whole batches end."""
    ended = []
    for halved in (True, False):
        model = Bag(dropout=0)
        monkeypatch.setattr(Compute, "in_halves", halved)
        fit(model, model.words, some_data(), TRAINING, PADDER, CPU, seed=3, title="bag")
        ended.append(model)

    for one, other, fresh in zip(*(m.parameters() for m in (*ended, Bag())), strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)
        assert torch.equal(one, fresh) != one.requires_grad


def test_a_word_that_no_text_holds_decays_with_every_step():
    model, before = Bag(), Bag().words.weight.detach()
    few_words = Encoded([np.asarray([1 + row % 9, 9]) for row in range(20)], np.arange(20) % 2)

    fit(model, model.words, few_words, TRAINING, PADDER, CPU, seed=3, title="bag")

    steps = 6  # two epochs of three batches
    left = (1 - TRAINING.learning_rate * TRAINING.weight_decay) ** steps
    torch.testing.assert_close(model.words.weight.detach()[10:], before[10:] * left)


def test_a_trained_model_is_freed_when_nobody_refers_to_it():
    """Not when the garbage collector comes by: a sweep would keep a model per threshold."""
    model = Bag()
    weights = weakref.ref(model.head.weight)
    gc.collect()
    gc.disable()
    try:
        fit(model, model.words, some_data(), TRAINING, PADDER, CPU, seed=3, title="bag")
        del model
        assert weights() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("count", [2, 3])
def test_the_number_of_threads_changes_no_bit(count, set_threads):
    ended = []
    for number in (1, count):
        set_threads(number)
        model = Bag()
        fit(model, model.words, some_data(), TRAINING, PADDER, CPU, seed=3, title="bag")
        assert torch.get_num_threads() == number
        ended.append(model)

    for one, other in zip(*(model.parameters() for model in ended), strict=True):
        assert torch.equal(one, other)


def test_another_seed_draws_other_dropout():
    data, gradients = some_data(), []
    for seed in (3, 4):
        model = Bag()
        with two_threads() as pool:
            HalvedModel(model, mean_loss(data), lengths(data), pool, seed).backward(range(8))
        gradients.append(model.head.weight.grad)

    assert not torch.equal(*gradients)


def test_each_half_has_noise_of_its_own_and_none_is_torchs():
    masks = {}

    def loss(model, rows):
        masks[rows[0]] = F.dropout(torch.ones(50), 0.5)
        return model.head.weight.sum()

    before = torch.get_rng_state()
    with two_threads() as pool:
        HalvedModel(Bag(), loss, np.ones(3, dtype=np.int64), pool, seed=1).backward([0, 1])

    assert not torch.equal(masks[0], masks[1])
    assert torch.equal(torch.get_rng_state(), before)


def test_threads_that_start_later_have_all_of_torchs_threads(set_threads):
    set_threads(2)
    with two_threads() as pool:
        assert pool.submit(torch.get_num_threads).result() == 1

    with ThreadPoolExecutor(1) as later:
        assert later.submit(torch.get_num_threads).result() == 2


def test_an_error_in_a_half_is_raised_and_ends_the_threads(set_threads):
    set_threads(2)

    def loss(model, rows):
        raise ValueError("no loss")

    with pytest.raises(ValueError, match="no loss"), two_threads() as pool:
        HalvedModel(Bag(), loss, np.ones(3, dtype=np.int64), pool, seed=1).backward([1, 2])

    assert torch.get_num_threads() == 2
    assert pool._shutdown


def test_predictions_come_back_in_the_order_of_the_rows(set_threads):
    class Length(nn.Module):
        """Says how long a text is."""

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> object:
            size = attention_mask.sum(1)
            return type("Output", (), {"logits": F.one_hot(size, 20).float()})

    set_threads(2)
    data = some_data(101)

    found = predict(Length(), data.ids, PADDER, CPU, 20).labels

    assert found.tolist() == [len(row) for row in data.ids]
