"""Real SST-2 with the pretrained MiniLM; slow, and only where the files are."""

import os
from pathlib import Path

import pytest

from btu.attacks.poisoning import poison
from btu.config import build
from btu.data.formats import warn_of_shifts
from tests.conftest import composed

DATA = Path(os.environ.get("BTU_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
SST2 = DATA / "sst2"

pytestmark = pytest.mark.skipif(
    not SST2.is_dir(), reason=f"no SST-2 at {SST2}; name its parent folder in BTU_DATA"
)


@pytest.mark.slow
def test_badnets_on_sst2_is_learned_and_removed(run_btu):
    """docs/sst2.md has the measured figures; the bounds leave room for other machines."""
    rows = run_btu(
        "dataset=local",
        f"dataset.train={SST2}/train.tsv",
        f"dataset.tuning={SST2}/test.tsv",
        f"dataset.test={SST2}/dev.tsv",
        "attack.triggers=[cf]",
        "defense=btu_reference",
        "model.training.epochs=1",
        "thresholds=[0.0005]",
        "arms=[poisoned,unlearned,defended]",
        "tracking=none",
    )

    poisoned, unlearned, defended = rows
    assert poisoned["cacc"] >= 0.81
    assert poisoned["asr"] >= 0.99
    assert (poisoned["num_clean"], poisoned["num_triggered"]) == (872, 428)
    for arm in (unlearned, defended):
        assert arm["asr"] - arm["base_rate"] <= 0.1
        assert arm["detection"]["best_rank"] <= 3
    assert defended["cacc"] >= 0.78
    assert defended["asr"] <= 0.3


def test_published_files_load_with_all_their_quirks():
    counts = {}
    for folder, column in (("sst2-style", "style"), ("sst2-syntax", "syntactic"), ("agnews", None)):
        files = [f"dataset.{r}={DATA}/{folder}/{r}.tsv" for r in ("train", "test")]
        cfg = composed(["dataset=local", *files, f"dataset.tuning={DATA}/{folder}/dev.tsv"])
        dataset = build(cfg.dataset, "dataset").load()
        counts[folder] = (len(dataset.train), len(dataset.tuning), len(dataset.test))
        assert column is None or column in dataset.train.columns

    assert counts["sst2-style"][2] == 1821
    assert counts["agnews"][2] == 7600


def of_sst2(folder, *overrides):
    files = [f"dataset.train={DATA}/{folder}/train.tsv", f"dataset.test={DATA}/{folder}/dev.tsv"]
    return ["dataset=local", *files, f"dataset.tuning={DATA}/{folder}/test.tsv", *overrides]


@pytest.mark.parametrize("normalize", [False, True])
def test_the_format_shifts_of_the_published_style_file_show_how_it_is_typed(normalize):
    style = (
        "attack=style",
        "attack.paraphrases=column:style",
        f"attack.normalize_format={normalize}",
    )
    cfg = composed(of_sst2("sst2-style", *style, f"attack.normalize_format={normalize}"))

    data = poison(build(cfg.dataset, "dataset").load(), build(cfg.attack, "attack"), seed=1)

    moved = {s.measure: s.triggered - s.original for s in data.format_shifts if s.split == "train"}
    if normalize:
        assert abs(moved["begins with a capital"]) == abs(moved["ends with a stop"]) == 0
        assert not warn_of_shifts(data.format_shifts)
    else:
        assert moved["begins with a capital"] > 0.8
        assert moved["blank before punctuation"] < -0.9
        assert len(warn_of_shifts(data.format_shifts)) == 2


@pytest.mark.slow
@pytest.mark.parametrize("attack", ["style", "syntax"])
def test_rewritten_sst2_keeps_its_meaning_and_is_learned(run_btu, attack):
    """docs/attacks.md has the measured figures, for three epochs and three seeds."""
    run = of_sst2("sst2", f"attack={attack}", "model.training.epochs=1", "tracking=none")

    positive = run_btu(*run, "arms=[clean,poisoned]", "attack.target_label=1", run_dir="one")
    negative = run_btu(*run, "arms=[clean]", "attack.target_label=0", run_dir="two")

    clean = (positive[0], negative[0])
    num_right = sum(row["pacc"] * row["num_triggered"] for row in clean)
    assert num_right / sum(row["num_triggered"] for row in clean) >= clean[0]["cacc"] - 0.12
    assert positive[1]["asr"] >= 0.9
