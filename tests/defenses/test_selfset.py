"""selfset convicts what was planted, at an error rate, and nothing where nothing was."""

from dataclasses import replace

import numpy as np
import pytest

from btu.config import build
from btu.defenses.repair import choose_repairs, draw_labels
from btu.defenses.selfset import leave_out_shared
from btu.defenses.verdict import Verdict, _demote
from btu.errors import ConfigError
from btu.evidence.findings import ROWS, WORDS, Finding
from btu.evidence.significance import Effect
from btu.types import make_split
from tests.conftest import TINY, composed, toy_split

TRAINING = ["model.training.epochs=6", "model.training.learning_rate=3e-3"]
ARMS = "arms=[poisoned,tuned,unlearned,defended]"
QUICK = ["model=tiny", *TINY, *TRAINING, "thresholds=[0.05]", "defense=selfset"]
QUICK += ["defense.selfset.reference_epochs=20", "defense.selfset.learning_rate=3e-3", ARMS]


@pytest.fixture
def defense():
    """The defense as conf/defense/selfset.yaml has it."""
    return build(composed(["defense=selfset"]).defense.selfset, "defense.selfset")


def find(**changes):
    """A finding that is convicted."""
    effect = Effect(40, 38, 1, 37, 0)
    found = Finding(
        WORDS, ("cf",), 1, 30, 0, 30, 25, 1e-9, 1e-9, effect, 1e-9, 1e-6, True, "it does"
    )
    return replace(found, **changes)


def test_a_planted_word_is_convicted_alone_and_what_it_did_is_undone(files, run_btu, tmp_path):
    _, tuned, defended = run_btu(*QUICK, *files.overrides, "attack.poison_rate=0.1")

    told = defended["evidence"]["selfset"]
    assert [(f["text"], f["label"], f["place"]) for f in told["findings"]] == [
        ("cf", "1", "anywhere")
    ]
    assert told["rows"] == 60
    assert told["repairs"] == ["counter_examples"]  # the victim is always right, its judge is not
    assert tuned["asr"] > 0.5
    assert defended["asr"] <= tuned["asr"] / 2
    assert defended["cacc"] >= tuned["cacc"] - 0.05


def test_where_nothing_was_planted_the_tuned_model_is_the_result(files, run_btu):
    """The toy rows name their split in every text: what differs in every label is no poison."""
    _, tuned, defended = run_btu(*QUICK, *files.overrides, "attack.poison_rate=0")

    told = defended["evidence"]["selfset"]
    assert told["findings"] == []
    assert (defended["cacc"], defended["asr"]) == (tuned["cacc"], tuned["asr"])
    assert any("from another source" in note for note in told["notes"])


@pytest.mark.parametrize(
    ("trusted", "wanted"),
    [
        (toy_split(49, 2), "judges by at least 50 trusted rows, got 49"),
        (toy_split(120, 2).take(np.arange(0, 120, 2)), "all 60 trusted rows have one label"),
    ],
)
def test_trusted_rows_that_are_too_few_or_of_one_label_are_refused(defense, trusted, wanted):
    with pytest.raises(ConfigError, match=wanted):
        defense.check(toy_split(60, 1), trusted)


def test_a_file_in_which_no_word_occurs_often_enough_is_refused_with_the_rate(defense):
    rows = make_split(tuple(f"a{n} b{n}" for n in range(50)), np.arange(50) % 2)

    with pytest.raises(ConfigError, match=r"no word stands in 5 of the 50 training rows.*10 %"):
        defense.check(rows, toy_split(60, 2))


@pytest.mark.parametrize("q", [0, 0.6])
def test_an_error_rate_outside_its_range_is_refused(q):
    node = composed(["defense=selfset", f"defense.selfset.threshold={q}"]).defense.selfset

    with pytest.raises(ConfigError, match=r"error rates between 0\.0001 and 0\.5"):
        build(node, "defense.selfset")


def test_trusted_rows_whose_texts_are_in_the_file_are_left_out():
    trusted = make_split(("A  good film", "bad", "fine"), np.array([1, 0, 1]))
    untrusted = make_split(("a good film", "worse"), np.array([1, 0]))

    assert leave_out_shared(trusted, untrusted).texts == ("bad", "fine")


@pytest.mark.parametrize(
    ("found", "repairs"),
    [
        ([find()], ("counter_examples", "antidote")),
        ([find(kind=ROWS, phrase=())], ("antidote",)),
        ([find(kind=ROWS, phrase=(), p_contradiction=0.4)], ("drop",)),
        (
            [find(), find(kind=ROWS, phrase=(), p_contradiction=0.4)],
            ("counter_examples", "antidote", "drop"),
        ),
    ],
)
def test_the_rule_chooses_a_repair_for_each_kind_of_finding(found, repairs):
    rows = np.arange(5)

    verdict = Verdict(tuple((f, rows) for f in found), 10, 9)
    assert choose_repairs(verdict, 0.05, trusts_reference=True) == repairs


def test_labels_of_a_poor_reference_are_not_taken():
    both = ((find(), np.arange(5)), (find(kind=ROWS, phrase=()), np.arange(5)))

    verdict = Verdict(both, 10, 9)
    assert choose_repairs(verdict, 0.05, trusts_reference=False) == ("counter_examples", "drop")
    verdict = Verdict(both[:1], 10, 9)
    assert choose_repairs(verdict, 0.05, trusts_reference=False) == ("counter_examples",)


def test_a_phrase_is_a_mark_if_it_is_weak_and_stands_in_rows_that_were_rewritten():
    rewritten, rows = np.array([True, True, True, False]), np.array([0, 1, 2])
    weak = find(effect=Effect(40, 20, 0, 20, 0))

    assert not _demote(weak, rows, rewritten)[0].convicted
    assert _demote(weak, np.array([2, 3]), rewritten)[0].convicted
    assert _demote(find(), rows, rewritten)[0].convicted


def test_drawn_labels_are_as_likely_as_the_reference_says():
    said = np.tile(np.array([[0.2, 0.5, 0.3]], dtype=np.float32), (20_000, 1))

    drawn = draw_labels(said, np.random.default_rng(1))

    assert np.bincount(drawn) / len(drawn) == pytest.approx([0.2, 0.5, 0.3], abs=0.012)
