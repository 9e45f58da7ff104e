"""The last layer at one position gives the logits and gradients of the whole layer."""

import copy

import pytest
import torch
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    DistilBertConfig,
    MobileBertConfig,
    RobertaConfig,
    XLNetConfig,
)

from btu.training.first_position import read_first_position_only

BERT = {
    "vocab_size": 60,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 32,
    "max_position_embeddings": 40,
}
CONFIGS = {
    "bert": BertConfig(**BERT, pad_token_id=0, num_labels=3),
    "roberta": RobertaConfig(**BERT, pad_token_id=1, num_labels=3),
    "distilbert": DistilBertConfig(
        vocab_size=60, dim=16, n_layers=2, n_heads=4, hidden_dim=32, pad_token_id=0, num_labels=3
    ),
}


def made(config, attention="eager"):
    torch.manual_seed(1)
    model = AutoModelForSequenceClassification.from_config(config, attn_implementation=attention)
    for parameter in model.parameters():  # biases and norms are drawn too, not 0 and 1
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def batch(pad):
    ids = torch.randint(3, 60, (5, 11), generator=torch.Generator().manual_seed(2))
    mask = torch.ones_like(ids)
    for row, length in enumerate((11, 9, 4, 2, 11)):
        ids[row, length:], mask[row, length:] = pad, 0
    return {"input_ids": ids, "attention_mask": mask, "labels": torch.tensor([0, 1, 2, 1, 0])}


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("family", CONFIGS)
def test_logits_and_gradients_stay(family, attention):
    whole = made(CONFIGS[family], attention)
    less = copy.deepcopy(whole)

    assert read_first_position_only(less)
    expected, found = (model(**batch(whole.config.pad_token_id)) for model in (whole, less))
    expected.loss.backward()
    found.loss.backward()

    torch.testing.assert_close(found.logits, expected.logits)
    gradients = zip(whole.named_parameters(), less.parameters(), strict=True)
    for (name, one), other in gradients:
        assert (one.grad is None) == (other.grad is None), name
        if one.grad is not None:
            torch.testing.assert_close(other.grad, one.grad, atol=1e-6, rtol=1e-4, msg=name)


@pytest.mark.parametrize("family", CONFIGS)
def test_the_last_layer_gives_one_position_and_copies_do_too(family):
    model = made(CONFIGS[family])
    assert model.base_model(batch(1)["input_ids"]).last_hidden_state.shape == (5, 11, 16)

    read_first_position_only(model)

    for each in (model, copy.deepcopy(model)):
        assert each.base_model(batch(1)["input_ids"]).last_hidden_state.shape == (5, 1, 16)
    assert not model.training
    assert read_first_position_only(model.train())
    assert model.training


class DropoutsSeen(TorchFunctionMode):
    """Notes the probability of every dropout that is at work."""

    def __init__(self):
        super().__init__()
        self.probabilities = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is F.dropout:
            self.note(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))

    def note(self, input, p=0.5, training=True, inplace=False):
        if training and p:
            self.probabilities.append(p)


@pytest.mark.parametrize("family", CONFIGS)
def test_dropout_is_where_it_was(family):
    config = copy.deepcopy(CONFIGS[family])
    of_attention = "attention_dropout" if family == "distilbert" else "attention_probs_dropout_prob"
    setattr(config, of_attention, 0.3)  # the hidden states have 0.1
    model = made(config).train()
    with DropoutsSeen() as before:
        model(**batch(1))

    assert read_first_position_only(model)
    with DropoutsSeen() as after:
        model(**batch(1))

    assert after.probabilities == before.probabilities
    assert after.probabilities.count(0.3) == 2


def test_a_saved_model_is_an_ordinary_one(tmp_path):
    model = made(CONFIGS["bert"])
    read_first_position_only(model)
    model.save_pretrained(tmp_path)

    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()

    torch.testing.assert_close(loaded(**batch(0)).logits, model(**batch(0)).logits)
    assert loaded.base_model(batch(0)["input_ids"]).last_hidden_state.shape[1] == 11


def test_a_head_that_reads_every_position_is_left_alone():
    class Mean(torch.nn.Module):
        def forward(self, hidden_states):
            return hidden_states.mean(1).tanh()

    model = made(CONFIGS["bert"])
    model.base_model.pooler = Mean()
    expected = model(**batch(0)).logits

    assert not read_first_position_only(model)
    assert torch.equal(model(**batch(0)).logits, expected)


@pytest.mark.parametrize(
    "config",
    [
        XLNetConfig(vocab_size=60, d_model=16, n_layer=1, n_head=2, d_inner=32),
        MobileBertConfig(
            vocab_size=60,
            hidden_size=16,
            embedding_size=8,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
            intra_bottleneck_size=16,
        ),
    ],
)
def test_models_that_are_built_otherwise_are_left_alone(config):
    assert not read_first_position_only(made(config))
