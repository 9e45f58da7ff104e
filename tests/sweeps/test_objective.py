"""What a search minimises, from records that are written out."""

from types import SimpleNamespace

import pytest

from btu.errors import ConfigError
from btu.running import run_job
from btu.sweeps.search import Objective
from tests.conftest import TINY, composed


def record(arm, cacc, asr=None):
    return SimpleNamespace(arm=arm, scores=SimpleNamespace(cacc=cacc, asr=asr))


RECORDS = [
    record("poisoned", 0.9, 1.0),
    record("defended", 0.9, 0.3),  # 0.3 + 0.1
    record("defended", 0.7, 0.2),  # 0.2 + 0.3
]


def test_the_objective_is_asr_and_lost_accuracy_at_the_best_threshold():
    assert Objective().value(RECORDS) == pytest.approx(0.4)
    assert Objective(arm="poisoned").value(RECORDS) == pytest.approx(1.1)


def test_the_weight_says_what_accuracy_is_worth():
    assert Objective(cacc_weight=0).value(RECORDS) == pytest.approx(0.2)
    assert Objective(cacc_weight=2).value(RECORDS) == pytest.approx(0.5)


def test_without_an_attack_only_accuracy_counts():
    assert Objective().value([record("defended", 0.8)]) == pytest.approx(0.2)


def test_a_job_without_the_arm_has_no_objective():
    assert Objective(arm="tuned").value(RECORDS) is None


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("objective.arm=defendet", r"objective\.arm: there is no defendet; did you mean defen"),
        ("objective.cacc_weight=-1", r"objective\.cacc_weight is at least 0, got -1"),
    ],
)
def test_a_wrong_objective_is_one_sentence_before_training(tmp_path, override, sentence):
    with pytest.raises(ConfigError, match=sentence):
        run_job(composed([override, f"outputs={tmp_path}", "tracking=none"]), tmp_path)


def test_a_job_returns_its_objective_and_none_without_the_arm(files, tmp_path):
    words = [*files.overrides, *TINY, "model=tiny", "model.training.epochs=1"]
    words += [f"outputs={tmp_path / 'outputs'}", "arms=[poisoned]"]

    value = run_job(composed([*words, "objective.arm=poisoned"]), tmp_path / "one")

    assert isinstance(value, float)
    assert 0 <= value <= 2
    assert run_job(composed(words), tmp_path / "two") is None


def test_a_search_without_arms_is_refused(monkeypatch):
    monkeypatch.setattr("btu.sweeps.search.searching", lambda: True)

    with pytest.raises(ConfigError, match=r"arms=\[\] trains nothing that a search could judge"):
        Objective().check_search([])
