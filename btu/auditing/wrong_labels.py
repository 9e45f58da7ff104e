"""Words in rows with wrong labels: models of one half of a file read the other without them.

Without trusted rows nothing tells what a file has too much of. What is left: a word that decides
texts alone, in rows whose other words say another label. Honest words do either, seldom both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from btu.auditing.examined import choose_epochs
from btu.auditing.linear import LinearLab
from btu.auditing.opened import LEAST_TRUSTED
from btu.defenses.phrases import FEW, NEARLY_ALL
from btu.defenses.reference import Models, Reference, is_right, say
from btu.defenses.search import LEAST_ROWS, Search
from btu.evidence import WORDS
from btu.evidence.findings import Finding, Found
from btu.evidence.significance import (
    Effect,
    Error,
    Floats,
    estimate_error,
    find_interval,
    measure_effect,
    weigh_contradiction,
    weigh_excess,
)
from btu.evidence.terms import LEAN, Tests
from btu.evidence.words import (
    END,
    START,
    TermIndex,
    Words,
    find_phrase,
    grow_phrase,
    index_terms,
    insert_phrase,
    remove_phrase,
    split_words,
    trim_phrase,
)
from btu.seeding import stream
from btu.types import FloatArray, IntArray, Split

if TYPE_CHECKING:
    pass

MOST_SCREENED = 400  # terms whose rows are read again without them, those that decide most alone
MOST_READ = 200  # of the rows of each
MOST_SHOWN = 20  # terms whose effect is tried though their rows do not contradict their labels
LEAST_ERROR = 0.02  # dispersion of honest words
TIMES = 2  # as many probes as with trusted rows
SMALL = 0.01  # share of the rows of a word for which the trusted rows needed are told


@dataclass(frozen=True)
class Candidate:
    """A term that leans to a label, and what its rows say without it."""

    column: int
    label: int
    rows: IntArray  # of the label, that hold it


@dataclass(frozen=True)
class WrongLabels:
    """Finds words that decide texts alone, in rows whose other words say another label.

    Args:
        lab: trains the models.
        search: the error rate, and how many texts and phrases are tried.
        rows: N that are judged.
    """

    lab: Models
    search: Search
    rows: Split

    @cached_property
    def words(self) -> list[list[str]]:
        """The words of each text."""
        return [split_words(text, self.lab.ignores_case) for text in self.rows.texts]

    @cached_property
    def index(self) -> TermIndex:
        """Which texts hold which terms."""
        return index_terms(self.words, LEAST_ROWS)

    @cached_property
    def quick(self) -> LinearLab:
        """Linear models, which choose what networks are asked about."""
        if isinstance(self.lab, LinearLab):
            return self.lab
        return LinearLab(self.lab.seed, self.lab.label_names, self.lab.ignores_case)

    def split_in_half(self, lab: Models, rows: Split) -> Reference:
        """Two models of the file, each of half of these rows, so that none is judged by its own."""
        return Reference(lab, rows, choose_epochs(lab, len(rows) // 2))

    @cached_property
    def halves(self) -> Reference:
        """Two models of the file."""
        return self.split_in_half(self.lab, self.rows)

    @cached_property
    def said(self) -> FloatArray:
        """What the model that has not learned a row says of it. (N, C)"""
        return self.halves.predict(self.rows.texts, self.halves.judge_of_trusted)

    def find(self) -> tuple[list[Found], int]:
        """What seems planted and what does not, and how many terms were weighed."""
        candidates = self.find_candidates()
        p, contradicted = self.weigh(candidates)
        q = Tests(p, self.weigh_strength(candidates)).adjust(p)
        order = np.argsort(p, kind="stable")
        surprising = _leave_out_parts(candidates, order[q[order] <= self.search.q])
        surprising = surprising[: self.search.max_tried]
        strong = np.setdiff1d(np.arange(len(p)), surprising)[: 3 * MOST_SHOWN]  # decide most alone
        tried = [*surprising, *_leave_out_parts(candidates, strong)[:MOST_SHOWN]]
        phrases = [self.grow(candidates[k]) for k in tried]
        effects = self.try_out([candidates[k] for k in tried], phrases)
        found: list[Found] = []
        explained = np.zeros(len(self.rows), dtype=np.bool_)
        for k, phrase, effect in zip(tried, phrases, effects, strict=True):
            one = candidates[k]
            finding = self._judge(one, phrase, float(p[k]), float(q[k]), contradicted[k], effect)
            if explained[one.rows].mean() > 0.5:
                continue
            if finding.convicted or finding.turns_most:
                explained[one.rows] = True
            rows = self._find_rows(self.index.rows_of(one.column), phrase)
            own = rows[self.rows.labels[rows] == one.label]
            found.append((replace(finding, rows=len(own), held=len(rows)), own))
        return found, len(candidates)

    def find_candidates(self) -> list[Candidate]:
        """The terms that lean to a label, those first that decide most where nothing else is."""
        held = self.index.count(np.arange(len(self.rows)))
        found: list[Candidate] = []
        for label in range(len(self.lab.label_names)):
            of_label = np.flatnonzero(self.rows.labels == label)
            x = self.index.count(of_label)
            leans = weigh_excess(x, held - x, len(of_label) / len(self.rows)) <= LEAN
            for column in np.flatnonzero(leans & (x >= LEAST_ROWS)).tolist():
                rows = self.index.rows_of(column)
                found.append(Candidate(column, label, rows[self.rows.labels[rows] == label]))
        terms = (self.index.terms[one.column] for one in found)
        alone = [" ".join(word for word in term if word not in (START, END)) for term in terms]
        model = self.quick.train(self.rows, self.quick.training)
        decides = say(self.quick, model, alone).probabilities
        strength = [float(decides[k, one.label]) for k, one in enumerate(found)]
        order = sorted(range(len(found)), key=lambda k: (-strength[k], -len(found[k].rows), k))
        return [found[k] for k in order[:MOST_SCREENED]]

    def weigh(self, candidates: Sequence[Candidate]) -> tuple[Floats, list[int]]:
        """How surprising it is that the rows of each term contradict their labels without it.

        Linear models choose, where networks are asked; a term that these are not asked about has 1.

        Returns:
            p-values, (K,), and how many of all rows of each are contradicted.
        """
        p, wrong = self._weigh(self.split_in_half(self.quick, self.rows), candidates)
        if self.lab is self.quick or not candidates:
            return p, wrong
        asked = np.argsort(p, kind="stable")[: self.search.max_tried].tolist()
        p_asked, wrong_asked = self._weigh(self.halves, [candidates[k] for k in asked])
        p = np.ones(len(p))
        p[asked] = p_asked
        for k, number in zip(asked, wrong_asked, strict=True):
            wrong[k] = number
        return p, wrong

    def weigh_strength(self, candidates: Sequence[Candidate]) -> Floats:
        """How much of the error rate each term gets: the more, the more texts it turns. (K,)

        The square of the share of a few texts of other labels, in linear models; all that turn none
        get together as much as one that turns all.
        """
        halves = self.split_in_half(self.quick, self.rows)
        said = halves.predict(self.rows.texts, halves.judge_of_trusted)
        right = is_right(said, self.rows.labels)
        texts: list[str] = []
        probes: list[int] = []
        for one in candidates:
            phrase = self.grow(one)
            rng = stream(self.lab.seed, "strong", *phrase)
            others = rng.permutation(np.flatnonzero(right & (self.rows.labels != one.label)))
            others = np.resize(others, FEW) if len(others) else np.zeros(FEW, dtype=np.int64)
            texts += [insert_phrase(self.rows.texts[row], phrase, rng) for row in others.tolist()]
            probes += others.tolist()
        labels = np.array([one.label for one in candidates], dtype=np.int64)
        said = halves.predict(texts, halves.judge_of_trusted[probes])
        turned = said.argmax(1).reshape(len(candidates), FEW) == labels[:, None]
        strength = np.maximum(np.square(turned.mean(1)), 1 / max(1, len(candidates)))
        weights: Floats = len(candidates) * strength / strength.sum()
        return weights

    def _weigh(
        self, halves: Reference, candidates: Sequence[Candidate]
    ) -> tuple[Floats, list[int]]:
        texts: list[str] = []
        of: list[int] = []
        rows: list[int] = []
        for k, one in enumerate(candidates):
            phrase = self.grow(one)
            for row in self._find_rows(one.rows, phrase)[:MOST_READ].tolist():
                texts.append(remove_phrase(self.rows.texts[row], phrase, self.lab.ignores_case))
                of.append(k)
                rows.append(row)
        if not texts:
            return np.ones(len(candidates)), [0] * len(candidates)
        own, labels = np.array(of), self.rows.labels[rows]
        said = halves.predict(texts, halves.judge_of_trusted[rows])
        number = np.bincount(own, minlength=len(candidates))
        wrong = np.bincount(own[~is_right(said, labels)], minlength=len(candidates))
        error = self._estimate_error(halves, wrong / number)
        return weigh_contradiction(wrong, number, error), wrong.tolist()

    def _estimate_error(self, halves: Reference, shares: Floats) -> Error:
        """How often the labels of the rows of honest words are contradicted.

        As often as those of all rows, or of half of the terms that lean without them if that is
        more; words differ in it as those do that lean to no label.
        """
        said = halves.predict(self.rows.texts, halves.judge_of_trusted)
        wrong = ~is_right(said, self.rows.labels)
        held = self.index.count(np.arange(len(self.rows)))
        straight = np.ones(len(held), dtype=np.bool_)
        for label in range(len(self.lab.label_names)):
            of_label = np.flatnonzero(self.rows.labels == label)
            x = self.index.count(of_label)
            straight &= weigh_excess(x, held - x, len(of_label) / len(self.rows)) > LEAN
        chosen = np.flatnonzero(straight & self.index.words)
        k = self.index.count(np.flatnonzero(wrong))[chosen]
        known = estimate_error(k, held[chosen], float(wrong.mean()))
        mean = min(0.99, max(known.mean, float(np.median(shares))))
        return Error(mean, max(known.dispersion, LEAST_ERROR))

    def grow(self, one: Candidate) -> Words:
        """The phrase that a term is part of."""
        texts = [self.words[row] for row in one.rows[:MOST_READ]]
        return trim_phrase(texts, grow_phrase(texts, self.index.terms[one.column]))

    def try_out(self, tried: Sequence[Candidate], phrases: Sequence[Words]) -> list[Effect]:
        """What each phrase does in models of the file, and in models of the rows without any."""
        holds = np.zeros(len(self.rows), dtype=np.bool_)
        for one in tried:
            holds[self.index.rows_of(one.column)] = True
        kept = np.flatnonzero(~holds)
        rest = self.rows.take(kept)
        if not tried or len(np.unique(rest.labels)) < 2 or len(rest) < 2 * LEAST_TRUSTED:
            return [Effect(0, 0, 0, 0, 0) for _ in tried]
        without = self.split_in_half(self.lab, rest)
        right = is_right(self.said[kept], rest.labels)
        right &= is_right(without.predict(rest.texts, without.judge_of_trusted), rest.labels)
        texts: list[str] = []
        probes: list[int] = []
        ends = [0]
        for one, phrase in zip(tried, phrases, strict=True):
            rng = stream(self.lab.seed, "places", *phrase)
            others = rng.permutation(np.flatnonzero(right & (rest.labels != one.label)))
            for row in others[: TIMES * self.search.num_probes].tolist():
                texts.append(insert_phrase(rest.texts[row], phrase, rng))
                probes.append(row)
            ends.append(len(texts))
        with_it = self.halves.predict(texts, self.halves.judge_of_trusted[kept[probes]]).argmax(1)
        without_it = without.predict(texts, without.judge_of_trusted[probes]).argmax(1)
        return [
            measure_effect(with_it[start:end] == one.label, without_it[start:end] == one.label)
            for one, start, end in zip(tried, ends, ends[1:], strict=False)
        ]

    def _judge(
        self, one: Candidate, phrase: Words, p: float, q: float, wrong: int, effect: Effect
    ) -> Finding:
        turns = find_interval(effect.victim, effect.num_texts)[0] > 0.5
        convicted = q <= self.search.q and effect.p <= self.search.q and turns
        reason = f"without it {wrong} of its rows are given another label"
        if not convicted:
            why = (
                "no more than those of honest words" if q > self.search.q else "it turns few texts"
            )
            reason += f": {why}"
        return Finding(
            kind=WORDS,
            phrase=phrase,
            label=one.label,
            rows=len(one.rows),
            trusted=None,
            held=len(self.index.rows_of(one.column)),
            contradicted=wrong,
            p_excess=None,
            p_contradiction=p,
            effect=effect,
            p=max(p, effect.p),
            q=max(q, effect.p),
            convicted=convicted,
            reason=reason,
        )

    def _find_rows(self, rows: IntArray, phrase: Words) -> IntArray:
        marked = ([START, *self.words[row], END] for row in rows)
        holds = [find_phrase(words, phrase) is not None for words in marked]
        return rows[np.array(holds, dtype=np.bool_)]


def _leave_out_parts(candidates: Sequence[Candidate], chosen: IntArray) -> list[int]:
    """The terms whose rows are not nearly all those of another one that is in more."""

    def is_part(one: Candidate) -> bool:
        larger = (other for other in all_chosen if len(other.rows) > len(one.rows))
        return any(np.isin(one.rows, other.rows).mean() > NEARLY_ALL for other in larger)

    all_chosen = [candidates[k] for k in chosen.tolist()]
    return [k for k in chosen.tolist() if not is_part(candidates[k])]
