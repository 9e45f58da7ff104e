"""Defenses that reject inputs at test time: the model stays as it was trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import floor
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from btu.defenses.base import Decision, Defense, check_stage, describe_array
from btu.errors import ConfigError
from btu.models.base import Classifier
from btu.store.cache import identify
from btu.types import BEFOREHAND, FloatArray, Knob, Screen, Screened

if TYPE_CHECKING:
    from btu.lab import Lab
    from btu.store.stages import Stage


@dataclass(frozen=True)
class InputFilter(Defense):
    """A method that gives each input a score and rejects those with the highest.

    The threshold is the false rejection rate: at most that share of the trusted rows has a score
    above the cutoff. A rejected input counts as not attacked for ASR, as wrong for CACC and PACC.
    """

    knob: ClassVar[Knob | None] = Knob(
        label="false rejection rate on trusted rows", unit="false rejection rates"
    )
    needs_trusted_rows: ClassVar[bool] = True
    rule: ClassVar[str] = BEFOREHAND  # the threshold itself says what it costs on trusted rows

    def scores(self, lab: Lab, model: Stage[Classifier], texts: Sequence[str]) -> Stage[FloatArray]:
        """How suspicious each text is to this model, as a stage of the lab. (N,)"""
        raise ConfigError(f"defense {self.name}: {type(self).__name__} has no method scores.")

    def decide(self, lab: Lab, threshold: float | None, before: Decision) -> Decision:
        """Screen the inputs of whatever model comes out of the decision."""
        screen = Screen(self.name, partial(self._screen, self.need(threshold), before.screens))
        return replace(before, screens=(*before.screens, screen))

    def _screen(
        self,
        rate: float,
        earlier: Sequence[Screen],
        lab: Lab,
        model: Stage[Classifier],
        texts: Sequence[str],
    ) -> Screened:
        if lab.trusted is None:
            raise ConfigError(f"defense {self.name} needs dataset.tuning, trusted rows.")
        known: Sequence[str] = lab.trusted.texts
        for screen in earlier:  # which the inputs have passed as well
            known = screen.apply(lab, model, known).texts
        trusted, found = (self._scores(lab, model, some) for some in (known, texts))
        return Screened(texts, found > find_cutoff(trusted, rate), found)

    def _scores(self, lab: Lab, model: Stage[Classifier], texts: Sequence[str]) -> FloatArray:
        stage = check_stage(self.scores(lab, model, texts), self.name, "scores")
        parts = {"model": model, "texts": identify({"texts": list(texts)})}  # also if unnamed
        stage = replace(stage, parts={**stage.parts, **parts})
        found = lab.get(stage, or_else=lambda: np.zeros(len(texts), dtype=np.float32))
        if found.shape != (len(texts),) or not np.isfinite(found).all():
            raise ConfigError(
                f"defense {self.name}: scores must give one finite number for each of the "
                f"{len(texts)} texts, got {describe_array(found)}."
            )
        return found


def find_cutoff(trusted: FloatArray, rate: float) -> float:
    """The smallest of these scores that at most this share of them exceeds."""
    allowed = min(floor(rate * len(trusted)), len(trusted) - 1)
    return float(np.sort(trusted)[len(trusted) - 1 - allowed])
