"""What a search minimises: one number per job, from the records of one arm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from btu.errors import ConfigError
from btu.settings.base import Settings
from btu.settings.ranges import Choice, Range
from btu.types import ARM_NAMES

if TYPE_CHECKING:
    from btu.store.records import Record


@dataclass
class Objective(Settings):
    """Which arm a search judges, and what a lost point of accuracy costs in points of ASR."""

    arm: Annotated[str, Choice(ARM_NAMES)] = "defended"
    cacc_weight: Annotated[float, Range(0, 1_000_000)] = 1.0

    place: ClassVar[str] = "objective"

    def check_search(self, arms: Sequence[str]) -> None:
        """Raise a ConfigError if a search would judge an arm that the job does not evaluate."""
        if not arms and searching():
            raise ConfigError("arms=[] trains nothing that a search could judge. Name some arms.")
        if self.arm not in arms and searching():
            raise ConfigError(
                f"objective.arm={self.arm} is what the search judges, but the job evaluates "
                f"{', '.join(arms)}. Write objective.arm={arms[-1]}, or add {self.arm} to arms "
                "(tuned, trusted_only and defended need dataset.tuning)."
            )

    def value(self, records: Sequence[Record]) -> float | None:
        """ASR + cacc_weight * (1 - CACC) of the arm's best threshold; lower is better.

        Without an attack there is no ASR and only the second term counts. None where no record
        is of the arm.
        """
        costs = [
            (r.scores.asr or 0.0) + self.cacc_weight * (1 - r.scores.cacc)
            for r in records
            if r.arm == self.arm
        ]
        return min(costs, default=None)


def searching() -> bool:
    """Whether this job is a trial of a sweeper that reads what the job returns."""
    from hydra.core.hydra_config import HydraConfig

    from btu.sweeps.jobs import PLAIN_SWEEPER, in_multirun

    return in_multirun() and str(HydraConfig.get().sweeper._target_) != PLAIN_SWEEPER
