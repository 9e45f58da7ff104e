"""CACC, ASR, PACC, base rate and detection scores: pure functions of predictions."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from btu.store.records import Record
from btu.types import (
    ACCURACY,
    BEFOREHAND,
    PLAIN,
    REPAIRED,
    BoolArray,
    FloatArray,
    IntArray,
    PoisonedDataset,
    Predicted,
    Predictions,
    Scores,
    Suspects,
)

NO_LABEL = -1
CACC_MARGIN = 0.02  # what a repair may cost where no trigger is known
ACCURACY_MARGIN = 0.01  # what a threshold may cost on the trusted rows
ROUNDING = 1e-9  # of shares: a point lost is a point lost
PICK_RULES = {
    BEFOREHAND: "the method's own threshold",
    ACCURACY: "the strongest threshold that costs at most "
    f"{100 * ACCURACY_MARGIN:.0f} point of accuracy on the trusted rows against the undefended "
    "model; where all cost more, the most accurate",
}
BLIND_RULE = (
    f"the largest threshold that costs at most {100 * CACC_MARGIN:.0f} points of CACC against "
    f"{' and '.join(PLAIN)}"
)
BEST_RULE = (
    "best: the highest CACC - max(0, ASR - base rate), never one that another beats in CACC or ASR "
    "and does not lose to in the other; of equals the higher CACC, then the smaller threshold "
    "(needs the trigger)"
)
Row = TypeVar("Row")


@dataclass(frozen=True)
class Judged:
    """What `BEST_RULE` looks at; the score is CACC minus what ASR exceeds the base rate by."""

    cacc: float
    asr: float
    score: float
    threshold: float | None

    def dominates(self, other: Judged) -> bool:
        """Whether it is at least as good in CACC and in ASR, and not the same in both."""
        same = (self.cacc, self.asr) == (other.cacc, other.asr)
        return self.cacc >= other.cacc and self.asr <= other.asr and not same


def undominated(rows: Sequence[Row], judge: Callable[[Row], Judged]) -> list[Row]:
    """The rows that no other row dominates, in order: the only ones that can be the best."""
    judged = [judge(row) for row in rows]
    return [
        row
        for row, one in zip(rows, judged, strict=True)
        if not any(other.dominates(one) for other in judged)
    ]


def best_row(rows: Sequence[Row], judge: Callable[[Row], Judged]) -> Row:
    """The row that `BEST_RULE` takes, the first of equals."""

    def weight(row: Row) -> tuple[float, float, float]:
        one = judge(row)
        return (one.score, one.cacc, -by_size(one.threshold))

    return max(undominated(rows, judge), key=weight)


def most_repair(
    rows: Sequence[Row], judge: Callable[[Row], Judged], plain: Sequence[float]
) -> Row | None:
    """The row that `BLIND_RULE` takes; None where all cost more, or there is nothing to compare.

    Args:
        rows: repaired.
        judge: what is looked at of a row.
        plain: CACC of the models that were not repaired, of `PLAIN`.
    """
    enough = max(plain, default=math.inf) - CACC_MARGIN
    cheap = [row for row in rows if judge(row).cacc >= enough]
    return max(cheap, key=lambda row: by_size(judge(row).threshold), default=None)


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
    two on the rows with their trigger, the base rate on the rows as they were. An input that a
    defense rejects is not attacked, and wrong.

    Args:
        predictions: on both test sets.
        data: with the true labels.
    """
    both = (predictions.clean, predictions.triggered)
    clean, triggered = (answers(said) for said in both)
    cacc = accuracy(clean, data.clean.test.labels)
    if cacc is None:
        raise ValueError("the test split is empty, nothing can be scored")
    asr = pacc = base_rate = None
    if data.triggered is not None and data.target_label is not None:
        asr = target_share(triggered, data.target_label)
        pacc = accuracy(triggered, data.triggered.labels)
        base_rate = target_share(clean[data.triggered_rows], data.target_label)
    rejects = any(s.scores is not None or s.rejected.any() for s in both)
    return Scores(
        cacc=cacc,
        num_clean=len(clean),
        asr=asr,
        pacc=pacc,
        base_rate=base_rate,
        num_triggered=len(triggered),
        rejected_clean=share(predictions.clean.rejected) if rejects else None,
        rejected_triggered=share(predictions.triggered.rejected) if rejects else None,
    )


def answers(said: Predicted) -> IntArray:
    """The labels, with no label at all where an input is rejected. (N,)"""
    return np.where(said.rejected, NO_LABEL, said.labels)


def score_detection(
    suspects: Suspects | None, trigger_ids: Collection[int]
) -> dict[str, Any] | None:
    """Compare suspects with the trigger's token ids; None without suspects or trigger tokens.

    Returns:
        precision: share of the suspects that are trigger tokens; None where there is no suspect.
        recall: share of the trigger's tokens among the suspects.
        best_rank: best rank, from 1, of any trigger token in any round.
        num_trigger_tokens: how many there are.
    """
    if suspects is None or not trigger_ids:
        return None
    trigger = np.asarray(sorted(trigger_ids), dtype=np.int64)
    hits = np.isin(suspects.token_ids, trigger)
    best = min(
        (int(np.flatnonzero(np.isin(d.ranking(), trigger))[0]) + 1 for d in suspects.distances),
        default=0,
    )
    return {
        "precision": share(hits),
        "recall": float(hits.sum()) / len(trigger),
        "best_rank": best,
        "num_trigger_tokens": len(trigger),
    }


def score_words(found: Collection[str] | None, trigger: Collection[str]) -> dict[str, Any]:
    """Compare whole words that were found with those of the trigger; {} where none were looked for.

    Args:
        found: by a defense.
        trigger: of an attack, in the same case; none of one that has no words of its own.

    Returns:
        precision: share of the words found that are the trigger's; None where none was found or
            the trigger has none.
        recall: share of the trigger's words that were found; None where it has none.
        num_found_words, num_trigger_words: how many there are of each.
    """
    if found is None:
        return {}
    words, wanted = set(found), set(trigger)
    hits = len(words & wanted)
    return {
        "precision": hits / len(words) if words and wanted else None,
        "recall": hits / len(wanted) if wanted else None,
        "num_found_words": len(words),
        "num_trigger_words": len(wanted),
    }


def score_rows(found: IntArray | None, poisoned: BoolArray) -> dict[str, Any]:
    """Compare training rows that were found with the poisoned ones; {} if none were looked for.

    Args:
        found: their numbers.
        poisoned: which rows are, (N,).

    Returns:
        row_precision: share of the rows found that are poisoned; None where none was found.
        row_recall: share of the poisoned rows that were found; None where none is poisoned.
        num_found_rows, num_poisoned_rows: how many there are of each.
    """
    if found is None:
        return {}
    marked = np.zeros(len(poisoned), dtype=np.bool_)
    marked[found] = True
    return {
        "row_precision": share(poisoned[marked]),
        "row_recall": share(marked[poisoned]),
        "num_found_rows": int(marked.sum()),
        "num_poisoned_rows": int(poisoned.sum()),
    }


def score_suspicion(suspicion: FloatArray | None, guilty: BoolArray) -> float | None:
    """AUROC: how often a guilty row is more suspicious than an innocent one, ties half.

    Args:
        suspicion: of each row or input; None where nothing tells it. (N,)
        guilty: which of them are planted or attacked. (N,)

    Returns:
        From 0 to 1; None where there are not both kinds.
    """
    from sklearn.metrics import roc_auc_score

    if suspicion is None or guilty.all() or not guilty.any():
        return None
    return float(roc_auc_score(guilty, suspicion))


def score_rejections(predictions: Predictions) -> dict[str, Any]:
    """How well rejections hit the triggered inputs; {} where no score decides about inputs.

    Returns:
        input_precision: share of the rejected inputs that are triggered, of both test sets
            together; None where none is rejected.
        input_recall: share of the triggered inputs that are rejected.
        input_auroc: of the scores, triggered against clean inputs.
    """
    both = (predictions.clean, predictions.triggered)
    if any(said.scores is None for said in both):
        return {}
    attacked = np.repeat([False, True], [len(said.labels) for said in both])
    rejected = np.concatenate([said.rejected for said in both])
    scores = np.concatenate([said.scores for said in both if said.scores is not None])
    return {
        "input_precision": share(attacked[rejected]),
        "input_recall": share(rejected[attacked]),
        "input_auroc": score_suspicion(scores, attacked),
    }


def choose(records: Sequence[Record]) -> Record | None:
    """The repaired record at the threshold that is marked as chosen.

    With an attack: by `BEST_RULE`. That takes knowledge of the trigger: it is the best that a
    defender could have picked. Without one: by `BLIND_RULE`; where every repair costs more, the
    most accurate of those that something was convicted for, else None.
    """
    plain = [r.scores.cacc for r in records if r.arm in PLAIN]
    for arm in REPAIRED:
        rows = [r for r in records if r.arm == arm]
        if rows and rows[0].scores.asr is not None:
            return best_row(rows, _judge)
        if found := most_repair(rows, _judge, plain):
            return found
    convicting = [r for arm in REPAIRED for r in records if r.arm == arm and r.convicts]
    return max(convicting, key=lambda r: r.scores.cacc, default=None) if plain else None


def remark_on_cost(records: Sequence[Record]) -> str | None:
    """A sentence where no trigger is known and every repair costs more than it may."""
    plain = [r for r in records if r.arm in PLAIN]
    repaired = [r for r in records if r.arm in REPAIRED]
    if not plain or not repaired or plain[0].scores.asr is not None:
        return None
    chosen = choose(records)
    best, costly = (max(rows, key=lambda r: r.scores.cacc) for rows in (plain, repaired))
    shown = chosen or costly
    if shown.scores.cacc >= best.scores.cacc - CACC_MARGIN:
        return None
    low, high = (f"{100 * record.scores.cacc:.1f} %" for record in (shown, best))
    if chosen is not None:
        return (
            f"{chosen.arm} has a CACC of {low}, {best.arm} has {high}. Planted rows among the test "
            "rows count as right for a model that obeys them: score on rows that you trust, with "
            "dataset.test=PATH"
        )
    return (
        f"every repair costs more than {100 * CACC_MARGIN:.0f} points: the best has a CACC of "
        f"{low}, {best.arm} has {high}. Without a sign that something was planted the plain model "
        "is the better one"
    )


def pick(records: Sequence[Record]) -> Record | None:
    """The record that a defender would take, who knows no trigger and has no test rows.

    By the one of `PICK_RULES` that the records name, of two equally accurate thresholds the
    stronger; a method that is decided once has nothing to pick.

    Args:
        records: of one defense, arm and seed at several thresholds.

    Returns:
        None where the threshold set beforehand was not tried, or no accuracy is known.
    """
    choice = records[0].choice if records else None
    if choice is None:
        return next(iter(records), None)
    if choice.rule == BEFOREHAND:
        return next((r for r in records if r.threshold == choice.beforehand), None)
    known = [(loss, r) for r in records if (loss := _loss(r)) is not None]
    cheap = [r for loss, r in known if loss <= ACCURACY_MARGIN + ROUNDING]
    if cheap:
        return max(cheap, key=_strength)
    best = min(known, key=lambda pair: (pair[0], -_strength(pair[1])), default=None)
    return best[1] if best else None


def pick_of_run(records: Sequence[Record]) -> Record | None:
    """The record that a defender would take of one run, of the whole method where there is one."""
    by_arm = ([r for r in records if r.arm == arm] for arm in REPAIRED)
    return next((pick(rows) for rows in by_arm if rows), None)


def _loss(record: Record) -> float | None:
    """What its threshold costs on the trusted rows; None where that is not known."""
    choice = record.choice
    if choice is None or choice.accuracy is None or choice.undefended is None:
        return None
    return choice.undefended - choice.accuracy


def _strength(record: Record) -> float:
    low_is_strong = record.choice is not None and record.choice.low_is_strong
    return by_size(record.threshold) * (-1 if low_is_strong else 1)


def _judge(record: Record) -> Judged:
    scores = record.scores
    score = scores.cacc - record.excess_asr
    return Judged(scores.cacc, scores.asr or 0.0, score, record.threshold)


def by_size(threshold: float | None) -> float:
    """A sort key for thresholds; what was decided without one stands before all of them."""
    return -math.inf if threshold is None else threshold
