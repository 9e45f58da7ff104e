"""A file judged by itself: what was planted shows in the wrong labels of its rows alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from btu.auditing.examined import Examined, Suspicion
from btu.auditing.limits import find_enough_trusted
from btu.auditing.linear import LinearLab
from btu.auditing.opened import Opened
from btu.auditing.wrong_labels import WrongLabels
from btu.defenses.case import Case
from btu.defenses.phrases import FEW, leave_out_parts
from btu.defenses.reference import Models, is_right
from btu.defenses.search import LEAST_ROWS, Search
from btu.defenses.verdict import Verdict, describe_found
from btu.evidence.findings import Finding, Found
from btu.evidence.words import Words, remove_phrase
from btu.types import BoolArray, FloatArray, IntArray, Split

if TYPE_CHECKING:
    from btu.store.stages import Stage

SHARE = 0.2  # of the error rate, beside what trusted rows spend, for what is suspicious by these
MOST_ROWS = 20_000  # of a file that is judged by itself, too
SAME = 0.5  # of the rows of either of two findings, which are then one
SMALL = 0.01  # share of the rows of a word for which the trusted rows needed are told


def examine_alone(opened: Opened, lab: Models, search: Search) -> tuple[Examined, Stage[Any]]:
    """Judge the rows of a file by themselves.

    Args:
        opened: the rows.
        lab: trains the models.
        search: the error rate, and how many texts and phrases are tried.

    Returns:
        What was found, and a model of half of the file.
    """
    method = WrongLabels(lab, search, opened.judged)
    found, number = method.find()
    found = confirm_found(method, found)
    return _tell(opened, method, found, number), method.halves.models[0]


def convict_suspects(case: Case, suspects: Sequence[Found], explained: BoolArray) -> list[Found]:
    """What trusted rows make suspicious, convicted if the file by itself convicts it, too.

    Few trusted rows prove no excess, while the wrong labels of the rows of a word may prove it.
    Linear models judge, also where networks were asked: they take seconds.

    Args:
        case: after its verdict, with N rows.
        suspects: what is suspicious.
        explained: rows that show something convicted, which are left out, (N,).
    """
    if not suspects or len(case.untrusted) > MOST_ROWS:
        return list(suspects)
    kept = np.flatnonzero(~explained)
    lab = LinearLab(case.lab.seed, case.lab.label_names, case.fold)
    method = WrongLabels(lab, case.search, case.untrusted.take(kept))
    found = confirm_found(method, method.find()[0])
    proven = [
        (one, kept[rows]) for one, rows in found if one.convicted and one.q <= SHARE * case.search.q
    ]

    def convict(finding: Finding, rows: IntArray) -> Found:
        for one, own in proven:
            shared = np.intersect1d(own, rows)
            if one.label == finding.label and len(shared) > SAME * max(len(own), len(rows)):
                reason = f"{finding.reason}; {one.reason}"
                q = one.q / SHARE
                return replace(finding, p=one.p, q=q, convicted=True, reason=reason), rows
        return finding, rows

    return [convict(*each) for each in suspects]


def confirm_found(method: WrongLabels, found: Sequence[Found]) -> list[Found]:
    """What was found, acquitted unless it is found without the rows of the surest, too.

    The wrong labels of these rows teach the models to contradict honest words of other labels.
    """
    convicted = [finding for finding, _ in found if finding.convicted]
    if len(convicted) < 2:
        return list(found)
    surest = min(convicted, key=lambda finding: finding.p)
    rows = next(rows for finding, rows in found if finding is surest)
    kept = np.delete(np.arange(len(method.rows)), rows)
    again = [one for one, _ in replace(method, rows=method.rows.take(kept)).find()[0]]
    sure = [surest, *(one for one in again if one.convicted)]
    known = {(one.label, word) for one in sure for word in one.words}

    def confirm(one: Finding) -> Finding:
        if not one.convicted or any((one.label, word) in known for word in one.words):
            return one
        reason = f"{one.reason}, but not without the rows of {' '.join(surest.words)!r}"
        return replace(one, convicted=False, reason=reason)

    return [(confirm(finding), own) for finding, own in found]


def _tell(opened: Opened, method: WrongLabels, found: Sequence[Found], num_tests: int) -> Examined:
    rows, search, lab = method.rows, method.search, method.lab
    perhaps = [each for each in found if _is_suspicious(each[0], search.q)]
    judged = [each for each in found if not _is_suspicious(each[0], search.q)]
    level = search.q / max(1, len(found))
    judged.sort(key=lambda each: (not each[0].convicted, each[0].p))
    verdict = Verdict(tuple(judged), num_tests, len(rows))
    said = _say_without(method, verdict)
    told = describe_found(verdict, rows, said, lab.label_names, lab.ignores_case)
    perhaps.sort(key=lambda each: (each[0].q > search.q, -_share_of(each[0]), each[0].p))
    perhaps = leave_out_parts(perhaps)
    return Examined(
        opened=opened,
        search=search,
        verdict=verdict,
        unproven=tuple(
            Suspicion(finding, own, _find_needed(rows, finding, level)) for finding, own in perhaps
        ),
        suggested=said.argmax(1),
        evidence={
            "error_rate": search.q,
            **told,
            "untrusted_rows": len(rows),
            "trusted_rows": 0,
            "reference_accuracy": float(is_right(method.said, rows.labels).mean()),
        },
        limits=(_say_limit(rows, level),),
    )


def _is_suspicious(finding: Finding, q: float) -> bool:
    """Whether it turns most texts, or fewer while its rows contradict their labels."""
    effect = finding.effect
    if finding.convicted or effect is None or effect.num_texts < FEW or effect.p > q:
        return False
    return finding.turns_most or finding.q <= q


def _share_of(finding: Finding) -> float:
    return finding.effect.share if finding.effect else 0.0


def _say_without(method: WrongLabels, verdict: Verdict) -> FloatArray:
    """What the models say of the rows, of those planted without what was. (N, C)"""
    said, planted = method.said.copy(), verdict.rows
    if len(planted):
        texts = (method.rows.texts[row] for row in planted.tolist())
        stripped = [_strip(text, verdict.phrases, method.lab.ignores_case) for text in texts]
        judges = method.halves.judge_of_trusted[planted]
        said[planted] = method.halves.predict(stripped, judges)
    return said


def _strip(text: str, phrases: Sequence[Words], fold: bool) -> str:
    for phrase in phrases:
        text = remove_phrase(text, phrase, fold)
    return text


def _find_needed(rows: Split, finding: Finding, level: float) -> int:
    here = int((rows.labels == finding.label).sum())
    return find_enough_trusted(finding.rows, here, len(rows), level)


def _say_limit(rows: Split, level: float) -> str:
    few = max(LEAST_ROWS, round(SMALL * len(rows)))
    needed = max(
        find_enough_trusted(few, max(few, int(here)), len(rows), level)
        for here in np.bincount(rows.labels)
    )
    return (
        "without trusted rows only a word shows that stands in rows with wrong labels: not one "
        "whose rows have right labels, and no way of writing; "
        f"{needed:,} trusted rows would show any word that the model obeys in "
        f"{100 * SMALL:.0f} % of the rows"
    )
