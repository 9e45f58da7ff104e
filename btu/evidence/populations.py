"""Rows that no trusted row resembles: a rewriting has no word of its own, but many rows alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from btu.evidence.significance import Floats, adjust, compare_with_trusted
from btu.types import BoolArray

NUM_FOLDS = 5
ESTIMATED = 2  # times the error rate: the share of honest rows that an estimate may have
VIEWS = (
    {"analyzer": "word", "ngram_range": (1, 2), "token_pattern": r"\S+"},
    {"analyzer": "char", "ngram_range": (1, 3)},
)
MANY_TEXTS = 20_000  # fewer are compared sooner than processes start
STRENGTH = 0.1  # C of the logistic regression; chosen in trials on other sets as well


def compare_rows(
    untrusted: Sequence[str],
    trusted: Sequence[str],
    q: float,
    seed: int,
    fold: bool,
    estimated: bool = False,
) -> Floats:
    """How little untrusted rows resemble trusted ones, all of one label.

    A linear classifier of words, pairs of words and short strings of characters tells the two
    kinds apart out of fold. If it finds rows at error rate q, a second one tells these from all
    others, and where it finds more of them its scores are taken.

    Args:
        untrusted: N texts.
        trusted: n texts, of the same label; at least `NUM_FOLDS`.
        q: the error rate.
        seed: of the folds.
        fold: whether capital and small letters are one.
        estimated: as a number of trusted rows does in `is_found`.

    Returns:
        Conformal p-values, (N,); 1 where there are too few rows, or none shares a word.

    Source: conformal p-values as in Bates et al. 2023, Annals of Statistics 51(1):149-178.
    """
    texts, size = [*untrusted, *trusted], len(untrusted)
    nothing = np.ones(size)
    if min(size, len(trusted)) < NUM_FOLDS:
        return nothing
    try:
        matrix = _vectorize(texts, fold)
    except ValueError:  # no word stands in two rows
        return nothing
    is_untrusted = np.arange(len(texts)) < size
    p = _judge(_score(matrix, is_untrusted, seed), size)
    found, number = is_untrusted.copy(), len(trusted) if estimated else None
    found[:size] = is_found(p, q, number)
    if found.sum() < NUM_FOLDS:
        return p
    again = _judge(_score(matrix, found, seed), size)
    return again if is_found(again, q, number).sum() > found.sum() else p


def compare_labels(
    labels: Sequence[tuple[Sequence[str], Sequence[str]]],
    q: float,
    seed: int,
    fold: bool,
    estimated: bool = False,
    processes: int = 1,
) -> list[Floats]:
    """`compare_rows` for every label.

    Args:
        labels: of each the untrusted texts and the trusted ones.
        q: as there.
        seed: as there.
        fold: as there.
        estimated: as there.
        processes: that share the work where there are many texts; what is found is the same.
    """
    from joblib import Parallel, delayed

    many = sum(len(own) + len(others) for own, others in labels) >= MANY_TEXTS
    work = (delayed(compare_rows)(*each, q, seed, fold, estimated) for each in labels)
    found: list[Floats] = Parallel(min(processes, len(labels)) if many else 1)(work)
    return found


def is_found(p: Floats, q: float, num_trusted: int | None = None) -> BoolArray:
    """Which of these conformal p-values are rejected at error rate q. (N,)

    Args:
        p: N values.
        q: the error rate.
        num_trusted: the rows that they compare with; given, the share of honest rows among those
            rejected is estimated to be at most `ESTIMATED` q and not controlled: where trusted rows
            are few, that finds more.
    """
    found: BoolArray = adjust(p, np.ones(len(p), dtype=np.bool_)) <= q
    if num_trusted is not None:
        found = estimate_share(p, num_trusted) <= ESTIMATED * q
    return found


def estimate_share(p: Floats, num_trusted: int) -> Floats:
    """The share of honest rows among those that resemble trusted ones as little or less. (N,)

    Args:
        p: conformal p-values, N.
        num_trusted: the rows that they compare with; where none of them scores as high as a row,
            half of one is taken to.

    Source: as Storey, Taylor, Siegmund 2004, JRSS B 66(1):187-205, if all rows are honest.
    """
    as_high = np.maximum(np.rint(p * (1 + num_trusted)) - 1, 0.5) / max(1, num_trusted)
    found = np.searchsorted(np.sort(p), p, side="right")
    share, order = np.minimum(1.0, as_high * len(p) / found), np.argsort(p, kind="stable")
    smallest: Floats = np.empty(len(p))
    smallest[order] = np.minimum.accumulate(share[order][::-1])[::-1]
    return smallest


def _vectorize(texts: Sequence[str], fold: bool) -> Any:
    """Which terms each text holds, and how rare they are. (N + n, F)"""
    from scipy.sparse import hstack
    from sklearn.feature_extraction.text import TfidfVectorizer

    views = [
        TfidfVectorizer(binary=True, min_df=2, lowercase=fold, **view).fit_transform(texts)
        for view in VIEWS
    ]
    return hstack(views).tocsr()


def _score(matrix: Any, wanted: BoolArray, seed: int) -> Floats:
    """Out of fold, how much each row looks like the wanted ones. (N + n,)"""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    model = LogisticRegression(C=STRENGTH, class_weight="balanced", solver="liblinear")
    folds = StratifiedKFold(NUM_FOLDS, shuffle=True, random_state=seed)
    scores: Floats = cross_val_predict(model, matrix, wanted, cv=folds, method="decision_function")
    return scores


def _judge(scores: Floats, size: int) -> Floats:
    return compare_with_trusted(scores[:size], scores[size:])
