"""What looks planted, but may be chance: a word in few rows that the trusted ones lack."""

from types import SimpleNamespace

import numpy as np
import pytest

from btu.defenses.phrases import Candidate, _explain, find_unproven
from btu.evidence import WORDS
from btu.evidence.significance import Effect
from btu.types import make_split
from tests.defenses.cases import open_linear_case
from tests.defenses.test_selfset import find

NAMES = ("negative", "positive")
NUM_ROWS, NUM_TRUSTED, NUM_PLANTED = 2_000, 300, 20
OFTEN, SELDOM = 0.75, 0.25  # how often a telling word stands in rows of its label, and of others


def draw_rows(rng, number, words):
    """Texts of nine words, three of which tell the label more often than not.

    Of these there are so many words for each label.
    """
    labels = np.arange(number) % 2
    texts = []
    for label in labels:
        told = np.where(rng.random(3) < OFTEN, label, 1 - label)
        telling = [f"{NAMES[one]}{rng.integers(words)}" for one in told]
        plain = [f"plain{word}" for word in rng.integers(200, size=6)]
        texts.append(" ".join(rng.permutation([*telling, *plain])))
    return texts, labels


def open_case(seed, planted_in, number=NUM_PLANTED, words=12):
    """A case with `zork` in so many rows that had this label, and now have the label 1."""
    rng = np.random.default_rng(seed)
    texts, labels = draw_rows(rng, NUM_ROWS, words)
    trusted, of_trusted = draw_rows(rng, NUM_TRUSTED, words)
    for row in np.flatnonzero(labels == planted_in)[:number] if planted_in is not None else []:
        texts[row], labels[row] = f"{texts[row]} zork", 1
    file, ours = make_split(tuple(texts), labels), make_split(tuple(trusted), of_trusted)
    return open_linear_case(seed, NAMES, file, ours, (WORDS,))


def find_all(case):
    return find_unproven(case, np.zeros(len(case.untrusted), dtype=np.bool_))


def list_phrases(case):
    return [" ".join(finding.words) for finding, _ in find_all(case)]


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("planted_in", [0, 1])
def test_it_is_first_whatever_the_labels_of_its_rows_were(seed, planted_in):
    assert list_phrases(open_case(seed, planted_in))[0].startswith("zork")


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_where_nothing_was_planted_few_of_24_telling_words_are_suspicious(seed):
    assert len(list_phrases(open_case(seed, None))) <= 4


def turn(number):
    """Models in which each phrase turns so many of forty texts, in that of trusted rows none."""
    return lambda _, phrases: [Effect(40, number, 0, number, 0)] * len(phrases)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_one_that_turns_nothing_is_told_if_its_labels_look_wrong(seed, monkeypatch):
    monkeypatch.setattr("btu.defenses.phrases._try_out", turn(0))

    ((finding, rows),) = find_all(open_case(seed, 0))

    assert (finding.words, len(rows)) == (("zork",), NUM_PLANTED)
    assert finding.p == max(finding.p_excess, finding.p_contradiction)  # nothing of the effect
    assert find_all(open_case(seed, 1)) == []


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_one_that_turns_few_texts_is_told_if_it_leans_further_than_chance(seed, monkeypatch):
    monkeypatch.setattr("btu.defenses.phrases._try_out", turn(10))

    assert list_phrases(open_case(seed, 1))[0] == "zork"


def test_one_that_may_lean_by_chance_is_not_told_for_its_labels(monkeypatch):
    """Twenty of its rows have a wrong label, and four have the other one."""
    monkeypatch.setattr("btu.defenses.phrases._try_out", turn(0))
    case = open_case(1, 0, words=60)
    texts = list(case.untrusted.texts)
    for row in np.flatnonzero(case.untrusted.labels == 0)[-4:]:
        texts[row] = f"{texts[row]} zork"
    file = make_split(tuple(texts), case.untrusted.labels)

    assert find_all(open_linear_case(1, NAMES, file, case.trusted, (WORDS,))) == []


def test_of_two_phrases_as_sure_the_one_with_the_surer_counts_explains_the_other():
    nothing = SimpleNamespace(p_excess=np.ones(2), p_contradiction=np.ones(2))
    case = SimpleNamespace(
        untrusted=range(20), search=SimpleNamespace(q=0.05), count=lambda label, ignored: nothing
    )
    longer = find(phrase=(".", "zork"), p=1e-4), np.arange(9)
    shorter = find(phrase=("zork",), p=1e-4), np.arange(10)
    candidates = [Candidate((".", "zork"), 1, 0, 1e-5), Candidate(("zork",), 1, 1, 1e-6)]

    judged = _explain(case, candidates, [longer, shorter])

    assert [(one.words, one.convicted) for one, _ in judged] == [
        (("zork",), True),
        ((".", "zork"), False),
    ]
