"""Texts with their trigger, and what became of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from btu.types import BoolArray, IntArray

Outcomes = NDArray[np.int8]  # of `Outcome`, one per row


class Outcome(IntEnum):
    """What became of a text that was to get a trigger."""

    DONE = 0
    GENERIC = 1  # it got stock words and no other change
    EMPTY = 2  # it has no trigger: there is no paraphrase
    UNCHANGED = 3  # it has no trigger: the paraphrase is the text itself as far as a model sees it


@dataclass(frozen=True)
class Triggered:
    """Texts with their trigger, in order; `outcomes` says which have none and why."""

    texts: tuple[str, ...]  # M
    outcomes: Outcomes  # (M,)

    @property
    def usable(self) -> BoolArray:
        """Which texts have their trigger. (M,)"""
        return find_usable(self.outcomes)

    def take(self, places: IntArray) -> Triggered:
        """The texts at these places, in that order."""
        return Triggered(tuple(self.texts[place] for place in places), self.outcomes[places])


def mark_done(texts: Sequence[str]) -> Triggered:
    """Texts all of which have their trigger."""
    return Triggered(tuple(texts), np.full(len(texts), Outcome.DONE, dtype=np.int8))


def mark_changed(before: Sequence[str], texts: Sequence[str]) -> Triggered:
    """Texts that have their trigger where they are not as they were before."""
    same = [one == other for one, other in zip(before, texts, strict=False)]
    outcomes = np.where(same, Outcome.UNCHANGED, Outcome.DONE).astype(np.int8)
    return Triggered(tuple(texts), outcomes)


def find_usable(outcomes: Outcomes) -> BoolArray:
    """Which rows have their trigger. (M,)"""
    return outcomes <= Outcome.GENERIC


def count_outcome(outcomes: Outcomes, outcome: Outcome) -> int:
    """How many rows this became of."""
    return int((outcomes == outcome).sum())
