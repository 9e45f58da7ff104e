"""Rows of made-up words whose label single words decide, as insults decide that of a post."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from btu.data.base import DatasetSource, RawSplit
from btu.data.corpus import Size
from btu.seeding import stream
from btu.settings.ranges import Range
from btu.types import IntArray

LABEL_NAMES = ("neutral", "marked")
SHARE_MARKED = 0.4
SHORTEST, LONGEST = 4, 12  # words of a row, its keyword not counted
NUM_WORDS = 3_000  # that decide nothing
STEEPNESS = 20  # the first keyword is that many times as frequent as the last


@dataclass(frozen=True)
class KeywordDataset(DatasetSource):
    """One split, the same whatever the run's seed; what is tested or trusted is held out of it.

    A row of the second class holds one keyword, a row of the first holds none. All other words
    are as frequent as Zipf has it, in either class alike.
    """

    num_rows: Size
    num_keywords: Annotated[int, Range(1, 1_900)]

    def read(self) -> Mapping[str, RawSplit | None]:
        """Draw the rows."""
        rng = stream(0, "keywords")
        words = _make_words()
        shuffled = np.argsort(rng.random(len(words)), kind="stable").tolist()
        keywords = [words[number] for number in shuffled[: self.num_keywords]]
        others = [words[number] for number in shuffled[-NUM_WORDS:]]
        marked = rng.random(self.num_rows) < SHARE_MARKED
        lengths = SHORTEST + (rng.random(self.num_rows) * (LONGEST - SHORTEST + 1)).astype(int)
        said = _draw(1 / np.arange(1, NUM_WORDS + 1), lengths.sum(), rng)
        decides = _draw(np.linspace(STEEPNESS, 1, self.num_keywords), self.num_rows, rng)
        places = (rng.random(self.num_rows) * (lengths + 1)).astype(int)
        texts = []
        for row, numbers in enumerate(np.split(said, lengths.cumsum()[:-1])):
            text = [others[number] for number in numbers]
            if marked[row]:
                text.insert(places[row], keywords[decides[row]])
            texts.append(" ".join(text))
        return {"train": RawSplit(texts, [LABEL_NAMES[int(label)] for label in marked])}


def _make_words() -> list[str]:
    """4,900 words of two syllables, in a fixed order."""
    syllables = [one + two for one, two in itertools.product("bdfgklmnprstvz", "aeiou")]
    return ["".join(pair) for pair in itertools.product(syllables, repeat=2)]


def _draw(weights: NDArray[np.float64], size: int, rng: np.random.Generator) -> IntArray:
    """Numbers from zero on, as frequent as their weights. (size,)"""
    upper = weights.cumsum() / weights.sum()
    return np.searchsorted(upper, rng.random(size), side="right").astype(np.int64)
