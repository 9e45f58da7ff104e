"""How long a stage takes: as long as others of its kind took here, else from its operations."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import Any

from btu.benchmark.machine import matrix_rate
from btu.planning.stages import Work
from btu.store.cache import DoneWork, Entry, entries

# A stage multiplies at this share of the best matrix product's rate, and each step takes as long
# as if its batch had so many tokens more. Together that makes 59 to 63 % of the rate for SST-2's
# batches of 1,600 tokens (docs/performance.md) and 43 % for the demo's of 640, as measured.
EFFICIENCY, STEP_TOKENS = 0.78, 500
# Rounds of kind pooled multiply next to nothing. They took 0.82 s for 173,000 tokens of 384 numbers
# on a machine of 0.44 TFLOP/s: as long as this many operations for each number.
POOLED_OPERATIONS = 5400
MEASURED, COMPUTED, NOTHING = "finished stages", "operations", ""
PRECISIONS = {"bf16": "bf16", "fp32": "fp32", "tf32": "fp32"}  # what the rate is measured in


class Estimator:
    """Seconds of stages.

    Args:
        folders: caches whose finished stages are looked at; none for another machine.
        tera: TFLOP/s of another machine's matrix products, in place of those of this one.
    """

    def __init__(self, folders: Iterable[Path], tera: float | None = None) -> None:
        self.tera = tera
        self.rates: dict[tuple[str, str], float | None] = {}  # by device and precision
        self._found: dict[Work, tuple[float | None, str]] = {}
        self._measured: dict[Any, list[float]] = {}
        for folder in folders if tera is None else ():
            for key, seconds in _per_row(entries(folder)):
                self._measured.setdefault(key, []).append(seconds)

    def seconds(self, work: Work) -> tuple[float | None, str]:
        """The estimate, and what it was made from."""
        if work not in self._found:
            self._found[work] = self._seconds(work)
        return self._found[work]

    def _seconds(self, work: Work) -> tuple[float | None, str]:
        if work.name == "poison":
            return 0.0, NOTHING  # less than a second
        kind = (work.name, work.how, work.dataset, work.identity, work.device, work.precision)
        if work.rows and kind in self._measured:
            return median(self._measured[kind]) * work.rows, MEASURED
        rate = self._rate(work.device, work.precision) if work.tokens and work.shape else None
        if rate is None or work.shape is None:
            return None, NOTHING
        tokens = work.tokens + STEP_TOKENS * work.rows / work.batch_size
        operations = 2.0 * work.passes * work.shape.multiplied * tokens / EFFICIENCY
        if not work.passes:
            operations = POOLED_OPERATIONS * work.shape.width * work.tokens
        return operations / rate, COMPUTED

    def _rate(self, device: str, precision: str) -> float | None:
        """Operations per second of matrix products; None for a device that is not here."""
        if self.tera is not None:
            return self.tera * 1e12
        if (device, precision) not in self.rates:
            try:
                rate: float | None = matrix_rate(device, PRECISIONS[precision])
            except (RuntimeError, AssertionError):
                rate = None
            self.rates[device, precision] = rate
        return self.rates[device, precision]


def _per_row(found: list[Entry]) -> Iterable[tuple[Any, float]]:
    """Seconds per row of each finished stage, with what it was.

    An evaluation may also have tuned the model that it scores: what is left of its time, once the
    scoring has taken as long as elsewhere, is the tuning's.
    """
    alone: dict[Any, list[float]] = {}
    together = []
    for entry in found:
        costs = [cost for cost in entry.manifest.about.costs if cost.rows]
        if len(costs) == 1:
            kind = _kind(costs[0], entry)
            seconds = entry.manifest.about.own_seconds / costs[0].rows
            alone.setdefault(kind, []).append(seconds)
            yield kind, seconds
        elif costs:
            together.append((entry, costs))
    for entry, (first, *_, last) in together:
        if each := alone.get(_kind(last, entry)):
            left = max(0.0, entry.manifest.about.own_seconds - median(each) * last.rows)
            yield _kind(first, entry), left / first.rows


def _kind(cost: DoneWork, entry: Entry) -> Any:
    about = entry.manifest.about
    named = (about.dataset, about.model_identity, about.device, about.precision)
    return cost.kind, cost.how, *named
