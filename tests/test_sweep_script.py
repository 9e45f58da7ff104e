"""scripts/sweep.py: a sweep's table while it runs, and its offline W&B runs uploaded."""

import os
import subprocess
import sys

import pytest

from btu.models.hub import reachable
from btu.sweeps.jobs import JobList, JobReport
from tests.test_config import ROOT

FAKE = """
import sys
from pathlib import Path
assert sys.argv[1] == "sync"
with open("synced", "a") as file:
    print(len(sys.argv) - 2, file=file)
for run in map(Path, sys.argv[2:]):
    if "bad" not in run.name:
        (run / f"{run.name}.wandb.synced").touch()
"""


def fake_wandb(folder):
    """A `python -m wandb` that marks runs as uploaded, but for bad ones."""
    (folder / "wandb").mkdir()
    (folder / "wandb" / "__init__.py").touch()
    (folder / "wandb" / "__main__.py").write_text(FAKE)


def script(cwd, *arguments, **environment):
    return subprocess.run(
        [sys.executable, ROOT / "scripts" / "sweep.py", *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **environment},
        check=False,
    )


@pytest.fixture
def sweep(tmp_path):
    """A sweep of 25 jobs: 23 finished with offline runs, one running, one not begun."""
    folder = tmp_path / "outputs" / "runs" / "2026-01-31" / "10-30-00-1"
    JobList("sweep-1", [[f"seed={n}"] for n in range(25)]).write(folder)
    for number in range(23):
        run = tmp_path / "outputs" / "wandb" / f"offline-run-{number}"
        run.mkdir(parents=True)
        report = JobReport("finished", overrides=[f"seed={number}"], offline_run=str(run))
        report.write(folder / str(number))
    JobReport("running", overrides=["seed=23"]).write(folder / "23")
    return folder


def test_the_table_of_a_sweep_that_still_runs(sweep, tmp_path):
    shown = script(tmp_path, "show")  # the last one

    assert shown.returncode == 0, shown.stderr
    assert "23 of 25 jobs finished, 1 not begun, 1 running" in shown.stdout
    assert "died" not in shown.stdout


def test_offline_runs_are_uploaded_once(sweep, tmp_path):
    fake_wandb(tmp_path)

    first = script(tmp_path, "sync", sweep, PYTHONPATH=str(tmp_path))
    again = script(tmp_path, "sync", sweep, PYTHONPATH=str(tmp_path))

    assert (first.returncode, again.returncode) == (0, 0), first.stderr
    assert "that are not uploaded: 23" in first.stdout
    assert "that are not uploaded: 0" in again.stdout
    assert (tmp_path / "synced").read_text().split() == ["20", "3"]


def test_a_run_that_is_not_uploaded_is_named_and_tried_again(sweep, tmp_path):
    fake_wandb(tmp_path)
    runs = tmp_path / "outputs" / "wandb"
    (runs / "offline-run-3").rename(runs / "offline-run-3-bad")
    JobReport("finished", offline_run="/elsewhere/wandb/offline-run-3-bad").write(sweep / "3")

    done = script(tmp_path, "sync", sweep, PYTHONPATH=str(tmp_path))

    assert done.returncode == 1
    assert f"not uploaded: {runs / 'offline-run-3-bad'}" in done.stdout  # outputs were copied here
    assert done.stdout.count("not uploaded: ") == 2


@pytest.mark.parametrize("command", ["show", "sync"])
def test_a_folder_that_is_no_sweeps_is_a_sentence(tmp_path, command):
    done = script(tmp_path, command, tmp_path)

    assert done.returncode == 1
    assert "is not the folder of a sweep, which has jobs.json" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_server_that_nobody_listens_at_is_not_reachable(monkeypatch):
    import socket

    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("all_proxy", raising=False)
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        assert reachable(f"http://127.0.0.1:{port}")
    assert not reachable(f"http://127.0.0.1:{port}")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    assert reachable(f"http://127.0.0.1:{port}")
