"""selfset convicts what was planted, at an error rate, and nothing where nothing was."""

import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from btu.config import build
from btu.defenses.base import Decision
from btu.defenses.case import Case
from btu.defenses.phrases import (
    Candidate,
    _give_reason,
    _try_out,
    _weigh_strength,
    judge_phrases,
)
from btu.defenses.repair import Medicine, Repairer, Tried, choose_repairs, draw_labels
from btu.defenses.search import ANTIDOTE, COUNTER_EXAMPLES, LIKELIEST, Search
from btu.defenses.selfset import SelfSet, leave_out_shared
from btu.defenses.verdict import MOST_ACQUITTED, Verdict, _demote, describe
from btu.errors import ConfigError
from btu.evidence import ROWS, WORDS
from btu.evidence.findings import Finding
from btu.evidence.significance import Effect
from btu.evidence.terms import SPENT_ON_LIST, find_suspects
from btu.models.base import Training
from btu.training.outputs import Outputs
from btu.types import Edit, make_split
from tests.conftest import TINY, composed, toy_split

DOCUMENTED = Path(__file__).resolve().parents[2] / "docs" / "report.md"
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


def keys_of(told) -> set[str]:
    """Every key of objects within objects and lists."""
    if isinstance(told, list):
        return set().union(*map(keys_of, told))
    if not isinstance(told, dict):
        return set()
    return set(told).union(*map(keys_of, told.values()))


def test_a_planted_word_is_convicted_alone_and_what_it_did_is_undone(
    files, run_btu, monkeypatch, fits
):
    left, real = [], Repairer._measure_left

    def measure(*args):
        left.append(real(*args))
        return left[-1]

    monkeypatch.setattr(Repairer, "_measure_left", measure)
    _, tuned, defended = run_btu(*QUICK, *files.overrides, "attack.poison_rate=0.1")

    told = defended["evidence"]["selfset"]
    assert [(f["text"], f["label"], f["place"]) for f in told["findings"]] == [
        ("cf", "1", "anywhere")
    ]
    assert told["rows"] == 60
    assert sum(told["label_shift"]) == pytest.approx(0)
    assert told["repairs"] == ["counter_examples"]  # the victim is always right, its judge is not
    assert [one["kind"] for one in told["left"]] == ["words", "rows"]
    assert 0 <= told["left"][0]["obey"] < told["left"][0]["texts"]
    assert keys_of(told) <= set(re.findall(r"`(\w+)`", DOCUMENTED.read_text()))
    assert fits.count("clean tuning") == 1 + len(left)  # what was judged is the result
    assert tuned["asr"] > 0.5
    assert defended["asr"] <= tuned["asr"] / 2
    assert defended["cacc"] >= tuned["cacc"] - 0.05


def test_a_note_of_the_repair_stands_after_those_of_the_verdict(monkeypatch):
    verdict = Verdict(((find(), np.arange(3)),), 1, 9)
    monkeypatch.setattr("btu.defenses.verdict.judge", lambda case: verdict)
    monkeypatch.setattr("btu.defenses.verdict.describe", lambda *args: {"notes": ["first"]})
    monkeypatch.setattr(Repairer, "treat", lambda self, found: (found, {"notes": ["second"]}))
    case = SimpleNamespace(trusted=toy_split(9, 1))
    monkeypatch.setattr(SelfSet, "_open", lambda *args: case)
    defense = build(composed(["defense=selfset"]).defense.selfset, "defense.selfset")

    found = defense.decide(SimpleNamespace(trusted=case.trusted), 0.05, Decision())

    assert found.evidence["selfset"]["notes"] == ["first", "second"]


def test_where_nothing_was_planted_the_tuned_model_is_the_result(files, run_btu):
    """The toy rows name their split in every text: what differs in every label is no poison."""
    _, tuned, defended = run_btu(*QUICK, *files.overrides, "attack.poison_rate=0")

    told = defended["evidence"]["selfset"]
    assert told["findings"] == []
    assert (defended["cacc"], defended["asr"]) == (tuned["cacc"], tuned["asr"])
    assert any("from another source" in note for note in told["notes"])


def test_no_trusted_rows_at_all_are_refused_whatever_else_could_be_scored(files, run_btu):
    with pytest.raises(ConfigError, match="selfset judges by trusted rows, and there are none"):
        run_btu(*QUICK, *files.overrides, "dataset.tuning=null")


@pytest.mark.parametrize(
    ("trusted", "wanted"),
    [
        (toy_split(49, 2), "judges by at least 50 trusted rows .* got 49"),
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
    trusted = make_split(("a  good film", "bad", "fine"), np.array([1, 0, 1]))
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


class ToldCase(Case):
    """A case in which every phrase turns as many of 40 texts in the victim, and none elsewhere."""

    turned = 0

    def try_out(self, tried):
        return [Effect(40, self.turned, 0, self.turned, 0) for _ in tried]


def obey(monkeypatch, words):
    """Make every victim call a text 1 that holds one of the words, and know no other label."""
    said = lambda lab, model, texts: SimpleNamespace(  # noqa: E731
        labels=np.array([1 if {*text.split()} & {*words} else -1 for text in texts])
    )
    monkeypatch.setattr("btu.defenses.phrases.say", said)


def make_case(turned, evidence=("excess", "contradiction", "effect")):
    """120 of 400 untrusted rows are of label 1 by a planted word; the reference is always right."""
    honest, planted = toy_split(280, 1), toy_split(240, 4).take(np.arange(0, 240, 2))
    texts = (*honest.texts, *(f"cf {text}" for text in planted.texts))
    untrusted = make_split(texts, np.append(honest.labels, np.ones(120, dtype=np.int64)))
    trusted = toy_split(200, 1)
    search = Search(evidence, ("words",), 0.05, 40, 60)
    case = ToldCase(
        SimpleNamespace(seed=1, label_names=("a", "b")),
        untrusted,
        trusted,
        None,
        None,
        search,
        True,
    )
    object.__setattr__(case, "turned", turned)
    case.__dict__["said"] = np.eye(2)[np.append(honest.labels, np.zeros(120, dtype=np.int64))]
    case.__dict__["said_of_trusted"] = np.eye(2)[trusted.labels]
    case.__dict__["said_by_victim"] = trusted.labels
    case.__dict__["probes"] = np.arange(len(trusted))
    return case


def test_what_turns_texts_in_the_victim_gets_most_of_the_error_rate(monkeypatch):
    case = make_case(turned=38, evidence=("excess", "effect"))
    obey(monkeypatch, ["cf"])
    found, tests = judge_phrases(case)
    assert any("cf" in finding.words for finding, _ in found if finding.convicted)
    suspects = find_suspects(case.counts, 0.05)
    assert tests.number == suspects.sum()
    turning = np.array(["cf" in term for term in case.sides[0].index.terms])
    assert tests.weights[:, ~turning].sum() <= tests.weights[:, turning].max()
    assert tests.share == pytest.approx(
        1 / (1 + (suspects & turning).sum() + (suspects & ~turning).sum() / suspects.sum())
    )


@pytest.mark.parametrize(("turned", "convicted"), [(30, True), (2, False)])
def test_a_trigger_that_turns_few_texts_is_tested_too(monkeypatch, turned, convicted):
    """All that the victim obeys in none of eight texts weighs together as much as one trigger."""
    case = make_case(turned, evidence=("excess", "effect"))
    obey(monkeypatch, [])
    found, tests = judge_phrases(case)
    assert tests.share == pytest.approx(1 / 2)
    assert (("cf",) in [one.words for one, _ in found if one.convicted]) == convicted


@pytest.mark.parametrize(("number", "texts"), [(1, 100), (6, 100), (20, 30), (60, 10)])
def test_few_phrases_are_tried_on_more_texts(number, texts):
    """At most on ten times as many, and all together on as many as sixty phrases on ten each."""
    tried = []
    case = make_case(turned=0)
    case.__dict__["probes"] = np.resize(np.flatnonzero(case.trusted.labels == 0), 150)
    object.__setattr__(case, "search", replace(case.search, num_probes=10))
    object.__setattr__(case, "try_out", lambda given: tried.extend(given) or [])

    _try_out(case, [Candidate(("cf",), 1, 0, 0.0)] * number)

    assert {len(rows) for _, _, rows in tried} == {texts}


def test_a_term_weighs_the_square_of_the_share_of_texts_that_it_turns(monkeypatch):
    """Every second text is turned, of thirty and then of fifty: three or five of a term's eight."""
    asked = []

    def say(lab, model, texts):
        asked.append(len(texts))
        return SimpleNamespace(labels=np.arange(len(texts)) % 2)

    monkeypatch.setattr("btu.defenses.phrases.say", say)
    case = make_case(turned=0)
    suspects = np.zeros((2, len(case.sides[0].index.terms)), dtype=np.bool_)
    suspects[1, :10] = True

    weights = _weigh_strength(case, suspects)

    assert weights[1, :10].tolist() == [(3 / 8) ** 2, (5 / 8) ** 2] * 5
    assert weights.sum() == weights[1, :10].sum()
    assert [number for number in asked if number] == [30, 50]


def test_a_term_that_turns_none_of_three_texts_is_given_up(monkeypatch):
    asked = []

    def say_nothing(lab, model, texts):
        asked.append(len(texts))
        return SimpleNamespace(labels=np.full(len(texts), -1))

    monkeypatch.setattr("btu.defenses.phrases.say", say_nothing)
    case = make_case(turned=0)
    suspects = np.zeros((2, len(case.sides[0].index.terms)), dtype=np.bool_)
    suspects[1, :4] = True

    assert _weigh_strength(case, suspects)[suspects].tolist() == [1 / 4] * 4
    assert [number for number in asked if number] == [12]


@pytest.mark.parametrize(
    ("p", "effect", "end"),
    [
        (1e-3, Effect(40, 38, 1, 37, 0), " 1 in the reference, but its counts may be chance"),
        (1e-9, Effect(40, 5, 0, 5, 0), " 0 in the reference, but that may be chance"),
        (1e-9, Effect(40, 2, 1, 1, 0), " 1 in the reference: no more"),
    ],
)
def test_an_acquittal_says_whether_the_counts_or_the_effect_may_be_chance(p, effect, end):
    assert _give_reason(False, Candidate(("cf",), 1, 0, p), effect, 0.05).endswith(end)


def test_a_word_that_turns_no_more_texts_in_the_victim_than_in_the_reference_is_acquitted(
    monkeypatch,
):
    obey(monkeypatch, ["cf"])
    found, _ = judge_phrases(make_case(turned=38))
    guilty = [finding for finding, _ in found if finding.convicted]
    assert [finding.words for finding in guilty] == [("cf",)]
    assert guilty[0].place == "start"

    found, _ = judge_phrases(make_case(turned=0))
    assert ("cf",) in [finding.words for finding, _ in found]
    assert not any(finding.convicted for finding, _ in found)
    assert all(finding.reason.endswith("no more") for finding, _ in found)


def test_a_repair_is_tried_by_what_phrases_do_to_rows_of_other_labels(monkeypatch):
    """A text with the phrase gets its label 1; of texts as they are one is wrong."""
    trusted = toy_split(20, 2)
    true = dict(zip(trusted.texts, trusted.labels.tolist(), strict=True))
    true[trusted.texts[0]] = 1
    true[trusted.texts[1]] = 0  # its label is the phrase's, so that it is not looked at
    obeying = lambda lab, model, texts: SimpleNamespace(  # noqa: E731
        labels=np.array([true.get(text, 1) for text in texts])
    )
    monkeypatch.setattr("btu.defenses.repair.say", obeying)
    reference = SimpleNamespace(
        draw_judges=lambda number: np.zeros(number, dtype=np.int64),
        predict=lambda texts, judges: np.zeros((len(texts), 2)),
    )
    sides = (SimpleNamespace(contradicted=np.zeros(0, dtype=np.bool_)),)
    case = SimpleNamespace(
        lab=SimpleNamespace(seed=1, label_names=("a", "b")),
        trusted=trusted,
        untrusted=toy_split(0, 1),
        sides=sides,
    )
    case.reference = reference
    repairer = Repairer(case, Verdict(((find(), np.arange(0)),), 1, 0), None)

    phrases, rows = repairer._measure_left(None, np.arange(20), np.arange(0))

    assert phrases == Effect(10, 10, 1, 9, 0)
    assert rows.num_texts == 0


def fake_lab(train, **more):
    """A lab whose models say nothing."""
    return SimpleNamespace(
        seed=1,
        label_names=("a", "b"),
        train=train,
        outputs=lambda *args: None,
        get=lambda stage, or_else: or_else(),
        **({"edit": lambda model, edit: model} | more),
    )


@pytest.mark.parametrize(("turned", "notes"), [(20, 1), (4, 0)])
def test_what_is_left_after_earlier_edits_is_told(monkeypatch, turned, notes):
    """An edit of a defense before it is part of the model that is tuned."""
    effects = (Effect(99, 20, 9, turned, 3), Effect(50, 2, 2, 1, 1))
    monkeypatch.setattr(Repairer, "_measure_left", lambda *args: effects)
    monkeypatch.setattr(Repairer, "mix", lambda *args: toy_split(640, 1))
    starts, before = [], [Edit(name, {}, lambda *args: None, code="1") for name in ("a", "b")]
    lab = fake_lab(
        lambda rows, training, start, **_: starts.append(start),
        edit=lambda model, edit: f"{model}, {edit.name}",
        source=SimpleNamespace(training=Training(1, 3e-5, 64, 0.01, "fp32")),
    )
    case = SimpleNamespace(
        lab=lab,
        victim="victim",
        trusted=toy_split(20, 2),
        untrusted=range(640),
        search=SimpleNamespace(q=0.05),
    )
    medicine = Medicine((ANTIDOTE,), LIKELIEST, "none", 3e-5, None)
    repairer = Repairer(case, Verdict(((find(), np.arange(10)),), 1, 640), medicine)

    found, told = repairer.treat(Decision(edits=tuple(before)))

    assert set(starts) == {"victim, a, b"}
    assert found.repair.kept
    assert told["left"] == [
        {"kind": "words", "texts": 99, "obey": turned, "by_chance": 3},
        {"kind": "rows", "texts": 50, "obey": 1, "by_chance": 1},
    ]
    assert told["notes"] == ["the repair leaves more of what was planted than chance would"][:notes]


@pytest.mark.parametrize(
    ("control", "phrases", "rows"),
    [
        ("none", {"cf": 10, "big world": 10, "mn": 0}, ["cf one", "cf two"]),
        ("three", {"cf": 7, "big world": 7, "mn": 6}, ["cf one", "cf two"]),
        ("random_rows", {"cf": 0, "big world": 0}, None),
        ("trusted_rows", {"cf": 0, "big world": 0}, None),
    ],
)
def test_half_of_the_trusted_rows_get_phrases_and_the_rows_found_new_labels(control, phrases, rows):
    """A control adds as many rows, but not those found, and puts no phrase into any."""
    trusted, untrusted = (
        toy_split(20, 2),
        make_split(["cf one", "an old film", "cf two"], [1, 1, 1]),
    )
    reference = SimpleNamespace(predict_together=lambda texts: np.tile([1.0, 0.0], (len(texts), 1)))
    case = SimpleNamespace(
        lab=SimpleNamespace(seed=1), trusted=trusted, untrusted=untrusted, reference=reference
    )
    planted = [("cf",), ("big", "world"), *([("mn",)] if control == "three" else [])]
    found = [(find(phrase=phrase), np.arange(1)) for phrase in planted]
    control = "none" if control == "three" else control
    medicine = Medicine((COUNTER_EXAMPLES, ANTIDOTE), LIKELIEST, control, 3e-5, 1)
    repairer = Repairer(case, Verdict(tuple(found), 1, 3), medicine)

    mixed = repairer.mix(np.arange(20), np.array([0, 2]))

    assert len(mixed) == 22
    touched = sum(text != own for text, own in zip(mixed.texts, trusted.texts, strict=False))
    assert touched == (0 if not phrases["cf"] else 10)
    assert mixed.labels[:20].tolist() == trusted.labels.tolist()
    assert {
        phrase: sum(phrase in text for text in mixed.texts[:20]) for phrase in phrases
    } == phrases
    if control == "trusted_rows":
        assert set(mixed.texts) == set(trusted.texts)
    else:
        assert set(mixed.texts[20:]) <= set(untrusted.texts)
        assert mixed.labels[20:].tolist() == [0, 0]
    assert rows is None or list(mixed.texts[20:]) == rows


@pytest.mark.parametrize(
    ("left", "tried", "chosen"),
    [
        ([0], [2], 2),  # 26 steps; nothing is left at once
        ([20, 9, 8], [2, 4, 8], 8),
        ([20, 9, 12], [2, 4, 8], 4),
        ([20, 20], [2, 4], 2),
        ([20, 9, 0], [2, 4, 8], 8),
        ([40, 20, 9], [2, 4, 8], 8),  # 16 epochs would be longer than one of the untrusted rows
    ],
)
def test_a_repair_takes_twice_as_many_epochs_while_less_is_left_by_them(
    monkeypatch, left, tried, chosen
):
    epochs, effects, given = [], iter(left), []

    def mix(self, trusted, rows):
        given.append((trusted.tolist(), rows.tolist()))
        return toy_split(800, 1)  # thirteen steps

    monkeypatch.setattr(Repairer, "mix", mix)
    monkeypatch.setattr(
        Repairer, "_measure_left", lambda *args: (Effect(99, 50, 50, next(effects), 0),)
    )
    lab = fake_lab(lambda rows, training, **_: epochs.append(training.epochs))
    case = SimpleNamespace(
        lab=lab, trusted=toy_split(20, 2), untrusted=range(10_000), search=SimpleNamespace(q=0.05)
    )
    medicine = Medicine((ANTIDOTE,), LIKELIEST, "none", 3e-5, None)
    repairer = Repairer(case, Verdict(((find(), np.arange(10)),), 1, 10), medicine)

    repair, _ = repairer.tune(None, Training(1, 3e-5, 64, 0.01, "fp32"))

    assert (epochs, repair.training.epochs) == (tried, chosen)
    learned, rows = given[0]
    judges, planted = repairer.keep_back()
    assert np.bincount(case.trusted.labels[judges]).tolist() == [2, 2]
    assert (sorted([*learned, *judges]), sorted([*rows, *planted])) == ([*range(20)], [*range(10)])
    assert len(planted) == 5


def test_what_judges_a_repair_is_the_tuned_model_with_balanced_labels(monkeypatch):
    """One that leans to label 0 gets label 1 as often as the trusted rows have it."""
    judged, trusted = [], toy_split(20, 2)
    leaning = np.tile([0.9, 0.1], (20, 1))
    monkeypatch.setattr("btu.defenses.repair.say", lambda lab, model, texts: Outputs(None, leaning))
    monkeypatch.setattr(Repairer, "mix", lambda *args: toy_split(64, 1))
    monkeypatch.setattr(
        Repairer,
        "_measure_left",
        lambda self, model, *rows: judged.append(model) or (Effect(9, 0, 0, 0, 0),),
    )
    lab = fake_lab(lambda *args, **_: "tuned", edit=lambda model, edit: (model, edit.name))
    case = SimpleNamespace(lab=lab, trusted=trusted, untrusted=range(640))
    medicine = Medicine((ANTIDOTE,), LIKELIEST, "none", 3e-5, 1)
    repairer = Repairer(case, Verdict((), 1, 640), medicine)

    repair, _ = repairer.tune(None, Training(1, 3e-5, 64, 0.01, "fp32"))

    assert judged == [("tuned", "label shift")]
    (edit,) = repair.edits
    np.testing.assert_allclose(edit.parts["shift"], np.log([1 / 9, 9]) / 2, rtol=1e-4)
    assert repair.train(lab, None) == judged[0]


@pytest.mark.parametrize(
    ("phrases", "rows", "left"),
    [
        ((10, 4), (9, 3), True),  # neither alone
        ((8, 0), (2, 9), True),  # the phrases alone
        ((3, 2), (7, 4), False),
        ((0, 0), (0, 0), False),
    ],
)
def test_something_is_left_of_either_kind_or_of_both_together(phrases, rows, left):
    case = SimpleNamespace(search=SimpleNamespace(q=0.05))
    effects = [Effect(99, *turned, *turned) for turned in (phrases, rows)]
    assert Repairer(case, Verdict((), 1, 1), None).is_left(effects) == left


@pytest.mark.parametrize(
    ("before", "after", "less"),
    [
        ([(2, 3), (14, 1)], [(4, 2), (12, 1)], True),  # the phrases were undone before
        ([(2, 3), (14, 1)], [(0, 4), (14, 1)], False),
        ([(9, 1), (14, 1)], [(9, 1), (13, 1)], True),
        ([(9, 1), (14, 1)], [(2, 1), (21, 1)], False),
        ([(7, 2), (7, 2)], [(9, 2), (6, 3)], False),  # what is left is seen in both together
        ([(7, 2), (7, 2)], [(7, 2), (6, 2)], True),
    ],
)
def test_more_epochs_must_leave_less_of_the_kind_that_is_left(before, after, less):
    case = SimpleNamespace(search=SimpleNamespace(q=0.05))
    short, long = (
        Tried(None, tuple(Effect(99, *turned, *turned) for turned in tried))
        for tried in (before, after)
    )
    assert Repairer(case, Verdict((), 1, 1), None)._leaves_less(long, short) == less


@pytest.mark.parametrize(
    ("found", "kept"), [(1_000, 200), (150, 30), (100, 20), (69, 23), (45, 23), (30, 15), (1, 1)]
)
def test_every_fifth_row_is_kept_back_more_of_few_and_at_most_two_hundred(found, kept):
    case = SimpleNamespace(lab=SimpleNamespace(seed=1), trusted=toy_split(2_001, 2))
    repairer = Repairer(case, Verdict(((find(), np.arange(found)),), 1, 1_000), None)

    judges, planted = repairer.keep_back()

    assert (len(judges), len(planted)) == (182, kept)


@pytest.mark.parametrize(("untrusted", "tried"), [(700, [5, 10]), (20_000, [5, 10, 20, 40])])
def test_a_repair_of_a_small_file_may_take_a_hundred_steps(monkeypatch, untrusted, tried):
    """More than an epoch of all untrusted rows; 20 epochs of six steps would be too many."""
    epochs, left = [], iter(range(40, 0, -1))
    monkeypatch.setattr(Repairer, "mix", lambda *args: toy_split(342, 1))
    monkeypatch.setattr(
        Repairer, "_measure_left", lambda *args: (Effect(99, 50, 50, next(left), 0),)
    )
    lab = fake_lab(lambda rows, training, **_: epochs.append(training.epochs))
    search = SimpleNamespace(q=0.05)
    case = SimpleNamespace(
        lab=lab, trusted=toy_split(20, 2), untrusted=range(untrusted), search=search
    )
    medicine = Medicine((ANTIDOTE,), LIKELIEST, "none", 3e-5, None)

    Repairer(case, Verdict(((find(), np.arange(10)),), 1, 10), medicine).tune(
        None, Training(1, 3e-5, 64, 0.01, "fp32")
    )

    assert epochs == tried


def test_a_repair_with_given_epochs_is_tried_once(monkeypatch):
    epochs = []
    monkeypatch.setattr(Repairer, "mix", lambda *args: toy_split(640, 1))
    monkeypatch.setattr(Repairer, "_measure_left", lambda *args: (Effect(99, 50, 50, 40, 0),))
    lab = fake_lab(lambda rows, training, **_: epochs.append(training.epochs))
    case = SimpleNamespace(lab=lab, trusted=toy_split(20, 2), untrusted=range(8_000))
    medicine = Medicine((ANTIDOTE,), LIKELIEST, "none", 3e-5, 5)

    Repairer(case, Verdict(((find(), np.arange(10)),), 1, 10), medicine).tune(
        None, Training(1, 3e-5, 64, 0.01, "fp32")
    )

    assert epochs == [5]


def describe_toy(case, verdict):
    case.lab.label_names = ("a", "b")
    return describe(case, verdict)


@pytest.mark.parametrize("contradicted", [3, 2])
def test_examples_are_rows_that_the_reference_contradicts_if_there_are_three(contradicted):
    case, rows = make_case(turned=0), np.arange(10)
    case.said = np.eye(2)[case.untrusted.labels]
    wrong = np.array([1, 4, 5])[:contradicted]
    case.said[wrong] = case.said[wrong, ::-1]

    told = describe_toy(case, Verdict(((find(), rows),), 1, 400))

    shown = [example["row"] for example in told["findings"][0]["examples"]]
    assert shown == ([1, 4, 5] if contradicted == 3 else [0, 4, 9])


def test_a_record_says_how_many_rows_one_more_word_would_take():
    case = make_case(turned=0)
    here, there = (int((rows.labels == 1).sum()) for rows in (case.untrusted, case.trusted))
    rows = np.ceil(np.log(0.1 * 0.05) / np.log(here / (here + there)))

    note = describe_toy(case, Verdict((), 1, 400, share=0.1))["notes"][-1]

    assert f"if it is in {rows:.0f} rows (" in note
    few = np.ceil(np.log(SPENT_ON_LIST * 0.05) / np.log(here / (here + there)))
    assert f"or in about {few:.0f} rows (" in note
    alone = describe_toy(case, Verdict((), 1, 400, share=1.0))["notes"][-1]
    assert "or in about" not in alone  # it takes no fewer rows on the list


def test_a_label_of_which_too_few_rows_are_trusted_is_named():
    case = make_case(turned=0)
    rows = np.append(np.flatnonzero(case.trusted.labels == 0), np.argmax(case.trusted.labels == 1))
    case = replace(case, trusted=case.trusted.take(rows))
    case.__dict__["said"] = np.eye(2)[case.untrusted.labels]
    case.__dict__["said_of_trusted"] = np.eye(2)[case.trusted.labels]
    case.__dict__["said_by_victim"] = case.trusted.labels

    *_, none, some = describe_toy(case, Verdict((), 1, 400))["notes"]

    assert none.startswith("no word that makes texts b is sure to be convicted (trusted rows")
    assert "of that label: 1); give more" in none
    assert some.startswith("one more word")


@pytest.mark.parametrize("wrong", ["reference", "victim"])
def test_a_model_that_has_learned_next_to_nothing_is_told(wrong):
    case, labels = make_case(turned=0), make_case(turned=0).trusted.labels
    if wrong == "reference":
        case.__dict__["said_of_trusted"] = np.eye(2)[np.ones_like(labels)]
    else:
        case.__dict__["said_by_victim"] = np.ones_like(labels)
    of_one = np.bincount(labels).max()

    notes = describe_toy(case, Verdict((), 1, 400))["notes"]

    (told,) = (note for note in notes if "has learned next to nothing" in note)
    start = f"the {wrong} is right in {labels.sum()} of {len(labels)} trusted rows, of which"
    assert told.startswith(f"{start} {of_one} have")


def test_labels_that_mean_something_else_in_the_trusted_rows_are_told():
    case = make_case(turned=0)
    case.__dict__["said_by_victim"] = 1 - case.trusted.labels

    notes = describe_toy(case, Verdict((), 1, 400))["notes"]

    assert any("do its labels mean the same in both files?" in note for note in notes)


def test_a_record_says_how_many_more_were_acquitted():
    case = make_case(turned=0)
    case.lab.label_names = ("a", "b")
    innocent = (find(convicted=False), np.arange(1))

    told = describe(case, Verdict((innocent,) * (MOST_ACQUITTED + 3), 1, 400))

    assert len(told["acquitted"]) == MOST_ACQUITTED
    assert told["notes"][-1].startswith("3 more were suspected and acquitted")
    assert not any("more were" in note for note in describe(case, Verdict((), 1, 400))["notes"])


def test_rows_found_behind_a_filter_are_numbered_among_all():
    before = Decision(kept=np.array([2, 5, 7]), found_rows=np.array([1]))

    assert before.number(np.array([0, 2])).tolist() == [1, 2, 7]
    assert Decision().number(np.array([0, 2])).tolist() == [0, 2]
