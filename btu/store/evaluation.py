"""What the test sets say of one model, as its stage keeps it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from btu.types import EditReport, Predictions

PREDICTIONS, EDITS = "predictions.npz", "edits.npz"


@dataclass(frozen=True)
class Evaluation:
    """Predictions, and how the model's embeddings were edited before."""

    predictions: Predictions
    edits: EditReport | None

    def write(self, folder: Path) -> None:
        """Write both into a stage's folder."""
        found = self.predictions
        np.savez(folder / PREDICTIONS, clean=found.clean, triggered=found.triggered)
        if self.edits is not None:
            np.savez(folder / EDITS, **asdict(self.edits))


def read_evaluation(folder: Path) -> Evaluation:
    """The evaluation of a stage's folder."""
    edits = folder / EDITS
    return Evaluation(
        Predictions(**read_arrays(folder / PREDICTIONS)),
        EditReport(**read_arrays(edits)) if edits.is_file() else None,
    )


def read_arrays(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays of an npz file; never a pickle."""
    with np.load(path, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}
