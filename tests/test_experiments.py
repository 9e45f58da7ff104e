"""Every experiment file runs, and `btu experiment=NAME` is its whole sweep."""

import os
import subprocess
import sys

import pytest

from btu.cli import CONF
from tests.conftest import TINY, sweep_of

NAMES = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))
OF_EACH_KIND = {"smoke", "main_table", "adaptive_attacks", "selfset_table", "nothing_planted"}
SWEEPS = [name for name in NAMES if name not in ("smoke", "sst2_table", "search")]
FEW_ROWS = ["dataset.num_train=400", "dataset.num_tuning=100", "dataset.num_test=100"]
QUICK = ["model=tiny", *TINY, "model.training.epochs=1"]
LOCAL = [f"dataset.{role}=x.tsv" for role in ("train", "tuning", "test")]
NAME_THE_JOBS = """
import btu.cli as main

def name(cfg, run_dir, report):
    first = (cfg.thresholds or [])[:1]
    print("job", run_dir.name, cfg.attack.name, "+".join(cfg.defense), cfg.seed, *first)

main.run_job = name
import btu.report.closing; btu.report.closing.close_sweep = lambda config, complete: 0
main.main()
"""


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in OF_EACH_KIND else pytest.mark.slow)
        for name in NAMES  # the first jobs of the others are nearly one of these
    ],
)
def test_the_first_job_of_an_experiment_runs(name, files, run_btu):
    data, quick = FEW_ROWS, QUICK
    if name.startswith(("sst2_", "adaptive_", "selfset_", "defense_", "trusted_")):
        data = files.overrides
    if name == "nothing_planted":
        data = ["dataset.num_rows=600"]
        quick = [each for each in QUICK if not each.startswith("attack.")]
    (first, *_) = sweep_of(name)

    rows = run_btu(f"experiment={name}", *first, *data, *quick)

    assert "poisoned" in {row["arm"] for row in rows}
    assert all(row["num_clean"] for row in rows)
    assert all(row["num_triggered"] or name == "nothing_planted" for row in rows)


@pytest.mark.parametrize("name", SWEEPS)
def test_an_experiment_that_sweeps_has_three_seeds(name):
    jobs = sweep_of(name)

    seeds = [word for job in jobs for word in job if word.startswith("seed=")]
    wanted = range(1, 21 if name == "nothing_planted" else 4)
    assert set(seeds) == {f"seed={number}" for number in wanted}
    assert len(seeds) == len(jobs) > 3


def jobs_of(cwd, *arguments):
    """The jobs of a real command line, with nothing trained."""
    command = [sys.executable, "-c", NAME_THE_JOBS, *arguments, "hydra.sweep.dir=sweep"]
    done = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, timeout=120, env=dict(os.environ)
    )
    assert done.returncode == 0, done.stderr
    return [line.split()[1:] for line in done.stdout.split("\n") if line.startswith("job ")]


def test_the_command_line_replaces_a_part_of_the_sweep_and_needs_no_m(tmp_path):
    jobs = jobs_of(tmp_path, "experiment=main_table", "attack=addsent", "seed=4,5")

    assert jobs == [
        [str(number), "addsent", defense, seed, "0.0005"]
        for number, (seed, defense) in enumerate(
            (seed, defense) for seed in "45" for defense in ("none", "btu", "btu_reference")
        )
    ]


def test_one_job_of_an_experiment_is_run_where_that_is_asked_for(tmp_path):
    jobs = jobs_of(tmp_path, "experiment=main_table", "hydra.mode=RUN", "hydra.run.dir=one")

    assert jobs == [["one", "badnets", "btu", "1", "0.0005"]]


def test_a_sweep_over_experiments_runs_one_job_of_each(tmp_path):
    jobs = jobs_of(tmp_path, "-m", "experiment=main_table,smoke")

    assert jobs == [["0", "badnets", "btu", "1", "0.0005"], ["1", "badnets", "btu", "1", "0.002"]]


def test_the_main_table_composes_for_the_four_data_sets_of_the_hub(tmp_path):
    hub = ["dataset=sst2,hsol,olid,agnews", "model=bert_base", "attack=badnets,style", "seed=1"]

    jobs = jobs_of(tmp_path, "experiment=main_table", *hub)

    assert len(jobs) == 4 * 2 * 3
    assert {(attack, defense) for _, attack, defense, *_ in jobs} == {
        (attack, defense)
        for attack in ("badnets", "style")
        for defense in ("none", "btu", "btu_reference")
    }


def test_the_comparison_has_every_defense_and_a_filter_that_feeds_one(tmp_path):
    jobs = jobs_of(tmp_path, "experiment=defense_comparison", "attack=badnets", "seed=1", *LOCAL)

    options = {path.stem for path in (CONF / "defense").glob("*.yaml")}
    variants = {"none", "btu_reference", "selfset_longer", "selfset_random", "selfset_sampled"}
    assert {defense for _, _, defense, *_ in jobs} == (options - variants) | {"cube+rga"}
