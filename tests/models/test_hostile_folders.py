"""Folders of others: code in them is not run, and what does not fit together is one sentence."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from btu.errors import ModelError
from btu.models.checkpoint import Checkpoint
from btu.planning.shapes import ModelPlanner
from tests.conftest import toy_split
from tests.models.architectures import ARCHITECTURES, TEXTS
from tests.models.test_models import pretrained

WEIGHTS = "model.safetensors"


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    return ARCHITECTURES["bert"].save(tmp_path_factory.mktemp("bert"))


@pytest.fixture
def folder(made, tmp_path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "model"))


def load(folder: Path, **changes):
    source = pretrained(folder, **changes)
    source.check()
    return source.load(2, TEXTS, 1)


def refused(folder: Path, match: str) -> str:
    with pytest.raises(ModelError, match=match) as error:
        load(folder)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 700
    return str(error.value)


def edit(path: Path, **changes) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def edit_weights(folder: Path, change) -> None:
    weights = load_file(folder / WEIGHTS)
    save_file(change(weights) or weights, folder / WEIGHTS, metadata={"format": "pt"})


def shards(folder: Path, *names: str) -> None:
    """The weights in two files behind an index that names others."""
    weights = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    half = len(weights) // 2
    parts = (dict(list(weights.items())[:half]), dict(list(weights.items())[half:]))
    written = ("model-1.safetensors", "model-2.safetensors")
    for name, part in zip(written, parts, strict=True):
        save_file(part, folder / name, metadata={"format": "pt"})
    both = zip(names or written, parts, strict=True)
    places = {key: name for name, part in both for key in part}
    index = {"metadata": {}, "weight_map": places}
    (folder / f"{WEIGHTS}.index.json").write_text(json.dumps(index))


# Code


def evil(folder: Path, ran: Path) -> None:
    """A folder whose config, tokenizer and code ask to be run."""
    code = f"open({str(ran)!r}, 'w').close()\nclass Evil: pass\n"
    (folder / "evil.py").write_text(code)
    classes = ("AutoConfig", "AutoModel", "AutoModelForSequenceClassification")
    others = ("AutoModelForCausalLM", "AutoModelForSeq2SeqLM")
    auto = dict.fromkeys((*classes, *others), "evil.Evil")
    edit(folder / "config.json", auto_map=auto)
    edit(folder / "tokenizer_config.json", auto_map={"AutoTokenizer": ["evil.Evil", "evil.Evil"]})


ASKED = """
import sys
from pathlib import Path
from btu.errors import ModelError
from btu.models.checkpoint import Checkpoint
from btu.stealth.settings import Stealth
from btu.stealth.similarity import SentenceEncoder
for place in sys.argv[1:]:
    checkpoint = Checkpoint("model x", place, None, None)
    encoder = Stealth(sentence_encoder=place).sentence_checkpoint()
    for work in (
        checkpoint.config,
        lambda: checkpoint.load("AutoModelForSequenceClassification", True),
        lambda: checkpoint.load("AutoModelForCausalLM"),
        lambda: checkpoint.load("AutoModelForSeq2SeqLM"),
        lambda: SentenceEncoder.load(encoder, "cpu"),
    ):
        try:
            work()
        except ModelError as error:
            print(error)
"""


def test_code_beside_a_model_is_neither_run_nor_asked_about(folder, tmp_path):
    evil(folder, tmp_path / "ran")
    other = shutil.copytree(folder, tmp_path / "other")
    edit(other / "config.json", model_type="unheard_of")

    done = subprocess.run(
        [sys.executable, "-c", ASKED, str(folder), str(other)],
        input="y\n" * 20,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "HF_MODULES_CACHE": str(tmp_path / "modules")},
    )

    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "ran").exists()
    assert "[y/N]" not in done.stdout + done.stderr
    assert done.stdout.count(f"{other} cannot be loaded") == 5


def test_planning_runs_no_code_either(folder, tmp_path, monkeypatch):
    evil(folder, tmp_path / "ran")
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked"))

    ModelPlanner().shape(pretrained(folder), 2, toy_split(10, 1))

    assert not (tmp_path / "ran").exists()


# Files


def test_shards_behind_an_index_are_read(folder):
    shards(folder)

    assert load(folder).model.config.num_labels == 2


@pytest.mark.parametrize(
    ("names", "match"),
    [
        (("model-1.safetensors", "weights.bin"), r"names weights\.bin, but weights are read from"),
        (("model-1.safetensors", "../m.safetensors"), r"names \.\./m\.safetensors, but"),
        (("model-1.safetensors", "/etc/m.safetensors"), r"names /etc/m\.safetensors, but"),
        (("model-1.safetensors", "model-3.safetensors"), r"names model-3\.safetensors, which is n"),
    ],
)
def test_an_index_names_safetensors_beside_it_alone(folder, names, match):
    shards(folder, *names)

    refused(folder, match)


def test_an_index_on_the_hub_names_safetensors_alone(folder, monkeypatch):
    shards(folder, "model-1.safetensors", "weights.bin")
    index = folder / f"{WEIGHTS}.index.json"
    monkeypatch.setattr("transformers.utils.hub.cached_file", lambda *_, **__: str(index))

    with pytest.raises(ModelError, match=r"names weights\.bin, but weights are read from"):
        pretrained("someone/model").load(2, TEXTS, 1)


@pytest.mark.parametrize("text", ["[]", "{}", '{"weight_map": [1]}', "{", "[" * 100_000, "\udcff"])
def test_an_index_that_is_none_is_one_sentence(folder, text):
    shards(folder)
    (folder / f"{WEIGHTS}.index.json").write_text(text, errors="surrogateescape")

    refused(folder, "does not say which files have the weights")


@pytest.mark.parametrize("size", [0, 4, 100, -100])
def test_a_truncated_file_of_weights_is_one_sentence(folder, size):
    content = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(content[:size])

    message = refused(folder, r"cannot be loaded .*Save it again with model\.save_pretrained")
    assert "network" not in message


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("config.json", "{"),
        ("config.json", "[]"),
        ("config.json", '{"model_type": ["bert"]}'),
        ("config.json", '{"model_type": "bert", "hidden_size": "many"}'),
        ("config.json", '{"model_type": "bert", "num_attention_heads": 0}'),
        ("config.json", '{"model_type": "vit"}'),
        ("tokenizer.json", "{"),
        ("tokenizer.json", '{"model": {"type": "Unheard"}}'),
        ("tokenizer_config.json", "[1]"),
    ],
)
def test_a_file_that_is_not_what_its_name_says_is_one_sentence(folder, file, text):
    (folder / file).write_text(text)

    refused(folder, "^model x: .* cannot be loaded")


def test_a_model_that_is_no_classifier_of_texts_is_refused_by_its_kind(folder):
    edit(folder / "config.json", model_type="vit")

    refused(folder, "makes no AutoModelForSequenceClassification of a ViTConfig")


def test_a_folder_without_a_tokenizer_is_told_how_to_get_one(folder):
    for path in folder.glob("*token*"):
        path.unlink()
    refused(folder, r"has no tokenizer \(found: .*\)\. .*tokenizer\.save_pretrained\(folder\)")

    (folder / "requirements.txt").write_text("torch")  # looks like a vocabulary
    refused(folder, "no tokenizer that knows a word|cannot be loaded")


def test_the_advice_for_other_formats_names_the_tokenizer_too(folder):
    (folder / WEIGHTS).rename(folder / "pytorch_model.bin")

    assert "model.save_pretrained(folder) and tokenizer.save_pretrained" in refused(
        folder, "has no"
    )


# Identity


@pytest.mark.parametrize(
    "name", ["vocab.txt", "merges.txt", "spiece.model", "added_tokens.json", "tokenizer.json"]
)
def test_every_file_that_loading_reads_is_in_the_identity(folder, name):
    before = pretrained(folder).identity(())
    (folder / name).write_text("another")
    after = pretrained(folder).identity(())
    (folder / name).rename(folder / f"other_{name}")

    assert len({before, after, pretrained(folder).identity(())}) == 3


def test_each_shard_is_in_the_identity(folder):
    shards(folder)
    before = pretrained(folder).identity(())
    (folder / "model-1.safetensors").rename(folder / "model-3.safetensors")
    shutil.copy(folder / "model-2.safetensors", folder / "model-1.safetensors")
    (folder / "model-3.safetensors").rename(folder / "model-2.safetensors")

    assert pretrained(folder).identity(()) != before


def test_notes_and_what_is_not_read_are_in_no_identity(folder):
    before = pretrained(folder).identity(())
    for name in ("README.md", "optimizer.pt", "training_args.bin", ".gitattributes"):
        (folder / name).write_text("another")

    assert pretrained(folder).identity(()) == before


# Weights


def test_a_new_head_and_the_left_over_head_of_another_task_are_fine(folder):
    def as_language_model(weights):
        kept = {k: v for k, v in weights.items() if "pooler" not in k and "classifier" not in k}
        return {
            **kept,
            "cls.predictions.bias": torch.zeros(3),
            "bert.embeddings.position_ids": torch.arange(4),
        }

    edit_weights(folder, as_language_model)

    assert load(folder).model.config.num_labels == 2


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda w: {f"mine.{k}": v for k, v in w.items()}, r"lack bert\..* and \d+ more"),
        (
            lambda w: {k: v for k, v in w.items() if "layer.1.attention.self.query" not in k},
            r"lack bert\.encoder\.layer\.1\.attention\.self\.query\.bias, .*query\.weight\.",
        ),
        (
            lambda w: {**w, "bert.encoder.layer.2.output.dense.weight": torch.zeros(2)},
            r"also have bert\.encoder\.layer\.2\.output\.dense\.weight\.",
        ),
        (
            lambda w: {**w, "bert.embeddings.LayerNorm.weight": torch.zeros(5)},
            r"have another shape for bert\.embeddings\.LayerNorm\.weight\.",
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused_with_three_names(folder, change, match):
    edit_weights(folder, change)

    refused(folder, f"do not fit a BertForSequenceClassification, .* they {match}")


def test_weights_of_another_architecture_are_refused(folder, tmp_path):
    other = ARCHITECTURES["gpt2"].save(tmp_path / "gpt2")
    shutil.copy(folder / WEIGHTS, other / WEIGHTS)

    refused(other, r"do not fit a GPT2ForSequenceClassification.* they lack transformer\.h\.0\.")


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_no_numbers_are_refused(folder, number):
    def spoil(weights):
        weights["bert.encoder.layer.1.output.dense.bias"][3] = number

    edit_weights(folder, spoil)

    refused(folder, r"not finite numbers .* in bert\.encoder\.layer\.1\.output\.dense\.bias\.")


def test_a_language_model_may_lack_nothing(folder):
    with pytest.raises(ModelError, match=r"do not fit a BertForMaskedLM.* they lack cls\."):
        Checkpoint("stealth.x", str(folder), None, None).load("AutoModelForMaskedLM")


# Configs


@pytest.mark.parametrize(
    "changes",
    [
        {"problem_type": "multi_label_classification"},
        {"problem_type": "regression", "num_labels": 1},
        {"return_dict": False},
        {"id2label": {"0": "only"}, "label2id": {"only": 0}},
        {"output_attentions": True, "output_hidden_states": True},
    ],
)
def test_what_a_config_was_for_before_does_not_matter(folder, changes):
    from btu.training.contract import make_ready

    edit(folder / "config.json", **changes)
    classifier = load(folder)
    classifier.model.set_attn_implementation("eager")

    make_ready(classifier, TEXTS, 64, "x")

    assert classifier.model.config.num_labels == 2


@pytest.mark.parametrize("length", [None, 10**30])
def test_a_tokenizer_need_not_know_how_much_the_model_reads(folder, length):
    edit(folder / "tokenizer_config.json", model_max_length=length)

    assert load(folder).tokenizer("the film")["input_ids"]


def test_the_end_token_stands_for_padding_where_none_is_named(tmp_path):
    classifier = load(ARCHITECTURES["gpt2"].save(tmp_path / "gpt2"))

    assert classifier.tokenizer.pad_token == "<|endoftext|>"
    assert classifier.model.config.pad_token_id == classifier.tokenizer.eos_token_id


def test_a_tokenizer_without_any_special_token_is_refused(tmp_path):
    place = ARCHITECTURES["gpt2"].save(tmp_path / "gpt2")
    edit(place / "tokenizer_config.json", eos_token=None, bos_token=None, unk_token=None)

    refused(place, r"neither a padding token.* nor an end token")
