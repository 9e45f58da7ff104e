"""CACC, ASR, PACC, base rate and detection scores: pure functions of predictions."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from btu.types import IntArray, PoisonedDataset, Predictions, Scores, Suspects


def share(hits: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> float | None:
    """Share of true entries; None of nothing."""
    return float(hits.mean()) if len(hits) else None


def accuracy(predicted: IntArray, true: IntArray) -> float | None:
    """Share of rows predicted as their true label."""
    return share(predicted == true)


def target_share(predicted: IntArray, target_label: int) -> float | None:
    """Share of rows predicted as the target label: the ASR of triggered, the base rate of clean."""
    return share(predicted == target_label)


def score(predictions: Predictions, data: PoisonedDataset) -> Scores:
    """All scores of one model.

    ASR, PACC and base rate are over the test rows whose true label is not the target: the first
    two on their triggered twins, the base rate on the rows as they were.
    """
    cacc = accuracy(predictions.clean, data.clean.test.labels)
    if cacc is None:
        raise ValueError("the test split is empty, nothing can be scored")
    asr = pacc = base_rate = None
    if data.triggered is not None and data.target_label is not None:
        asr = target_share(predictions.triggered, data.target_label)
        pacc = accuracy(predictions.triggered, data.triggered.labels)
        base_rate = target_share(predictions.clean[data.triggered_rows], data.target_label)
    return Scores(
        cacc=cacc,
        num_clean=len(predictions.clean),
        asr=asr,
        pacc=pacc,
        base_rate=base_rate,
        num_triggered=len(predictions.triggered),
    )


@dataclass(frozen=True)
class DetectionScores:
    """How well the suspects name the true trigger tokens."""

    precision: float | None  # share of suspects that are trigger tokens; None without suspects
    recall: float  # share of trigger tokens among the suspects
    best_rank: int  # best rank, from 1, of any trigger token in any round
    num_trigger_tokens: int


def score_detection(suspects: Suspects, trigger_ids: Collection[int]) -> DetectionScores | None:
    """Compare suspects with the trigger's token ids; None for an attack without trigger tokens."""
    if not trigger_ids:
        return None
    trigger = np.asarray(sorted(trigger_ids), dtype=np.int64)
    hits = np.isin(suspects.token_ids, trigger)
    best = min(
        (int(np.flatnonzero(np.isin(d.ranking(), trigger))[0]) + 1 for d in suspects.distances),
        default=0,
    )
    return DetectionScores(
        precision=share(hits),
        recall=float(hits.sum()) / len(trigger),
        best_rank=best,
        num_trigger_tokens=len(trigger),
    )
