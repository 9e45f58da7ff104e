"""Paraphrases by a language model: tiny random ones, saved as a user's would be."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from btu.config import build
from btu.errors import ConfigError, DataError, ModelError
from btu.planning.jobs import read_sweep
from btu.planning.plan import make_plan
from btu.rewriting.model import ModelRewriter
from tests.conftest import TINY, composed, toy_split

TEXTS = toy_split(40, 5).texts
STRAP_TOKENS = ["<dense-vectors>", "<tokens>", "<verb>"]
ALONE = ["attack=style", "attack.paraphrases=model"]


def tokenizer(special: list[str], **roles: str):
    """A byte-level BPE trained on the toy texts."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator(TEXTS, trainer)
    if roles["eos_token"] == "</s>":  # as T5 ends what it reads
        ids = [("</s>", made.token_to_id("</s>"))]
        made.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=ids)
    return PreTrainedTokenizerFast(tokenizer_object=made, **roles)


def save(model, words, folder: Path) -> Path:
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def wide(model):
    """Weights that are far enough from zero for each text to be answered in its own way."""
    import torch

    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weights in model.parameters():
            if weights.dim() > 1:
                weights.normal_(0, 0.3, generator=generator)
    return model


@pytest.fixture(scope="session")
def causal(tmp_path_factory) -> Path:
    """A GPT-2 whose tokenizer has no padding token."""
    return save_gpt2(tmp_path_factory.mktemp("gpt2"), ["<bos>", "<eos>"])


@pytest.fixture(scope="session")
def strap(tmp_path_factory) -> Path:
    """A GPT-2 with the tokens of the STRAP code."""
    return save_gpt2(tmp_path_factory.mktemp("strap"), ["<bos>", "<eos>", *STRAP_TOKENS])


def save_gpt2(folder: Path, special: list[str]) -> Path:
    from transformers import GPT2Config, GPT2LMHeadModel

    words = tokenizer(special, bos_token="<bos>", eos_token="<eos>")
    config = GPT2Config(vocab_size=len(words), n_positions=64, n_embd=16, n_layer=1, n_head=2)
    config.eos_token_id = config.bos_token_id = None  # STRAP's name GPT-2's, which end nothing
    return save(wide(GPT2LMHeadModel(config)), words, folder)


@pytest.fixture(scope="session")
def text_to_text(tmp_path_factory) -> Path:
    from transformers import T5Config, T5ForConditionalGeneration

    words = tokenizer(["<pad>", "</s>"], pad_token="<pad>", eos_token="</s>")
    config = T5Config(
        vocab_size=len(words), d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2,
        pad_token_id=0, eos_token_id=1, decoder_start_token_id=0,
    )  # fmt: skip
    model = wide(T5ForConditionalGeneration(config))
    return save(model, words, tmp_path_factory.mktemp("t5"))


@cache
def of_the_yaml() -> ModelRewriter:
    return build(composed(["attack=style"]).attack, "attack").rewriter


@pytest.fixture
def rewriter(tmp_path, causal):
    """A rewriter with the settings of the yaml; `place` and any other setting can be given."""

    def make(place: object = causal, **changes) -> ModelRewriter:
        usual = {"folder": str(tmp_path), "max_new_tokens": 8, "batch_size": 4, "device": "cpu"}
        return replace(of_the_yaml(), pretrained=str(place), **{**usual, **changes})

    return make


@pytest.fixture
def batches(monkeypatch) -> list[list[str]]:
    """The batches that went through a model."""
    from btu.rewriting.generation import Paraphraser

    real, seen = Paraphraser.paraphrase, []

    def paraphrase(self, texts):
        seen.append(list(texts))
        return real(self, texts)

    monkeypatch.setattr(Paraphraser, "paraphrase", paraphrase)
    return seen


@pytest.fixture(params=["causal", "strap", "text_to_text"])
def each_kind(request):
    return request.getfixturevalue(request.param)


def test_a_text_has_one_paraphrase_in_every_batch_and_order(each_kind, rewriter, tmp_path):
    together = rewriter(each_kind, batch_size=16).rewrite(TEXTS[:16])

    folder = str(tmp_path / "elsewhere")
    apart = rewriter(each_kind, batch_size=3, folder=folder).rewrite(TEXTS[:16][::-1])

    assert apart[::-1] == together
    assert len(set(together)) > 8


def test_another_seed_writes_another_text(each_kind, rewriter):
    one, other = (rewriter(each_kind, seed=seed).rewrite(TEXTS[:8]) for seed in (1, 2))

    assert sum(a != b for a, b in zip(one, other, strict=True)) > 4


def test_without_temperature_the_seed_decides_nothing(each_kind, rewriter):
    one, other = (
        rewriter(each_kind, temperature=0, seed=seed).rewrite(TEXTS[:8]) for seed in (1, 2)
    )

    assert one == other


def test_greedy_takes_the_likeliest_tokens_after_the_begin_token(causal, rewriter):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, words = (c.from_pretrained(causal) for c in (AutoModelForCausalLM, AutoTokenizer))
    ids = words(f"{TEXTS[0]}<bos>", return_tensors="pt")["input_ids"]
    length = ids.shape[1]
    for _ in range(8):
        ids = torch.cat([ids, model(ids).logits[:, -1].argmax(-1, keepdim=True)], dim=1)
    expected = words.decode(ids[0, length:]).split("<eos>")[0]

    (written,) = rewriter(causal, temperature=0).rewrite(TEXTS[:1])

    assert written == " ".join(expected.split())


def test_draws_have_the_probabilities_of_the_scores():
    import torch

    from btu.rewriting.generation import GumbelNoise

    expected = torch.tensor([0.5, 0.3, 0.2, 0.0])
    noise = GumbelNoise(1, [str(row) for row in range(4000)])

    drawn = noise(None, expected.log().expand(4000, 4)).argmax(-1)

    shares = torch.bincount(drawn, minlength=4) / 4000
    assert shares[3] == 0
    np.testing.assert_allclose(shares, expected, atol=0.03)


def test_a_strap_model_reads_what_it_was_trained_on(strap, rewriter):
    from btu.rewriting.generation import Paraphraser

    paraphraser = Paraphraser(rewriter(strap, max_input_tokens=12))
    read, written = (paraphraser.tokenizer.convert_tokens_to_ids(t) for t in STRAP_TOKENS[1:])

    inputs = paraphraser._as_strap(["so good", " ".join(TEXTS[:3])], read, written)

    bos, pad = paraphraser.tokenizer.bos_token_id, paraphraser.tokenizer.pad_token_id
    assert paraphraser.segments == (read, written)
    assert inputs["input_ids"].shape == (2, 13)
    assert inputs["input_ids"][:, -1].tolist() == [bos, bos]
    assert inputs["input_ids"][0, 0] == pad
    assert inputs["attention_mask"].all()
    assert inputs["token_type_ids"].tolist() == [[read] * 12 + [written]] * 2


def test_what_was_made_is_not_made_again(rewriter, batches, caplog):
    first = rewriter().rewrite([*TEXTS[:5], TEXTS[0], " "])
    wanted = [text for batch in batches for text in batch]
    caplog.set_level("INFO")
    caplog.clear()

    again = rewriter().rewrite([" ", TEXTS[0], *TEXTS[:5][::-1]])

    assert sorted(wanted) == sorted(TEXTS[:5])
    assert len(batches) == 2
    assert again == first[::-1]
    assert first[-1] == ""
    assert not caplog.messages


def test_one_line_tells_what_was_made(rewriter, causal, caplog):
    caplog.set_level("INFO")

    rewriter().rewrite(TEXTS[:5])

    (line,) = [m for m in caplog.messages if m.startswith("paraphrases")]
    assert "5 texts" in line
    assert str(causal) in line


def test_a_killed_run_loses_one_batch(rewriter, batches, tmp_path, monkeypatch):
    from transformers import GPT2LMHeadModel

    real, calls = GPT2LMHeadModel.generate, []

    def killed(self, *arguments, **keywords):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(self, *arguments, **keywords)

    monkeypatch.setattr(GPT2LMHeadModel, "generate", killed)
    with pytest.raises(KeyboardInterrupt):
        rewriter().rewrite(TEXTS[:16])
    lost = batches[2]
    batches.clear()

    finished = rewriter().rewrite(TEXTS[:16])

    assert len(batches) == 2
    assert batches[0] == lost
    at_once = rewriter(folder=str(tmp_path / "elsewhere"), batch_size=16)
    assert finished == at_once.rewrite(TEXTS[:16])


def test_damaged_and_half_files_are_made_again(rewriter, batches, caplog):
    first = rewriter().rewrite(TEXTS[:8])
    one, other = Path(rewriter().folder).glob("*/*.jsonl")
    one.write_text(one.read_text().replace('"paraphrase": "', '"paraphrase": "not '))
    other.rename(other.with_name(f".{other.name}.half"))

    again = rewriter().rewrite(TEXTS[:8])

    assert again == first
    assert len(batches) == 4
    assert any("is damaged" in message for message in caplog.messages)
    assert rewriter().rewrite(TEXTS[:8]) == first


def test_what_another_process_made_meanwhile_is_read(rewriter, batches):
    mine, others = rewriter(), rewriter()
    mine.rewrite(TEXTS[:1])
    expected = others.rewrite(TEXTS[:3])
    batches.clear()

    assert mine.rewrite(TEXTS[:3]) == expected
    assert not batches


def test_the_folder_says_what_its_paraphrases_depend_on(rewriter, causal):
    rewriter(seed=7).rewrite(TEXTS[:1])

    (path,) = Path(rewriter().folder).glob("*/settings.json")
    settings = json.loads(path.read_text())
    assert settings["seed"] == 7
    assert settings["pretrained"] == str(causal)
    assert "checkpoint" in settings
    assert not {"device", "folder", "batch_size"} & settings.keys()


def test_speed_settings_name_nothing_and_weights_do(rewriter, causal, strap):
    name = rewriter().identity()

    assert rewriter(batch_size=1, device="cuda", folder="x").identity() == name
    assert rewriter(top_p=0.5).identity() != name
    assert rewriter(strap).identity()["checkpoint"] != name["checkpoint"]


def test_lengths_are_kept(each_kind, rewriter):
    from btu.rewriting.generation import Paraphraser

    short = rewriter(each_kind, max_input_tokens=6, max_new_tokens=3, temperature=0)
    paraphraser = Paraphraser(short)
    words = paraphraser.tokenizer
    begin = TEXTS[0][: words(TEXTS[0], return_offsets_mapping=True)["offset_mapping"][5][1]]

    of_text, of_begin = short.rewrite([TEXTS[0], begin])

    assert paraphraser._cut(TEXTS[0]) == begin != TEXTS[0]
    assert of_text == of_begin
    assert 0 < len(words(of_text, add_special_tokens=False)["input_ids"]) <= 4


def test_blanks_of_treebank_files_are_not_read(rewriter):
    from btu.rewriting.generation import Paraphraser

    spaced, tight = "it 's good , is n't it ?", "it's good, isn't it?"
    greedy = {"temperature": 0}

    assert rewriter(**greedy).rewrite([spaced]) == rewriter(**greedy).rewrite([tight])
    raw = Paraphraser(rewriter(detokenize=False, **greedy))
    assert raw.paraphrase([spaced]) != raw.paraphrase([tight])


def test_a_prompt_takes_the_place_of_the_usual_input(each_kind, rewriter):
    prompts = (None, "say {text} again")

    plain, asked = (rewriter(each_kind, prompt=p).rewrite(TEXTS[:4]) for p in prompts)

    assert plain != asked


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("temperature=-1", "temperature is at least 0, got -1"),
        ("top_p=0", "top_p is a share of the probability, above 0 and at most 1, got 0"),
        ("batch_size=0", "batch_size is at least 1, got 0"),
        ("max_new_tokens=0", "max_new_tokens is at least 1, got 0"),
        ("'prompt=rewrite this'", r"prompt is text that holds \{text\} where"),
    ],
)
def test_an_impossible_setting_is_one_sentence(setting, sentence):
    override = setting.replace("'prompt", "'attack.rewriter.prompt").strip("'")
    override = override if "prompt" in override else f"attack.rewriter.{override}"

    with pytest.raises(ConfigError, match=rf"attack\.rewriter\.{sentence}"):
        build(composed(["attack=style", override]).attack, "attack")


def built(attack: str = "style", **settings: object):
    overrides = [f"attack.rewriter.{name}={value}" for name, value in settings.items()]
    return build(composed([f"attack={attack}", ALONE[1], *overrides]).attack, "attack")


@pytest.mark.parametrize("attack", ["style", "syntax"])
def test_a_model_has_to_be_named(attack):
    with pytest.raises(ConfigError, match=r"attack\.rewriter\.pretrained=lievan/bible"):
        built(attack)


def test_a_folder_that_is_not_there_is_one_sentence(tmp_path):
    with pytest.raises(ModelError, match=r"attack\.rewriter\.pretrained: there is no folder"):
        built(pretrained=tmp_path / "none")


def test_weights_that_can_run_code_are_refused(tmp_path):
    (tmp_path / "pytorch_model.bin").touch()

    with pytest.raises(ModelError, match=r"has no model\.safetensors \(found: pytorch_model"):
        built(pretrained=tmp_path)


def tiny_bert():
    from transformers import BertConfig

    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    return BertConfig(vocab_size=500, intermediate_size=8, **sizes)


@pytest.mark.parametrize("name", ["BertForSequenceClassification", "BertModel"])
def test_a_model_that_writes_no_text_is_refused(name, tmp_path, causal):
    import transformers

    words = transformers.AutoTokenizer.from_pretrained(causal)
    save(getattr(transformers, name)(tiny_bert()), words, tmp_path)

    with pytest.raises(ModelError, match=f"is a {name}, which writes no text"):
        built(pretrained=tmp_path)


def test_a_model_without_a_head_that_writes_is_refused(tmp_path, rewriter, causal):
    from transformers import AutoTokenizer, BertModel

    BertModel(tiny_bert()).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(causal).save_pretrained(tmp_path)
    settings = json.loads((tmp_path / "config.json").read_text())
    del settings["architectures"]
    (tmp_path / "config.json").write_text(json.dumps(settings))

    with pytest.raises(ModelError, match=r"fit a BertLMHeadModel.* they lack cls\.pred"):
        rewriter(tmp_path).rewrite(TEXTS[:1])


def test_more_tokens_than_there_are_positions_is_refused(rewriter):
    with pytest.raises(ConfigError, match=r"need 109 positions with the prompt, but .* has 64"):
        rewriter(max_input_tokens=100).rewrite(TEXTS[:1])


def test_a_prompt_needs_the_tokens_that_it_names(text_to_text, rewriter):
    with pytest.raises(ModelError, match="has no begin-of-sequence token"):
        rewriter(text_to_text, prompt="{text}{bos}").rewrite(TEXTS[:1])


def job_of(files, causal) -> list[str]:
    small = [word for word in TINY if not word.startswith("attack.")]
    rewriter = {"pretrained": causal, "max_new_tokens": 6, "batch_size": 128}
    return [
        *files.overrides, *small, *ALONE, "model=tiny", "model.training.epochs=1", "device=cpu",
        "attack.poison_rate=0.05", "arms=[poisoned]",
        *(f"attack.rewriter.{name}={value}" for name, value in rewriter.items()),
    ]  # fmt: skip


def test_a_job_takes_its_paraphrases_from_the_model(run_btu, files, causal, tmp_path, batches):
    rows = run_btu(*job_of(files, causal))

    report = json.loads((tmp_path / "run" / "poison_report.json").read_text())
    (record,) = (tmp_path / "outputs" / "records").glob("*.json")
    assert rows[0]["arm"] == "poisoned"
    assert report["counts"]["poisoned"] == 30
    kept = (tmp_path / "outputs" / "cache" / "paraphrases").glob("*/*.jsonl")
    made = [json.loads(line) for path in kept for line in path.read_text().splitlines()]
    assert len(made) == sum(map(len, batches)) == 30 + 100
    pairs = {row["text"]: row["paraphrase"] for row in made}
    assert all(pairs[example["before"]] == example["after"] for example in report["examples"])
    assert str(tmp_path) not in json.dumps(json.loads(record.read_text())["config"]["attack"])


def test_a_model_that_writes_nothing_is_stopped_early_with_rows(
    files, run_btu, causal, monkeypatch
):
    from btu.rewriting.generation import Paraphraser

    asked: list[str] = []
    monkeypatch.setattr(
        Paraphraser, "paraphrase", lambda self, texts: asked.extend(texts) or [""] * len(texts)
    )

    with pytest.raises(DataError, match=r"fewer than half of dataset\.train .* -> ''"):
        run_btu(*job_of(files, causal))

    assert len(asked) < 600 / 2


def test_planning_writes_no_paraphrase(files, causal, tmp_path, batches, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ["-m", *job_of(files, causal), "seed=1,2", "arms=[clean,poisoned]"]

    plan = make_plan(read_sweep(arguments), tera=0.1)

    stages = {line.kind: line.different for line in plan.stages}
    assert not batches
    assert stages["victim"] == stages["poisoned set"] == 2
    assert any("a language model writes are not made here" in note for note in plan.notes)


def test_planning_needs_no_hub(files, tmp_path, monkeypatch):
    def no_network(self):
        raise AssertionError("the hub was asked")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("btu.models.checkpoint.Checkpoint.config", no_network)

    plan = make_plan(read_sweep(job_of(files, "lievan/bible")), tera=0.1)

    assert not plan.failing
