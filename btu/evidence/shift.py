"""Whether two files differ in general, which makes an excess of everything that one has more of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from btu.evidence.significance import Floats
from btu.evidence.terms import Rows
from btu.types import IntArray

NUM_DRAWS = 99  # of rows of either kind, to see how much terms differ by chance
LEVEL = 0.05  # of that comparison, of one label
LEAST_COUNT = 5  # rows that hold a term which is compared


@dataclass(frozen=True)
class Shift:
    """How much the words of two files differ within each of C labels, beyond chance."""

    inflation: Floats  # (C,) mean square of a word's standardized count; 1: as by chance
    p: Floats  # (C,) how often rows that are drawn at random differ as much
    dispersion: Floats  # (C,) of a beta-binomial with this inflation

    def of_others(self, label: int) -> float:
        """The dispersion that the other labels show, and so is no sign of anything planted in one.

        What is planted makes texts of one label; another source or way of typing differs in all.
        The median of the other labels; 0 where that is chance.
        """
        others = np.arange(len(self.p)) != label
        if not others.any() or np.median(self.p[others]) > LEVEL:
            return 0.0
        return max(0.0, float(np.median(self.dispersion[others])))

    @property
    def differs(self) -> bool:
        """Whether most labels differ, and so the files do."""
        return bool(np.mean(self.p <= LEVEL) > 0.5)


def measure_shift(untrusted: Rows, trusted: Rows, num_labels: int, seed: int) -> Shift:
    """Compare how often words stand in the untrusted and the trusted rows of each label.

    Args:
        untrusted: N rows.
        trusted: n rows.
        num_labels: C.
        seed: of the rows that are drawn for comparison.

    Source: Devlin, Roeder 1999, Biometrics 55(4):997-1004 (genomic control), for the inflation.
    """
    words = np.flatnonzero(untrusted.index.words)
    sides = [(rows.index.holds.tocsr()[:, words], rows.labels) for rows in (untrusted, trusted)]
    found = [_measure_label(sides, label, seed) for label in range(num_labels)]
    inflation, p, dispersion = (
        np.array(each, dtype=np.float64) for each in zip(*found, strict=True)
    )
    return Shift(inflation, p, dispersion)


def _measure_label(
    sides: Sequence[tuple[Any, IntArray]], label: int, seed: int
) -> tuple[float, float, float]:
    """The inflation, its p-value and the dispersion of one label.

    Args:
        sides: which words the untrusted and the trusted rows hold, and their labels.
        label: that is compared.
        seed: of the draws.
    """
    from scipy.sparse import vstack

    parts = [holds[np.flatnonzero(labels == label)] for holds, labels in sides]
    size, number = (part.shape[0] for part in parts)
    if not size or not number:
        return 1.0, 1.0, 0.0
    holds = vstack(parts).tocsr()
    held = np.asarray(holds.sum(0), dtype=np.float64).ravel()
    frequent = held >= LEAST_COUNT
    if not frequent.any():
        return 1.0, 1.0, 0.0
    share, held = number / (size + number), held[frequent]

    def inflate(rows: IntArray) -> float:
        there = np.asarray(holds[rows].sum(0), dtype=np.float64).ravel()[frequent]
        squares = np.square(there - held * share) / (held * share * (1 - share))
        return float(squares.mean())

    rng = np.random.default_rng(seed)
    observed = inflate(np.arange(size, size + number))
    drawn = [inflate(rng.permutation(size + number)[:number]) for _ in range(NUM_DRAWS)]
    p = (1 + sum(each >= observed for each in drawn)) / (1 + NUM_DRAWS)
    beyond = max(0.0, observed - float(np.mean(drawn)))
    return observed, p, min(0.5, beyond / max(1.0, float((held - 1).mean())))
