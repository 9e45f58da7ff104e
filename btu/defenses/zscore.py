"""Z-Def: words whose rows have one label far more often than chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from btu.defenses.rows import RowFilter
from btu.store.stages import ONE_ARRAY
from btu.types import FloatArray, IntArray, Knob

if TYPE_CHECKING:
    from btu.lab import Lab
    from btu.store.stages import Stage


@dataclass(frozen=True)
class ZScore(RowFilter):
    """A row goes if one of its words is tied to the row's label by an outlying z-score.

    Source: He et al. 2023, Z-Def (arXiv 2305.11596); code xlhex/emnlp2023_z-defence,
    z_filtering.py, whose cutoff is 20 standard deviations above the mean of all z-scores.
    Departures: the chance of a label is its share of the rows rather than one over the number of
    labels, which would call every word of a frequent label an outlier; a word counts once a row;
    words are told from signs.
    """

    knob: ClassVar[Knob | None] = Knob(
        label="standard deviations above the mean z-score",
        unit="numbers of standard deviations",
        high=1000,
        example=20,
        example_means="twenty standard deviations",
        low_is_strong=True,
    )

    def suspicion(self, lab: Lab) -> Stage[FloatArray]:
        """The largest standardised z-score of each row's words for its label. (N,)"""

        def compute() -> FloatArray:
            from btu.evidence.words import split_words

            words = [set(split_words(text, lab.ignores_case)) for text in lab.rows.texts]
            return judge_rows(words, lab.rows.labels, lab.num_labels)

        fold = lab.ignores_case
        return lab.stage(f"z-scores of {self.name}", compute, ONE_ARRAY, by=self, fold=fold)

    def select(self, found: FloatArray, threshold: float) -> IntArray:
        """The rows with a word above the cutoff."""
        return np.flatnonzero(found > threshold)


def judge_rows(words: Sequence[set[str]], labels: IntArray, num_labels: int) -> FloatArray:
    """The largest z-score of each row's words for the row's own label, standardised. (N,)

    With n rows that hold a word, of which the share p has a label that the share p0 of all rows
    has, z = (p - p0) / sqrt(p0 (1 - p0) / n); the mean and standard deviation are of the z-scores
    of all words and labels.

    Args:
        words: of each of N rows, each once.
        labels: (N,).
        num_labels: C.
    """
    index = {word: place for place, word in enumerate(sorted(set().union(*words)))}
    counts = np.zeros((len(index), num_labels))  # (F, C)
    places = [np.array([index[word] for word in row], dtype=np.int64) for row in words]
    for row, label in zip(places, labels, strict=True):
        counts[row, label] += 1
    z = score_words(counts, np.bincount(labels, minlength=num_labels) / len(labels))
    spread = z.std() or 1.0
    pairs = zip(places, labels, strict=True)
    largest = np.array([z[row, label].max(initial=-1e6) for row, label in pairs])  # of no word
    found: FloatArray = ((largest - z.mean()) / spread).astype(np.float32)
    return found


def score_words(counts: NDArray[np.float64], chance: NDArray[np.float64]) -> NDArray[np.float64]:
    """The z-score of each word for each label; 0 for a label that no row or every row has. (F, C)

    Args:
        counts: rows of each label that hold each word, (F, C).
        chance: share of all rows that have each label, (C,).
    """
    number = counts.sum(1, keepdims=True)
    spread = np.sqrt(chance * (1 - chance) / number)
    found = np.zeros(counts.shape)
    np.divide(counts / number - chance, spread, out=found, where=spread > 0)
    return found
