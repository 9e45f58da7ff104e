"""What a model says of texts, and how that is kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from btu.store.stages import Format, read_arrays, write_arrays
from btu.types import BoolArray, FloatArray, IntArray, Predicted, Predictions

PREDICTIONS, EDITS, STATES = "predictions.npz", "edits.npz", "out.npz"
Reports = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Outputs:
    """What a model says of N texts."""

    labels: IntArray  # (N,)
    probabilities: FloatArray  # (N, C)
    states: FloatArray | None = None  # (N, D) that the head reads, of the last layer

    def take(self, rows: slice) -> Outputs:
        """Those of some of the texts."""
        states = None if self.states is None else self.states[rows]
        return Outputs(self.labels[rows], self.probabilities[rows], states)


@dataclass(frozen=True)
class Evaluation:
    """What a model says of both test sets, and what its edits reported."""

    clean: Outputs
    triggered: Outputs
    reports: Reports  # by the edit's name, a dot, and the array's
    trusted: Outputs | None = None  # of the trusted rows, where they were asked for


class Passed(NamedTuple):
    """What became of inputs on their way through the screens."""

    rejected: BoolArray  # (N,)
    scores: FloatArray | None  # (N,)

    def join(self, said: Outputs) -> Predicted:
        """With what the model says of what came through."""
        return Predicted(said.labels, said.probabilities, *self)


class Said(NamedTuple):
    """What a model behind its screens says."""

    predictions: Predictions
    reports: Reports  # of its edits
    trusted: Predicted | None  # of trusted rows, where they were asked for


NOTHING_SCREENED = Passed(np.zeros(0, dtype=np.bool_), None)


def _write_evaluation(found: Evaluation, folder: Path) -> None:
    arrays = {
        f"{name}_{part}": getattr(getattr(found, name), part)
        for name in ("clean", "triggered", "trusted")
        for part in ("labels", "probabilities")
        if getattr(found, name) is not None
    }
    write_arrays(folder / PREDICTIONS, arrays)
    if found.reports:
        write_arrays(folder / EDITS, found.reports)


def _read_evaluation(folder: Path) -> Evaluation:
    arrays, edits = read_arrays(folder / PREDICTIONS), folder / EDITS
    sets = {
        name: Outputs(arrays[f"{name}_labels"], arrays[f"{name}_probabilities"])
        for name in ("clean", "triggered", "trusted")
        if f"{name}_labels" in arrays
    }
    return Evaluation(**sets, reports=read_arrays(edits) if edits.is_file() else {})


def _write_outputs(found: Outputs, folder: Path) -> None:
    write_arrays(folder / STATES, vars(found))


EVALUATION_FORMAT: Format[Evaluation] = Format(_write_evaluation, _read_evaluation)
OUTPUTS_FORMAT: Format[Outputs] = Format(
    _write_outputs, lambda folder: Outputs(**read_arrays(folder / STATES))
)
