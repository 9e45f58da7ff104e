"""Filters that feed what forgets, and combinations, settings and data that mean nothing."""

import importlib.util
from dataclasses import dataclass, replace

import numpy as np
import pytest

from btu.defenses.base import Decision, Defense
from btu.defenses.bki import leave_out
from btu.defenses.inputs import InputFilter
from btu.defenses.onion import take_drops
from btu.errors import ConfigError
from btu.experiment import Experiment, possible_arms
from btu.job import build_job
from btu.models.ngram import NGramModel
from btu.pipeline import make_model
from btu.store.stages import ONE_ARRAY
from btu.types import BY_NAME, Dataset, Screen, Screened
from tests.conftest import composed, toy_split
from tests.defenses.test_catching import open_lab, read_demo


def build(*overrides):
    job, _ = build_job(composed(["model=tiny", "tracking=none", *overrides]))
    return job


@pytest.mark.parametrize("name", ["abl", "rga"])
def test_what_a_filter_drops_is_forgotten_by_the_victim_of_all_rows(tmp_path, name):
    job, lab = open_lab(tmp_path, read_demo(), f"defense=[zscore,{name}]")
    zscore, forgetter = job.defenses
    assert job.swept is zscore

    dropped = zscore.decide(lab, 5, Decision())
    decided = forgetter.decide(lab, None, dropped)

    assert dropped.kept is not None
    assert decided.kept is None
    assert decided.found_rows.tolist() == dropped.found_rows.tolist()
    (edit,) = decided.edits
    assert edit.parts["forgotten"] == len(dropped.found_rows) == 160
    assert forgetter.decide(lab, None, zscore.decide(lab, 100, Decision())).edits == ()


def test_without_a_filter_the_rows_that_are_learned_first_are_forgotten(tmp_path):
    job, lab = open_lab(tmp_path, read_demo(), "defense=abl")
    early = np.arange(len(lab.rows), dtype=np.float32)
    lab.get = lambda stage, or_else=None: early

    decided = job.defenses[0].decide(lab, 0.01, Decision())

    assert decided.found_rows.tolist() == list(range(len(lab.rows) - 16, len(lab.rows)))
    assert decided.suspicion is early


def test_edits_of_other_rows_rates_or_pulls_have_other_names(tmp_path):
    def edit(*overrides, threshold=0.05):
        job, lab = open_lab(tmp_path, read_demo(), *overrides)
        lab.get = lambda stage, or_else=None: np.arange(len(lab.rows), dtype=np.float32)
        (found,) = job.defenses[0].decide(lab, threshold, Decision()).edits
        return dict(found.parts)

    base = edit("defense=rga")
    assert edit("defense=rga") == base
    others = [
        edit("defense=rga", "defense.rga.pull=0.1"),
        edit("defense=rga", "defense.rga.learning_rate=1e-5"),
        edit("defense=rga", "defense.rga.others=2"),
        edit("defense=rga", "seed=2"),
        edit("defense=rga", threshold=0.06),
    ]
    assert base not in others


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (
            ["defense=[abl,zscore]"],
            "defense abl forgets the rows that filters before it drop, but zscore stands after it. "
            "Write defense=[zscore,abl].",
        ),
        (
            ["defense=[zscore,rga]", "swept_defense=rga"],
            "swept_defense: rga forgets the rows that a filter before it drops, so that its own "
            "threshold decides nothing. Sweep the filter, or leave it out.",
        ),
        (
            ["defense=[moderate_fitting,btu]"],
            "defense btu takes back what training changed in the word embeddings, which "
            "moderate_fitting does not train. Leave one of the two out.",
        ),
        (
            ["defense=[selfset,finetune]"],
            "defense: selfset and finetune each say how the model is tuned at the end. Leave all "
            "but one out.",
        ),
        (
            ["defense=finetune", "thresholds=[1.5]"],
            "thresholds: finetune takes numbers of epochs, whole ones, got 1.5. For four epochs "
            "write thresholds=[4].",
        ),
        (
            ["defense=rap", "defense.rap.least_drop=0.4"],
            "defense.rap.least_drop must be below most_drop, got 0.4 and 0.3.",
        ),
        (
            ["defense=abl", "defense.abl.isolation.gamma=-1"],
            "defense.abl.isolation.gamma is at least 0, got -1.",
        ),
        (
            ["defense=onion", "defense.onion.order=1"],
            "defense.onion.order is between 2 and 10, got 1.",
        ),
    ],
)
def test_what_means_nothing_is_refused_in_a_sentence(overrides, sentence):
    with pytest.raises(ConfigError) as error:
        build(*overrides)

    assert str(error.value) == sentence


@pytest.mark.parametrize(
    ("option", "package", "install"),
    [
        ("cube", "umap", "umap-learn"),
        ("onion", "nltk", "nltk"),
        ("moderate_fitting", "peft", "peft"),
    ],
)
def test_a_missing_package_is_named_before_any_training(monkeypatch, option, package, install):
    defense = build(f"defense={option}").defenses[0]
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == package else find(name)
    )

    with pytest.raises(ConfigError, match=rf'{install}.*pip install -e "\.\[defenses\]"'):
        defense.check(toy_split(300, 1), toy_split(80, 2))


def test_too_few_rows_to_cluster_are_told_with_what_to_type():
    cube = build("defense=cube").defenses[0]

    with pytest.raises(ConfigError, match="a label has 60 training rows, too few"):
        cube.check(toy_split(120, 1), None)
    replace(cube, min_samples=10, umap_neighbors=10).check(toy_split(120, 1), None)


def test_a_label_without_trusted_rows_has_no_word_to_tune():
    rap, trusted = build("defense=rap").defenses[0], toy_split(20, 2)
    of_one_label = trusted.take(np.flatnonzero(trusted.labels == 0))

    with pytest.raises(ConfigError, match="on its trusted rows, and label 1 has none"):
        rap.check(toy_split(40, 1), of_one_label)
    rap.check(toy_split(40, 1), trusted)


@pytest.mark.parametrize("option", ["onion", "strip", "rap", "finetune", "merge", "selfset"])
def test_without_trusted_rows_these_end_before_any_training(tmp_path, option):
    data = Dataset("toy", ("no", "yes"), toy_split(100, 1), None, toy_split(40, 3))
    job, lab = open_lab(tmp_path, data, f"defense={option}", "arms=[poisoned,defended]")

    with pytest.raises(ConfigError, match=f"{option} judges by trusted rows|clean"):
        possible_arms(job, lab)


@pytest.mark.parametrize(
    ("option", "rule"),
    [
        ("zscore", "accuracy"),
        ("onion", "accuracy"),
        ("[zscore,rga]", "accuracy"),
        ("strip", "beforehand"),  # its threshold says what it costs
        ("btu", "beforehand"),  # its model has learned the trusted rows
        ("merge", "beforehand"),
        ("[zscore,btu]", "beforehand"),
        ("[zscore,merge]", "beforehand"),
    ],
)
def test_accuracy_sets_the_threshold_only_where_trusted_rows_are_new(option, rule):
    assert build(f"defense={option}", "swept_defense=null").rule == rule


def test_a_record_says_what_trusted_rows_say_with_and_without_the_defense(tmp_path):
    arms = ["arms=[poisoned,defended]", "thresholds=[5,100]", "model.training.epochs=2"]
    job, lab = open_lab(tmp_path, read_demo(), "defense=zscore", *arms)

    victim, strong, weak = Experiment(job, lab).run().records

    trained = lab.train(lab.rows, job.model.training)
    right = lab.get(lab.outputs(trained, lab.trusted.texts)).labels == lab.trusted.labels
    assert victim.choice is None
    assert weak.choice.undefended == strong.choice.undefended == pytest.approx(right.mean())
    assert weak.choice.accuracy == pytest.approx(right.mean())  # it drops no row
    assert strong.choice.accuracy != weak.choice.accuracy
    assert strong.choice.low_is_strong
    assert (strong.detection["row_precision"], strong.detection["row_recall"]) == (1, 1)
    assert weak.detection["row_auroc"] == strong.detection["row_auroc"] > 0.99


def test_passes_count_three_for_an_epoch_and_all_that_a_model_was_made_from(tmp_path):
    arms = ["arms=[poisoned,defended]", "thresholds=[5]", "model.training.epochs=2"]
    job, lab = open_lab(tmp_path, read_demo(), "defense=zscore", *arms)

    victim, defended = Experiment(job, lab).run().records

    tests, num_rows = len(lab.data.clean.test) + len(lab.data.triggered), len(lab.rows)
    assert victim.work.passes == pytest.approx(2 * 3 + tests / num_rows, abs=1e-3)
    kept = num_rows - defended.evidence["zscore: rows dropped"]
    asked = tests + len(lab.trusted)
    assert defended.work.passes == pytest.approx((2 * 3 * kept + asked) / num_rows, abs=1e-3)
    assert victim.work.seconds > 0


def test_a_trusted_row_is_judged_by_ngrams_that_have_not_learned_it(tmp_path):
    job, lab = open_lab(tmp_path, read_demo(), "defense=onion")
    onion, texts = job.defenses[0], lab.trusted.texts
    words = [texts[0].split(), texts[1].split(), ["a", "stranger"]]

    drops = lab.get(onion.measure(lab, words))

    halves = [NGramModel(texts[half::2], onion.order) for half in range(2)]
    judges = [halves[1], halves[0], halves[0]]
    for text, judge in zip(words, judges, strict=True):
        asked = [" ".join(some) for some in (text, *leave_out(text))]
        expected = take_drops(judge.perplexities(asked, 1).values)
        assert drops[: len(text)] == pytest.approx(expected, rel=1e-5)
        drops = drops[len(text) :]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["abl", "rga"])
def test_rows_are_forgotten_and_the_others_are_not(tmp_path, name):
    of_it = [f"defense.{name}.{setting}" for setting in ("learning_rate=1e-3", "epochs=3")]
    job, lab = open_lab(tmp_path, read_demo(), f"defense=[zscore,{name}]", *of_it)
    decision = Decision()
    for defense, threshold in zip(job.defenses, (5, None), strict=True):
        decision = defense.decide(lab, threshold, decision)
    victim = make_model(job, lab, BY_NAME["poisoned"], Decision())
    forgot = lab.edit(victim, decision.edits[0])

    def believe(model, rows):
        said = lab.ask(lab.get(model), [lab.rows.texts[row] for row in rows]).probabilities
        return said[np.arange(len(rows)), lab.rows.labels[rows]].mean()

    planted = decision.found_rows
    rest = np.setdiff1d(np.arange(len(lab.rows)), planted)[:300]
    assert believe(victim, planted) > 0.9
    assert believe(forgot, planted) < 0.7
    assert believe(forgot, rest) > 0.9 * believe(victim, rest)


@dataclass(frozen=True)
class Shorten(Defense):
    """Inputs lose all but their first word."""

    def decide(self, lab, threshold, before):
        """One screen."""

        def apply(lab, model, texts):
            return Screened([text.split()[0] for text in texts], np.zeros(len(texts), dtype=bool))

        return replace(before, screens=(*before.screens, Screen(self.name, apply)))


@dataclass(frozen=True)
class Long(InputFilter):
    """Long inputs are suspicious."""

    def scores(self, lab, model, texts):
        """The number of letters of each."""
        lengths = np.array([len(text) for text in texts], dtype=np.float32)
        return lab.stage("lengths", lambda: lengths, ONE_ARRAY, by=self)


def test_trusted_rows_pass_the_screens_that_inputs_have_passed(tmp_path):
    _, lab = open_lab(tmp_path, read_demo(), "defense=none")
    victim, decision = lab.train(lab.rows, lab.source.training), Decision()
    for defense in (Shorten("shorten", 0.1, []), Long("long", 0.0, [])):
        decision = defense.decide(lab, 0.0, decision)
    longest = max((text.split()[0] for text in lab.trusted.texts), key=len)

    found = decision.screens[1].apply(lab, victim, [longest, f"{longest}x"])

    assert found.rejected.tolist() == [False, True]
