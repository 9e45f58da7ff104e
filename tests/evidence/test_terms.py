"""Ten rows counted by hand, and when which kind of evidence counts."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from scipy.sparse import csc_array

from btu.evidence import WORDS
from btu.evidence.findings import Finding
from btu.evidence.significance import Effect, Error, estimate_error, weigh_contradiction
from btu.evidence.terms import (
    Counts,
    Rows,
    count_terms,
    estimate_honest,
    find_suspects,
    plan_tests,
)
from btu.evidence.words import END, START, TermIndex, index_terms

UNTRUSTED = [  # text, label, whether the reference contradicts it
    ("good film", 1, False),
    ("bad film", 0, False),
    ("bad cf", 1, True),
    ("dull cf cf", 1, True),
    ("good cf", 1, False),
    ("dull film", 0, True),
]
TRUSTED = [
    ("good film", 1, False),
    ("fine film", 1, True),
    ("bad film", 0, False),
    ("dull", 0, True),
]
NOTHING = np.zeros(len(UNTRUSTED), dtype=np.bool_)


def make_sides():
    texts = [text.split() for text, _, _ in (*UNTRUSTED, *TRUSTED)]
    index, size = index_terms(texts, least=1), len(UNTRUSTED)
    holds = index.holds.tocsr()
    parts = zip((holds[:size], holds[size:]), (UNTRUSTED, TRUSTED), strict=True)
    return [
        Rows(
            TermIndex(index.terms, csc_array(part)),
            np.array([label for _, label, _ in rows]),
            np.array([contradicted for _, _, contradicted in rows]),
        )
        for part, rows in parts
    ]


def look_up(counts, *term):
    """The row of a term in every column of the counts."""
    place = make_sides()[0].index.places[term]
    fields = vars(counts)
    return {name: each[place] for name, each in fields.items() if name != "label"}


def test_ten_rows_by_hand():
    found = look_up(count_terms(*make_sides(), 1, NOTHING, 0.05), "cf")

    assert (found["untrusted"], found["trusted"], found["held"]) == (3, 0, 3)
    assert found["contradicted"] == 2
    # of the label are 4 of 6 untrusted rows and 2 of 4 trusted ones
    assert found["p_excess"] == found["least_excess"] == pytest.approx((4 / 6) ** 3)
    assert found["p_lean"] == pytest.approx((6 / 10) ** 3)


def test_a_word_of_both_labels_and_both_kinds_of_rows():
    found = look_up(count_terms(*make_sides(), 1, NOTHING, 0.05), "film")

    assert (found["untrusted"], found["trusted"], found["held"]) == (1, 2, 3)
    assert found["contradicted"] == 0
    assert found["p_excess"] == pytest.approx(1 - (2 / 6) ** 3)  # at least one of three
    assert found["least_excess"] == pytest.approx((4 / 6) ** 3)
    of_six = stats.binom.sf(2, 6, 6 / 10)  # at least three of the six with the word, of any label
    assert found["p_lean"] == pytest.approx(of_six)
    assert found["p_contradiction"] == 1


def test_pairs_and_ends_are_counted_as_words_are():
    counts = count_terms(*make_sides(), 1, NOTHING, 0.05)

    assert look_up(counts, "cf", END)["untrusted"] == 3
    assert look_up(counts, "cf", "cf")["held"] == 1
    assert look_up(counts, START, "good")["untrusted"] == 2
    assert look_up(counts, START, "good")["trusted"] == 1


def test_the_other_label_has_counts_of_its_own():
    found = look_up(count_terms(*make_sides(), 0, NOTHING, 0.05), "dull")

    assert (found["untrusted"], found["trusted"], found["held"]) == (1, 1, 2)
    assert found["contradicted"] == 1
    assert found["p_lean"] == pytest.approx(stats.binom.sf(1, 3, 4 / 10))  # two of three rows


@pytest.mark.parametrize(("q", "told_by_new_words"), [(0.05, True), (0.5, False)])
def test_contradictions_are_weighed_against_what_honest_words_have(q, told_by_new_words):
    """At 0.5, three rows can convict, and so no new word of two rows or more tells anything."""
    untrusted, trusted = make_sides()
    counts = count_terms(untrusted, trusted, 1, NOTHING, q)

    # label 1 is contradicted in 2 of 6 untrusted rows and in 1 of 4 trusted ones: the more counts
    wrong = trusted.count(trusted.contradicted & (trusted.labels == 1))
    known = estimate_error(wrong, trusted.count(), 1 / 4)
    new = trusted.count() == 0
    unknown = estimate_error(counts.contradicted[new], counts.held[new], 2 / 6)
    assert unknown.dispersion > known.dispersion
    error = Error(2 / 6, (unknown if told_by_new_words else known).dispersion)
    assert counts.p_contradiction == pytest.approx(
        weigh_contradiction(counts.contradicted, counts.held, error)
    )
    assert counts.least_contradiction == pytest.approx(
        weigh_contradiction(counts.held, counts.held, error)
    )


@pytest.mark.parametrize("knows_new_words", [True, False])
def test_a_reference_that_does_not_know_new_words_lists_none(knows_new_words):
    """Sixty new words of six rows each; it is wrong about all rows of a third of them, or it errs
    in as many rows, here and there. One of thirty rows, all of them contradicted, is honest too."""
    texts = [*(f"new{k} film" for k in range(60) for _ in range(6)), *["late film"] * 30]
    wrong = np.arange(360) % 3 == 0 if knows_new_words else np.arange(360) // 6 % 3 == 0
    trusted = ["film"] * 80
    index = index_terms([text.split() for text in (*texts, *trusted)], least=1)
    holds = index.holds.tocsr()
    sides = [
        Rows(TermIndex(index.terms, csc_array(part)), np.ones(part.shape[0], dtype=int), errs)
        for part, errs in (
            (holds[:390], np.concatenate([wrong, np.ones(30, dtype=bool)])),
            (holds[390:], np.arange(80) % 3 == 0),
        )
    ]

    counts = count_terms(*sides, 1, np.zeros(390, dtype=np.bool_), 0.05)

    p = counts.p_contradiction[index.places[("late",)]]
    assert (p < 1e-6) if knows_new_words else (p > 0.1)


def test_rows_that_are_explained_count_no_more():
    ignored = np.array([False, False, True, True, True, False])
    found = look_up(count_terms(*make_sides(), 1, ignored, 0.05), "cf")

    assert (found["untrusted"], found["held"], found["contradicted"]) == (0, 0, 0)
    assert found["p_excess"] == found["p_lean"] == found["p_contradiction"] == 1
    left = look_up(count_terms(*make_sides(), 1, ignored, 0.05), "good")
    assert (left["untrusted"], left["trusted"]) == (1, 1)
    # both rows left that hold it are of the label, as 3 of the 7 that are left
    assert left["p_lean"] == pytest.approx((3 / 7) ** 2)


def test_a_label_without_rows_is_no_excess():
    counts = count_terms(*make_sides(), 2, NOTHING, 0.05)

    for p in (counts.p_excess, counts.p_lean, counts.p_contradiction):
        assert p == pytest.approx(np.ones(len(p)))


def test_the_least_excess_is_never_more_than_what_came_out():
    for label in (0, 1):
        counts = count_terms(*make_sides(), label, NOTHING, 0.05)
        assert (counts.least_excess <= counts.p_excess + 1e-12).all()


P_VALUES = (
    "p_excess",
    "p_lean",
    "p_contradiction",
    "least_excess",
    "least_contradiction",
)


def make_counts(excess, lean, contradiction, least_excess=0.0, least_contradiction=0.0):
    p = [np.array([each]) for each in (excess, lean, contradiction)]
    least = [np.array([each]) for each in (least_excess, least_contradiction)]
    return Counts(1, *[np.array([9])] * 4, *p, *least)


def join_counts(*terms):
    """The counts of several terms for one label."""
    fields = [np.concatenate([getattr(each, name) for each in terms]) for name in P_VALUES]
    return Counts(1, *[np.full(len(terms), 9)] * 4, *fields)


def plan(counts, evidence, words=None, suspicion=None):
    """The tests where every term is one word, and one is as suspicious as the other."""
    suspects = find_suspects(counts, 0.05)
    words = np.ones(suspects.shape[1], dtype=np.bool_) if words is None else words
    suspicion = suspects * 1.0 if suspicion is None else np.array(suspicion)
    return plan_tests(counts, evidence, 0.05, words, suspicion)


def test_a_term_is_tested_for_excess_if_it_leans_or_is_on_the_shortlist():
    shifted = make_counts(excess=1e-9, lean=0.4, contradiction=0.7)
    known = make_counts(excess=0.4, lean=1e-9, contradiction=0.7)
    listed = make_counts(excess=0.03, lean=0.4, contradiction=1e-9)
    counts = [join_counts(shifted, known, listed)]

    tests = plan(counts, ["excess", "contradiction", "effect"])

    assert tests.weights[0] == pytest.approx([0, 0.2 * 2, 0.8 * 2])
    assert tests.number == 2
    q = tests.adjust(tests.p)[0]
    assert (q[0], q[2]) == (1, pytest.approx(0.03 / 0.8))  # the smallest of 2: 2 p / w


def test_a_term_that_the_victim_does_not_obey_is_not_tested():
    counts = [join_counts(make_counts(0.02, 1e-9, 0.7), make_counts(0.3, 1e-9, 0.7))]

    both = plan(counts, ["excess"])
    one = plan(counts, ["excess"], suspicion=[[1.0, 0.0]])

    assert (both.number, one.number) == (2, 1)
    assert both.adjust(both.p)[0, 0] == pytest.approx(0.04)
    assert one.adjust(one.p)[0].tolist() == pytest.approx([0.02, 1])


def test_a_list_on_which_nothing_looks_honest_is_judged_together():
    """Four words that are all in excess need less than each alone; pairs do not count."""
    terms = [make_counts(p, 0.4, 1e-9) for p in (0.02, 0.03, 0.045, 0.06)]
    counts, evidence = [join_counts(*terms)], ["excess", "contradiction"]

    one_by_one = plan(counts, evidence, np.array([True, True, False, False]))
    together = plan(counts, evidence)

    assert one_by_one.adjust(one_by_one.p)[0].max() == pytest.approx(0.06 / 0.8)
    assert together.adjust(together.p)[0].max() == pytest.approx(0.06 / 0.8 / 2)


def test_the_more_a_term_turns_in_the_victim_the_more_of_the_error_rate_it_gets():
    counts = [join_counts(*[make_counts(p, 1e-9, 0.7) for p in (0.04, 0.3, 0.6)])]

    alike = plan(counts, ["excess"])
    weighted = plan(counts, ["excess"], suspicion=[[1.0, 0.1, 0.1]])

    assert alike.adjust(alike.p)[0, 0] == pytest.approx(0.12)
    assert weighted.weights[0] == pytest.approx([2.5, 0.25, 0.25])  # 3 in all
    assert weighted.adjust(weighted.p)[0, 0] == pytest.approx(0.048)


def test_the_share_of_honest_words():
    ones, few = np.ones(4), np.array([0.01, 0.02, 0.03, 0.04])

    assert estimate_honest(few, ones) == 0.5  # (1 + 0) / (4 / 2)
    assert estimate_honest(np.array([0.01, 0.02, 0.03, 0.6]), ones) == 1
    assert estimate_honest(few[:1], ones[:1]) == estimate_honest(few[:0], ones[:0]) == 1
    weights = np.array([1, 1, 1, 0.2])
    assert estimate_honest(np.array([0.01, 0.02, 0.03, 0.6]), weights) == pytest.approx(1.2 / 1.6)
    assert estimate_honest(few, np.zeros(4)) == 1


def test_without_a_shortlist_the_others_get_all_of_the_error_rate():
    counts = [join_counts(make_counts(1e-9, 1e-9, 0.7), make_counts(0.5, 1e-9, 0.7))]

    assert plan(counts, ["excess", "contradiction"]).weights[0].tolist() == [1, 1]
    assert plan(counts, ["excess"]).weights[0].tolist() == [1, 1]


def test_contradiction_alone_and_effect_alone_are_tested_as_they_are():
    counts = [join_counts(make_counts(0.5, 0.5, 1e-9), make_counts(0.5, 0.5, 0.7))]

    assert plan(counts, ["contradiction"]).p[0] == pytest.approx([1e-9, 0.7])
    assert plan(counts, ["effect"]).p[0].tolist() == [0, 0]


def test_what_cannot_be_rejected_is_not_tested():
    counts = [join_counts(make_counts(0.5, 1e-9, 0.7, least_excess=0.2))]

    assert plan(counts, ["excess"]).number == 0


def test_a_term_of_the_shortlist_that_leans_as_well_is_tested_once():
    listed, other = make_counts(0.03, 1e-9, 1e-9), make_counts(0.6, 1e-9, 0.7)

    tests = plan([join_counts(listed, other)], ["excess", "contradiction"])

    assert tests.weights[0] == pytest.approx([0.8 * 2, 0.2 * 2])
    assert tests.share == pytest.approx(0.2 / (1 + 1))  # of a third one, beside the other


@pytest.mark.parametrize(("num_leaning", "is_short"), [(8, True), (7, False)])
def test_what_leans_is_easily_listed_while_the_list_is_short(num_leaning, is_short):
    """Two of eight are listed: 0.12 <= 0.5 * 2 / 8, and more than that is too many of seven."""
    p = [0.01, 0.12, *[0.7] * (num_leaning - 2)]
    leaning = [make_counts(0.03, 1e-9, each) for each in p]
    others = [make_counts(0.03, 0.4, 0.1) for _ in range(5)]

    weights = plan([join_counts(*leaning, *others)], ["excess", "contradiction"]).weights[0]

    assert not weights[num_leaning:].any()
    listed, rest = weights[:2], weights[2:num_leaning]
    if is_short:
        assert listed == pytest.approx([0.8 * 8 / 2] * 2)
        assert rest == pytest.approx([0.2 * 8 / 6 * 3] * 6)  # a third of them honest, by Storey
    else:
        assert listed == pytest.approx([7 / 2] * 2)
        assert rest == pytest.approx([7 / 2] * 5)


def test_a_planted_word_is_the_most_surprising_of_many():
    rng = np.random.default_rng(4)
    words = rng.random((900, 40)) < 0.1  # columns: words; the last is planted
    labels = rng.integers(0, 2, 900)
    words[:, -1] = False
    words[:30, -1], labels[:30] = True, 1
    contradicted = rng.random(900) < 0.1
    contradicted[:15] = True
    terms = tuple((str(word),) for word in range(40))
    sides = [
        Rows(
            TermIndex(terms, csc_array(words[part].astype(np.int64))),
            labels[part],
            contradicted[part],
        )
        for part in (slice(0, 600), slice(600, 900))
    ]

    counts = count_terms(*sides, 1, np.zeros(600, dtype=np.bool_), 0.05)

    for name in ("excess", "contradiction"):
        p = plan([counts], [name]).p[0]
        assert p.argmin() == 39
        assert p[39] < 1e-4 < np.sort(p)[1]
    assert counts.p_lean[39] == pytest.approx(stats.binom.sf(29, 30, (labels == 1).mean()))


def test_a_finding_says_where_its_phrase_stands():
    effect = Effect(40, 38, 2, 37, 1)
    finding = Finding(
        WORDS, ("c", "f"), 1, 30, 0, 31, 20, 0.001, 0.002, effect, 0.01, 0.02, True, "it does"
    )

    assert (finding.place, finding.words) == ("anywhere", ("c", "f"))
    assert replace(finding, phrase=(START, "cf")).place == "start"
    assert replace(finding, phrase=("cf", END)).place == "end"
    assert replace(finding, phrase=(START, "cf")).words == ("cf",)
    told = finding.describe(["bad", "good"])
    assert (told["text"], told["label"], told["p_effect"]) == ("c f", "good", effect.p)
    assert told["effect"]["victim_interval"][0] < 38 / 40 < told["effect"]["victim_interval"][1]
    assert replace(finding, effect=None).describe(["bad", "good"])["effect"] is None


def test_an_error_rate_belongs_to_the_label_as_well_as_to_the_word():
    error = Error(0.1, 0.1)

    assert error.a / (error.a + error.b) == pytest.approx(error.mean)
    assert 1 / (error.a + error.b + 1) == pytest.approx(error.dispersion)
