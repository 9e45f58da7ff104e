"""Tiny models, what the stages need of a tokenizer, and checkpoints that are refused."""

import numpy as np
import pytest
import torch

from btu.config import build
from btu.errors import ConfigError, ModelError
from btu.models.pretrained import Pretrained
from btu.models.probe import PooledProbe
from btu.models.tokens import encode, trigger_token_ids
from btu.training.devices import resolve_precision
from btu.training.fit import Encoded, Padder, length_batches
from tests.attacks.test_insertion import insertion
from tests.conftest import composed, toy_split

TEXTS = toy_split(200, 1).texts


def tiny(name: str, **changes):
    overrides = [f"model={name}", "model.vocabulary_size=500", "model.hidden_size=16"]
    overrides += [f"model.{k}={v}" for k, v in changes.items()]
    return build(composed(overrides).model, "model")


@pytest.fixture(scope="module", params=["tiny", "tiny_roberta"])
def classifier(request):
    return tiny(request.param).load(2, TEXTS, seed=1)


def test_tiny_models_are_the_same_body_with_another_head_per_seed():
    one, same, other = (tiny("tiny").load(2, TEXTS, seed) for seed in (1, 1, 2))

    assert torch.equal(one.embeddings.weight, other.embeddings.weight)
    assert torch.equal(one.model.classifier.weight, same.model.classifier.weight)
    assert not torch.equal(one.model.classifier.weight, other.model.classifier.weight)
    assert one.tokenizer.get_vocab() == same.tokenizer.get_vocab()


def test_trigger_ids_are_those_seen_inside_a_text(classifier):
    ids = trigger_token_ids(classifier.tokenizer, insertion().samples())

    for text in ("cf the film", "the cf film", "the film cf"):
        seen = set(encode(classifier.tokenizer, [text], 32)[0].tolist())
        assert seen & ids, text
    assert not set(encode(classifier.tokenizer, ["the film"], 32)[0].tolist()) & ids
    assert not ids & classifier.protected_ids()


def test_padding_ids_are_the_tokenizers_own(classifier):
    pad = classifier.tokenizer.pad_token_id

    batch = Padder(pad)([(np.asarray([5, 6, 7]), 1), (np.asarray([5]), 0)])

    assert batch["input_ids"].tolist() == [[5, 6, 7], [5, pad, pad]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert batch["labels"].tolist() == [1, 0]


def test_the_probe_pools_over_real_tokens_or_over_all_positions(classifier):
    classifier.model.eval()
    module = classifier.model.base_model.embeddings
    ids = torch.tensor([[5, 6, classifier.tokenizer.pad_token_id]])
    mask, label = torch.tensor([[1, 1, 0]]), torch.tensor([1])
    hidden = module(ids)[0]

    for over_padding, pooled in ((False, hidden[:2].mean(0)), (True, hidden.mean(0))):
        probe = PooledProbe(classifier, 2, over_padding, train_all=False).eval()
        wanted = torch.nn.functional.cross_entropy(probe.head(pooled)[None], label)
        assert probe(ids, mask, label)["loss"].item() == pytest.approx(wanted.item(), rel=1e-5)


def test_the_probe_trains_word_embeddings_alone_or_the_whole_module():
    for train_all in (False, True):
        fresh = tiny("tiny").load(2, TEXTS, 1)
        probe = PooledProbe(fresh, 2, False, train_all)
        trained = {name for name, p in probe.named_parameters() if p.requires_grad}
        words = {"embedding_module.word_embeddings.weight", "head.weight", "head.bias"}
        assert (trained == words) == (not train_all)
        assert words <= trained


def test_hidden_tokens_leave_the_rows_and_the_others_stay_in_order():
    data = Encoded([np.asarray([1, 5, 6, 5, 2]), np.asarray([1, 2])], np.asarray([0, 1]))

    rows = data.without_tokens(np.asarray([5])).ids

    assert [row.tolist() for row in rows] == [[1, 6, 2], [1, 2]]


def test_cutting_keeps_the_last_special_token():
    data = Encoded([np.asarray([1, 5, 6, 7, 2]), np.asarray([1, 2])], np.asarray([0, 1]))

    assert [row.tolist() for row in data.cut(3).ids] == [[1, 5, 2], [1, 2]]


def test_length_batches_hold_every_row_once_with_neighbours_of_like_length():
    lengths = np.random.default_rng(0).integers(5, 60, 1000)

    batches = length_batches(lengths, 32, np.random.default_rng(1))

    assert sorted(np.concatenate(batches).tolist()) == list(range(1000))
    assert np.mean([np.ptp(lengths[batch]) for batch in batches]) < 5
    firsts = [lengths[batch].max() for batch in batches]
    assert firsts != sorted(firsts, reverse=True)


def test_tf32_needs_a_gpu():
    with pytest.raises(ConfigError, match="tf32 needs a CUDA device, got cpu"):
        resolve_precision("tf32", "cpu")


def pretrained(place: object, **changes) -> Pretrained:
    training = build(composed([]).model, "model").training
    settings = {
        "name": "x",
        "max_length": 64,
        "eval_batch_size": 8,
        "training": training,
        "pretrained": str(place),
        "revision": None,
        "sha256": None,
    }
    return Pretrained(**{**settings, **changes})


@pytest.fixture
def saved(tmp_path):
    """A checkpoint folder as save_pretrained writes it."""
    made = tiny("tiny").load(3, TEXTS, 1)
    made.model.save_pretrained(tmp_path / "saved")
    made.tokenizer.save_pretrained(tmp_path / "saved")
    return tmp_path / "saved"


def test_a_saved_folder_loads_with_a_head_for_the_data_set(saved):
    source = pretrained(saved)
    source.check()

    loaded = source.load(2, (), seed=1)

    assert loaded.model.config.num_labels == 2
    assert loaded.embeddings.num_embeddings == len(loaded.tokenizer)


def test_the_identity_of_a_folder_follows_its_weights(saved):
    before = pretrained(saved).identity(())
    weights = saved / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"abcd")

    assert pretrained(saved).identity(()) != before


def test_a_folder_without_safetensors_is_refused(saved):
    (saved / "model.safetensors").rename(saved / "pytorch_model.bin")

    with pytest.raises(ModelError, match=r"has no model\.safetensors \(found: .*pytorch_model"):
        pretrained(saved).check()


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(ModelError, match="there is no folder"):
        pretrained(tmp_path / "none").check()


def test_a_wrong_checksum_is_refused(saved):
    with pytest.raises(ModelError, match="expected 000000000000"):
        pretrained(saved, sha256="0" * 64).check()


def test_a_package_that_is_not_installed_names_the_extra():
    with pytest.raises(ModelError, match=r'pip install -e "\.\[offline\]"'):
        pretrained("package:no_such_package_here/model").check()


def test_more_tokens_than_the_model_reads_is_refused(saved):
    with pytest.raises(ConfigError, match=r"Write model\.max_length=64"):
        pretrained(saved, max_length=65).load(2, (), 1)


def test_a_hub_name_without_a_network_is_one_sentence():
    with pytest.raises(ModelError, match=r"cannot be loaded .*model\.pretrained=PATH") as error:
        pretrained("bert-base-uncased").load(2, (), 1)

    assert "\n" not in str(error.value)


def test_the_offline_checkpoint_has_its_checksum():
    source = build(composed(["model=minilm"]).model, "model")

    source.check()

    assert source.folder().name == "model"
