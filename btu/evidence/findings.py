"""What was found, for people: what speaks for it, what against it, and where to see it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from btu.evidence.significance import Effect, find_interval
from btu.evidence.words import END, START, Words, mark_words
from btu.types import IntArray


@dataclass(frozen=True)
class Finding:
    """A phrase, or a population of rows, that was suspected of pushing texts to a label."""

    kind: str  # words: a phrase that was inserted; rows: texts that were written another way
    phrase: Words  # empty of rows
    label: int
    rows: int  # untrusted rows of the label that hold it
    trusted: int | None  # trusted rows of the label that hold it; None where there are none at all
    held: int  # untrusted rows of any label that hold it
    contradicted: int  # of `rows`, those that the reference calls another label
    p_excess: float | None  # None of rows, which are not counted by a term
    p_contradiction: float
    effect: Effect | None  # None where it was not tried
    p: float  # of all the evidence that is asked for
    q: float  # the smallest error rate at which it is convicted
    convicted: bool
    reason: str  # why, or why not; the end of a sentence
    marks: tuple[Words, ...] = ()  # of rows: terms that they have in excess, the surest first

    @property
    def place(self) -> str:
        """Where the phrase stands in its texts: start, end, anywhere."""
        return "start" if START in self.phrase else "end" if END in self.phrase else "anywhere"

    @property
    def words(self) -> Words:
        """The words of the phrase."""
        return tuple(word for word in self.phrase if word not in (START, END))

    @property
    def turns_most(self) -> bool:
        """Whether it turns more than half of the texts that it was tried on, or was not tried."""
        return self.effect is None or 2 * self.effect.victim > self.effect.num_texts

    def mark(self, text: str, fold: bool) -> list[tuple[int, int]]:
        """Where it stands in a text, from which character to which.

        Args:
            text: as written.
            fold: whether capital and small letters are one.
        """
        return mark_words(text, (self.phrase,) if self.phrase else self.marks, fold)

    def describe(self, label_names: Sequence[str]) -> dict[str, Any]:
        """As JSON."""
        return {
            "kind": self.kind,
            "text": " ".join(self.words),
            "marks": [" ".join(term) for term in self.marks],
            "place": self.place,
            "label": label_names[self.label],
            "rows": self.rows,
            "trusted": self.trusted,
            "held": self.held,
            "contradicted": self.contradicted,
            "p_excess": self.p_excess,
            "p_contradiction": self.p_contradiction,
            "p_effect": None if self.effect is None else self.effect.p,
            "effect": None if self.effect is None else _describe_effect(self.effect),
            "p": self.p,
            "q": self.q,
            "convicted": self.convicted,
            "reason": self.reason,
        }


Found = tuple[Finding, IntArray]  # with the untrusted rows that show it


def _describe_effect(effect: Effect) -> Mapping[str, Any]:
    total = effect.num_texts
    return {
        "texts": total,
        "victim": effect.victim,
        "victim_interval": list(find_interval(effect.victim, total)),
        "reference": effect.reference,
        "reference_interval": list(find_interval(effect.reference, total)),
    }
