"""The CPU's dropout is dropout."""

import pytest
import torch
from torch import nn

from btu.models.dropout import WordDropout, use_word_dropout
from btu.seeding import torch_stream


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.9])
def test_the_dropped_share_is_p_and_the_mean_is_kept(p):
    with torch_stream(1):
        out = WordDropout(p).train()(torch.ones(1000, 1001))

    assert (out == 0).float().mean().item() == pytest.approx(p, abs=0.003)
    assert out.mean().item() == pytest.approx(1, abs=0.02)
    assert out.max().item() == pytest.approx(1 / (1 - p))


def test_the_gradient_passes_where_the_value_did():
    x = torch.ones(8, 9, requires_grad=True)

    out = WordDropout(0.5).train()(x)
    out.sum().backward()

    assert torch.equal(x.grad, out.detach())


def test_evaluation_changes_nothing():
    x = torch.randn(5, 3)

    assert torch.equal(WordDropout(0.5).eval()(x), x)


def test_the_same_stream_draws_the_same_mask():
    layer, x = WordDropout(0.5).train(), torch.ones(7, 7)
    masks = []
    for seed in (1, 1, 2):
        with torch_stream(seed):
            masks.append(layer(x))

    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])


def test_every_dropout_of_a_model_is_replaced():
    model = nn.Sequential(nn.Dropout(0.2), nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.3)))

    use_word_dropout(model)

    assert [m.p for m in model.modules() if isinstance(m, WordDropout)] == [0.2, 0.3]
    assert not any(isinstance(m, nn.Dropout) for m in model.modules())
