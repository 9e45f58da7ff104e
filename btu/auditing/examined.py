"""What was found in a file, whichever way it was judged."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from btu.auditing.drift import Drift
from btu.auditing.opened import Opened
from btu.auditing.unread import Unread
from btu.defenses.reference import Models
from btu.defenses.search import Search
from btu.defenses.verdict import Verdict
from btu.evidence.findings import Finding, Found
from btu.evidence.shift import Shift
from btu.types import IntArray

FILE_MODEL, TRUSTED_MODEL = "a model of the file", "a model of the trusted rows"
LEAST_STEPS = 240  # of the model of the file: fewer do not learn a word in 1 % of 3,000 rows


@dataclass(frozen=True)
class Suspicion:
    """A phrase that looks planted, though that may be chance."""

    finding: Finding
    rows: IntArray  # of the judged rows, those that hold it
    needed: int | None  # trusted rows that would prove it, if no more of them held it


@dataclass(frozen=True)
class Examined:
    """What was found in the N judged rows of a file."""

    opened: Opened
    search: Search
    verdict: Verdict
    unproven: tuple[Suspicion, ...]  # the strongest first
    suggested: IntArray  # (N,) the label that a model without what was planted gives each row
    evidence: Mapping[str, Any]  # the verdict as JSON
    limits: tuple[str, ...]  # what would have been found, and what was not tested
    shift: Shift | None = None  # None without trusted rows
    drift: tuple[Drift, ...] = ()  # of the phrases convicted; none of linear models
    unread: tuple[Unread, ...] = ()  # what stands out and is no word; the surest first

    @property
    def convicted(self) -> list[Found]:
        """What was planted."""
        return self.verdict.convicted

    @property
    def num_suspicious(self) -> int:
        """How many things are suspicious and not proven."""
        return len(self.unproven) + len(self.unread)


def choose_epochs(lab: Models, num_rows: int) -> int:
    """The epochs after which a model of so many rows has learned a word in one of a hundred."""
    steps = math.ceil(num_rows / lab.training.batch_size)
    return max(lab.training.epochs, math.ceil(LEAST_STEPS / steps))
