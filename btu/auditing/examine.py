"""What was planted in a file: told by trusted rows, or by the file alone without them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from btu.auditing.alone import convict_suspects, examine_alone
from btu.auditing.drift import Drift, measure_drift
from btu.auditing.examined import (
    FILE_MODEL,
    TRUSTED_MODEL,
    Examined,
    Suspicion,
    choose_epochs,
)
from btu.auditing.limits import say_limits
from btu.auditing.linear import LinearLab
from btu.auditing.opened import Opened
from btu.auditing.unread import find_unread
from btu.defenses.case import Case
from btu.defenses.phrases import FEW, find_share, find_unproven
from btu.defenses.reference import Models, Reference
from btu.defenses.search import Search
from btu.defenses.selfset import SelfSet
from btu.defenses.verdict import TRAIN_LONGER, describe, find_needed_rows, judge
from btu.evidence import WORDS
from btu.evidence.findings import Finding
from btu.types import BoolArray, Dataset, IntArray, PoisonedDataset

if TYPE_CHECKING:
    from btu.job import Job
    from btu.lab import Lab
    from btu.store.stages import Stage

MODELS = {  # of a case, and what an audit calls them
    "the victim": FILE_MODEL,
    "the reference": TRUSTED_MODEL,
}


def examine(opened: Opened, job: Job, fast: bool) -> Examined:
    """Judge the rows of a file, each text and label once.

    Args:
        opened: the rows.
        job: with the model, the settings of `defense=selfset`, and the seed.
        fast: whether linear models of words take the place of networks.
    """
    network = None if fast else open_network_lab(opened, job)
    lab: Models = network or LinearLab(job.seed, opened.label_names)
    if opened.has_trusted:
        examined, model = _compare(_open_case(opened, lab, job), opened)
    else:
        examined, model = examine_alone(opened, lab, make_search(job))
    explained = _mark(examined.verdict.rows, len(opened.judged))
    sides, level = (opened.judged, opened.trusted), examined.search.q
    unread = find_unread(*sides, explained, lab.ignores_case, level)
    drift: list[Drift] = []
    if network is not None:
        drift = measure_drift(network, model, examined.convicted, opened.judged)
    evidence = _say_plainly(examined.evidence, fast)
    return replace(examined, evidence=evidence, unread=tuple(unread), drift=tuple(drift))


def _compare(case: Case, opened: Opened) -> tuple[Examined, Stage[Any]]:
    """What trusted rows tell, and the model of the file."""
    verdict = judge(case)
    explained = _mark(verdict.rows, len(case.untrusted))
    suspects = convict_suspects(case, find_unproven(case, explained), explained)
    proven = [one for one in suspects if one[0].convicted]
    convicted = sorted([*verdict.convicted, *proven], key=lambda one: one[0].p)
    acquitted = [one for one in verdict.found if not one[0].convicted]
    verdict = replace(verdict, found=(*convicted, *acquitted))
    untried = [one for one in verdict.found if _is_untried(*one)]
    unproven = [
        Suspicion(finding, rows, _find_needed(case, finding, verdict.share))
        for finding, rows in [*untried, *suspects]
        if not finding.convicted
    ]
    examined = Examined(
        opened=opened,
        search=case.search,
        verdict=verdict,
        unproven=tuple(unproven),
        suggested=case.said.argmax(1),
        evidence=describe(case, verdict),
        limits=tuple(say_limits(case, verdict)),
        shift=case.shift,
    )
    return examined, case.victim


def _say_plainly(evidence: Mapping[str, Any], fast: bool) -> dict[str, Any]:
    """The verdict with the models named as people know them, and without advice to train longer.

    Linear models are trained to the end.
    """

    def say(sentence: str) -> str:
        for name, known in MODELS.items():
            sentence = sentence.replace(name, known)
        return sentence.replace(TRAIN_LONGER, "") if fast else sentence

    findings = {
        kind: [{**one, "reason": say(one["reason"])} for one in evidence[kind]]
        for kind in ("findings", "acquitted")
    }
    return {**evidence, **findings, "notes": [*map(say, evidence.get("notes", []))]}


def _find_needed(case: Case, finding: Finding, share: float) -> int | None:
    """About how many trusted rows would prove a phrase that does what it does now."""
    if finding.effect is not None:
        share *= find_share(case, finding.effect)
    return find_needed_rows(case, finding, share * case.search.q)


def _is_untried(finding: Finding, rows: IntArray) -> bool:
    """Whether a phrase is surprising, but there were hardly any texts to insert it into."""
    few = finding.effect is not None and finding.effect.num_texts < FEW
    return finding.kind == WORDS and not finding.convicted and few and len(rows) > 0


def _mark(rows: IntArray, number: int) -> BoolArray:
    marked = np.zeros(number, dtype=np.bool_)
    marked[rows] = True
    return marked


def make_search(job: Job) -> Search:
    """What is looked for, as the settings of the defense have it."""
    defense = job.defenses[-1]
    assert isinstance(defense, SelfSet)
    return Search(
        tuple(defense.evidence),
        tuple(defense.look_for),
        defense.need(job.thresholds[-1]),
        defense.num_probes,
        defense.max_tried,
        by_shift=True,
        few_trusted=True,
    )


def _open_case(opened: Opened, lab: Models, job: Job) -> Case:
    rows, defense = opened.judged, job.defenses[-1]
    assert isinstance(defense, SelfSet)
    epochs = choose_epochs(lab, len(rows))
    return Case(
        lab=lab,
        untrusted=rows,
        trusted=opened.trusted,
        victim=lab.train(rows, replace(lab.training, epochs=epochs)),
        reference=Reference(lab, opened.trusted, defense.reference_epochs),
        search=make_search(job),
        fold=lab.ignores_case,
    )


def open_network_lab(opened: Opened, job: Job) -> Lab:
    """A lab of networks, whose stages are kept in the cache."""
    from btu.running import open_lab

    none = opened.trusted.take(np.empty(0, dtype=np.int64))
    clean = Dataset(opened.source.name, opened.label_names, opened.judged, opened.trusted, none)
    no_rows = np.empty(0, dtype=np.int64)
    return open_lab(job, PoisonedDataset(clean, clean.train, None, no_rows, None, None))
