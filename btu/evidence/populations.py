"""Rows that no trusted row resembles: a rewriting has no word of its own, but many rows alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from btu.evidence.significance import Floats, adjust, compare_with_trusted
from btu.types import BoolArray

NUM_FOLDS = 5
VIEWS = (
    {"analyzer": "word", "ngram_range": (1, 2), "token_pattern": r"\S+"},
    {"analyzer": "char", "ngram_range": (1, 3)},
)
STRENGTH = 0.1  # C of the logistic regression; chosen in trials on other sets as well


def compare_rows(
    untrusted: Sequence[str], trusted: Sequence[str], q: float, seed: int, fold: bool
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

    Returns:
        The smallest error rate at which each untrusted row is found, (N,).

    Source: conformal p-values as in Bates et al. 2023, Annals of Statistics 51(1):149-178.
    """
    texts, size = [*untrusted, *trusted], len(untrusted)
    matrix = _vectorize(texts, fold)
    found = _judge(_score(matrix, np.arange(len(texts)) < size, seed), size)
    flagged = np.zeros(len(texts), dtype=np.bool_)
    flagged[:size] = found <= q
    if flagged.sum() < NUM_FOLDS:
        return found
    again = _judge(_score(matrix, flagged, seed), size)
    return again if (again <= q).sum() > flagged.sum() else found


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
    p = compare_with_trusted(scores[:size], scores[size:])
    return adjust(p, np.ones(size, dtype=np.bool_))
