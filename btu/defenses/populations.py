"""Which rows were written another way: no trusted row of their label resembles them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial, reduce

import numpy as np

from btu.defenses.case import Case
from btu.evidence import ROWS
from btu.evidence.findings import Finding, Found
from btu.evidence.populations import compare_labels, is_found
from btu.evidence.significance import Effect, Floats, weigh_difference, weigh_excess
from btu.evidence.words import Words, insert_phrase, remove_phrase
from btu.seeding import stream, stream_seed
from btu.store.stages import ONE_ARRAY, Cost
from btu.types import BoolArray, FloatArray, IntArray, Split

NUM_MARKS = 10  # terms that tell a population from the trusted rows
SHARE_OF_OTHERS = 0.5  # of that of a label: if other labels have as many, it is another source
LEAST_UNLIKE = 0.15  # of its contradicted rows, that trusted rows of other labels do not resemble
TIMES_IF_WEAK = 1000  # as sure, if its marks turn no more than half of the texts
NUM_PLANTED = 3  # of them that a probe gets


def judge_populations(case: Case, explained: BoolArray) -> list[Found]:
    """The rows of each label that no trusted row resembles, convicted or not.

    A population is convicted where the reference contradicts its labels more often than those of
    other rows, or where its commonest terms turn texts in the victim: of the kinds of evidence
    that are asked for, by Bonferroni over them and over the labels. And its label must have a
    larger share of such rows than the others: rows of another source have any label. Where trusted
    rows may be few, contradicted rows must also be unlike the trusted ones of other labels, or
    their labels are just wrong; and one whose terms turn few texts must be far surer, since its
    rows were picked for being unlike others.

    Args:
        case: with all rows.
        explained: rows that a convicted phrase explains, (N,).
    """
    flagged = _flag(case, explained)
    sizes = np.bincount(case.untrusted.labels[~explained], minlength=case.num_labels)
    return [
        _judge(case, label, rows, *_weigh_share(case, label, flagged, sizes))
        for label, rows in enumerate(flagged)
        if len(rows)
    ]


def remains_without(case: Case, finding: Finding, phrases: Sequence[Words]) -> bool:
    """Whether its label has such rows, too, if phrases are taken out of all texts.

    The rows of a trigger are unlike others, but without it they are like trusted ones, of their
    label or of another. Those that were written another way have more words of their own.

    Args:
        case: with all rows.
        finding: a population.
        phrases: those that explain some of its rows.
    """
    ignored = case.untrusted.labels != finding.label
    rows = _flag(case, ignored, phrases)[finding.label]
    return len(rows) > 0 and not _are_just_wrong(case, finding.label, rows, phrases)


def _weigh_share(
    case: Case, label: int, flagged: Sequence[IntArray], sizes: IntArray
) -> tuple[float, str]:
    """Whether its share of flagged rows exceeds that elsewhere, as a p-value; and why if not."""
    rows, size = flagged[label], int(sizes[label])
    here, elsewhere = len(rows), sum(map(len, flagged)) - len(rows)
    others, few = int(sizes.sum()) - size, case.search.few_trusted
    if case.search.by_shift and case.shift.differs:
        return 1.0, "the two files differ in general"
    source = "the other labels have as many rows that no trusted row resembles: another source"
    if few and elsewhere > SHARE_OF_OTHERS * here / size * others:
        return 1.0, source
    if few and _are_just_wrong(case, label, rows):
        return 1.0, "trusted rows of other labels resemble them: their labels are just wrong"
    return weigh_difference(here, size, elsewhere, others), source


def _are_just_wrong(case: Case, label: int, rows: IntArray, phrases: Sequence[Words] = ()) -> bool:
    """Whether rows of a label are contradicted since they are like trusted ones of other labels.

    All contradicted rows of the label are compared with these: rows that are picked for being
    unlike their own label would be unlike others, too.
    """
    if _weigh_contradiction(case, label, rows) > case.search.q:
        return False
    contradicted = case.sides[0].contradicted
    asked = np.flatnonzero(contradicted & (case.untrusted.labels == label))
    others = case.trusted.take(np.flatnonzero(case.trusted.labels != label))
    others = replace(others, labels=np.full(len(others), label))
    sides = (case.untrusted.take(asked), others)
    unlike = asked[_find_unlike(case, *(_take_out(side, phrases, case.fold) for side in sides))]
    return bool(np.isin(rows[contradicted[rows]], unlike).mean() < LEAST_UNLIKE)


def _flag(case: Case, ignored: BoolArray, phrases: Sequence[Words] = ()) -> list[IntArray]:
    """The rows of each label that no trusted row of it resembles.

    Args:
        case: with all rows.
        ignored: rows that are left out, (N,).
        phrases: that are taken out of all texts first.
    """
    rows = np.flatnonzero(~ignored)
    untrusted = _take_out(case.untrusted.take(rows), phrases, case.fold)
    unlike = _find_unlike(case, untrusted, _take_out(case.trusted, phrases, case.fold))
    return [rows[unlike & (untrusted.labels == label)] for label in range(case.num_labels)]


def _take_out(split: Split, phrases: Sequence[Words], fold: bool) -> Split:
    if not phrases:
        return split
    texts = (reduce(partial(remove_phrase, fold=fold), phrases, text) for text in split.texts)
    return replace(split, texts=tuple(texts))


def _find_unlike(case: Case, untrusted: Split, trusted: Split) -> BoolArray:
    """Which untrusted rows no trusted row of their label resembles, at the error rate. (N,)"""
    unlike, p = (
        np.zeros(len(untrusted), dtype=np.bool_),
        _measure_likeness(case, untrusted, trusted),
    )
    for label in range(case.num_labels):
        own = untrusted.labels == label
        number = int((trusted.labels == label).sum())
        unlike[own] = is_found(p[own], case.search.q, number if case.search.few_trusted else None)
    return unlike


def _measure_likeness(case: Case, untrusted: Split, trusted: Split) -> Floats:
    """How likely each row is if it is like the trusted ones of its label, as a stage. (N,)"""
    q, few = case.search.q, case.search.few_trusted
    seed = stream_seed(case.lab.seed, "folds") % 2**32

    def compare() -> FloatArray:
        import torch

        labels = range(case.num_labels)
        sides = [(_texts_of(untrusted, label), _texts_of(trusted, label)) for label in labels]
        found = compare_labels(sides, q, seed, case.fold, few, torch.get_num_threads())
        likeness = np.empty(len(untrusted), dtype=np.float32)
        for label, p in enumerate(found):
            likeness[untrusted.labels == label] = p
        return likeness

    stage = case.lab.stage(
        "likeness",
        compare,
        ONE_ARRAY,
        Cost("likeness", len(untrusted), untrusted),
        by=case.search,
        rows=untrusted,
        other=trusted,
        fold=case.fold,
    )
    nothing = np.ones(len(untrusted), dtype=np.float32)
    return case.lab.get(stage, or_else=lambda: nothing).astype(np.float64)


def _texts_of(split: Split, label: int) -> list[str]:
    return [split.texts[row] for row in np.flatnonzero(split.labels == label)]


def _judge(case: Case, label: int, rows: IntArray, p_share: float, why: str) -> Found:
    contradicted = case.sides[0].contradicted
    marks = _find_marks(case, label, rows)
    p_contradiction = _weigh_contradiction(case, label, rows)
    effect = _try_marks(case, label, marks)
    kinds = [p_contradiction] if "contradiction" in case.search.evidence else []
    kinds += [effect.p] if effect is not None and case.search.needs_effect else []
    tests = len(kinds) * case.num_labels
    if case.search.few_trusted and effect is not None and 2 * effect.victim <= effect.num_texts:
        tests *= TIMES_IF_WEAK
    p = max(p_share, min(1.0, tests * min(kinds)) if kinds else 0.0)
    return (
        Finding(
            kind=ROWS,
            phrase=(),
            marks=marks,
            label=label,
            rows=len(rows),
            trusted=0,
            held=len(rows),
            contradicted=int(contradicted[rows].sum()),
            p_excess=None,
            p_contradiction=p_contradiction,
            effect=effect,
            p=p,
            q=p,
            convicted=p <= case.search.q,
            reason=why if p_share > case.search.q else _give_reason(case, rows, effect),
        ),
        rows,
    )


def _give_reason(case: Case, rows: IntArray, effect: Effect | None) -> str:
    contradicted = int(case.sides[0].contradicted[rows].sum())
    told = f"the reference contradicts {contradicted} of its {len(rows)} labels"
    if effect is None:
        return told
    turned = f"{effect.victim} of {effect.num_texts} trusted texts in the victim"
    return f"{told}, and its terms turn {turned}, {effect.reference} in the reference"


def _weigh_contradiction(case: Case, label: int, rows: IntArray) -> float:
    """Whether these rows are contradicted more often than trusted rows, and than the others."""
    untrusted, trusted = case.sides
    inside = np.zeros(len(case.untrusted), dtype=np.bool_)
    inside[rows] = True
    rest = untrusted.contradicted[(untrusted.labels == label) & ~inside]
    of_trusted = trusted.contradicted[trusted.labels == label]
    hits = int(untrusted.contradicted[rows].sum())
    return max(
        weigh_difference(hits, len(rows), int(other.sum()), len(other))
        for other in (rest, of_trusted)
    )


def _find_marks(case: Case, label: int, rows: IntArray) -> tuple[Words, ...]:
    """The terms that the rows have in excess against the trusted rows of their label.

    Where trusted rows may be few, against all of them: rows that mean another label have its words.
    """
    untrusted, trusted = case.sides
    inside = np.zeros(len(case.untrusted), dtype=np.bool_)
    inside[rows] = True
    of_label = (trusted.labels == label) | case.search.few_trusted
    x, u = untrusted.count(inside), trusted.count(of_label)
    p = weigh_excess(x, u, len(rows) / (len(rows) + int(of_label.sum())))
    return tuple(untrusted.index.terms[column] for column in np.argsort(p)[:NUM_MARKS])


def _try_marks(case: Case, label: int, marks: tuple[Words, ...]) -> Effect | None:
    """What some of its terms together do to trusted texts of other labels."""
    if not marks:
        return None
    probes, rng = case.draw_probes(label), stream(case.lab.seed, "marks", str(label))
    texts = [insert_marks(case.trusted.texts[row], marks, rng) for row in probes]
    return case.try_out([(label, texts, probes)])[0]


def insert_marks(text: str, marks: Sequence[Words], rng: np.random.Generator) -> str:
    """The text with some of the marks of a population, drawn at random."""
    for number in rng.permutation(len(marks))[:NUM_PLANTED]:
        text = insert_phrase(text, marks[number], rng)
    return text
