"""Defenses that drop training rows: the victim is trained on what is left."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from btu.defenses.base import Decision, Defense, check_stage, describe_array
from btu.errors import ConfigError
from btu.types import FloatArray, IntArray, Knob

if TYPE_CHECKING:
    from btu.lab import Lab
    from btu.store.stages import Stage


@dataclass(frozen=True)
class RowFilter(Defense):
    """A method that gives each training row a suspicion and drops the most suspicious.

    The threshold is the share of the training rows that is dropped; of rows that are equally
    suspicious the first ones go. A method with a cutoff of its own overrides `select`.
    """

    knob: ClassVar[Knob | None] = Knob(
        label="share of the training rows that is dropped", unit="shares of the training rows"
    )

    drops_rows: ClassVar[bool] = True

    def suspicion(self, lab: Lab) -> Stage[FloatArray]:
        """How suspicious each row of `lab.rows` is, as a stage of the lab. (N,)"""
        raise ConfigError(f"defense {self.name}: {type(self).__name__} has no method suspicion.")

    def passes(self, lab: Lab) -> tuple[Stage[Any], ...]:
        """The suspicion of every row."""
        return (self.suspicion(lab),)

    def select(self, found: FloatArray, threshold: float) -> IntArray:
        """The rows that go at a threshold, by number.

        Args:
            found: the suspicion of each training row, (N,).
            threshold: here the share that goes.
        """
        return np.argsort(-found, kind="stable")[: round(threshold * len(found))]

    def decide(self, lab: Lab, threshold: float | None, before: Decision) -> Decision:
        """Keep all but the most suspicious rows.

        Raises:
            ConfigError: the suspicion is not one number for each row, or a label loses all rows.
        """
        threshold, num_rows = self.need(threshold), len(lab.rows)
        stage = check_stage(self.suspicion(lab), self.name, "suspicion")
        found = lab.get(stage, or_else=lambda: np.zeros(num_rows, dtype=np.float32))
        if found.shape != (num_rows,) or not np.isfinite(found).all():
            raise ConfigError(
                f"defense {self.name}: suspicion must give one finite number for each of the "
                f"{num_rows} training rows, got {describe_array(found)}."
            )
        dropped = self.select(found, threshold)
        kept = before.drop(dropped, num_rows)
        left = lab.rows.labels if kept is None else lab.rows.labels[kept]
        if len(np.unique(left)) < len(np.unique(lab.rows.labels)):
            weaker = "larger" if self.knob and self.knob.low_is_strong else "smaller"
            raise ConfigError(
                f"defense {self.name}: at threshold {threshold:g} a label loses all of its rows. "
                f"Write {weaker} thresholds."
            )
        evidence = {**before.evidence, f"{self.name}: rows dropped": len(dropped)}
        every = dropped if before.found_rows is None else np.union1d(before.found_rows, dropped)
        return replace(
            before, kept=kept, found_rows=np.sort(every), suspicion=found, evidence=evidence
        )
