"""Sweeps: what jobs share, what a failure does, and what a second invocation does."""

import io
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from omegaconf import OmegaConf
from rich.console import Console

from btu.report.closing import close_sweep
from btu.report.sweep_table import sweep_table
from btu.store.cache import entries
from btu.sweeps.jobs import JobReport, jobs_of, sweep_name
from tests.conftest import TINY, shell

SMALL = [
    *(word for word in TINY if not word.startswith("attack.")),
    "model=tiny",
    "model.training.epochs=1",
    "report=false",
]


def scores_of(folder):
    return {
        path.name: json.loads(path.read_text())["scores"] for path in folder.glob("records/*.json")
    }


def test_jobs_share_the_stages_that_they_agree_on(files, multirun, fits):
    cutoffs = "defense.btu.cutoff=mean,row_mean"

    done = multirun(*files.overrides, *SMALL, cutoffs, "attack=badnets,addsent")

    assert done.code == 0
    assert fits.count("clean model") == 1  # one seed, whatever the attack
    assert fits.count("victim") == 2  # an attack's, whatever the cutoff
    assert fits.count("detection round 1") == 2
    assert fits.count("clean tuning") == 2 + 4  # tuned, and defended with each cutoff
    assert "4 of 4 jobs finished" in done.out
    assert [job["status"] for job in done.jobs] == ["finished"] * 4


def test_a_finished_sweep_is_read_and_force_computes_it_again(files, multirun, fits, tmp_path):
    command = [*files.overrides, *SMALL, "attack=badnets,addsent", "arms=[poisoned]"]
    first = multirun(*command)
    before = {p: p.read_bytes() for p in (tmp_path / "outputs" / "records").iterdir()}
    fits.clear()

    again = multirun(*command)

    assert fits == []
    assert again.code == 0
    assert "recorded" in again.out
    assert before == {p: p.read_bytes() for p in (tmp_path / "outputs" / "records").iterdir()}
    assert [job["num_computed"] for job in first.jobs] == [1, 1]
    assert [job["num_computed"] for job in again.jobs] == [0, 0]
    multirun(*command, "force=true")
    assert fits == ["victim", "victim"]


def test_a_failing_job_is_recorded_and_the_others_go_on(files, multirun):
    done = multirun(*files.overrides, *SMALL, "arms=[poisoned]", "attack.poison_rate=0.1,7,0.2")

    assert done.code == 1
    assert [job["status"] for job in done.jobs] == ["finished", "failed", "finished"]
    assert "between 0 and 1, got 7" in done.jobs[1]["error"]
    assert "between 0 and 1, got 7" in done.err
    assert "2 of 3 jobs finished" in done.out
    assert "job 1: attack.poison_rate" in done.out
    assert done.jobs[1]["name"] == "local-badnets-tiny-btu-1"
    assert len(done.jobs[0]["records"]) == 1
    assert (done.folder / "0" / done.jobs[0]["records"][0]).is_file()


def test_an_error_that_nobody_foresaw_fails_its_job_only(files, multirun, monkeypatch):
    from btu import lab

    real, calls = lab.fit, []

    def fit(*arguments, **keywords):
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError("out of memory\nand more")
        real(*arguments, **keywords)

    monkeypatch.setattr("btu.lab.fit", fit)
    done = multirun(*files.overrides, *SMALL, "arms=[poisoned]", "seed=1,2")

    assert done.code == 1
    assert [job["status"] for job in done.jobs] == ["failed", "finished"]
    assert done.jobs[0]["error"].startswith("unexpected RuntimeError: out of memory (its trace")
    assert "Traceback" in (done.folder / "0" / "btu.log").read_text()
    assert "Traceback" not in done.err


def test_on_failure_stop_ends_at_the_first(files, multirun, fits):
    done = multirun(
        *files.overrides,
        *SMALL,
        "arms=[poisoned]",
        "attack.poison_rate=0.1,7,0.2",
        "on_failure=stop",
    )

    assert done.code == 1
    assert [job["status"] for job in done.jobs] == ["finished", "failed", "not run"]
    assert done.jobs[2]["error"] == "not run: job 1 failed and on_failure=stop"
    assert fits == ["victim"]


def test_a_job_that_died_without_a_word_is_in_the_table_and_counts(tmp_path, capsys):
    """As on a cluster, where the process that launched the jobs is not theirs."""
    JobReport(status="finished", num_computed=1).write(tmp_path / "0")
    JobReport(status="running").write(tmp_path / "1")
    hydra = {"sweep": {"dir": str(tmp_path)}, "overrides": {"task": []}}

    unfinished = close_sweep(OmegaConf.create({"hydra": hydra, "report": False}), complete=True)

    assert unfinished == 1
    said = capsys.readouterr().out
    assert "1 of 2 jobs finished" in said
    assert "died" in said


@pytest.mark.parametrize(
    ("override", "shown"),
    [("seed=1", "seed=1"), ("defense.btu.cutoff=mean", "cutoff=mean"), ("thresholds.0=1", None)],
)
def test_the_table_of_jobs_shortens_what_was_varied(override, shown):
    console = Console(width=100, record=True, file=io.StringIO())

    console.print(sweep_table({0: JobReport(overrides=[override]), 1: JobReport()}))

    assert f" {shown or override} " in console.export_text()


def test_a_sweep_without_jobs_is_an_error(multirun, tmp_path):
    done = multirun("experiment=glob(no_such_*)")

    assert done.code == 1
    assert "the sweep has no jobs: experiment=glob(no_such_*) matches nothing" in done.err
    assert not (tmp_path / "outputs" / "cache").exists()


def test_an_option_that_does_not_exist_ends_the_sweep_before_any_training(files, multirun, fits):
    done = multirun(*files.overrides, *SMALL, "attack=badnets,badnet")

    assert done.code == 1
    assert "badnet" in done.err
    assert "Traceback" not in done.err
    assert fits == []


def test_thresholds_that_flag_the_same_tokens_share_repair_and_evaluation(files, run_btu, fits):
    small = [*files.overrides, *SMALL, "attack.triggers=[cf]", "arms=[unlearned,defended]"]

    rows = run_btu(*small, "thresholds=[0.0100,0.0101,0.02]")

    assert rows[0]["num_suspects"] == rows[1]["num_suspects"] != rows[2]["num_suspects"]
    assert rows[0]["cacc"] == rows[1]["cacc"]
    assert rows[0]["record"] != rows[1]["record"]
    assert fits.count("clean tuning") == 2
    assert fits.count("detection round 2") == 2


@pytest.mark.slow
def test_wandb_opens_no_second_run_for_what_it_has(files, multirun, tmp_path):
    command = [*files.overrides, *SMALL, "arms=[poisoned]", "seed=1,2"]
    command = [word for word in command if not word.startswith("tracking=")]

    first, again = multirun(*command), multirun(*command)

    assert len(list((tmp_path / "outputs" / "wandb").glob("offline-run-*"))) == 2
    listed = (first.folder / "offline_runs.txt").read_text().split()
    assert len(listed) == 2
    assert all((tmp_path / run).is_dir() for run in listed)
    assert f"python scripts/sweep.py sync {first.folder.relative_to(tmp_path)}" in first.out
    assert (again.folder / "offline_runs.txt").read_text().split() == listed  # not uploaded yet
    for run in listed:
        folder = tmp_path / run
        (folder / f"{folder.name}.wandb.synced").touch()  # as wandb sync does
    assert "sweep.py sync" not in multirun(*command).out


COMMAND = ["btu", "-m", *SMALL, "attack=badnets", "seed=1,2", "arms=[poisoned,unlearned,defended]"]


def start(files, tmp_path, *more, number=0):
    out = (tmp_path / f"out{number}").open("w")
    return subprocess.Popen(
        [sys.executable, "-m", *COMMAND, *files.overrides, *more],
        cwd=tmp_path,
        stdout=out,
        stderr=out,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def leftovers(folder):
    return [p for p in folder.rglob("*") if ".claim" in p.name or p.name.startswith(".")]


def test_a_sweep_has_the_same_name_when_it_is_typed_again():
    assert sweep_name(["seed=1,2", "attack=badnets"]) == sweep_name(
        ["attack=badnets", "seed=1,2", "force=true"]
    )
    assert sweep_name(["seed=1,2"]) != sweep_name(["seed=1,2,3"])


def test_a_terminated_sweep_keeps_what_it_finished(files, tmp_path):
    process = start(files, tmp_path)
    records = tmp_path / "outputs" / "records"
    deadline = time.monotonic() + 60
    while not list(records.glob("*.json")):
        assert time.monotonic() < deadline
        time.sleep(0.02)

    process.send_signal(signal.SIGTERM)

    assert process.wait(30) == 143
    said = (tmp_path / "out0").read_text()
    assert "type the same command again" in said
    assert "stopped" in said
    assert "Traceback" not in said
    assert leftovers(tmp_path / "outputs" / "cache") == []


@pytest.mark.slow
def test_a_grid_killed_at_twenty_moments_ends_as_an_undisturbed_one(files, tmp_path):
    """`kill -9`, then the same command again; nothing that was finished is computed twice."""
    import random

    undisturbed = shell(*COMMAND[1:], *files.overrides, "outputs=calm", cwd=tmp_path)
    assert undisturbed.returncode == 0, undisturbed.stderr
    moments, made = random.Random(1), set()
    cache = tmp_path / "outputs" / "cache"
    for number in range(20):
        process = start(files, tmp_path, number=number)
        time.sleep(moments.uniform(2.0, 9.0))
        process.kill()
        process.wait()
        now = {(e.stage, e.key, e.folder.stat().st_ino) for e in entries(cache)}
        assert made <= now, "a finished stage was computed again"
        made = now
    final = start(files, tmp_path, number=20)

    assert final.wait(120) == 0
    assert scores_of(tmp_path / "outputs") == scores_of(tmp_path / "calm")
    assert {(e.stage, e.key) for e in entries(cache)} == {
        (e.stage, e.key) for e in entries(tmp_path / "calm" / "cache")
    }
    assert leftovers(cache) == []
    assert leftovers(tmp_path / "outputs" / "records") == []


@pytest.mark.slow
def test_four_identical_jobs_at_once_compute_once(files, tmp_path):
    jobs = [start(files, tmp_path, number=number) for number in range(4)]

    assert [job.wait(240) for job in jobs] == [0] * 4
    done = [
        json.loads(path.read_text()) for path in (tmp_path / "outputs").glob("runs/*/*/*/job.json")
    ]
    assert len(done) == 8
    assert sum(job["num_computed"] for job in done) == 2 * 3
    said = "".join((tmp_path / f"out{number}").read_text() for number in range(4))
    assert said.count("detection round 1") <= 2
    titles = [line for line in said.split("\n") if line.startswith("victim ")]
    assert sum("from the cache" not in line for line in titles) >= 2
    summaries = {
        path.read_text() for path in (tmp_path / "outputs").glob("runs/*/*/0/summary.json")
    }
    assert len(summaries) == 1
    assert "waiting for " in said


def test_a_sweep_into_a_used_folder_begins_with_its_own_jobs_only(files, multirun, tmp_path):
    into = f"hydra.sweep.dir={tmp_path / 'outputs' / 'runs' / 'a' / 'b'}"
    small = [*files.overrides, *SMALL, "arms=[poisoned]", "on_failure=stop", into]
    failed = multirun(*small, "attack.poison_rate=10,0.1,0.2")
    before = [job["status"] for job in failed.jobs]

    done = multirun(*small, "attack.poison_rate=0.1,0.2")

    assert before == ["failed", "not run", "not run"]
    assert done.code == 0
    assert "2 of 2 jobs finished" in done.out
    assert [job["status"] for job in done.jobs] == ["finished"] * 2


@pytest.mark.slow
def test_jobs_whose_folders_have_names_are_seen_by_their_sweep(files, multirun, tmp_path):
    small = [*files.overrides, *SMALL, "arms=[poisoned]", "on_failure=stop", "report=true"]
    named = "hydra.sweep.subdir=rate/${attack.poison_rate}"

    done = multirun(*small, named, "attack.poison_rate=0.1,10,0.2")

    assert [job["status"] for job in done.jobs] == ["finished", "failed", "not run"]
    assert "1 of 3 jobs finished" in done.out
    assert (done.folder / "rate" / "0.1" / "summary.json").is_file()
    assert "records: 1 in 1 rows" in (done.folder / "report" / "report.md").read_text()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "7",
        "\0",
        "[" * 100_000,
        '{"format": 9}',
        '{"status": ["x"]}',
        '{"seconds": "long"}',
        '{"scores": {"chosen": {"cacc": NaN}}}',
    ],
)
def test_a_job_whose_report_is_none_is_named_and_the_others_are_shown(tmp_path, text):
    for number, status in enumerate(("finished", "failed")):
        JobReport(status, overrides=["seed=1"]).write(tmp_path / str(number))
    (tmp_path / "0" / "job.json").write_text(text)

    jobs = jobs_of(tmp_path)

    assert [job.status for job in jobs.values()] == ["died", "failed"]
    assert "its job.json cannot be read" in jobs[0].error
    assert sweep_table(jobs).row_count == 2


def test_two_jobs_that_would_write_one_folder_are_told_apart(files, multirun):
    small = [*files.overrides, *SMALL, "arms=[poisoned]"]

    done = multirun(*small, "hydra.sweep.subdir=all", "seed=1,2")

    assert [job["status"] for job in done.jobs] == ["finished", "failed"]
    assert "gives this job the folder of job 0, all" in done.jobs[1]["error"]


@pytest.mark.slow
def test_the_flag_of_a_sweep_may_stand_anywhere(files, tmp_path):
    words = [*files.overrides, *SMALL, "arms=[poisoned]", "-m", "seed=1,2"]

    done = shell(*words, cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    assert "2 of 2 jobs finished" in done.stdout
