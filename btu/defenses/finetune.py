"""Clean tuning and nothing else: what every method that ends with it has to beat."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from btu.defenses.base import Decision, Defense, Repair
from btu.types import CONTROLS, Knob

if TYPE_CHECKING:
    from btu.lab import Lab


@dataclass(frozen=True)
class FineTune(Defense):
    """The victim is tuned on the trusted rows, for as many epochs as the threshold says.

    With `tuning.epochs` it is the control `tuned`.
    """

    knob: ClassVar[Knob | None] = Knob(
        label="epochs of tuning on trusted rows",
        unit="numbers of epochs",
        low=1,
        high=1000,
        example=4,
        example_means="four epochs",
        whole=True,
    )
    tunes: ClassVar[bool] = True
    sets_tuning: ClassVar[bool] = True
    needs_trusted_rows: ClassVar[bool] = True

    def arms(self) -> tuple[str, ...]:
        """The controls and the tuned model."""
        return (*CONTROLS, "defended")

    def decide(self, lab: Lab, threshold: float | None, before: Decision) -> Decision:
        """Tune for so many epochs."""
        assert lab.trusted is not None
        epochs = int(self.need(threshold))
        training = replace(lab.tuning.as_training(lab.source.training), epochs=epochs)
        return replace(before, repair=Repair(lab.trusted, training))
