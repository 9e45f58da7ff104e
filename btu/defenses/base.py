"""What every defense shares, and the defense that does nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from btu.defenses.settings import TuningSettings
from btu.types import EditReport, Suspects

if TYPE_CHECKING:
    from btu.lab import Workbench
    from btu.models.base import Classifier


@dataclass(frozen=True)
class Defense:
    """Hooks around training that do nothing by default; `threshold` is the one swept knob."""

    name: str

    def arms(self) -> tuple[str, ...]:
        """The arms that this defense can evaluate."""
        return ("clean", "poisoned")

    def tuning(self) -> TuningSettings | None:
        """How the repaired model is tuned on clean rows; None for no such step."""
        return None

    def detect(self, bench: Workbench, threshold: float) -> Suspects | None:
        """Suspect tokens, found before training."""
        return None

    def repair_settings(self) -> Mapping[str, Any]:
        """What `repair` does besides the suspects: models repaired alike are evaluated once."""
        return {}

    def repair(
        self, classifier: Classifier, bench: Workbench, suspects: Suspects
    ) -> EditReport | None:
        """Edit the trained victim in place."""
        return None


@dataclass(frozen=True)
class NoDefense(Defense):
    """Evaluate the victim as trained."""
