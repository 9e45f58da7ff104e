"""BKI: words without which the victim's state of a text is another, in many texts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import log10
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from btu.defenses.rows import RowFilter
from btu.settings.ranges import Count
from btu.store.stages import ONE_ARRAY, Cost
from btu.terminal.progress import progress
from btu.types import FloatArray, IntArray, Knob

if TYPE_CHECKING:
    from btu.lab import Lab
    from btu.models.base import Classifier
    from btu.store.stages import Stage

CHUNK = 256  # texts whose words are left out together


@dataclass(frozen=True)
class Bki(RowFilter):
    """Words that matter most to the victim are keywords; rows of which one matters most go.

    Source: Chen and Dai 2021, backdoor keyword identification (arXiv 2007.12070); code
    thunlp/OpenBackdoor, bki_defender.py, from which the distance is (the largest change of any
    dimension). Departures: the victim itself is asked, not a second model of ten epochs; instead
    of the one keyword with the highest score, which leaves all others of several triggers, a share
    of the keywords is purged.
    """

    num_words: Count  # of each text that matter most

    knob: ClassVar[Knob | None] = Knob(
        label="share of the keywords that is purged",
        unit="shares of the keywords",
        example=0.001,
        example_means="one keyword in a thousand",
    )

    def suspicion(self, lab: Lab) -> Stage[FloatArray]:
        """One minus the rank, as a share, of the first keyword that matters in each row. (N,)"""
        victim = lab.train(lab.rows, lab.source.training)
        texts = [text.split() for text in lab.rows.texts]

        def compute() -> FloatArray:
            return judge_keywords(list(self._find_words(lab, victim, texts)), len(texts))

        num_asked = len(texts) + sum(map(len, texts))
        cost = Cost("words left out", num_asked, lab.rows, 1, lab.source.eval_batch_size)
        name = f"keywords of {self.name}"
        return lab.stage(name, compute, ONE_ARRAY, cost, by=self, victim=victim)

    def select(self, found: FloatArray, threshold: float) -> IntArray:
        """The rows of a purged keyword."""
        return np.flatnonzero(found > np.float32(1 - threshold))

    def _find_words(
        self, lab: Lab, victim: Stage[Classifier], texts: Sequence[list[str]]
    ) -> Iterator[dict[str, float]]:
        """The words that matter most in each text, and how much."""
        starts = range(0, len(texts), CHUNK)
        with progress("words left out", len(starts)) as advance:
            for start in starts:
                some = texts[start : start + CHUNK]
                asked = [" ".join(words) for text in some for words in [text, *leave_out(text)]]
                states = lab.get(lab.outputs(victim, asked, kept=False)).states
                assert states is not None
                place = 0
                for text in some:
                    moved = np.abs(states[place + 1 : place + 1 + len(text)] - states[place]).max(1)
                    yield pick_words(text, moved, self.num_words)
                    place += 1 + len(text)
                advance()


def leave_out(words: Sequence[str]) -> list[list[str]]:
    """The text without each of its words in turn."""
    return [[*words[:place], *words[place + 1 :]] for place in range(len(words))]


def pick_words(words: Sequence[str], moved: FloatArray, number: int) -> dict[str, float]:
    """The words of one text that matter most, each once, with how much.

    Args:
        words: W of them.
        moved: how far the state moves without each, (W,).
        number: of words that are taken; of equals the first.
    """
    order = np.argsort(-moved, kind="stable")[:number]
    return {words[place]: float(moved[place]) for place in reversed(order.tolist())}


def judge_keywords(found: Sequence[dict[str, float]], num_rows: int) -> FloatArray:
    """How far in front the first keyword of each row stands among all keywords. (N,)

    The score of a keyword is log10(number of rows that it matters in) times the mean of how much.

    Args:
        found: of each row the words that matter, and how much.
        num_rows: N.

    Returns:
        1 of the first keyword, down to 1 / K of the last of K; 0 of a row without a word.
    """
    changes: dict[str, list[float]] = defaultdict(list)
    for row in found:
        for word, moved in row.items():
            changes[word].append(moved)
    scores = {word: log10(len(all_)) * float(np.mean(all_)) for word, all_ in changes.items()}
    ranked = sorted(scores, key=lambda word: (-scores[word], word))
    rank = {word: place for place, word in enumerate(ranked)}
    first = [min((rank[word] for word in row), default=len(rank)) for row in found]
    return (1 - np.array(first, dtype=np.float64) / max(1, len(rank))).astype(np.float32)
