"""Sweeps: Optuna over the command line, W&B's agent, and one W&B run per job of a sweep."""

import itertools
import json
import os
import sys
from pathlib import Path

import pytest
import yaml
from wandb.proto import wandb_internal_pb2
from wandb.sdk.launch.sweeps.utils import create_sweep_command_args
from wandb.wandb_agent import Agent

from tests.conftest import TINY, composed, shell
from tests.report.test_tracking import closed_with, offline_runs, records_of, summary_of
from tests.test_config import ROOT

SMALL = [*TINY, "model=tiny", "model.training.epochs=2"]
SWEEP = yaml.safe_load((ROOT / "scripts" / "wandb_sweep.yaml").read_text())


def argv_of(point: dict) -> list[str]:
    """What W&B's agent appends for one point."""
    return create_sweep_command_args({"args": {k: {"value": v} for k, v in point.items()}})[
        "args_no_hyphens"
    ]


def points_of(sweep: dict) -> list[dict]:
    names = list(sweep["parameters"])
    values = [sweep["parameters"][name]["values"] for name in names]
    return [dict(zip(names, point, strict=True)) for point in itertools.product(*values)]


def test_a_continuous_threshold_of_a_wandb_sweep_composes():
    cfg = composed(["thresholds=[0.0005]", *argv_of({"thresholds.0": 6.5e-05})])

    assert cfg.thresholds == [6.5e-05]


def test_every_point_of_the_wandb_sweep_composes():
    for point in points_of(SWEEP):
        cfg = composed(argv_of(point))
        assert cfg.attack.name == point["attack"]
        assert (cfg.seed, cfg.thresholds) == (point["seed"], point["thresholds"])


@pytest.fixture
def agent(tmp_path, monkeypatch) -> Agent:
    """W&B's own agent, without its server; what it sets in the environment is put back."""
    for name in ("WANDB_RUN_ID", "WANDB_SWEEP_PARAM_PATH", "WANDB_DIR"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("WANDB_SWEEP_ID", "sweep1")
    monkeypatch.setenv("WANDB_PROJECT", "swept")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    return Agent(api=None, queue=None, sweep_id="sweep1")


def fixed_words(files) -> list[str]:
    """What all runs of a small sweep share; each attack keeps its own triggers."""
    return [
        *files.overrides,
        *(word for word in SMALL if not word.startswith(("attack.", "thresholds=", "tracking="))),
    ]


def run_of(path: Path) -> wandb_internal_pb2.RunRecord:
    (run,) = [r.run for r in records_of(path) if r.WhichOneof("record_type") == "run"]
    return run


def config_of(path: Path) -> dict:
    return {item.key: json.loads(item.value_json) for item in run_of(path).config.update}


@pytest.mark.slow
def test_the_agent_runs_a_point_of_the_sweep(agent, files, tmp_path):
    agent._sweep_command = [*SWEEP["command"], *fixed_words(files), "tracking.project=other"]
    point = {"attack": "addsent", "seed": 2, "thresholds": [0.01, 0.02]}
    args = {name: {"value": value} for name, value in point.items()}

    agent._command_run({"run_id": "point1", "program": SWEEP["program"], "args": args})

    assert agent._run_processes["point1"].wait() == 0
    (path,) = offline_runs(tmp_path)
    run, config = run_of(path), config_of(path)
    assert (run.run_id, run.sweep_id, run.project) == ("point1", "sweep1", "swept")
    assert run.run_group == ""
    assert point.items() <= config.items()  # what the sweep asked for
    assert config["attack.triggers"] == ["I watch this 3D movie"]  # and what came of it
    summary = summary_of(records_of(path))
    (folder,) = (tmp_path / "outputs" / "runs").glob("*/*")
    assert summary[SWEEP["metric"]["name"]] == pytest.approx(cost_of(folder))
    assert closed_with(path) == [0]


@pytest.mark.slow
def test_a_multirun_in_an_agent_is_refused(files, tmp_path):
    words = [*fixed_words(files), "attack=addsent", "thresholds=[0.01]"]

    done = shell("-m", *words, "seed=1,2", cwd=tmp_path, WANDB_SWEEP_ID="sweep1")

    assert done.returncode == 1
    assert "Leave -m out" in done.stderr
    assert offline_runs(tmp_path) == []


@pytest.mark.slow
def test_a_multirun_gives_one_wandb_run_per_job_in_one_group(files, tmp_path):
    words = [*fixed_words(files), "arms=[poisoned]", "thresholds=[0.01]", "tracking.mode=offline"]

    done = shell("-m", *words, "attack=badnets,addsent", "seed=1,2", cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    runs = [run_of(path) for path in offline_runs(tmp_path)]
    assert len({run.run_id for run in runs}) == 4
    assert len({run.run_group for run in runs}) == 1
    assert runs[0].run_group
    assert {run.display_name for run in runs} == {
        f"local-{attack}-tiny-btu-{seed}" for attack in ("badnets", "addsent") for seed in (1, 2)
    }
    assert [closed_with(path) for path in offline_runs(tmp_path)] == [[0]] * 4
    assert all("poisoned/asr" in summary_of(records_of(p)) for p in offline_runs(tmp_path))


@pytest.mark.slow
def test_a_failed_job_of_a_multirun_is_closed_and_the_next_has_its_own_run(files, tmp_path):
    words = [*fixed_words(files), "arms=[poisoned]", "thresholds=[0.01]", "tracking.mode=offline"]

    # The tokenizer is asked for the trigger when the run is open already.
    done = shell("-m", *words, 'attack.triggers=[cf],["\xad"],[mn]', cwd=tmp_path)

    assert done.returncode == 1
    assert "the tokenizer drops the trigger '\\xad'" in done.stderr
    endings = {
        config_of(path)["attack"]["triggers"][0]: closed_with(path)
        for path in offline_runs(tmp_path)
    }
    assert endings == {"cf": [0], "\xad": [1], "mn": [0]}
    assert len({run_of(path).run_id for path in offline_runs(tmp_path)}) == 3


def cost_of(folder: Path, cacc_weight: float = 1.0) -> float:
    """The objective from a job's own summary, written out."""
    rows = json.loads((folder / "summary.json").read_text())
    return min(r["asr"] + cacc_weight * (1 - r["cacc"]) for r in rows if r["arm"] == "defended")


SEARCH = ["-m", "experiment=search", "tracking=none", "thresholds.0=interval(0.005, 0.05)"]


@pytest.mark.slow
def test_the_best_trial_of_a_search_is_the_lowest_of_its_jobs(files, tmp_path):
    words = [*SEARCH, *fixed_words(files), "model.training.epochs=5", "objective.cacc_weight=2"]

    done = shell(*words, "hydra.sweeper.n_trials=3", cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    (found,) = (tmp_path / "outputs" / "runs").glob("*/*/optimization_results.yaml")
    best = yaml.safe_load(found.read_text())
    folders = sorted(found.parent.glob("[0-9]"))
    costs = [cost_of(folder, cacc_weight=2) for folder in folders]
    assert len(costs) == 3
    assert best["best_value"] == min(costs)
    config = yaml.safe_load(
        (folders[costs.index(min(costs))] / ".hydra" / "config.yaml").read_text()
    )
    assert config["thresholds"] == [best["best_params"]["thresholds.0"]]


@pytest.mark.slow
def test_a_failed_trial_does_not_end_the_search(files, tmp_path):
    words = [*SEARCH, *fixed_words(files), "attack.poison_rate=choice(7, 0.1)"]
    words += ["hydra.sweeper.sampler.seed=6"]  # asks for one of each

    done = shell(*words, "hydra.sweeper.n_trials=2", cwd=tmp_path)

    assert done.returncode == 1
    assert done.stderr.count("got 7") == 1
    (found,) = (tmp_path / "outputs" / "runs").glob("*/*/optimization_results.yaml")
    (summary,) = found.parent.glob("*/summary.json")
    assert yaml.safe_load(found.read_text())["best_value"] == cost_of(summary.parent)


@pytest.mark.slow
def test_a_search_that_cannot_judge_any_job_is_one_sentence_and_trains_nothing(files, tmp_path):
    words = [*SEARCH, *fixed_words(files), "arms=[poisoned]", "hydra.sweeper.n_trials=1"]

    done = shell(*words, cwd=tmp_path)

    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "Write objective.arm=poisoned" in done.stderr
    assert not (tmp_path / "outputs" / "cache" / "victim").exists()


@pytest.mark.slow
def test_a_search_that_is_typed_again_reads_its_finished_trials(files, tmp_path):
    words = [*SEARCH, *fixed_words(files), "arms=[defended]"]
    shell(*words, "hydra.sweeper.n_trials=1", cwd=tmp_path)  # as if stopped after one of two

    done = shell(*words, "hydra.sweeper.n_trials=2", cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    assert done.stdout.count("recorded before") + done.stderr.count("recorded before") == 1
    assert len(list((tmp_path / "outputs" / "records").glob("*.json"))) == 2
