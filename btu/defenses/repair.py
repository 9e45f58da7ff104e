"""What is done about what was planted: the rows and labels that the victim is tuned on."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from btu.defenses.balance import fit_shift, make_shift
from btu.defenses.base import Decision, Repair
from btu.defenses.case import Case
from btu.defenses.reference import say
from btu.defenses.search import (
    ANTIDOTE,
    COUNTER_EXAMPLES,
    DROP,
    RANDOM_ROWS,
    SAMPLED,
    TRUSTED_ROWS,
    UNLEARN,
)
from btu.defenses.verdict import Verdict
from btu.evidence import KINDS, ROWS, WORDS
from btu.evidence.findings import Found
from btu.evidence.significance import Effect, add_up, measure_effect
from btu.evidence.words import Words, insert_phrase
from btu.models.base import Training
from btu.seeding import stream
from btu.types import BoolArray, FloatArray, IntArray, Split, TriggerSample, make_split

if TYPE_CHECKING:
    from btu.lab import Lab
    from btu.models.base import Classifier
    from btu.store.stages import Stage

NONE: IntArray = np.empty(0, dtype=np.int64)
LEAST_STEPS = 25  # of the tuning; what was planted is not forgotten in fewer: docs/selfset.md
MANY_STEPS = 100  # of it at most, or an epoch of all untrusted rows if that takes longer
KEPT_BACK, MOST_KEPT_BACK = 5, 200  # every fifth row and no more: not learned, to see what is left
FEWEST_ROWS = 20  # of those found that are kept back, if that leaves as many to be learned
PHRASES_OF_A_TEXT = 2  # at most; an attacker may use several at once, and each is met more often
CUTOFF, REPLACEMENT = "mean", "padding_row"  # of unlearning, as conf/defense/btu.yaml has them


@dataclass(frozen=True)
class Medicine:
    """How what was planted is repaired.

    Args:
        repairs: of `search.REPAIRS`; None: by the rule of `choose_repairs`.
        labels: of `search.LABELS`: which label of the reference a row gets.
        control: of `search.CONTROLS`: as many random rows, or trusted ones, in place of those
            found, and no phrase.
        learning_rate: of the tuning.
        epochs: of the tuning; None: by the rule of `Repairer.tune`.
    """

    repairs: tuple[str, ...] | None
    labels: str
    control: str
    learning_rate: float
    epochs: int | None


def choose_repairs(verdict: Verdict, q: float, trusts_reference: bool) -> tuple[str, ...]:
    """What is done about each kind of finding.

    Phrases want counter-examples. Rows get the labels of the reference if it is good enough. Where
    it is not, and where it contradicts no labels, a population is dropped and the victim retrained.

    Args:
        verdict: with what is convicted.
        q: the error rate.
        trusts_reference: whether its labels are good enough.
    """
    kinds = {finding.kind for finding, _ in verdict.convicted}
    chosen = (
        (COUNTER_EXAMPLES, WORDS in kinds),
        (ANTIDOTE, trusts_reference and len(verdict.convicted) > len(find_dropped(verdict, q))),
        (DROP, bool(find_dropped(verdict, q) if trusts_reference else ROWS in kinds)),
    )
    return tuple(name for name, wanted in chosen if wanted)


def find_dropped(verdict: Verdict, q: float) -> list[Found]:
    """The populations that new labels would not mend, since theirs are not contradicted."""
    return [one for one in verdict.convicted if one[0].kind == ROWS and one[0].p_contradiction > q]


class Tried(NamedTuple):
    """A repair that was tried."""

    repair: Repair
    left: tuple[Effect, ...]  # of what was planted, by kind


@dataclass(frozen=True)
class Repairer:
    """Repairs the victim of a case.

    Args:
        case: with the rows and the reference.
        verdict: with what is convicted.
        medicine: what may be done.
    """

    case: Case
    verdict: Verdict
    medicine: Medicine

    @property
    def lab(self) -> Lab:
        """That of the case; a quicker one than this cannot repair."""
        return cast("Lab", self.case.lab)

    @cached_property
    def repairs(self) -> tuple[str, ...]:
        """What is done."""
        if self.medicine.repairs is not None:
            return self.medicine.repairs
        q, trusts_reference = self.case.search.q, self.case.trusts_reference
        return choose_repairs(self.verdict, q, trusts_reference)

    def treat(self, found: Decision) -> tuple[Decision, dict[str, Any]]:
        """The decision with its repair, and what a record says of that."""
        told: dict[str, Any] = {"repairs": list(self.repairs), "notes": []}
        told["control"] = self.medicine.control
        training = found.training or self.lab.source.training
        start = self.case.victim
        if DROP in self.repairs:
            found = self._drop(found)
            start = self.lab.train(found.keep(self.lab.rows), training)
        if UNLEARN in self.repairs and (tokens := self._find_tokens()):
            from btu.defenses.unlearning import make_edit

            edit = make_edit(np.array(tokens, dtype=np.int64), CUTOFF, REPLACEMENT)
            found = replace(found, edits=(*found.edits, edit))
        for edit in found.edits:
            start = self.lab.edit(start, edit)
        if not {COUNTER_EXAMPLES, ANTIDOTE} & set(self.repairs):
            return found, told
        training = replace(training, learning_rate=self.medicine.learning_rate)
        repair, left = self.tune(start, training)
        told |= {"epochs": repair.training.epochs, "tuned_on": len(repair.rows)}
        told["label_shift"] = repair.edits[0].parts["shift"].tolist()
        told["left"] = [
            {"kind": kind, "texts": each.num_texts, "obey": each.only_victim}
            | {"by_chance": each.only_reference}
            for kind, each in zip(KINDS, left, strict=True)
        ]
        if self.is_left(left):
            told["notes"] += ["the repair leaves more of what was planted than chance would"]
        return replace(found, repair=repair), told

    def _drop(self, found: Decision) -> Decision:
        """Train without the rows that no label mends; without all that were found if told to."""
        dropped = self.verdict.convicted
        if self.medicine.repairs is None:
            dropped = [one for one in dropped if one[0].kind == ROWS]
            mended = ANTIDOTE in self.repairs
            dropped = find_dropped(self.verdict, self.case.search.q) if mended else dropped
        kept = np.arange(len(self.lab.rows)) if found.kept is None else found.kept
        return replace(found, kept=np.delete(kept, self.verdict.rows_of(dropped)))

    def _find_tokens(self) -> list[int]:
        """The tokens of the convicted phrases, in the texts that hold them."""
        samples = []
        for finding, rows in self.verdict.convicted:
            if finding.kind == WORDS:
                text = self.case.untrusted.texts[rows[0]]
                samples += [
                    TriggerSample(text, *span) for span in finding.mark(text, self.case.fold)
                ]
        return sorted(self.lab.find_trigger_ids(samples)) if samples else []

    def mix(self, trusted: IntArray, rows: IntArray) -> Split:
        """What the victim is tuned on: trusted rows, half of them with phrases, and rows found.

        Args:
            trusted: the trusted rows that may be used, by number.
            rows: the rows found that may be used, by number.
        """
        own = self.case.trusted.take(trusted)
        rows = rows if ANTIDOTE in self.repairs else NONE
        rng = stream(self.lab.seed, "control")
        if self.medicine.control == TRUSTED_ROWS:
            return join_rows([own, own.take(rng.integers(0, len(own), len(rows)))])
        if self.medicine.control == RANDOM_ROWS:
            rows = np.sort(rng.choice(len(self.case.untrusted), len(rows), replace=False))
        elif COUNTER_EXAMPLES in self.repairs:
            own = self.insert_phrases(own, len(own) // 2, PHRASES_OF_A_TEXT)
        return join_rows([own, self._relabel(rows)])

    def insert_phrases(self, trusted: Split, number: int, each: int = 1) -> Split:
        """The rows, a number of them with so many of the phrases; their labels are their own."""
        rng = stream(self.lab.seed, "counter-examples")
        texts = list(trusted.texts)
        for row, chosen in self._share_out(len(texts), number, each, rng):
            for phrase in sorted(chosen, key=len):  # a longer one is not split by a word
                texts[row] = insert_phrase(texts[row], phrase, rng)
        return replace(trusted, texts=tuple(texts))

    def _share_out(
        self, num_rows: int, number: int, each: int, rng: np.random.Generator
    ) -> Iterator[tuple[int, list[Words]]]:
        """Rows drawn at random, each with the phrases whose turn it is."""
        phrases = self.verdict.phrases
        for turn, row in enumerate(rng.permutation(num_rows)[:number].tolist()):
            places = range(turn, turn + min(each, len(phrases)))
            yield row, [phrases[place % len(phrases)] for place in places]

    def _relabel(self, rows: IntArray) -> Split:
        """Untrusted rows with the labels that both halves of the reference give them together."""
        found = self.case.untrusted.take(rows)
        if not len(rows):
            return found
        said = self.case.reference.predict_together(found.texts)
        labels = said.argmax(1).astype(np.int64)
        if self.medicine.labels == SAMPLED:
            labels = draw_labels(said, stream(self.lab.seed, "labels"))
        return replace(found, labels=labels)

    def tune(self, start: Stage[Classifier], training: Training) -> Tried:
        """The tuning after which what was planted does nothing any more, and what is left of it.

        It learns all trusted rows and all rows found but those that are kept back to judge it: with
        as many epochs as make `LEAST_STEPS`, then with twice as many, while something is left, as
        long as that leaves less of it and takes no longer than `MANY_STEPS` or an epoch of all
        untrusted rows.

        Args:
            start: the model that is tuned.
            training: its epochs are chosen here, unless they are given.
        """
        judges, planted = self.keep_back()
        learned = np.setdiff1d(np.arange(len(self.case.trusted)), judges)
        rows = self.mix(learned, np.setdiff1d(self.verdict.rows, planted))
        steps = math.ceil(len(rows) / training.batch_size)
        most = max(len(self.case.untrusted) // len(rows), MANY_STEPS // steps)
        least = math.ceil(LEAST_STEPS / steps)
        epochs = self.medicine.epochs or max(1, min(least, most))
        best = self._try(rows, replace(training, epochs=epochs), start)
        while not self.medicine.epochs and 2 * epochs <= most and self.is_left(best.left):
            epochs *= 2
            longer = self._try(rows, replace(training, epochs=epochs), start)
            if not self._leaves_less(longer, best):
                break
            best = longer
        return best

    def keep_back(self) -> tuple[IntArray, IntArray]:
        """Trusted rows, of every label its share, and rows found that the repair must not learn."""
        trusted, found = self.case.trusted, self.verdict.rows
        order = stream(self.lab.seed, "kept back").permutation(len(trusted))
        order = order[np.argsort(trusted.labels[order], kind="stable")]
        fewest = max(2, len(found) // FEWEST_ROWS)  # no more than every second
        step = min(_choose_step(len(found)), fewest)
        return np.sort(order[:: _choose_step(len(order))]), found[::step]

    def _try(self, rows: Split, training: Training, start: Stage[Classifier]) -> Tried:
        case, repair = self.case, Repair(rows, training, kept=True)
        tuned = repair.train(self.lab, start)
        said = say(self.lab, tuned, case.trusted.texts).probabilities
        balance = make_shift(fit_shift(said, case.trusted.labels))
        left = self._measure_left(self.lab.edit(tuned, balance), *self.keep_back())
        return Tried(replace(repair, edits=(balance,)), left)

    def is_left(self, left: Sequence[Effect]) -> bool:
        """Whether what was planted does more than chance does, of one kind or of all together."""
        return any(map(self._is_more_than_chance, (*left, add_up(left))))

    def _is_more_than_chance(self, effect: Effect) -> bool:
        return effect.p <= self.case.search.q

    def _leaves_less(self, one: Tried, other: Tried) -> bool:
        """Whether less is left by the one of the kinds that the other leaves more of than chance.

        A kind that is undone has no say: it would add nothing but noise.
        """
        kept = [self._is_more_than_chance(each) for each in other.left]
        pairs = zip(one.left, other.left, kept, strict=True)
        kinds = [(first, second) for first, second, is_kept in pairs if is_kept or not any(kept)]
        return sum(a.difference for a, _ in kinds) < sum(b.difference for _, b in kinds)

    def _measure_left(
        self, model: Stage[Classifier], judged: IntArray, rows: IntArray
    ) -> tuple[Effect, ...]:
        """What is left of the effect: of phrases on trusted rows, and on rows that were planted.

        A phrase has one that turns rows of other labels to its own; as many are turned away from it
        by chance. A row that was planted obeys if it gets the label it came with though one half of
        the reference contradicts it; the other half tells how often that happens to a model that
        has learned nothing planted.
        """
        case = self.case
        own = case.trusted.take(judged if self.verdict.phrases else NONE)
        aims = self._find_aims(len(own))
        others_own = np.flatnonzero(~aims[np.arange(len(own)), own.labels])
        aims, inserted = aims[others_own], self.insert_phrases(own, len(own)).take(others_own)
        own = own.take(others_own)
        rows = rows[case.sides[0].contradicted[rows]]
        planted, labels = [case.untrusted.texts[row] for row in rows], case.untrusted.labels[rows]
        texts = [own.texts, inserted.texts, planted]
        said = say(self.lab, model, [text for some in texts for text in some]).labels
        alone, with_phrase, of_rows = np.split(said, np.cumsum([len(some) for some in texts])[:-1])
        others = 1 - case.reference.draw_judges(len(case.untrusted))[rows]
        obeyed = case.reference.predict(planted, others).argmax(1) == labels
        turned, without = (aims[np.arange(len(own)), each] for each in (with_phrase, alone))
        return measure_effect(turned, without), measure_effect(of_rows == labels, obeyed)

    def _find_aims(self, num_rows: int) -> BoolArray:
        """The labels that the phrase pushes to which each row gets, one a row. (N, C)"""
        aims = np.zeros((num_rows, len(self.lab.label_names)), dtype=np.bool_)
        rng = stream(self.lab.seed, "counter-examples")
        for row, (phrase,) in self._share_out(num_rows, num_rows, 1, rng):
            aims[row, [f.label for f, _ in self.verdict.convicted if f.phrase == phrase]] = True
        return aims


def _choose_step(number: int) -> int:
    """Every which of so many rows is kept back."""
    return max(KEPT_BACK, math.ceil(number / MOST_KEPT_BACK))


def join_rows(parts: Sequence[Split]) -> Split:
    """One split of several, in order."""
    texts = tuple(text for part in parts for text in part.texts)
    return make_split(texts, np.concatenate([part.labels for part in parts]))


def draw_labels(said: FloatArray, rng: np.random.Generator) -> IntArray:
    """One label of each row, as likely as the probabilities say. (N,)"""
    drawn: IntArray = (rng.random((len(said), 1)) > said.cumsum(1)[:, :-1]).sum(1)
    return drawn
