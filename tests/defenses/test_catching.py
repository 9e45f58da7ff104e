"""On a tiny model each detector catches a planted word, and leaves clean rows alone.

The bounds hold with a margin on seeds 1 to 6.
"""

from functools import cache

import numpy as np
import pytest

from btu.attacks.stored import poison
from btu.config import build
from btu.defenses.base import Decision
from btu.errors import ModelError
from btu.experiment import Experiment
from btu.job import build_job
from btu.lab import Lab
from btu.metrics import pick, score_suspicion
from btu.models.perplexity import LanguageModel
from btu.store.cache import StageCache
from btu.training.devices import Compute
from btu.types import Dataset
from tests.conftest import composed, toy_split

DENSE = ["defense.cube.min_samples=40", "defense.cube.umap_neighbors=40"]  # of 800 rows
SEEDS = (1, pytest.param(2, marks=pytest.mark.slow))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("catching")


@cache
def read_demo():
    return build(composed([]).dataset, "dataset").load()


@cache
def read_keywords():
    return build(composed(["dataset=keywords"]).dataset, "dataset").load()


def open_lab(folder, dataset, *overrides):
    """A job on a data set, and its lab; a model of random weights learns it in seconds."""
    fixed = ["model=tiny", "tracking=none", f"outputs={folder}", "attack.triggers=[cf]"]
    if "attack=none" in overrides:
        fixed.pop()
    job, _ = build_job(composed([*fixed, *overrides]))
    store = StageCache(folder / "cache")
    data = poison(dataset, job.attack, job.seed, store)
    return job, Lab(job.model, data, Compute("cpu", "fp32", 256), store, job.seed, {})


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("name", "least"), [("zscore", 0.99), ("bki", 0.9)])
def test_poisoned_rows_are_the_most_suspicious(folder, name, least, seed):
    job, lab = open_lab(folder, read_demo(), f"defense={name}", f"seed={seed}")

    found = lab.get(job.defenses[0].suspicion(lab))

    assert score_suspicion(found, lab.data.train.poisoned) > least


@pytest.mark.slow  # umap compiles for half a minute
@pytest.mark.parametrize("seed", [2, 3, 5])  # of six; in the others all rows are one cluster
def test_poisoned_rows_are_a_cluster_of_their_own(folder, seed):
    dataset = Dataset("toy", ("no", "yes"), toy_split(800, 1), toy_split(80, 2), toy_split(40, 3))
    planted = ["attack.num_triggers=3", "attack.label_policy=dirty"]
    job, lab = open_lab(folder, dataset, "defense=cube", f"seed={seed}", *planted, *DENSE)
    cube, poisoned = job.defenses[0], lab.data.train.poisoned

    found = lab.get(cube.suspicion(lab))

    assert score_suspicion(found, poisoned) > 0.75
    assert poisoned[cube.select(found, 0.5)].sum() > 0.6 * poisoned.sum()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("name", "least"), [("strip", 0.7), ("rap", 0.6)])
def test_attacked_inputs_have_the_higher_scores(folder, name, least, seed):
    job, lab = open_lab(folder, read_demo(), f"defense={name}", f"seed={seed}")
    victim = lab.train(lab.rows, lab.source.training)

    clean, attacked = (
        lab.get(job.defenses[0].scores(lab, victim, split.texts))
        for split in (lab.data.clean.test, lab.data.triggered)
    )

    is_attacked = np.repeat([False, True], [len(clean), len(attacked)])
    assert score_suspicion(np.concatenate([clean, attacked]), is_attacked) > least


def test_a_planted_word_makes_a_text_less_probable_than_its_own_words_do(folder):
    job, lab = open_lab(folder, read_demo(), "defense=onion", "seed=1")
    words = [text.split() for text in lab.data.triggered.texts]

    drops = lab.get(job.defenses[0].measure(lab, words))

    is_planted = np.array([word == "cf" for text in words for word in text])
    assert score_suspicion(drops, is_planted) > 0.85
    assert (drops > 10)[is_planted].mean() > 0.8
    assert (drops > 10)[~is_planted].mean() < 0.2
    (screen,) = job.defenses[0].decide(lab, 10, Decision()).screens
    cleaned = screen.apply(lab, None, lab.data.triggered.texts).texts
    left = sum("cf" in text.split() for text in cleaned)
    assert left == (drops <= 10)[is_planted].sum()


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] * (name in ("zscore", "bki", "cube")))
        for name in ("zscore", "onion", "strip", "rap", "bki", "cube")
    ],
)
def test_clean_data_lose_at_most_three_points_at_the_threshold_that_is_picked(folder, name):
    arms = "arms=[poisoned,defended]"
    job, lab = open_lab(folder, read_keywords(), "attack=none", f"defense={name}", arms)

    plain, *defended = Experiment(job, lab).run().records

    picked = pick(defended)
    assert picked.arm == "defended"
    assert picked.scores.cacc > plain.scores.cacc - 0.03


def test_onion_takes_a_causal_model_of_transformers(folder, gpt2):
    setting = f"defense.onion.language_model={gpt2}"
    job, lab = open_lab(folder, read_demo(), "defense=onion", setting)
    onion, texts = job.defenses[0], [["a", "fine", "film"], ["bad"]]

    drops = lab.get(onion.measure(lab, texts))

    model = LanguageModel.load(onion._checkpoint(), "cpu")
    asked = ["a fine film", "fine film", "a film", "a fine"]
    whole, *without = model.perplexities(asked, 1).values
    assert drops[:3] == pytest.approx([whole - each for each in without], rel=1e-4)
    assert drops[3] == -np.inf
    other, _ = open_lab(folder, read_demo(), "defense=onion")
    assert other.defenses[0].measure(lab, texts).key != onion.measure(lab, texts).key


def test_a_missing_language_model_ends_before_any_training(folder):
    job, lab = open_lab(folder, read_demo(), "defense=onion", "defense.onion.language_model=./no")

    with pytest.raises(ModelError, match=r"defense.onion.language_model: there is no folder no\."):
        job.defenses[0].check(lab.rows, lab.trusted)
