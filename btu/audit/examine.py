"""What was planted in a file: its case, of networks or of linear models, and the verdict."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from btu.audit.linear import LinearLab
from btu.audit.opened import Opened
from btu.defenses.case import Case
from btu.defenses.phrases import find_unproven
from btu.defenses.reference import Models, Reference
from btu.defenses.search import Search
from btu.defenses.selfset import SelfSet
from btu.defenses.verdict import Verdict, find_needed_rows, judge
from btu.evidence.findings import Finding, Found
from btu.types import Dataset, PoisonedDataset

if TYPE_CHECKING:
    from btu.job import Job
    from btu.lab import Lab

LEAST_STEPS = 240  # of the model of the file: fewer do not learn a word in 1 % of 3,000 rows


@dataclass(frozen=True)
class Suspicion:
    """A phrase that the model of the file obeys, though its counts may be chance."""

    finding: Finding
    rows: Any  # of the judged rows, those that hold it
    needed: int | None  # trusted rows that would prove it, if no more of them held it


@dataclass(frozen=True)
class Examined:
    """What was found in a file."""

    opened: Opened
    case: Case
    verdict: Verdict
    unproven: tuple[Suspicion, ...]  # the strongest first

    @property
    def convicted(self) -> list[Found]:
        """What was planted."""
        return self.verdict.convicted


def examine(opened: Opened, job: Job, fast: bool) -> Examined:
    """Judge the rows of a file, each text and label once.

    Args:
        opened: the rows.
        job: with the model, the settings of `defense=selfset`, and the seed.
        fast: whether linear models of words take the place of networks.
    """
    case = _open_case(opened, job, fast)
    verdict = judge(case)
    explained = np.zeros(len(case.untrusted), dtype=np.bool_)
    explained[verdict.rows] = True
    level = verdict.share * case.search.q
    unproven = [
        Suspicion(finding, rows, find_needed_rows(case, finding, level))
        for finding, rows in find_unproven(case, explained)
    ]
    return Examined(opened, case, verdict, tuple(unproven))


def _open_case(opened: Opened, job: Job, fast: bool) -> Case:
    rows, defense = opened.judged, job.defenses[-1]
    assert isinstance(defense, SelfSet)
    search = Search(
        tuple(defense.evidence),
        tuple(defense.look_for),
        defense.need(job.thresholds[-1]),
        defense.num_probes,
        defense.max_tried,
        by_shift=True,
    )
    lab: Models
    if fast:
        lab, fold = LinearLab(job.seed, opened.label_names), True
    else:
        network = _open_lab(opened, job)
        lab, fold = network, network.ignores_case
    steps = math.ceil(len(rows) / lab.training.batch_size)
    epochs = max(lab.training.epochs, math.ceil(LEAST_STEPS / steps))
    return Case(
        lab=lab,
        untrusted=rows,
        trusted=opened.trusted,
        victim=lab.train(rows, replace(lab.training, epochs=epochs)),
        reference=Reference(lab, opened.trusted, defense.reference_epochs),
        search=search,
        fold=fold,
    )


def _open_lab(opened: Opened, job: Job) -> Lab:
    """A lab of networks, whose stages are kept in the cache."""
    from btu.running import open_lab

    none = opened.trusted.take(np.empty(0, dtype=np.int64))
    clean = Dataset(opened.source.name, opened.label_names, opened.judged, opened.trusted, none)
    no_rows = np.empty(0, dtype=np.int64)
    return open_lab(job, PoisonedDataset(clean, clean.train, None, no_rows, None, None))
