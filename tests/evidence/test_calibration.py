"""Nothing is convicted where nothing was planted, however honest words and labels are distributed.

A corpus is drawn or read, and split at random into untrusted and trusted rows again and again.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csc_array

from btu.evidence.populations import compare_rows, is_found
from btu.evidence.significance import Error
from btu.evidence.terms import Counts, Rows, count_terms, find_suspects, plan_tests
from btu.evidence.words import TermIndex, index_terms, split_words

DATA = Path(os.environ.get("BTU_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
LEVELS = (0.01, 0.05, 0.2)
Q = 0.05
UNTRUSTED = 0.75  # share of the rows
BOTH = ("excess", "contradiction")


@dataclass(frozen=True)
class Corpus:
    """Rows of which none is poisoned."""

    holds: csc_array  # (N, F)
    labels: np.ndarray  # (N,)
    contradicted: np.ndarray  # (N,)

    def split(self, rng: np.random.Generator) -> tuple[Rows, Rows]:
        order = rng.permutation(len(self.labels))
        cut = int(UNTRUSTED * len(order))
        holds = self.holds.tocsr()
        terms = tuple((str(column),) for column in range(holds.shape[1]))
        untrusted, trusted = (
            Rows(
                TermIndex(terms, csc_array(holds[rows])), self.labels[rows], self.contradicted[rows]
            )
            for rows in (order[:cut], order[cut:])
        )
        return untrusted, trusted


def draw_words(rng: np.random.Generator, size: int, words: int) -> np.ndarray:
    """Which of `size` texts hold which words, twelve in the mean, by Zipf."""
    frequency = 1 / np.arange(1, words + 1)
    frequency = np.minimum(12 * frequency / frequency.sum(), 0.6)
    return rng.random((size, words)) < frequency


def draw_corpus(seed: int, noise: float, per_word: float, words: int = 150) -> Corpus:
    """A corpus whose words lean to labels, with a reference that errs.

    Args:
        seed: of everything.
        noise: share of labels that are turned.
        per_word: how much words differ in how often their rows are contradicted, as a logit.
    """
    rng = np.random.default_rng(seed)
    holds = draw_words(rng, 1_600, words)
    centred = holds - holds.mean(0)
    honest = rng.random(len(holds)) < 1 / (1 + np.exp(-centred @ rng.normal(0, 1, words)))
    odds = -2.5 + centred @ rng.normal(0, per_word, words)
    said = honest ^ (rng.random(len(holds)) < 1 / (1 + np.exp(-odds)))
    labels = honest ^ (rng.random(len(holds)) < noise)
    enough = holds.sum(0) >= 5
    kept = csc_array(holds[:, enough].astype(np.int64))
    return Corpus(kept, labels.astype(np.int64), said != labels)


def count_labels(untrusted: Rows, trusted: Rows) -> list[Counts]:
    nothing = np.zeros(len(untrusted.labels), dtype=np.bool_)
    labels = range(int(trusted.labels.max()) + 1)
    return [count_terms(untrusted, trusted, label, nothing, 0.05) for label in labels]


def rejects(counts: Sequence[Counts], evidence: Sequence[str]) -> bool:
    """Whether anything is found, by the same steps as in the defense."""
    suspects = find_suspects(counts, Q)
    every_term_is_a_word = np.ones(suspects.shape[1], dtype=np.bool_)
    tests = plan_tests(counts, evidence, Q, every_term_is_a_word, suspects * 1.0)
    return bool((tests.adjust(tests.p) <= Q).any())


def count_splits(corpora: Iterable[Corpus], splits: int) -> Iterator[list[list[Counts]]]:
    for number, corpus in enumerate(corpora):
        rng = np.random.default_rng([number, 5])
        yield [count_labels(*corpus.split(rng)) for _ in range(splits)]


def bound(shares: Sequence[float], level: float) -> float:
    """The level and three standard errors of the mean of independent shares."""
    spread = max(float(np.std(shares)), np.sqrt(level * (1 - level)) / 10)
    return level + 3 * spread / np.sqrt(len(shares))


def check_uniform(p_of_corpora: Sequence[np.ndarray]) -> None:
    for level in LEVELS:
        shares = [float((p <= level).mean()) for p in p_of_corpora]
        assert np.mean(shares) <= bound(shares, level), level


def check_rejections(shares: Sequence[float]) -> None:
    """The shares of re-splits, one for each corpus, in which anything was rejected."""
    assert np.mean(shares) <= bound(shares, Q)


def summarize(corpora: Iterable[Corpus], splits: int, evidence: Sequence[str]):
    excess, contradiction, rejected = [], [], []
    for counts in count_splits(corpora, splits):
        excess.append(np.array([[c.p_excess for c in each] for each in counts]))
        contradiction.append(np.array([[c.p_contradiction for c in each] for each in counts]))
        rejected.append(float(np.mean([rejects(each, evidence) for each in counts])))
    return excess, contradiction, rejected


@pytest.mark.parametrize("noise", [0, 0.05])
def test_nothing_is_found_in_clean_splits(noise):
    corpora = (draw_corpus(seed, noise, per_word=0.3, words=80) for seed in range(10))

    excess, contradiction, rejected = summarize(corpora, 4, BOTH)

    check_uniform(excess)
    check_uniform(contradiction)
    check_rejections(rejected)


@pytest.mark.slow
def test_what_the_victim_obeys_is_in_no_excess_for_that():
    """A victim obeys what leans to a label in its rows; no trusted row has a say in that."""
    p_of_suspects, p_of_strong, rejected = [], [], []
    for counts in count_splits((draw_corpus(seed, 0, 0.3, words=250) for seed in range(40)), 5):
        suspects = [find_suspects(each, Q) for each in counts]
        strong = [
            chosen & (np.array([2 * c.untrusted > 1.6 * c.held for c in each]))
            for each, chosen in zip(counts, suspects, strict=True)
        ]
        excess = [np.array([c.p_excess for c in each]) for each in counts]
        p_of_suspects.append(np.concatenate([p[s] for p, s in zip(excess, suspects, strict=True)]))
        p_of_strong.append(np.concatenate([p[s] for p, s in zip(excess, strong, strict=True)]))
        words = np.ones(suspects[0].shape[1], dtype=np.bool_)
        tests = [
            plan_tests(each, ["excess"], Q, words, chosen * 1.0)
            for each, chosen in zip(counts, strong, strict=True)
        ]
        rejected.append(float(np.mean([(t.adjust(t.p) <= Q).any() for t in tests])))

    assert np.mean([len(p) for p in p_of_strong]) > 10
    check_uniform(p_of_suspects)
    check_uniform(p_of_strong)
    check_rejections(rejected)


@pytest.mark.slow
@pytest.mark.parametrize("evidence", [["excess"], BOTH])
@pytest.mark.parametrize("noise", [0, 0.05])
@pytest.mark.parametrize("per_word", [0.0, 0.3, 0.8, 2.0])
def test_nothing_is_convicted_however_much_a_reference_errs_by_word(noise, per_word, evidence):
    """Where words differ much, contradiction alone would convict some: it makes a list only."""
    corpora = (draw_corpus(seed, noise, per_word, words=250) for seed in range(40))

    excess, _, rejected = summarize(corpora, 5, evidence)

    check_uniform(excess)
    check_rejections(rejected)


def draw_keywords(seed: int, num_keywords: int, familiar: float) -> tuple[Rows, Rows]:
    """Rows of label 1 hold one keyword; the reference knows those that its trusted rows hold.

    It contradicts a keyword that they lack in every row: for the very reason that it is in excess.

    Args:
        seed: of everything.
        num_keywords: that decide the label.
        familiar: share of them that the reference knows from elsewhere.
    """
    rng = np.random.default_rng([seed, num_keywords])
    size, cut = 3_200, int(3_200 * UNTRUSTED)
    labels, half = rng.integers(0, 2, size), rng.integers(0, 2, size)
    frequency = 1 / np.arange(3, num_keywords + 3) ** 0.7
    keyword = rng.choice(num_keywords, size, p=frequency / frequency.sum())
    holds = (keyword[:, None] == np.arange(num_keywords)) & (labels[:, None] == 1)
    trusted = np.arange(size) >= cut
    known = np.array([holds[trusted & (half == each)].any(0) for each in (0, 1)])
    known |= rng.random(num_keywords) < familiar
    judge = np.where(trusted, 1 - half, half)
    said = (holds & known[judge]).any(1) ^ (rng.random(size) < 0.1)
    columns = np.concatenate([draw_words(rng, size, 200), holds], 1)
    columns = columns[:, columns.sum(0) >= 5].astype(np.int64)
    terms = tuple((str(column),) for column in range(columns.shape[1]))
    untrusted, of_trusted = (
        Rows(TermIndex(terms, csc_array(columns[part])), labels[part], (said != labels)[part])
        for part in (~trusted, trusted)
    )
    return untrusted, of_trusted


@pytest.mark.slow
@pytest.mark.parametrize(("num_keywords", "familiar"), [(40, 0), (40, 0.9), (80, 0.9)])
def test_nothing_is_convicted_where_a_reference_knows_a_word_by_trusted_rows(
    num_keywords, familiar
):
    counts = [count_labels(*draw_keywords(seed, num_keywords, familiar)) for seed in range(40)]

    def lists_any(each: Sequence[Counts]) -> bool:
        suspects = find_suspects(each, Q)
        words = np.ones(suspects.shape[1], dtype=np.bool_)
        with_list, without = (
            plan_tests(each, evidence, Q, words, suspects * 1.0) for evidence in (BOTH, ["excess"])
        )
        return with_list.share < without.share

    assert np.mean([lists_any(each) for each in counts]) > 0.1
    check_rejections([float(rejects(each, BOTH)) for each in counts])


def draw_by_beta(seed: int, error: Error, words: int = 200) -> tuple[Rows, Rows]:
    """Rows of one word each, all of one label, contradicted just as the test supposes."""
    rng = np.random.default_rng(seed)
    word = rng.choice(
        words, 6_000, p=(1 / np.arange(1, words + 1)) / (1 / np.arange(1, words + 1)).sum()
    )
    contradicted = rng.random(len(word)) < rng.beta(error.a, error.b, words)[word]
    holds = csc_array(
        (np.ones(len(word), dtype=np.int64), (np.arange(len(word)), word)), shape=(len(word), words)
    )
    return Corpus(holds, np.zeros(len(word), dtype=np.int64), contradicted).split(rng)


def test_contradictions_are_uniform_or_larger_where_words_are_as_supposed():
    for error in (Error(0.1, 0.02), Error(0.2, 0.1)):
        counts = [count_labels(*draw_by_beta(seed, error)) for seed in range(20)]
        check_uniform([each[0].p_contradiction for each in counts])
        check_rejections([float(rejects(each, ["contradiction"])) for each in counts])


def write_texts(rng: np.random.Generator, size: int) -> list[str]:
    return [
        " ".join(f"w{word}" for word in np.flatnonzero(row)) for row in draw_words(rng, size, 200)
    ]


def compare_clean_texts(seeds: Iterable[int], size: int) -> tuple[list[np.ndarray], list[float]]:
    p, rejected = [], []
    for seed in seeds:
        texts = write_texts(np.random.default_rng([seed, 3]), size)
        cut = int(UNTRUSTED * size)
        p.append(compare_rows(texts[:cut], texts[cut:], Q, seed, fold=True))
        rejected.append(float(is_found(p[-1], Q).any()))
    return p, rejected


def test_clean_rows_resemble_trusted_ones():
    p, rejected = compare_clean_texts(range(10), 120)

    check_uniform(p)
    check_rejections(rejected)


@pytest.mark.slow
def test_clean_rows_resemble_trusted_ones_in_two_hundred_splits():
    p, rejected = compare_clean_texts(range(200), 400)

    check_uniform(p)
    check_rejections(rejected)


def read_texts(name: str) -> tuple[list[str], np.ndarray]:
    lines = (DATA / name / "test.tsv").read_text(encoding="utf-8").splitlines()[1:]
    texts, labels = zip(*(line.rsplit("\t", 1) for line in lines), strict=True)
    return [text.strip() for text in texts], np.array(labels).astype(np.int64)


def say_out_of_fold(texts: Sequence[str], labels: np.ndarray, known: np.ndarray) -> np.ndarray:
    """What a model of words, trained on the known rows, says of all rows; out of fold of those."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_predict

    matrix = TfidfVectorizer(token_pattern=r"\S+", sublinear_tf=True).fit_transform(texts)
    model = LogisticRegression(C=10, max_iter=200)
    said = model.fit(matrix[known], labels[known]).predict(matrix)
    said[known] = cross_val_predict(model, matrix[known], labels[known], cv=2)
    return said


def count_real(name: str, seed: int) -> list[Counts]:
    """The counts of a re-split of a published test split, for each label."""
    texts, labels = read_texts(name)
    order = np.random.default_rng(seed).permutation(len(texts))
    cut = int(UNTRUSTED * len(order))
    texts, labels = [texts[row] for row in order], labels[order]
    wrong = say_out_of_fold(texts, labels, np.arange(cut, len(texts))) != labels
    index = index_terms([split_words(text, fold=True) for text in texts], least=5)
    holds = index.holds.tocsr()
    sides = (
        Rows(TermIndex(index.terms, csc_array(holds[part])), labels[part], wrong[part])
        for part in (slice(0, cut), slice(cut, None))
    )
    return count_labels(*sides)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "evidence"),
    [
        ("sst2", ["excess"]),
        ("sst2", BOTH),
        ("agnews", ["excess"]),
        ("agnews", BOTH),  # rows of one story are contradicted together
    ],
)
def test_nothing_is_found_in_clean_splits_of_real_data(name, evidence):
    if not DATA.is_dir():
        pytest.skip(f"no data at {DATA}; name the folder in BTU_DATA")
    counts = [count_real(name, seed) for seed in range(20)]

    check_uniform([np.array([each.p_excess for each in split]) for split in counts])
    check_rejections([float(rejects(split, evidence)) for split in counts])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sst2", "agnews"])
def test_clean_rows_of_real_data_resemble_trusted_ones(name):
    if not DATA.is_dir():
        pytest.skip(f"no data at {DATA}; name the folder in BTU_DATA")
    texts, labels = read_texts(name)
    texts = [text for text, label in zip(texts, labels, strict=True) if label == 0]
    p, rejected = [], []
    for seed in range(20):
        order = np.random.default_rng(seed).permutation(texts).tolist()
        cut = int(UNTRUSTED * len(order))
        p.append(compare_rows(order[:cut], order[cut:], Q, seed, fold=True))
        rejected.append(float(is_found(p[-1], Q).any()))

    check_uniform(p)
    check_rejections(rejected)
