"""The benchmark counts what was computed, and its script says what it found."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification

from btu.benchmark.corpora import CORPORA, known_words, write_corpus
from btu.benchmark.machine import PeakMemory, matrix_rate
from btu.benchmark.stages import _flops_per_token
from btu.data.local import LocalDataset
from btu.training.first_position import read_first_position_only
from btu.training.fit import Encoded, freeze_all_but

ROOT = Path(__file__).resolve().parents[2]


def benchmark(*arguments, cwd) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "benchmark.py"), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


@pytest.mark.parametrize(
    ("name", "mean", "deviation"), [("sst2", 23.0, 11.2), ("agnews", 41.6, 18.2)]
)
def test_a_corpus_has_the_lengths_of_the_real_one(name, mean, deviation):
    corpus = CORPORA[name]
    lengths = corpus.lengths(np.random.default_rng(1), 20_000).clip(4, corpus.longest)

    assert lengths.mean() == pytest.approx(mean, rel=0.03)
    assert lengths.std() == pytest.approx(deviation, rel=0.2)


def test_a_corpus_is_a_data_set_with_paraphrases(tmp_path):
    overrides = write_corpus(tmp_path / "data", CORPORA["small"], ["fine", "poor"])

    places = dict(override.split("=", 1) for override in overrides[1:])
    dataset = LocalDataset(
        name="local",
        **{part: places[f"dataset.{part}"] for part in ("train", "tuning", "test")},
        text_column=None,
        label_column=None,
        delimiter=None,
        quoting=None,
        label_names=None,
        first_label=0,
        test_holdout=0.0,
        tuning_holdout=0.0,
        holdout_seed=0,
        wrong_labels=0.0,
        allow_overlap=False,
    ).load()
    sizes = tuple(len(part) for part in (dataset.train, dataset.tuning, dataset.test))
    assert sizes == CORPORA["small"].sizes
    assert set(dataset.train.labels) == {0, 1}
    for name in ("style", "syntax"):
        twins = dataset.train.columns[name]
        assert all(twin != text for twin, text in zip(twins, dataset.train.texts, strict=True))


def test_known_words_are_whole_and_in_the_order_of_their_ids():
    class Tokenizer:
        def get_vocab(self):
            return {"[PAD]": 0, "the": 2, "##ing": 3, "film": 1, "a": 4, "Film": 5, "x1y": 6}

    assert known_words(Tokenizer()) == ["film", "the"]


def test_operations_are_those_of_the_matrix_products():
    layers, width, inner, length = 2, 16, 64, 12
    config = BertConfig(
        vocab_size=50,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=inner,
        attn_implementation="eager",
    )
    model = BertForSequenceClassification(config)
    data = Encoded([np.arange(length)] * 3, np.zeros(3, dtype=np.int64))
    weights = 4 * width * width + 2 * width * inner  # of a layer
    head = 2 * (width * width + 2 * width) / length
    layer = 2 * weights + 4 * length * width

    forward = _flops_per_token(model, data, 0, backward=False)
    assert forward == pytest.approx(layers * layer + head)
    assert _flops_per_token(model, data, 0) == pytest.approx(3 * forward)

    read_first_position_only(model)
    last = 2 * 2 * width * width + (layer - 2 * 2 * width * width) / length
    less = _flops_per_token(model, data, 0, backward=False)
    assert less == pytest.approx((layers - 1) * layer + last + head)

    freeze_all_but(model, model.get_input_embeddings())
    frozen = _flops_per_token(model, data, 0)
    attention = (layers - 1) * 4 * length * width + 4 * width  # both factors have gradients
    assert frozen == pytest.approx(2 * less + attention)


def test_the_rate_of_matrix_products_is_measured(monkeypatch):
    monkeypatch.setattr("btu.benchmark.machine.SHAPES", ((64, 64, 64), (256, 256, 256)))
    monkeypatch.setattr("btu.benchmark.machine.SECONDS", 0.02)
    threads = torch.get_num_threads()

    assert matrix_rate("cpu", "fp32") > 1e8
    assert torch.get_num_threads() == threads


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux forgets a peak")
def test_a_peak_of_memory_is_of_what_was_asked_for():
    memory = PeakMemory("cpu")
    block = np.ones(60_000_000)  # 480 MB
    del block
    memory.start()
    before = memory.megabytes()
    block = np.ones(25_000_000)
    assert 150 < memory.megabytes() - before < 250
    del block


@pytest.mark.slow
def test_the_script_prints_a_table_and_writes_json(tmp_path):
    done = benchmark("--corpus", "small", "--model", "tiny", "--out", "b.json", cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "b.json").read_text())
    stages = {stage["name"]: stage for stage in report["stages"]}
    assert list(stages) == [
        "load model",
        "tokenize",
        "round 1 (pooled)",
        "round 2 (pooled)",
        "round 3 (full)",
        "victim",
        "restore victim",
        "evaluation",
        "unlearning",
        "clean tuning",
        "20 steps of 64 x 32",
    ]
    assert stages["victim"]["rows"] == 640
    assert stages["20 steps of 64 x 32"]["tokens"] == 20 * 64 * 32
    rate = report["matrix_gflops"][report["machine"]["precision"]]
    for stage in stages.values():
        assert stage["share_of_matrix_rate"] == pytest.approx(stage["gflops"] / rate)
        assert stage["name"] in done.stdout
    assert stages["victim"]["flops"] > 1.3 * stages["round 3 (full)"]["flops"]
    assert stages["victim"]["peak_mb"] > 100


@pytest.mark.slow
def test_whole_runs_start_cold_and_say_what_they_found(tmp_path):
    done = benchmark("one", "ten", "grid", "--corpus", "small", "--model", "tiny", cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    report = json.loads(next((tmp_path / "outputs" / "benchmark").glob("*.json")).read_text())
    assert [len(report[name]["scores"]) for name in ("one", "ten", "grid")] == [3, 21, 12]
    assert {score["attack"] for score in report["grid"]["scores"]} == {
        "badnets",
        "addsent",
        "style",
        "syntax",
    }
    assert report["one"]["seconds"] == [report["one"]["median_seconds"]]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--data", "nowhere"], "error: --data nowhere has no train.tsv"),
        (["twice"], "there is no twice; known: stages, one, ten, grid"),
        (["--corpus", "small", "--model", "tinny"], "Could not find 'model/tinny'"),
        *(
            pytest.param(
                ["--corpus", "small", "--model", "tiny", "--", override],
                sentence,
                marks=pytest.mark.slow,
            )
            for override, sentence in [
                ("defense=none", "needs defense=btu"),
                ("sed=1", "did you mean seed?"),
            ]
        ),
    ],
)
def test_bad_input_is_one_sentence(arguments, sentence, tmp_path):
    done = benchmark(*arguments, cwd=tmp_path)

    assert done.returncode in (1, 2)
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
