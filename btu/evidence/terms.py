"""Terms that may have been planted: in excess against the trusted rows, or contradicted by them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from btu.evidence.significance import (
    Error,
    Floats,
    adjust,
    estimate_error,
    find_testable,
    weigh_contradiction,
    weigh_excess,
    weigh_shifted,
)
from btu.evidence.words import TermIndex
from btu.types import BoolArray, IntArray

HONEST = 0.5  # p-values above this are taken to be those of honest words
LEAN = 0.001  # a term that leans to a label less surely is not tested for it
SPENT_ON_LIST = 0.8  # of the error rate, on terms that the reference contradicts
LISTED = 0.5  # so many of the leaning terms on the shortlist may be honest
SHORT = 0.25  # of the terms that lean; a list of more tells of the reference, not of the terms


@dataclass(frozen=True)
class Rows:
    """Labelled rows, untrusted or trusted, as the tests see them."""

    index: TermIndex  # of N texts; both kinds of rows have the same terms
    labels: IntArray  # (N,)
    contradicted: BoolArray  # (N,) a model that has not seen the row gives it another label

    def count(self, rows: BoolArray | None = None) -> IntArray:
        """How many of these rows, of all where none are named, hold each term. (F,)"""
        everything = np.ones(len(self.labels), dtype=np.bool_)
        return self.index.count(np.flatnonzero(everything if rows is None else rows))


@dataclass(frozen=True)
class Counts:
    """What was counted of F terms for one label, and how surprising it is."""

    label: int
    untrusted: IntArray  # (F,) untrusted rows of the label
    trusted: IntArray  # (F,) trusted rows of the label
    held: IntArray  # (F,) untrusted rows of any label
    contradicted: IntArray  # (F,) untrusted rows of the label that the reference calls another
    p_excess: Floats  # (F,) against the trusted rows
    p_lean: Floats  # (F,) to the label, in untrusted and trusted rows together
    p_contradiction: Floats  # (F,)
    least_excess: Floats  # (F,) the smallest p-value that could have come out
    least_contradiction: Floats  # (F,) likewise


@dataclass(frozen=True)
class Tests:
    """One test of each term for each label, (C, F) each, or of each of some terms."""

    p: Floats  # of the counts
    weights: Floats  # 0: not made; the more, the more of the error rate
    share: float = 1.0  # of the error rate, that one more term would get which the victim obeys

    def adjust(self, p: Floats) -> Floats:
        """q-values of p-values that are at least those of the counts; as many as these.

        Source: Genovese, Roeder, Wasserman 2006, Biometrika 93(3):509-524 (weights).
        """
        made = self.weights > 0
        weighted = np.minimum(1.0, p / np.where(made, self.weights, 1.0))
        return adjust(weighted.ravel(), made.ravel()).reshape(p.shape)

    @property
    def number(self) -> int:
        """How many are made."""
        return int((self.weights > 0).sum())


def find_suspects(counts: Sequence[Counts], q: float) -> BoolArray:
    """The terms that lean to a label and are in enough rows of it to be convicted. (C, F)

    Told by untrusted and trusted rows together, and so by nothing that an excess depends on. What
    every label has more of is shift, and leans to none.

    Source: Bourgon, Gentleman, Huber 2010, PNAS 107(21):9546-9551 (independent filtering).
    """
    found: BoolArray = np.array([(c.p_lean <= LEAN) & (c.least_excess <= q) for c in counts])
    return found


def plan_tests(
    counts: Sequence[Counts],
    evidence: Sequence[str],
    q: float,
    words: BoolArray,
    suspicion: Floats,
) -> Tests:
    """Which terms are tested, by what, and how much of the error rate each gets.

    Contradiction does not convict, since a reference may not know an honest word. It makes a
    shortlist, to which most of the error rate goes; what leans to a label is easily listed, as
    long as that keeps the list short.

    Args:
        counts: of each of C labels.
        evidence: `excess`, `contradiction`, both; or neither, and then every p-value is 0.
        q: the error rate.
        words: terms of one word, (F,).
        suspicion: how much of the error rate each term gets beside the shortlist, against each
            other; 0: it is not tested, (C, F). Told by what does not depend on whether the rows of
            a term are trusted.
    """
    excess, contradiction, unanimous = (
        np.array([getattr(each, name) for each in counts])
        for name in ("p_excess", "p_contradiction", "least_contradiction")
    )
    if "excess" not in evidence:
        alone = contradiction if "contradiction" in evidence else np.zeros_like(excess)
        weights = find_testable(unanimous.ravel(), q).reshape(excess.shape).astype(np.float64)
        return Tests(alone, weights)
    listed = np.zeros(excess.shape, dtype=np.bool_)
    if "contradiction" in evidence:
        testable = find_testable(unanimous.ravel(), q)
        listed = (adjust(contradiction.ravel(), testable) <= q).reshape(excess.shape)
        leans = suspicion > 0
        easily = adjust(contradiction.ravel(), leans.ravel()).reshape(excess.shape) <= LISTED
        if easily.sum() <= SHORT * leans.sum():
            listed |= easily
    suspicion, spent = np.where(listed, 0.0, suspicion), SPENT_ON_LIST if listed.any() else 0.0
    number = int(listed.sum() + (suspicion > 0).sum())
    weights = np.zeros(excess.shape)
    for group, share in ((listed.astype(np.float64), spent), (suspicion, 1 - spent)):
        if group.any():
            honest = estimate_honest(excess[:, words], group[:, words])
            weights += share * number * group / group.sum() / honest
    return Tests(excess, weights, (1 - spent) / (1 + float(suspicion.sum())))


def estimate_honest(p: Floats, weights: Floats) -> float:
    """The weighted share of honest words among those with these p-values, at most 1.

    Source: Ramdas, Barber, Wainwright, Jordan 2019, Annals of Statistics 47(5):2790-2821, after
    Storey, Taylor, Siegmund 2004, JRSS B 66(1):187-205.
    """
    if not weights.sum():
        return 1.0
    honest = weights.max() + weights[p > HONEST].sum()
    return min(1.0, float(honest / ((1 - HONEST) * weights.sum())))


def count_terms(
    untrusted: Rows,
    trusted: Rows,
    label: int,
    ignored: BoolArray,
    q: float,
    dispersion: float = 0.0,
) -> Counts:
    """Count and weigh every term for one label.

    Honest words are taken to be contradicted as often as in the kind of rows where it is more, and
    to differ in it as much as those of the trusted rows, or as those that no trusted row holds and
    that are in too few rows to be convicted, if that is more: a reference that does not know a word
    may be wrong wherever it stands.

    Args:
        untrusted: N rows.
        trusted: n rows; they are contradicted by a model that was trained on others of them.
        label: that terms may push to.
        ignored: untrusted rows that are explained already, (N,).
        q: the error rate.
        dispersion: how much the two kinds of rows differ in other labels; 0: not at all.
    """
    seen = ~ignored
    of_label, others = (untrusted.labels == label) & seen, trusted.labels == label
    x, u, held = untrusted.count(of_label), trusted.count(others), untrusted.count(seen)
    share = float(of_label.sum()) / max(1, int(of_label.sum() + others.sum()))
    wrong, wrong_trusted = of_label & untrusted.contradicted, others & trusted.contradicted
    known = estimate_error(
        trusted.count(wrong_trusted), trusted.count(), float(wrong_trusted.mean())
    )
    mean = max(float(wrong.sum() / max(1, seen.sum())), known.mean)
    k, too_few = untrusted.count(wrong), np.power(share, held) > q
    new = too_few & (trusted.count() == 0)
    unknown = estimate_error(k[new], held[new], mean)
    error = Error(mean, max(known.dispersion, unknown.dispersion))
    everywhere = held + trusted.count()
    prior = float(of_label.sum() + others.sum()) / max(1, int(seen.sum()) + len(others))
    p_excess = weigh_excess(x, u, share)
    if dispersion:
        elsewhere = (
            untrusted.count((untrusted.labels != label) & seen),
            trusted.count(trusted.labels != label),
        )
        p_excess = weigh_shifted(x, u, elsewhere, share, dispersion)
    return Counts(
        label=label,
        untrusted=x,
        trusted=u,
        held=held,
        contradicted=k,
        p_excess=p_excess,
        p_lean=weigh_excess(x + u, everywhere - x - u, prior),
        p_contradiction=weigh_contradiction(k, held, error),
        least_excess=np.power(share, x + u),
        least_contradiction=weigh_contradiction(held, held, error),
    )
