"""Which rows were written another way: no trusted row of their label resembles them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from btu.defenses.case import Case
from btu.evidence import ROWS
from btu.evidence.findings import Finding, Found
from btu.evidence.populations import compare_labels, is_found
from btu.evidence.significance import Effect, weigh_difference, weigh_excess
from btu.evidence.words import Words, insert_phrase
from btu.seeding import stream, stream_seed
from btu.store.stages import ONE_ARRAY, Cost
from btu.types import BoolArray, FloatArray, IntArray, Split

NUM_MARKS = 10  # terms that tell a population from the trusted rows
SHARE_OF_OTHERS = 0.5  # of that of a label: if other labels have as many, it is another source
LEAST_BEYOND = 0.5  # of its rows, that its phrases do not explain; fewer resemble these
NUM_PLANTED = 3  # of them that a probe gets


def judge_populations(case: Case, explained: BoolArray) -> list[Found]:
    """The rows of each label that no trusted row resembles, convicted or not.

    A population is convicted where the reference contradicts its labels more often than those of
    other rows, or where its commonest terms turn texts in the victim: of the kinds of evidence
    that are asked for, by Bonferroni over them and over the labels. And its label must have a
    larger share of such rows than the others: rows of another source have any label. Where trusted
    rows may be few, both kinds of evidence must speak for it.

    Args:
        case: with all rows.
        explained: rows that a convicted phrase explains, (N,).
    """
    flagged = _flag(case, explained)
    sizes = np.bincount(case.untrusted.labels[~explained], minlength=case.num_labels)
    if case.search.by_shift and case.shift.differs:
        return [_judge(case, label, rows, 1.0) for label, rows in enumerate(flagged) if len(rows)]
    return [
        _judge(case, label, rows, _weigh_share(label, flagged, sizes, case.search.few_trusted))
        for label, rows in enumerate(flagged)
        if len(rows)
    ]


def _weigh_share(
    label: int, flagged: Sequence[IntArray], sizes: IntArray, few_trusted: bool
) -> float:
    """Whether a label has a larger share of flagged rows than the others have."""
    everywhere = sum(len(rows) for rows in flagged)
    here, size = len(flagged[label]), int(sizes[label])
    others = int(sizes.sum()) - size
    if few_trusted and everywhere - here > SHARE_OF_OTHERS * here / size * others:
        return 1.0
    return weigh_difference(here, size, everywhere - here, others)


def _flag(case: Case, explained: BoolArray) -> list[IntArray]:
    """The rows of each label that no trusted row resembles, at the error rate."""
    rows = np.flatnonzero(~explained)
    p = _measure_likeness(case, rows).astype(np.float64)
    trusted = np.bincount(case.trusted.labels, minlength=case.num_labels).tolist()
    flagged = []
    for label, number in enumerate(trusted):
        own = case.untrusted.labels[rows] == label
        found = is_found(p[own], case.search.q, number if case.search.few_trusted else None)
        flagged.append(rows[own][found])
    return flagged


def _measure_likeness(case: Case, rows: IntArray) -> FloatArray:
    """How likely each of these rows is if it is like the trusted ones of its label, as a stage."""
    untrusted, q, few = case.untrusted.take(rows), case.search.q, case.search.few_trusted
    seed = stream_seed(case.lab.seed, "folds") % 2**32

    def compare() -> FloatArray:
        labels = range(case.num_labels)
        sides = [(_texts_of(untrusted, one), _texts_of(case.trusted, one)) for one in labels]
        found = compare_labels(sides, q, seed, case.fold, few, torch.get_num_threads())
        likeness = np.empty(len(rows), dtype=np.float32)
        for label, p in enumerate(found):
            likeness[untrusted.labels == label] = p
        return likeness

    stage = case.lab.stage(
        "likeness",
        compare,
        ONE_ARRAY,
        Cost("likeness", len(rows), untrusted),
        by=case.search,
        rows=untrusted,
        other=case.trusted,
        fold=case.fold,
    )
    return case.lab.get(stage, or_else=lambda: np.ones(len(rows), dtype=np.float32))


def _texts_of(split: Split, label: int) -> list[str]:
    return [split.texts[row] for row in np.flatnonzero(split.labels == label)]


def goes_beyond(case: Case, finding: Finding, rows: IntArray, explained: BoolArray) -> bool:
    """Whether many rows of a population hold no phrase that explains them, and are contradicted.

    The rows of a phrase are alike, too, and a few honest rows resemble them.

    Args:
        case: with all rows.
        finding: the population.
        rows: its rows.
        explained: rows that hold a phrase which turns texts, (N,).
    """
    beyond = rows[~explained[rows]]
    if len(beyond) == len(rows):
        return True
    many = len(beyond) > LEAST_BEYOND * len(rows)
    return many and _weigh_contradiction(case, finding.label, beyond) <= case.search.q


def _judge(case: Case, label: int, rows: IntArray, p_share: float) -> Found:
    contradicted = case.sides[0].contradicted
    marks = _find_marks(case, label, rows)
    p_contradiction = _weigh_contradiction(case, label, rows)
    effect = _try_marks(case, label, marks)
    kinds = [p_contradiction] if "contradiction" in case.search.evidence else []
    kinds += [effect.p] if effect is not None and case.search.needs_effect else []
    tests = len(kinds) * case.num_labels
    both = case.search.few_trusted  # rows that are picked for being unlike are contradicted easily
    p = max(p_share, min(1.0, tests * (max if both else min)(kinds)) if kinds else 0.0)
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
            reason=_give_reason(case, rows, effect, p_share),
        ),
        rows,
    )


def _give_reason(case: Case, rows: IntArray, effect: Effect | None, p_share: float) -> str:
    if p_share > case.search.q:
        return "the other labels have as many rows that no trusted row resembles: another source"
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
    """The terms that the rows have in excess against the trusted rows of their label."""
    untrusted, trusted = case.sides
    inside = np.zeros(len(case.untrusted), dtype=np.bool_)
    inside[rows] = True
    of_label = trusted.labels == label
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
