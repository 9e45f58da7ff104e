"""Worked examples of CACC, ASR, PACC, base rate and detection scores."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from btu.defenses.base import Decision
from btu.metrics import (
    Judged,
    best_row,
    choose,
    score,
    score_detection,
    score_rejections,
    score_rows,
    score_suspicion,
    score_words,
)
from btu.pipeline import score_found
from btu.types import (
    Dataset,
    PoisonedDataset,
    Predicted,
    Predictions,
    Suspects,
    TokenDistances,
    TriggerSample,
    make_split,
)
from tests.report.factory import record


def poisoned(test_labels: list[int], triggered_rows: list[int]) -> PoisonedDataset:
    test = make_split(tuple(f"t{i}" for i in range(len(test_labels))), np.asarray(test_labels))
    rows = np.asarray(triggered_rows, dtype=np.int64)
    data = Dataset("toy", ("a", "b", "c"), test, None, test)
    triggered = test.take(rows) if triggered_rows else None
    target = 2 if triggered_rows else None
    return PoisonedDataset(data, test, triggered, rows, target, None)


def said(labels, rejected=()) -> Predicted:
    labels = np.asarray(labels, dtype=np.int64)
    turned_away = np.isin(np.arange(len(labels)), rejected)
    return Predicted(labels, np.eye(3, dtype=np.float32)[labels], turned_away)


def test_scores_of_a_worked_example():
    data = poisoned([0, 1, 2, 0, 1], [0, 1, 3, 4])
    clean = np.asarray([0, 2, 2, 0, 0])  # right: rows 0, 2, 3; row 1 is predicted as the target
    triggered = np.asarray([2, 2, 0, 2])  # three of four hit the target, one is still right

    scores = score(Predictions(said(clean), said(triggered)), data)

    assert scores.cacc == pytest.approx(3 / 5)
    assert scores.asr == pytest.approx(3 / 4)
    assert scores.pacc == pytest.approx(1 / 4)
    assert scores.base_rate == pytest.approx(1 / 4)
    assert (scores.num_clean, scores.num_triggered) == (5, 4)
    assert scores.rejected_clean is scores.rejected_triggered is None


def test_a_rejected_input_is_not_attacked_and_wrong():
    data = poisoned([0, 1, 2, 0, 1], [0, 1, 3, 4])
    clean, triggered = said([0, 2, 2, 0, 0], rejected=[1, 2]), said([2, 2, 0, 2], rejected=[0, 2])

    scores = score(Predictions(clean, triggered), data)

    assert scores.cacc == pytest.approx(2 / 5)  # row 2 was right and is turned away
    assert scores.asr == pytest.approx(2 / 4)
    assert scores.pacc == 0  # row 2 of the triggered was right
    assert scores.base_rate == 0
    assert (scores.rejected_clean, scores.rejected_triggered) == (2 / 5, 2 / 4)


def test_without_an_attack_only_cacc_is_scored():
    data = poisoned([0, 1], [])

    scores = score(Predictions(said([0, 0]), said([])), data)

    assert (scores.cacc, scores.asr, scores.pacc, scores.base_rate) == (0.5, None, None, None)


def suspects(flagged: list[int], *values: list[float]) -> Suspects:
    ids = np.asarray(flagged, dtype=np.int64)
    drifts = tuple(
        TokenDistances(n, np.asarray(v, dtype=np.float32), frozenset({0}))
        for n, v in enumerate(values, 1)
    )
    return Suspects(0.1, ids, (ids,), drifts)


def test_detection_scores_of_a_worked_example():
    # Ranked by drift without the protected token 0: round 1 is 3, 1, 2, 4; round 2 is 1, 4, 3, 2.
    found = suspects([1, 3], [9, 2, 1, 3, 0], [0, 5, 1, 2, 3])

    scores = score_detection(found, {3, 4})

    assert scores is not None
    assert scores["precision"] == pytest.approx(1 / 2)
    assert scores["recall"] == pytest.approx(1 / 2)
    assert scores["best_rank"] == 1
    assert scores["num_trigger_tokens"] == 2


def test_an_attack_without_trigger_tokens_has_no_detection_score():
    assert score_detection(suspects([1], [0, 1]), set()) is None


def test_precision_of_no_suspects_is_unknown_and_recall_zero():
    scores = score_detection(suspects([], [0, 1, 2]), {1})

    assert scores is not None
    assert scores["precision"] is None
    assert scores["recall"] == 0
    assert scores["best_rank"] == 2


def test_the_chosen_threshold_is_never_one_that_another_beats():
    # tiny, addsent: the score of the first is higher only because its base rate rose.
    worse = record("defended", 0.002, cacc=0.550, asr=1.0, base=0.589)
    better = record("defended", 0.005, cacc=0.572, asr=1.0, base=0.494)

    assert choose([worse, better]) is better


def test_no_draw_of_scores_makes_a_beaten_row_the_best():
    draws = np.random.default_rng(0).integers(0, 6, size=(200, 5, 3)) / 10

    for rows in draws:
        judged = [Judged(c, a, c - max(0, a - b), t) for t, (c, a, b) in enumerate(rows)]
        best = best_row(judged, lambda one: one)

        assert not any(other.dominates(best) for other in judged)


def test_words_found_are_scored_against_the_words_of_the_trigger():
    found = score_words(("cf", "the"), {"cf", "mn", "bb"})

    assert found == {
        "precision": 1 / 2,
        "recall": 1 / 3,
        "num_found_words": 2,
        "num_trigger_words": 3,
    }
    assert score_words((), {"cf"})["precision"] is None
    assert score_words((), {"cf"})["recall"] == 0
    style = score_words(("when",), ())  # a way of writing has no words
    assert (style["precision"], style["recall"], style["num_found_words"]) == (None, None, 1)
    assert score_words(None, {"cf"}) == {}


def test_rows_found_are_scored_against_the_poisoned_ones():
    poisoned = np.asarray([True, False, True, True, False])

    found = score_rows(np.asarray([0, 1]), poisoned)

    assert found == {
        "row_precision": 1 / 2,
        "row_recall": 1 / 3,
        "num_found_rows": 2,
        "num_poisoned_rows": 3,
    }
    nothing = score_rows(np.asarray([], dtype=np.int64), poisoned)
    assert (nothing["row_precision"], nothing["row_recall"]) == (None, 0)
    assert score_rows(np.asarray([1]), np.zeros(5, dtype=bool))["row_recall"] is None
    assert score_rows(None, poisoned) == {}


NOTHING_SAID = Predictions(said([]), said([]))


def test_what_a_decision_found_is_compared_in_the_case_that_the_model_reads():
    inserts = SimpleNamespace(samples=lambda: [TriggerSample("it I Watch... is", 3, 13)])
    rewrites = SimpleNamespace(samples=lambda: [])
    alone, both = {"one": inserts}, {"one": inserts, "other": rewrites}
    train = SimpleNamespace(poisoned=np.asarray([True, False]))
    decision = Decision(found_words=("i", "Watch", "film"), found_rows=np.asarray([0]))

    def score_with(fold, target=1, parts=alone):
        attack = SimpleNamespace(samples=inserts.samples, parts=parts)
        data, job = (
            SimpleNamespace(target_label=target, train=train),
            SimpleNamespace(attack=attack),
        )
        return score_found(
            job, SimpleNamespace(data=data, ignores_case=fold), decision, None, NOTHING_SAID
        )

    folded, exact = score_with(fold=True), score_with(fold=False)
    assert folded["num_trigger_words"] == 3  # i, watch, ...
    assert (folded["precision"], exact["precision"]) == (2 / 3, 1 / 3)
    assert (folded["row_precision"], folded["row_recall"]) == (1, 1)
    assert "best_rank" not in folded
    beside_a_rewriting = score_with(fold=True, parts=both)  # whose words may be any
    assert (beside_a_rewriting["precision"], beside_a_rewriting["recall"]) == (None, 2 / 3)
    assert score_with(fold=True, target=None) == {"num_found_words": 3, "num_found_rows": 1}


def test_suspicion_is_scored_by_how_often_a_guilty_row_has_more_of_it():
    suspicion = np.asarray([0.1, 0.5, 0.5, 0.9], dtype=np.float32)
    guilty = np.asarray([False, False, True, True])

    assert score_suspicion(suspicion, guilty) == pytest.approx(3.5 / 4)  # one tie of four pairs
    assert score_suspicion(-suspicion, guilty) == pytest.approx(0.5 / 4)
    assert score_suspicion(None, guilty) is None
    assert score_suspicion(suspicion, np.ones(4, dtype=bool)) is None


def test_rejections_are_scored_over_both_test_sets():
    clean = replace(said([0, 1, 2, 0], rejected=[1]), scores=np.asarray([0.0, 0.6, 0.1, 0.2]))
    attacked = replace(said([2, 2], rejected=[0]), scores=np.asarray([0.9, 0.3]))

    found = score_rejections(Predictions(clean, attacked))

    assert (found["input_precision"], found["input_recall"]) == (0.5, 0.5)
    assert found["input_auroc"] == pytest.approx(7 / 8)  # 0.3 is below 0.6
    assert score_rejections(Predictions(said([0]), said([1]))) == {}
