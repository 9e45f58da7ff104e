"""What is tried of a classifier when it is loaded, and which models are refused."""

import copy

import pytest
import torch

from btu.errors import ConfigError, ModelError
from btu.models.base import Classifier, check_classifier
from btu.models.tokens import encode
from btu.training.contract import make_ready
from btu.training.devices import Compute
from btu.training.first_position import read_every_position
from btu.training.fit import Padder, predict
from btu.training.rows import rows_in_use
from tests.models.architectures import ARCHITECTURES, TEXTS


def loaded(name: str, **changes) -> Classifier:
    architecture = ARCHITECTURES[name]
    made = Classifier(architecture.model(**changes), copy.deepcopy(architecture.words))
    made.model.set_attn_implementation("eager")
    return check_classifier(made, 16, name)


def made_ready(name: str, max_length: int = 16, **changes) -> Classifier:
    classifier = loaded(name, **changes)
    make_ready(classifier, TEXTS, max_length, name)
    return classifier


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_neither_padding_nor_a_shortcut_changes_what_an_architecture_says(name):
    classifier = made_ready(name, 64)
    plain = copy.deepcopy(classifier.model).eval()
    read_every_position(plain)
    ids = [torch.randint(10, 90, (n,)).numpy() for n in (9, 4, 12)]
    if name == "bart":  # looks for the end token
        ids = [[*row, classifier.tokenizer.eos_token_id] for row in ids]
        ids = [torch.tensor(row).numpy() for row in ids]
    pad, side = classifier.tokenizer.pad_token_id, classifier.tokenizer.padding_side
    padder = Padder(pad, side=side)

    with torch.no_grad():
        expected = torch.cat([plain(**padder([(row, 0)])).logits for row in ids])
        with rows_in_use(classifier.model, classifier.embeddings, ids, pad, 1.0) as few:
            found = classifier.model.eval()(**padder([(row, 0) for row in few])).logits

    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    assert side == ("left" if name == "xlnet" else "right")


READS_LAST = ("gpt2", "llama", "qwen2", "xlnet", "bart")


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_states_of_texts_are_those_that_the_head_reads(name):
    classifier = made_ready(name)
    tokenizer = classifier.tokenizer
    ids = encode(tokenizer, ["the film", "the film was long and indeed quite a room"], 16)
    pad, compute = (
        Padder(tokenizer.pad_token_id, side=tokenizer.padding_side),
        Compute("cpu", "fp32", 2),
    )

    together = predict(classifier.model, ids, pad, compute, 3, states=True).states
    (alone,) = predict(classifier.model, ids[:1], pad, compute, 3, states=True).states

    place = -1 if name in READS_LAST else 0
    read_every_position(classifier.model)
    with torch.no_grad():
        output = classifier.model(**pad([(ids[0], 0)]), output_hidden_states=True)
    states = getattr(output, "hidden_states", None) or output.decoder_hidden_states
    torch.testing.assert_close(torch.from_numpy(alone), states[-1][0, place], atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(together[0], alone, atol=1e-4, rtol=1e-3)
    assert together.shape == (2, len(alone))


@pytest.mark.parametrize("name", ["bert", "gpt2"])
def test_the_check_draws_nothing_and_changes_nothing(name):
    classifier = loaded(name)
    weights = copy.deepcopy(classifier.model.state_dict())
    state, training = torch.get_rng_state(), classifier.model.training

    make_ready(classifier, TEXTS, 16, name)

    assert torch.equal(torch.get_rng_state(), state)
    assert classifier.model.training == training
    found = classifier.model.state_dict()
    assert all(torch.equal(found[key], value) for key, value in weights.items())
    assert all(parameter.grad is None for parameter in classifier.model.parameters())


@pytest.mark.parametrize(
    ("name", "positions"),
    [("bert", 20), ("gpt2", 20), ("bart", 20), ("roberta", 22), ("xlm_roberta", 22), ("mpnet", 22)],
)
def test_fewer_positions_than_tokens_are_told_with_the_number_that_there_are(name, positions):
    key = "max_position_embeddings"

    made_ready(name, 20, **{key: positions})

    with pytest.raises(ConfigError, match=r"max_length=21 is more than the 20 tokens that"):
        made_ready(name, 21, **{key: positions})
    with pytest.raises(ConfigError, match=r"Write model\.max_length=20\."):
        made_ready(name, 128, **{key: positions})


def refused(change, match: str, name: str = "bert") -> None:
    classifier = loaded(name)
    change(classifier.model)
    with pytest.raises(ModelError, match=match) as error:
        make_ready(classifier, TEXTS, 16, "mine")
    assert type(classifier.model).__name__ in str(error.value)
    assert "Encoders such as BERT" in str(error.value)
    assert "\n" not in str(error.value)


def hook(change):
    """Runs on what the model says."""
    return lambda model: model.register_forward_hook(change, with_kwargs=True)


def test_a_model_whose_answer_depends_on_padding_is_refused():
    def add_length(_model, _args, batch, output):
        output.logits = output.logits + batch["input_ids"].shape[1]

    refused(hook(add_length), "depends on the padding beside it")


def test_a_padding_row_that_mobilebert_reads_is_refused():
    def fill(model):
        model.get_input_embeddings().weight.data[0] += 50  # beside the last token it is read

    refused(fill, "depends on the padding beside it", "mobilebert")


def test_a_model_that_compares_token_ids_is_refused():
    def add_ids(_model, _args, batch, output):
        output.logits = output.logits + batch["input_ids"].amax(1, keepdim=True)

    refused(hook(add_ids), "depends on the numbers of unused tokens")


def test_a_model_that_reads_its_first_token_alone_is_refused():
    def cut_off(model):
        model.config.is_decoder = True
        for layer in model.base_model.encoder.layer:
            layer.is_decoder = layer.attention.self.is_decoder = True
            layer.attention.self.is_causal = True

    refused(cut_off, "its head does not see every token")


def test_frozen_or_broken_word_embeddings_are_refused():
    def detach(model):
        model.get_input_embeddings().register_forward_hook(lambda *seen: seen[2].detach())

    refused(detach, "no finite gradient")


def test_a_model_that_fails_is_refused_with_the_reason():
    def fail(*_):
        raise KeyError("all is lost")

    refused(hook(fail), "it fails .*all is lost")


def test_logits_that_are_no_numbers_are_refused():
    def spoil(_model, _args, _batch, output):
        output.logits = output.logits * float("nan")

    refused(hook(spoil), "logits are not finite")
