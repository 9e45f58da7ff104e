"""How long a stage takes: as long as others of its kind took here, else from its operations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import median
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pyarrow.parquet as pq

from btu.data.stored import TRAIN
from btu.planning.stages import EVALUATION, POISONED_SET, TUNING, VICTIM, Work
from btu.store.cache import Entry, entries
from btu.store.evaluation import PREDICTIONS

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
        rows: of splits, by fingerprint.
        tera: TFLOP/s of another machine's matrix products, in place of those of this one.
    """

    def __init__(
        self, folders: Iterable[Path], rows: Mapping[str, int], tera: float | None = None
    ) -> None:
        self.tera = tera
        self.rates: dict[tuple[str, str], float | None] = {}  # by device and precision
        self._found: dict[Work, tuple[float | None, str]] = {}
        self._measured: dict[Any, list[float]] = {}
        for folder in folders if tera is None else ():
            for key, seconds in _per_row(entries(folder), rows):
                self._measured.setdefault(key, []).append(seconds)

    def seconds(self, work: Work) -> tuple[float | None, str]:
        """The estimate, and what it was made from."""
        if work not in self._found:
            self._found[work] = self._seconds(work)
        return self._found[work]

    def _seconds(self, work: Work) -> tuple[float | None, str]:
        if work.kind == POISONED_SET:
            return 0.0, NOTHING  # less than a second
        kind = (work.kind, work.dataset, work.identity, work.device, work.precision, work.how)
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
            from btu.benchmark.machine import matrix_rate

            try:
                rate: float | None = matrix_rate(device, PRECISIONS[precision])
            except (RuntimeError, AssertionError):
                rate = None
            self.rates[device, precision] = rate
        return self.rates[device, precision]


def _per_row(found: list[Entry], rows: Mapping[str, int]) -> Iterable[tuple[Any, float]]:
    """Seconds per row of each finished stage whose rows are known, with what it was."""
    rows = {**rows, **_rows_of_poisoned_sets(found)}
    victims = {entry.key: entry for entry in found if entry.stage == "victim"}
    predictions: dict[Any, list[float]] = {}
    tuned = []
    for entry in found:
        parts, seconds = entry.manifest["parts"], float(entry.manifest.get("seconds", 0))
        if entry.stage == "victim" and parts["data"] in rows:
            work = rows[parts["data"]] * parts["training"]["epochs"]
            yield _kind(VICTIM, entry, entry, ""), seconds / work
        elif entry.stage == "detection" and parts["data"] in rows:
            settings = parts["round"]
            how = f"{settings['kind']} {settings['pooling']} {settings['trainable']}"
            kind = _kind(f"round {parts['number']}", entry, entry, how)
            yield kind, seconds / rows[parts["data"]]
        elif entry.stage == EVALUATION and parts["victim"] in victims:
            victim = victims[parts["victim"]]
            # An evaluation that took longer than its victim's training is the one that began it.
            training = float(victim.manifest.get("seconds", 0))
            seconds -= training if seconds > training else 0
            num_tests = _num_predicted(entry)
            if "tuned" in parts["changes"]:
                tuned.append((entry, victim, seconds, num_tests))
            elif num_tests:
                kind = _kind(EVALUATION, entry, victim, "")
                predictions.setdefault(kind, []).append(seconds / num_tests)
                yield kind, seconds / num_tests
    for entry, victim, seconds, num_tests in tuned:
        epochs, _, _, used, _ = entry.manifest["parts"]["changes"]["tuned"]
        each = predictions.get(_kind(EVALUATION, entry, victim, ""))
        if each:
            left = max(0.0, seconds - median(each) * num_tests)
            yield _kind(TUNING, entry, victim, ""), left / (epochs * used)


def _kind(kind: str, entry: Entry, trained: Entry, how: str) -> Any:
    parts = trained.manifest["parts"]
    dataset = (entry.manifest.get("about") or {}).get("dataset")
    return kind, dataset, parts["model"], parts["device"], parts["training"]["precision"], how


def _num_predicted(entry: Entry) -> int:
    """Test rows that an evaluation scored; 0 where its file cannot be read."""
    try:
        with np.load(entry.folder / PREDICTIONS, allow_pickle=False) as found:
            return sum(len(found[name]) for name in found.files)
    except (OSError, ValueError, BadZipFile):
        return 0


def _rows_of_poisoned_sets(found: list[Entry]) -> dict[str, int]:
    """Training rows, by the fingerprints of poisoned sets and of what they were made of."""
    rows: dict[str, int] = {}
    for entry in found:
        about = entry.manifest.get("about") or {}
        if entry.stage == "poison" and (entry.folder / TRAIN).is_file():
            number = int(pq.read_metadata(entry.folder / TRAIN).num_rows)
            rows |= {str(about[name]): number for name in ("clean", "poisoned") if name in about}
    return rows
