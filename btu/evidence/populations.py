"""Rows that no trusted row resembles: a rewriting has no word of its own, but many rows alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from btu.evidence.significance import Floats, adjust, compare_with_trusted
from btu.types import BoolArray

NUM_FOLDS = 5
STRENGTH = 0.1  # C of the logistic regression; chosen in trials on other sets as well
VIEWS: dict[str, dict[str, Any]] = {  # of a text
    "words": {"analyzer": "word", "ngram_range": (1, 2), "token_pattern": r"\S+"},
    "characters": {"analyzer": "char", "ngram_range": (1, 3)},
}


@dataclass(frozen=True)
class Likeness:
    """How little each row of one label resembles the trusted rows of that label."""

    p: Floats  # (N,) conformal
    q: Floats  # (N,)
    view: str  # words or characters
    auc: float  # of telling untrusted from trusted rows, out of fold


def compare_rows(
    untrusted: Sequence[str], trusted: Sequence[str], q: float, seed: int, fold: bool
) -> Likeness:
    """How little untrusted rows resemble trusted ones, all of one label.

    A linear classifier tells the two kinds apart out of fold, in whichever view it does so better;
    if it finds any row at error rate q, a second one tells the rows found from all others, and
    the test is made again with its scores.

    Args:
        untrusted: N texts.
        trusted: n texts, of the same label; at least `NUM_FOLDS`.
        q: the error rate.
        seed: of the folds.
        fold: whether capital and small letters are one.

    Source: conformal p-values as in Bates et al. 2023, Annals of Statistics 51(1):149-178.
    """
    texts, size = [*untrusted, *trusted], len(untrusted)
    is_untrusted = np.arange(len(texts)) < size
    best: Likeness | None = None
    for view in VIEWS:
        matrix = _vectorize(texts, view, fold)
        found = _judge(_score(matrix, is_untrusted, seed), size, view)
        flagged = np.zeros(len(texts), dtype=np.bool_)
        flagged[:size] = found.q <= q
        if flagged.sum() >= NUM_FOLDS:
            again = _judge(_score(matrix, flagged, seed), size, view)
            found = again if (again.q <= q).sum() > flagged.sum() else found
        if best is None or found.auc > best.auc:
            best = found
    assert best is not None
    return best


def _vectorize(texts: Sequence[str], view: str, fold: bool) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(binary=True, min_df=2, lowercase=fold, **VIEWS[view]).fit_transform(
        texts
    )


def _score(matrix: Any, wanted: BoolArray, seed: int) -> Floats:
    """Out of fold, how much each row looks like the wanted ones. (N + n,)"""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    model = LogisticRegression(C=STRENGTH, class_weight="balanced", solver="liblinear")
    folds = StratifiedKFold(NUM_FOLDS, shuffle=True, random_state=seed)
    scores: Floats = cross_val_predict(model, matrix, wanted, cv=folds, method="decision_function")
    return scores


def _judge(scores: Floats, size: int, view: str) -> Likeness:
    from sklearn.metrics import roc_auc_score

    p = compare_with_trusted(scores[:size], scores[size:])
    auc = float(roc_auc_score(np.arange(len(scores)) < size, scores))
    return Likeness(p, adjust(p, np.ones(size, dtype=np.bool_)), view, auc)
