"""Weight averaging: what two models do not share, a backdoor above all, is diluted."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from btu.defenses.base import Decision, Defense
from btu.types import Edit, Knob

if TYPE_CHECKING:
    from btu.lab import Lab
    from btu.models.base import Classifier
    from btu.store.stages import Stage


@dataclass(frozen=True)
class Merge(Defense):
    """The weights of the victim are averaged with those of the model `trusted_only`.

    Source: Arora et al. 2024, "Here's a Free Lunch" (arXiv 2402.19334), code ansharora7/
    model-merge-backdoor, wag.py: the plain mean of all weights, the head included. Departures: the
    other model is one of the trusted rows alone, since a defender has no second victim; its share
    is swept, of which theirs is one half.
    """

    knob: ClassVar[Knob | None] = Knob(
        label="share of the model of the trusted rows", unit="shares of that model"
    )
    needs_trusted_rows: ClassVar[bool] = True
    learns_trusted_rows: ClassVar[bool] = True

    def passes(self, lab: Lab) -> tuple[Stage[Classifier], ...]:
        """The model of the trusted rows."""
        return (self._train_other(lab),)

    def decide(self, lab: Lab, threshold: float | None, before: Decision) -> Decision:
        """One edit: the mean of both, weighted by the share."""
        share, other = self.need(threshold), self._train_other(lab)
        edit = Edit(
            self.name, {"share": share, "other": other}, partial(self._average, share, other)
        )
        return replace(before, edits=(*before.edits, edit))

    def _train_other(self, lab: Lab) -> Stage[Classifier]:
        """The model of the arm `trusted_only`."""
        assert lab.trusted is not None
        training = replace(lab.source.training, epochs=lab.tuning.trusted_only_epochs)
        return lab.train(lab.trusted, training, title="trusted only", draws="trusted only")

    def _average(
        self, share: float, other: Stage[Classifier], lab: Lab, classifier: Classifier
    ) -> None:
        weights = lab.get(other).model.state_dict()
        for name, own in classifier.model.state_dict().items():
            if own.is_floating_point():
                own.lerp_(weights[name].to(own.device), share)  # in place
