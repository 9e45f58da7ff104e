"""How surprising counts would be if nothing were planted, and how many surprises to believe.

Every p-value is uniform or larger where nothing was planted; docs/selfset.md has the formulas.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from btu.types import BoolArray, IntArray

Floats = NDArray[np.float64]
LEAST_DISPERSION = 0.01  # of how often words are contradicted; 0 would call them all alike
CONFIDENCE = 0.95  # of intervals
ALSO = 0.3  # p-value from which on a term may be in excess in other labels, too


def weigh_excess(untrusted: IntArray, trusted: IntArray, share: float) -> Floats:
    """Whether terms are more frequent among the untrusted rows of a label than the trusted ones.

    If both are drawn from one population, the untrusted part of x + u rows is
    Binomial(x + u, share).

    Args:
        untrusted: x, rows of the label that hold each term, (F,).
        trusted: u, likewise, (F,).
        share: of the untrusted rows among all rows of the label.

    Returns:
        Exact one-sided p-values, (F,).
    """
    p: Floats = stats.binom.sf(untrusted - 1, untrusted + trusted, share)
    return p


def weigh_shifted(
    here: IntArray,
    there: IntArray,
    others: tuple[IntArray, IntArray],
    share: float,
    dispersion: float,
) -> Floats:
    """Whether terms are more frequent among the untrusted rows of a label than other terms are.

    Args:
        here: x, untrusted rows of the label that hold each term, (F,).
        there: u, trusted ones, (F,).
        others: the same two of the rows of other labels.
        share: of the untrusted rows among all rows of the label.
        dispersion: how much the files differ in other labels, above 0.

    Returns:
        One-sided p-values of a beta-binomial, (F,); for terms that other labels have in excess,
        too, of whether this label has it more (Fisher), if that is larger.
    """
    a, b = (part * (1 / dispersion - 1) for part in (share, 1 - share))
    p = _weigh_counts(here, here + there, a, b)
    elsewhere: Floats = stats.binom.sf(others[0] - 1, others[0] + others[1], share)
    for term in np.flatnonzero(elsewhere <= ALSO).tolist():
        x, u, x_others, u_others = (int(each[term]) for each in (here, there, *others))
        p[term] = max(p[term], weigh_difference(x, x + u, x_others, x_others + u_others))
    return p


def weigh_contradiction(contradicted: IntArray, rows: IntArray, error: Error) -> Floats:
    """Whether the reference contradicts the labels of the rows that hold a term too often.

    Args:
        contradicted: rows that hold each term and whose label is contradicted, (F,).
        rows: that hold each term, whatever their label, (F,).
        error: how often that happens to honest words.

    Returns:
        Exact one-sided p-values of a beta-binomial, (F,).
    """
    return _weigh_counts(contradicted, rows, error.a, error.b)


def _weigh_counts(hits: IntArray, totals: IntArray, a: float, b: float) -> Floats:
    """One-sided p-values of a beta-binomial; (F,) counts that many terms share are weighed once."""
    pairs, place = np.unique(np.stack([hits, totals]), axis=1, return_inverse=True)
    p: Floats = stats.betabinom.sf(pairs[0] - 1, pairs[1], a, b)
    return p[place]


@dataclass(frozen=True)
class Error:
    """How often a model contradicts a word's labels: Beta(a, b) over the words."""

    mean: float
    dispersion: float  # 0: equally often for every word; 1: always or never

    @property
    def a(self) -> float:
        """The first parameter."""
        return self.mean * (1 / self.dispersion - 1)

    @property
    def b(self) -> float:
        """The second parameter."""
        return (1 - self.mean) * (1 / self.dispersion - 1)


def estimate_error(contradicted: IntArray, rows: IntArray, mean: float) -> Error:
    """How often words are contradicted, and how much they differ in it.

    Two rows of one word are both contradicted with probability m^2 + d m (1 - m), where m is the
    mean and d the dispersion; the average over words of the share of such pairs gives d.

    Args:
        contradicted: of the trusted rows that hold each term, (F,).
        rows: trusted rows that hold each term, (F,).
        mean: share of all rows that are contradicted.
    """
    mean = min(max(mean, 0.001), 0.999)
    of_two = rows >= 2
    k, m = contradicted[of_two].astype(np.float64), rows[of_two].astype(np.float64)
    together = float((k * (k - 1) / (m * (m - 1))).mean()) if len(m) else 0.0
    dispersion = (together - mean**2) / (mean * (1 - mean))
    return Error(mean, min(max(dispersion, LEAST_DISPERSION), 0.99))


def find_testable(least: Floats, q: float) -> BoolArray:
    """The tests that could reject at all, with as many of them as there are.

    Counts are discrete: a term of few rows cannot have a small p-value, and is not worth a test.
    What is left out is told by `least` alone, which does not depend on what happened.

    Args:
        least: the smallest p-value that each test can have, (F,).
        q: the error rate.

    Source: Gilbert 2005, Applied Statistics 54(1):143-158, after Tarone 1990.
    """
    ordered = np.sort(least)
    number = 1
    while np.searchsorted(ordered, q / number, side="right") > number:
        number += 1
    kept: BoolArray = least <= q / number
    return kept


def adjust(p: Floats, testable: BoolArray) -> Floats:
    """q-values: the smallest error rate at which each test rejects; 1 where it was not made.

    Source: Benjamini, Hochberg 1995.
    """
    q = np.ones(len(p))
    if testable.any():
        q[testable] = stats.false_discovery_control(p[testable])
    return q


@dataclass(frozen=True)
class Effect:
    """What a term does to trusted texts: how many of them it turns to its label."""

    num_texts: int
    victim: int  # turned in the victim
    reference: int
    only_victim: int  # turned in the victim and not in the reference
    only_reference: int

    @property
    def difference(self) -> int:
        """How many more texts the victim turns than the reference."""
        return self.only_victim - self.only_reference

    @property
    def share(self) -> float:
        """The same as a share of the texts."""
        return self.difference / max(1, self.num_texts)

    @property
    def p(self) -> float:
        """One-sided sign test of whether the victim turns more texts than the reference."""
        told_apart = self.only_victim + self.only_reference
        if not told_apart:
            return 1.0
        return float(stats.binomtest(self.only_victim, told_apart, alternative="greater").pvalue)


def measure_effect(victim: BoolArray, reference: BoolArray) -> Effect:
    """Count which of M texts a term turns in either model, both (M,)."""
    return Effect(
        num_texts=len(victim),
        victim=int(victim.sum()),
        reference=int(reference.sum()),
        only_victim=int((victim & ~reference).sum()),
        only_reference=int((reference & ~victim).sum()),
    )


def add_up(effects: Sequence[Effect]) -> Effect:
    """The effect on all texts together."""
    return Effect(*(sum(counts) for counts in zip(*map(astuple, effects), strict=True)))


def find_interval(hits: int, total: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share; all of [0, 1] where nothing was tried."""
    if not total:
        return 0.0, 1.0
    found = stats.binomtest(hits, total).proportion_ci(CONFIDENCE, method="wilson")
    return float(found.low), float(found.high)


def weigh_difference(hits: int, total: int, base_hits: int, base_total: int) -> float:
    """One-sided p-value of Fisher's exact test: whether the first share exceeds the second."""
    table = [[hits, total - hits], [base_hits, base_total - base_hits]]
    return float(stats.fisher_exact(table, alternative="greater").pvalue)


def compare_with_trusted(scores: Floats, trusted: Floats) -> Floats:
    """Conformal p-values: the share of the trusted rows that score at least as high. (N,)

    Args:
        scores: of the untrusted rows, (N,), by a model that treats both kinds of rows alike.
        trusted: of the trusted rows, (n,).
    """
    above = len(trusted) - np.searchsorted(np.sort(trusted), scores, side="left")
    p: Floats = (1 + above) / (1 + len(trusted))
    return p
