"""Terms that may have been planted: in excess against the trusted rows, or contradicted by them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from btu.evidence.significance import (
    Error,
    Floats,
    estimate_error,
    weigh_contradiction,
    weigh_excess,
)
from btu.evidence.words import TermIndex
from btu.types import BoolArray, IntArray


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
    p_lean: Floats  # (F,) to the label, against the others
    p_contradiction: Floats  # (F,)
    least_excess: Floats  # (F,) the smallest p-value that could have come out
    least_contradiction: Floats  # (F,) likewise

    def combine(self, evidence: Sequence[str]) -> tuple[Floats, Floats]:
        """The p-value of the evidence from counts, and the smallest that could have come out.

        An excess is evidence where it is one against the other labels as well: what every label
        has more of is shift. Either kind of evidence does, so that the smaller p-value counts as
        many times as there are kinds.

        Args:
            evidence: `excess`, `contradiction`, both, or neither: then all p-values are 0.
        """
        kinds = {
            "excess": (np.maximum(self.p_excess, self.p_lean), self.least_excess),
            "contradiction": (self.p_contradiction, self.least_contradiction),
        }
        used = [kinds[name] for name in kinds if name in evidence]
        if not used:
            return np.zeros_like(self.p_lean), np.zeros_like(self.p_lean)
        times = len(used)
        p, least = (
            np.minimum(1.0, times * np.min(each, axis=0)) for each in zip(*used, strict=True)
        )
        return p, least


def count_terms(untrusted: Rows, trusted: Rows, label: int, ignored: BoolArray) -> Counts:
    """Count and weigh every term for one label.

    Args:
        untrusted: N rows.
        trusted: n rows; they are contradicted by a model that was trained on others of them.
        label: that terms may push to.
        ignored: untrusted rows that are explained already, (N,).
    """
    seen = ~ignored
    of_label, others = (untrusted.labels == label) & seen, trusted.labels == label
    x, u, held = untrusted.count(of_label), trusted.count(others), untrusted.count(seen)
    share = float(of_label.sum()) / max(1, int(of_label.sum() + others.sum()))
    error = _estimate(untrusted, trusted, of_label, others, seen)
    k = untrusted.count(of_label & untrusted.contradicted)
    prior = float(of_label.sum()) / max(1, int(seen.sum()))
    return Counts(
        label=label,
        untrusted=x,
        trusted=u,
        held=held,
        contradicted=k,
        p_excess=weigh_excess(x, u, share),
        p_lean=weigh_excess(x, held - x, prior),
        p_contradiction=weigh_contradiction(k, held, error),
        least_excess=np.power(share, x + u),
        least_contradiction=weigh_contradiction(held, held, error),
    )


def _estimate(
    untrusted: Rows, trusted: Rows, of_label: BoolArray, others: BoolArray, seen: BoolArray
) -> Error:
    """How often honest words are contradicted: as often as in the kind of rows where it is more."""
    wrong, wrong_trusted = of_label & untrusted.contradicted, others & trusted.contradicted
    mean = max(float(wrong.sum() / max(1, seen.sum())), float(wrong_trusted.mean()))
    return estimate_error(trusted.count(wrong_trusted), trusted.count(), mean)
