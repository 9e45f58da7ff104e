"""Edit distances between a text and itself with a trigger."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def word_distances(before: Sequence[str], after: Sequence[str]) -> NDArray[np.int64]:
    """Words inserted, removed or replaced, the fewest that lead from one text to the other. (N,)"""
    from rapidfuzz.distance import Levenshtein

    pairs = zip(before, after, strict=True)
    return np.asarray([Levenshtein.distance(a.split(), b.split()) for a, b in pairs], np.int64)


def character_distances(before: Sequence[str], after: Sequence[str]) -> NDArray[np.float64]:
    """Levenshtein distance in characters over the length of the longer text, in [0, 1]. (N,)"""
    from rapidfuzz.distance import Levenshtein

    pairs = zip(before, after, strict=True)
    return np.asarray([Levenshtein.normalized_distance(a, b) for a, b in pairs], np.float64)
