"""A case: untrusted rows, trusted rows, and the models of both, with all that is asked of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csc_array

from btu.defenses.reference import Models, Reference, is_right, say
from btu.defenses.search import LEAST_ROWS, Search
from btu.evidence.shift import Shift, measure_shift
from btu.evidence.significance import Effect, measure_effect
from btu.evidence.terms import Counts, Rows, count_terms
from btu.evidence.words import TermIndex, index_terms, split_words
from btu.seeding import stream, stream_seed
from btu.types import BoolArray, FloatArray, IntArray, Split

if TYPE_CHECKING:
    from btu.store.stages import Stage


@dataclass(frozen=True)
class Case:
    """Untrusted rows, trusted rows, the victim of the first and the reference of the second."""

    lab: Models
    untrusted: Split  # N
    trusted: Split  # n
    victim: Stage[Any]
    reference: Reference
    search: Search
    fold: bool  # capital and small letters are one to the model

    @property
    def num_labels(self) -> int:
        """C, the labels that there are."""
        return len(self.lab.label_names)

    @cached_property
    def words(self) -> list[list[str]]:
        """The words of each untrusted text."""
        return [split_words(text, self.fold) for text in self.untrusted.texts]

    @cached_property
    def trusted_words(self) -> list[list[str]]:
        """The words of each trusted text."""
        return [split_words(text, self.fold) for text in self.trusted.texts]

    @cached_property
    def said(self) -> FloatArray:
        """What the reference says of the untrusted rows. (N, C)"""
        judges = self.reference.draw_judges(len(self.untrusted))
        return self.reference.predict(self.untrusted.texts, judges)

    @cached_property
    def said_of_trusted(self) -> FloatArray:
        """What the reference says of the trusted rows, out of fold. (n, C)"""
        return self.reference.predict(self.trusted.texts, self.reference.judge_of_trusted)

    @cached_property
    def sides(self) -> tuple[Rows, Rows]:
        """The untrusted and the trusted rows, as the tests see them."""
        words = [*self.words, *self.trusted_words]
        index, size = index_terms(words, LEAST_ROWS), len(self.words)
        holds = index.holds.tocsr()
        return (
            _as_rows(index, holds[:size], self.untrusted, self.said),
            _as_rows(index, holds[size:], self.trusted, self.said_of_trusted),
        )

    @cached_property
    def said_by_victim(self) -> IntArray:
        """The labels that the victim gives the trusted rows, of which it has seen none. (n,)"""
        return say(self.lab, self.victim, self.trusted.texts).labels

    @cached_property
    def shift(self) -> Shift:
        """How much the trusted and the untrusted rows of each label differ in general."""
        seed = stream_seed(self.lab.seed, "shift")
        return measure_shift(*self.sides, self.num_labels, seed)

    @property
    def trusts_reference(self) -> bool:
        """Whether the reference is good enough to give labels.

        It is if it is wrong on at most twice as many of the trusted rows as the victim.
        """
        wrong = int((self.said_by_victim != self.trusted.labels).sum())
        return int(self.sides[1].contradicted.sum()) <= 2 * wrong

    @cached_property
    def probes(self) -> IntArray:
        """The trusted rows that victim and reference get right."""
        right = is_right(self.said_of_trusted, self.trusted.labels)
        right &= self.said_by_victim == self.trusted.labels
        return np.flatnonzero(right)

    @cached_property
    def counts(self) -> list[Counts]:
        """The terms counted for each label, in all rows."""
        none = np.zeros(len(self.untrusted), dtype=np.bool_)
        return [self.count(label, none) for label in range(self.num_labels)]

    def count(self, label: int, ignored: BoolArray) -> Counts:
        """The terms counted for one label, without the rows that are ignored. (N,)"""
        dispersion = self.shift.of_others(label) if self.search.by_shift else 0.0
        return count_terms(*self.sides, label, ignored, self.search.q, dispersion)

    def draw_probes(self, label: int, times: int = 1) -> IntArray:
        """Trusted rows of other labels to insert something into, in random order.

        Args:
            label: that they do not have.
            times: how many times `search.num_probes` there are at most.
        """
        others = self.probes[self.trusted.labels[self.probes] != label]
        rng = stream(self.lab.seed, "probes", str(label))
        return rng.permutation(others)[: times * self.search.num_probes]

    def try_out(self, tried: Sequence[tuple[int, Sequence[str], IntArray]]) -> list[Effect]:
        """What insertions do.

        Args:
            tried: of each the label, M texts with the insertion, and the M trusted rows they were.
        """
        if not tried:
            return []
        texts = [text for _, some, _ in tried for text in some]
        rows = np.concatenate([probes for _, _, probes in tried])
        judges = self.reference.judge_of_trusted[rows]
        victim = say(self.lab, self.victim, texts).labels
        reference = self.reference.predict(texts, judges).argmax(1)
        effects, start = [], 0
        for label, some, _ in tried:
            part = slice(start, start + len(some))
            effects.append(measure_effect(victim[part] == label, reference[part] == label))
            start += len(some)
        return effects


def _as_rows(index: TermIndex, holds: csc_array, split: Split, said: FloatArray) -> Rows:
    contradicted = ~is_right(said, split.labels)
    return Rows(TermIndex(index.terms, csc_array(holds)), split.labels, contradicted)
