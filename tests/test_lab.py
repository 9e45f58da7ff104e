"""A lab's stages: names belong to what they name, and nothing is shared that was not decided."""

import gc
from dataclasses import replace

import numpy as np
import pytest

from btu.attacks.stored import poison
from btu.config import build
from btu.defenses.base import Decision, Defense, NoDefense
from btu.errors import ConfigError
from btu.experiment import Experiment
from btu.job import build_job
from btu.lab import Lab
from btu.pipeline import make_model
from btu.store.cache import StageCache
from btu.store.stages import ONE_ARRAY, Stage
from btu.training.devices import Compute
from btu.types import ARMS, BY_NAME, Edit, Screen, Screened, make_split
from tests.conftest import TINY, composed

ME = NoDefense("me", None, [])  # whose stages they are


@pytest.fixture
def lab(toy_dataset, tmp_path):
    """A lab of the toy data with a tiny model, undefended."""
    cfg = composed(["model=tiny", *TINY])
    model = build(cfg.model, "model")
    model = replace(model, training=replace(model.training, epochs=1))
    cache = StageCache(tmp_path / "cache")
    data = poison(toy_dataset, build(cfg.attack, "attack"), 1, cache)
    return Lab(model, data, Compute("cpu", "fp32", 64), cache, 1, {})


def test_splits_that_come_and_go_keep_their_own_names_and_tokens(lab):
    """Names that went by the place in memory were those of a split that was gone."""
    names, lengths = [], []
    for size in range(1, 11):
        some = lab.rows.take(np.arange(size))
        names.append(some.fingerprint)
        lengths.append(len(lab.encoded(some)))
        del some
        gc.collect()

    assert len(set(names)) == 10
    assert lengths == list(range(1, 11))


def test_a_name_tells_texts_and_labels_apart():
    one = make_split(("a", "b"), np.asarray([0, 1]))

    assert one.fingerprint == make_split(("a", "b"), np.asarray([0, 1])).fingerprint
    assert one.fingerprint != make_split(("a", "b"), np.asarray([1, 1])).fingerprint
    assert one.fingerprint != make_split(("a b", ""), np.asarray([0, 1])).fingerprint


def test_making_a_stage_computes_nothing_and_getting_it_computes_once(lab):
    calls = []

    def compute():
        calls.append("x")
        return np.arange(3.0)

    own = {"by": ME, "rows": lab.rows}
    stages = [lab.stage("mine", compute, ONE_ARRAY, **own, width=1) for _ in range(2)]
    other = lab.stage("mine", compute, ONE_ARRAY, **own, width=2)
    assert not calls

    assert [lab.get(stage).tolist() for stage in stages] == [[0.0, 1.0, 2.0]] * 2
    assert len(calls) == 1
    lab.get(other)
    assert len(calls) == 2


def test_lineage_names_parents_first_and_each_once(lab):
    first = lab.stage("first", list, ONE_ARRAY, by=ME)
    second = lab.stage("second", list, ONE_ARRAY, by=ME, of=first)
    last = lab.stage("last", list, ONE_ARRAY, by=ME, both=[first, {"and": second}])

    assert [stage.name for stage in last.lineage()] == ["first", "second", "last"]
    assert last.key != lab.stage("last", list, ONE_ARRAY, by=ME, both=[first, {"and": first}]).key


def test_a_model_that_is_edited_leaves_the_victim_as_it_was(lab):
    victim = lab.train(lab.rows, lab.source.training)

    def clear(lab, classifier):
        classifier.embeddings.weight.data.zero_()

    edited = lab.edit(victim, Edit("clear", {"all": True}, clear, code="1"))

    assert not lab.get(edited).embeddings.weight.any()
    assert lab.get(victim).embeddings.weight.any()
    assert edited.key != victim.key


def test_a_tuned_model_is_made_once_if_it_is_kept_and_never_if_an_edit_must_tell_of_itself(
    lab, fits
):
    victim = lab.train(lab.rows, lab.source.training)
    tune = {"rows": lab.rows, "training": lab.source.training, "title": "tuned"}
    kept = lab.train(**tune, start=victim, kept=True)
    edit = Edit("clear", {"all": True}, lambda lab, classifier: None, code="1")
    after = lab.train(**tune, start=lab.edit(victim, edit), kept=True)
    assert kept.key == lab.train(**tune, start=victim).key

    for text in ("one", "two"):
        lab.get(lab.outputs(kept, [text]))
    assert fits == ["victim", "tuned"]
    for text in ("one", "two"):
        lab.get(lab.outputs(after, [text]))
    assert fits == ["victim", "tuned", "tuned", "tuned"]


def test_outputs_are_probabilities_and_the_state_at_the_first_token(lab):
    victim = lab.train(lab.rows, lab.source.training)
    texts = lab.trusted.texts[:7]

    found = lab.get(lab.outputs(victim, texts))

    assert found.probabilities.shape == (7, 2)
    np.testing.assert_allclose(found.probabilities.sum(1), 1, rtol=1e-5)
    assert (found.probabilities.argmax(1) == found.labels).all()
    assert found.states.shape == (7, lab.pristine.embeddings.embedding_dim)
    again = lab.get(lab.outputs(victim, texts))
    assert (again.probabilities == found.probabilities).all()


def test_a_screen_keeps_the_number_and_order_of_texts(lab):
    def shorten(lab, model, texts):
        return Screened(texts[1:], np.zeros(len(texts) - 1, dtype=np.bool_))

    victim = lab.train(lab.rows, lab.source.training)

    with pytest.raises(ConfigError, match="screen mine was given 30 texts and gave 29 back"):
        lab.predict(victim, (Screen("mine", shorten),), "scores")


def test_which_rows_are_poisoned_is_hidden_from_defenses(lab):
    assert lab.data.train.poisoned.any()
    assert not lab.rows.poisoned.any()
    assert lab.rows.fingerprint == lab.data.train.fingerprint


class Silent(Defense):
    """Changes the model and names nothing that it changes."""

    def decide(self, lab, threshold, before):
        def shrink(lab, classifier):
            classifier.model.classifier.weight.data.mul_(threshold)

        return replace(before, edits=(*before.edits, Edit("shrink", {}, shrink)))


def evaluations(files, tmp_path, defense, thresholds=(0.1, 0.2)):
    """The keys of the models of `poisoned` and of `defended` at each threshold."""
    job, _ = build_job(composed([*files.overrides, "model=tiny", *TINY, f"outputs={tmp_path}"]))
    job = replace(job, defenses=(defense,), swept=defense, thresholds=thresholds)
    data = poison(job.dataset.load(), job.attack, job.seed, StageCache(tmp_path / "c"))
    compute = Compute("cpu", "fp32", 64)
    experiment = Experiment(job, Lab(job.model, data, compute, StageCache(tmp_path / "c"), 1, {}))
    keys = [make_model(job, experiment.lab, BY_NAME["poisoned"], Decision()).key]
    for threshold in thresholds:
        decision = experiment.decide(threshold)
        keys.append(make_model(job, experiment.lab, BY_NAME["defended"], decision).key)
    return keys, experiment


def test_a_defense_that_names_no_change_gets_no_other_arms_evaluation(files, tmp_path):
    """It would have read the evaluation of `poisoned` from the cache, at every threshold."""
    keys, _ = evaluations(files, tmp_path, Silent("silent", None, [0.1, 0.2]))

    assert len(set(keys)) == 3


def test_records_of_other_defenses_thresholds_and_arms_have_other_names(files, tmp_path):
    names = set()
    for number, defense in enumerate((Silent("silent", None, [0.1]), Silent("other", None, [0.1]))):
        _, experiment = evaluations(files, tmp_path / str(number), defense)
        names |= {
            experiment.identity(arm, threshold)
            for arm in ARMS
            if arm.defended
            for threshold in (0.1, 0.2)
        }

    assert len(names) == 2 * 2 * 2


def test_a_decision_that_changes_nothing_is_the_undefended_model(files, tmp_path):
    class Idle(Defense):
        def decide(self, lab, threshold, before):
            return before

    keys, _ = evaluations(files, tmp_path, Idle("idle", None, [0.1, 0.2]))

    assert len(set(keys)) == 1


def test_a_stage_without_a_format_is_told_in_full_in_keys(lab):
    first = Stage("first", {"width": 1}, list, None)

    parts = lab.stage("second", list, ONE_ARRAY, by=ME, of=first).named_parts

    assert parts["of"] == {"stage": "first", "version": 1, "width": 1}
