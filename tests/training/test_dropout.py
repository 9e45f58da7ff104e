"""The CPU's dropout is dropout."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from btu.training.dropout import WordDropout


def noise(seed: int = 1) -> WordDropout:
    return WordDropout(seed)


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.9])
def test_the_dropped_share_is_p_and_the_mean_is_kept(p):
    with noise():
        out = nn.Dropout(p).train()(torch.ones(1000, 1001))

    assert (out == 0).float().mean().item() == pytest.approx(p, abs=0.003)
    assert out.mean().item() == pytest.approx(1, abs=0.02)
    assert out.max().item() == pytest.approx(1 / (1 - p))


def test_the_gradient_passes_where_the_value_did():
    x = torch.ones(8, 9, requires_grad=True)

    with noise():
        out = F.dropout(x, 0.5)
    out.sum().backward()

    assert torch.equal(x.grad, out.detach())


def test_evaluation_changes_nothing():
    x = torch.randn(5, 3)

    with noise():
        assert torch.equal(nn.Dropout(0.5).eval()(x), x)


def test_the_noise_is_the_generators_alone():
    layer, x = nn.Dropout(0.5).train(), torch.ones(7, 7)
    masks = []
    for seed in (1, 1, 2):
        torch.randn(3)  # the global generator does not enter
        with noise(seed):
            masks.append(layer(x))

    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])


def test_the_context_can_be_entered_again_and_goes_on_drawing():
    context, x = noise(), torch.ones(7, 7)
    with context:
        first = F.dropout(x)
    with context:
        second = F.dropout(x)

    assert not torch.equal(first, second)


@pytest.mark.parametrize("kind", ["bert", "roberta", "distilbert"])
def test_a_model_of_transformers_draws_nothing_from_torch(kind):
    from transformers import AutoConfig, AutoModelForSequenceClassification

    small = {"vocab_size": 50, "pad_token_id": 0, "attn_implementation": "eager"}
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    if kind == "distilbert":
        sizes = {"dim": 16, "n_layers": 1, "n_heads": 2, "hidden_dim": 32}
    config = AutoConfig.for_model(kind, **small, **sizes)
    model = AutoModelForSequenceClassification.from_config(config).train()
    before = torch.get_rng_state()

    with noise():
        one = model(torch.arange(1, 13).view(2, 6)).logits
    with noise():
        same = model(torch.arange(1, 13).view(2, 6)).logits
    with noise(2):
        other = model(torch.arange(1, 13).view(2, 6)).logits

    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
