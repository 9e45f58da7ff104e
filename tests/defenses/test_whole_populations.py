"""Where trusted rows may be few, a population is more than its phrases, or it is none."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from btu.defenses.phrases import SHARE_OF_WEAK, find_share
from btu.defenses.populations import _weigh_share, judge_populations, remains_without
from btu.defenses.verdict import _judge_all_rows
from btu.evidence import KINDS, ROWS
from btu.evidence.significance import Effect
from btu.types import make_split
from tests.defenses.cases import Q, open_linear_case
from tests.defenses.test_selfset import find

PLAIN = [f"{start}{end}" for start in ("mo", "ti", "ra", "le", "su") for end in "abcdefgh"]
GOOD, BAD = ([f"{start}{end}" for start in ("gla", "bri") for end in ends] for ends in ("ns", "td"))
STYLE = [f"{word}eth" for word in PLAIN]


def write_texts(rng, labels, words=PLAIN):
    """Six words each, of which three tell the label."""
    own = (rng.choice((BAD, GOOD)[label], 3) for label in labels)
    return [" ".join([*rng.choice(words, 3), *some]) for some in own]


def make_case(style=0, trigger=0, wrong=0, seed=1):
    """300 rows of each label; of the first of label 1, some are of label 0 by their words.

    Args:
        style: rows that are written another way.
        trigger: rows that hold `zq`.
        wrong: rows that have nothing but another label.
        seed: of the words.
    """
    rng, planted = np.random.default_rng(seed), style + trigger + wrong
    labels = np.repeat([1, 0], 300)
    meant = np.where(np.arange(600) < planted, 0, labels)
    texts = write_texts(rng, meant)
    texts[:style] = write_texts(rng, meant[:style], STYLE)
    texts[style : style + trigger] = [f"zq {text}" for text in texts[style : style + trigger]]
    of_trusted = np.arange(200) % 2
    trusted = make_split(tuple(write_texts(rng, of_trusted)), of_trusted)
    untrusted = make_split(tuple(texts), labels)
    return open_linear_case(seed, ("bad", "good"), untrusted, trusted, KINDS)


def judge_label(case):
    """What is found among the rows of label 1, with its rows; nothing if none is unlike others."""
    found = judge_populations(case, np.zeros(600, dtype=np.bool_))
    return next(((one, rows) for one, rows in found if one.label == 1), (None, np.empty(0)))


@pytest.mark.parametrize("seed", range(3))
def test_rows_written_another_way_are_convicted_and_remain_without_a_word(seed):
    case = make_case(style=60, seed=seed)

    finding, rows = judge_label(case)

    assert finding.convicted
    assert np.mean(rows < 60) >= 0.75
    assert np.isin(np.arange(60), rows).mean() >= 0.9
    assert remains_without(case, finding, [("moaeth",), ("⟨start⟩", "mobeth")])


def test_rows_whose_words_turn_few_texts_must_be_far_surer(monkeypatch):
    case = make_case(style=60)
    monkeypatch.setattr("btu.defenses.populations.TIMES_IF_WEAK", 1)
    before, _ = judge_label(case)
    monkeypatch.setattr("btu.defenses.populations.TIMES_IF_WEAK", 1e300)

    after, _ = judge_label(case)

    assert 2 * before.effect.victim <= before.effect.num_texts
    assert before.convicted
    assert after.p == 1
    assert not after.convicted


@pytest.mark.parametrize("seed", range(3))
def test_the_rows_of_a_word_are_like_others_without_it(seed):
    case = make_case(trigger=60, seed=seed)

    finding, rows = judge_label(case)

    assert np.isin(np.arange(60), rows).mean() >= 0.9
    assert not remains_without(case, finding, [("zq",)])
    assert remains_without(case, finding, [("moa",)])


@pytest.mark.parametrize("seed", range(3))
def test_rows_whose_labels_are_just_wrong_are_not_convicted(seed):
    finding, rows = judge_label(make_case(wrong=60, seed=seed))

    assert np.mean(rows < 60) >= 0.7
    assert not finding.convicted
    assert finding.reason.startswith("trusted rows of other labels resemble them")


@pytest.mark.parametrize(("more", "kept"), [(True, ROWS), (False, "words")])
def test_a_strong_phrase_in_its_rows_is_a_mark_whose_rows_are_its_own(monkeypatch, more, kept):
    case, rows = make_case(trigger=5), np.array([0, 1, 2, 3, 90])
    population = find(kind=ROWS, phrase=(), label=1), np.arange(40)
    monkeypatch.setattr("btu.defenses.verdict.judge_populations", lambda *args: [population])
    monkeypatch.setattr("btu.defenses.verdict.remains_without", lambda *args: more)
    phrase = find(), rows

    found = _judge_all_rows(case, [phrase], [phrase])

    convicted = [(f, r) for some in found for f, r in some if f.convicted]
    assert [finding.kind for finding, _ in convicted] == [kept]
    assert convicted[0][1].tolist() == ([*range(40), 90] if more else rows.tolist())
    assert convicted[0][0].rows == (41 if more else 30)


def test_a_phrase_that_is_no_more_frequent_in_these_rows_is_planted_beside_them(monkeypatch):
    population = find(kind=ROWS, phrase=(), label=1), np.arange(40)
    monkeypatch.setattr("btu.defenses.verdict.judge_populations", lambda *args: [population])
    monkeypatch.setattr("btu.defenses.verdict.remains_without", lambda *args: True)
    phrase = find(), np.arange(0, 300, 10)  # a tenth of all rows, and of these

    found = _judge_all_rows(make_case(), [phrase], [phrase])

    assert sorted(f.kind for some in found for f, _ in some if f.convicted) == [ROWS, "words"]


@pytest.mark.parametrize(
    ("few_trusted", "elsewhere", "sure"), [(False, 60, True), (True, 60, False), (True, 10, True)]
)
def test_where_other_labels_have_half_as_large_a_share_it_is_another_source(
    few_trusted, elsewhere, sure
):
    case = make_case()
    case = replace(case, search=replace(case.search, few_trusted=few_trusted))
    flagged = [np.arange(300, 300 + elsewhere), np.arange(100)]

    p, reason = _weigh_share(case, 1, flagged, np.array([300, 300]))

    assert (p < 0.001) == sure
    assert reason.endswith("another source")


@pytest.mark.parametrize(
    ("turned", "few_trusted", "share"),
    [(20, True, SHARE_OF_WEAK), (21, True, 1), (20, False, 1)],
)
def test_what_turns_no_more_than_half_must_be_surer(turned, few_trusted, share):
    search = SimpleNamespace(q=Q, needs_effect=True, few_trusted=few_trusted)

    found = find_share(SimpleNamespace(search=search), Effect(40, turned, 0, turned, 0))

    assert found == share
