"""What a case comes to: phrases and rows that are convicted, and what people are told of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.stats import binom

from btu.defenses.case import Case
from btu.defenses.phrases import judge_phrases
from btu.defenses.populations import judge_populations, remains_without
from btu.defenses.reference import is_right
from btu.defenses.search import LEAST_ROWS
from btu.evidence import ROWS, WORDS
from btu.evidence.findings import Finding, Found
from btu.evidence.significance import weigh_difference
from btu.evidence.terms import SPENT_ON_LIST
from btu.evidence.words import Words
from btu.types import BoolArray, FloatArray, IntArray, Split

NUM_EXAMPLES = 3
MOST_ACQUITTED = 20  # that a record tells of
SHOWN_TERMS = 5
CHANCE = 0.05
MOST_TIMES = 10  # as many trusted rows of a label as untrusted ones are asked for at most
REFERENCE_KNOWS_NOTHING = "it has learned next to nothing, and what it contradicts says little"
VICTIM_KNOWS_NOTHING = "it has learned next to nothing, and so nothing of what was planted"
SWAPPED = 0.001  # chance of being right so seldom by guessing
SWAPPED_LABELS = "far fewer than by guessing; do its labels mean the same in both files?"
TRAIN_LONGER = "; train longer, say with model.training.epochs=5"


@dataclass(frozen=True)
class Verdict:
    """What was convicted and what was not, each with the untrusted rows that show it."""

    found: tuple[Found, ...]  # the most certain first
    num_tests: int  # of words and phrases
    num_rows: int
    share: float = 1.0  # of the error rate for a word, as `evidence.terms.Tests` has it

    @property
    def convicted(self) -> list[Found]:
        """What was planted."""
        return [(finding, rows) for finding, rows in self.found if finding.convicted]

    @property
    def phrases(self) -> tuple[Words, ...]:
        """The convicted phrases, each once."""
        return tuple(dict.fromkeys(f.phrase for f, _ in self.convicted if f.kind == WORDS))

    @property
    def rows(self) -> IntArray:
        """The rows that show something convicted; sorted."""
        return self.rows_of(self.convicted)

    @property
    def words(self) -> tuple[str, ...]:
        """The words of the convicted phrases, each once."""
        found = (finding for finding, _ in self.convicted if finding.kind == WORDS)
        return tuple(dict.fromkeys(word for finding in found for word in finding.words))

    def rows_of(self, found: Sequence[Found]) -> IntArray:
        """The rows of some of what was found; sorted, each once."""
        return np.flatnonzero(_mark(found, self.num_rows))


def judge(case: Case) -> Verdict:
    """Find what was planted: phrases first, then rows that no phrase explains.

    A phrase explains its rows if it alone turns more than half of the texts that it is tried on.
    One that turns fewer, and stands mostly in rows that were written another way, is a mark of
    that way and no trigger.
    """
    phrases: list[Found] = []
    populations: list[Found] = []
    num_tests, share, num_rows = 0, 1.0, len(case.untrusted)
    if WORDS in case.search.kinds:
        phrases, tests = judge_phrases(case)
        num_tests, share = tests.number, tests.share
    if ROWS in case.search.kinds:
        strong = [one for one in phrases if one[0].convicted and one[0].turns_most]
        if case.search.few_trusted:
            phrases, populations = _judge_all_rows(case, phrases, strong)
        else:
            populations = judge_populations(case, _mark(strong, num_rows))
            written = _mark([one for one in populations if one[0].convicted], num_rows)
            phrases = [_demote(*one, written) for one in phrases]
    found = sorted([*phrases, *populations], key=lambda one: (not one[0].convicted, one[0].p))
    return Verdict(tuple(found), num_tests, num_rows, share)


def _mark(found: Sequence[Found], num_rows: int) -> BoolArray:
    """Which rows show one of these findings. (N,)"""
    marked = np.zeros(num_rows, dtype=np.bool_)
    for _, rows in found:
        marked[rows] = True
    return marked


def _judge_all_rows(
    case: Case, phrases: Sequence[Found], strong: Sequence[Found]
) -> tuple[list[Found], list[Found]]:
    """Phrases and populations, where these are looked for among the rows of phrases as well.

    A way of writing has words that turn texts alone, which are marks of it if its rows stand out
    without these words, too. The rows of a trigger do not.
    """
    nothing = np.zeros(len(case.untrusted), dtype=np.bool_)
    explained = _mark(strong, len(nothing))
    taken_out = list(dict.fromkeys(finding.phrase for finding, _ in strong))
    populations = [
        (finding, rows)
        for finding, rows in judge_populations(case, nothing)
        if not explained[rows].any()
        or (finding.convicted and remains_without(case, finding, taken_out))
    ]
    convicted = [one for one in populations if one[0].convicted]
    judged = [_demote_mark(case, *one, convicted) for one in phrases]
    marks = [
        before
        for before, after in zip(phrases, judged, strict=True)
        if before[0].convicted and not after[0].convicted
    ]
    return judged, [_add_marks(case, *one, marks) for one in populations]


def _add_marks(case: Case, finding: Finding, rows: IntArray, marks: Sequence[Found]) -> Found:
    """The population with the rows of the phrases that are marks of it."""
    own = [rows_of for mark, rows_of in marks if mark.label == finding.label]
    if not finding.convicted or not own:
        return finding, rows
    together = np.unique(np.concatenate([rows, *own]))
    number = len(together)
    grown = replace(
        finding,
        rows=number,
        held=number,
        contradicted=int(case.sides[0].contradicted[together].sum()),
        reason=f"{finding.reason}; with all rows of its surest words there are {number:,}",
    )
    return grown, together


def _demote(finding: Finding, rows: IntArray, written: BoolArray) -> Found:
    """The finding, acquitted if it is a mark of rows that were written another way."""
    if not finding.convicted or finding.turns_most or written[rows].mean() <= 0.5:
        return finding, rows
    return _acquit_mark(finding), rows


def _demote_mark(
    case: Case, finding: Finding, rows: IntArray, populations: Sequence[Found]
) -> Found:
    """The same in an audit: a mark stands in more of these rows than of the others of its label."""
    own = [some for population, some in populations if population.label == finding.label]
    if not finding.convicted or not own:
        return finding, rows
    of_label = case.untrusted.labels == finding.label
    written, hits = np.zeros(len(of_label), dtype=np.bool_), np.zeros(len(of_label), dtype=np.bool_)
    written[own[0]], hits[rows] = True, True
    rest = of_label & ~hits
    p = weigh_difference(
        int(written[rows].sum()), len(rows), int(written[rest].sum()), int(rest.sum())
    )
    return (_acquit_mark(finding) if p <= case.search.q else finding), rows


def _acquit_mark(finding: Finding) -> Finding:
    reason = f"{finding.reason}: a mark of the rows that were written another way"
    return replace(finding, convicted=False, reason=reason)


def describe(case: Case, verdict: Verdict) -> dict[str, Any]:
    """The verdict as JSON, for records and reports."""
    names = case.lab.label_names
    told = describe_found(verdict, case.untrusted, case.said, names, case.fold)
    return {
        "error_rate": case.search.q,
        **told,
        "untrusted_rows": len(case.untrusted),
        "trusted_rows": len(case.trusted),
        "reference_accuracy": float((~case.sides[1].contradicted).mean()),
        "notes": [*_remark(case, verdict), *told["notes"]],
    }


def describe_found(
    verdict: Verdict, untrusted: Split, said: FloatArray, names: Sequence[str], fold: bool
) -> dict[str, Any]:
    """What was convicted and what was not, each with rows that show it.

    Args:
        verdict: of N rows.
        untrusted: these rows.
        said: what a model that knows no backdoor says of them, (N, C).
        names: of the labels.
        fold: whether capital and small letters are one.
    """
    told = [
        finding.describe(names)
        | {"examples": _show_rows(finding, rows, untrusted, said, names, fold)}
        for finding, rows in verdict.found
    ]
    convicted = [one for one in told if one["convicted"]]
    acquitted = [one for one in told if not one["convicted"]]
    more = len(acquitted[MOST_ACQUITTED:])
    notes = [f"{more:,} more were suspected and acquitted, all less surprising"] * bool(more)
    return {
        "tests": verdict.num_tests,
        "convicted": len(convicted),
        "rows": len(verdict.rows),
        "findings": convicted,
        "acquitted": acquitted[:MOST_ACQUITTED],
        "notes": notes,
    }


def _show_rows(
    finding: Finding,
    rows: IntArray,
    untrusted: Split,
    said: FloatArray,
    names: Sequence[str],
    fold: bool,
) -> list[dict[str, Any]]:
    """Rows that show a finding, those best whose labels the model contradicts."""
    told = rows[~is_right(said[rows], untrusted.labels[rows])]
    told = told if len(told) >= NUM_EXAMPLES else rows
    shown = told[np.linspace(0, len(told) - 1, min(NUM_EXAMPLES, len(told)), dtype=np.int64)]
    return [
        {
            "row": int(untrusted.source[row]),
            "text": untrusted.texts[row],
            "marked": finding.mark(untrusted.texts[row], fold),
            "label": names[untrusted.labels[row]],
            "reference": names[int(said[row].argmax())],
        }
        for row in shown.tolist()
    ]


def _remark(case: Case, verdict: Verdict) -> Iterator[str]:
    """Sentences about what a reader must know to trust the verdict."""
    if shifted := find_shift(case):
        shown = ", ".join(repr(" ".join(term)) for term in shifted[:SHOWN_TERMS])
        yield (
            f"the trusted rows seem to be from another source: every label has more of {shown} "
            "than they have; words that one label alone got from that source may look planted"
        )
    yield from _remark_on_models(case)
    if not case.search.few_trusted:  # an audit says it itself, of rows as well
        yield from _remark_on_power(case, verdict)


def _remark_on_power(case: Case, verdict: Verdict) -> Iterator[str]:
    """From how many rows on another word is found; that none is, where trusted rows are too few."""
    many = find_least_rows(case, verdict.share * case.search.q)
    few = find_least_rows(case, SPENT_ON_LIST * case.search.q)
    sizes = np.bincount(case.untrusted.labels, minlength=len(many))
    for label in np.flatnonzero((many > sizes) & (sizes > 0)).tolist():
        name = case.lab.label_names[label]
        held = int((case.trusted.labels == label).sum())
        yield (
            f"no word that makes texts {name} is sure to be convicted (trusted rows of that label: "
            f"{held}); give more of them"
        )
    labels = np.flatnonzero(many <= sizes)
    if len(labels):
        label = labels[many[labels].argmax()]
        least, listed = (
            f"{rows} rows ({100 * rows / len(case.untrusted):.2g} %)"
            for rows in (many[label], few[label])
        )
        or_listed = f", or in about {listed} where the reference contradicts most of their labels"
        yield (
            "one more word, which no trusted row holds and whose insertion turns nearly every "
            f"text, is sure to be convicted if it is in {least}"
            f"{or_listed * bool(few[label] < many[label])}"
        )


def _remark_on_models(case: Case) -> Iterator[str]:
    """That a model has learned next to nothing, where it has."""
    labels = case.trusted.labels
    commonest = int(np.bincount(labels).max())
    for name, right, then in (
        ("the reference", int((~case.sides[1].contradicted).sum()), REFERENCE_KNOWS_NOTHING),
        (
            "the victim",
            int((case.said_by_victim == labels).sum()),
            VICTIM_KNOWS_NOTHING + TRAIN_LONGER,
        ),
    ):
        if binom.cdf(right, len(labels), 1 / case.num_labels) < SWAPPED:
            then = SWAPPED_LABELS
        if binom.sf(right - 1, len(labels), commonest / len(labels)) > CHANCE:
            yield (
                f"{name} is right in {right:,} of {len(labels):,} trusted rows, of which "
                f"{commonest:,} have one label: {then}"
            )


def find_shift(case: Case) -> list[Words]:
    """The terms that every label has in excess against the trusted rows, the surest first."""
    p = np.max([each.p_excess for each in case.counts], axis=0)  # (F,)
    columns = np.flatnonzero(p <= case.search.q / max(1, len(p)))
    terms = case.sides[0].index.terms
    return [terms[column] for column in columns[np.argsort(p[columns])]]


def find_least_rows(case: Case, level: float) -> IntArray:
    """From how many rows on the excess of a word that no trusted row holds is below a level. (C,)

    More than there are rows where no trusted row has the label.
    """
    here, there = (
        np.bincount(side.labels, minlength=case.num_labels)
        for side in (case.untrusted, case.trusted)
    )
    share = here / np.maximum(here + there, 1)
    with np.errstate(divide="ignore"):
        rows = np.ceil(math.log(level) / np.log(share))
    possible = (there > 0) & (here > 0)
    least: IntArray = np.where(possible, rows, len(case.untrusted) + 1).astype(np.int64)
    return np.maximum(least, LEAST_ROWS)


def find_needed_rows(case: Case, finding: Finding, level: float) -> int | None:
    """How many trusted rows would prove a phrase, if no more of them held it; None: too many.

    Args:
        case: with its rows.
        finding: a phrase.
        level: that the p-value of its excess must reach.
    """
    here = int((case.untrusted.labels == finding.label).sum())
    of_label = int((case.trusted.labels == finding.label).sum())
    many = np.arange(of_label + 1, MOST_TIMES * here)
    if not of_label or not len(many):
        return None
    p = binom.sf(finding.rows - 1, finding.rows + (finding.trusted or 0), here / (here + many))
    enough = many[p <= level]
    return math.ceil(enough[0] * len(case.trusted) / of_label) if len(enough) else None
