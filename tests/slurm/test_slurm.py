"""Sweeps on a real one-node Slurm, started for these tests: `pytest -m slurm`, as root.

It keeps no accounts, like many small clusters. Packages: slurmctld slurmd slurm-client munge.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from btu.store.cache import entries

HERE = Path(__file__).parent
NEEDED = ("slurmctld", "slurmd", "srun", "sbatch", "munged")
MISSING = [
    name for name in NEEDED if not shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
]
pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}"),
    pytest.mark.skipif(os.geteuid() != 0, reason="the daemons are started as root"),
]
LAUNCHER = [
    "hydra/launcher=slurm",
    "hydra.launcher.gpus_per_node=0",
    "hydra.launcher.cpus_per_task=1",
    "hydra.launcher.mem_gb=1",
    "hydra.launcher.timeout_min=9",  # with 10 or less every such signal is a time-out
]
TINY = [
    "tracking=none",
    "report=false",
    "model=tiny",
    "model.vocabulary_size=600",
    "model.hidden_size=32",
    "model.num_layers=1",
    "model.training.epochs=1",
    "dataset.num_train=600",
    "dataset.num_tuning=100",
    "dataset.num_test=200",
    "thresholds=[0.01]",
    "arms=[poisoned,defended]",
]


@pytest.fixture(scope="module")
def slurm() -> Iterator[dict[str, str]]:
    """The environment of a running cluster, which is stopped in the end."""
    folder = Path(tempfile.mkdtemp(prefix="btu-slurm-"))
    folder.chmod(0o755)
    subprocess.run([HERE / "start-slurm.sh", folder], check=True, capture_output=True, timeout=90)
    try:
        yield {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}
    finally:
        subprocess.run([HERE / "stop-slurm.sh", folder], check=True, timeout=60)
        shutil.rmtree(folder)


@dataclass
class Running:
    """A sweep that was typed, and what it left so far."""

    cwd: Path
    process: subprocess.Popen[str]
    environment: dict[str, str]

    @property
    def folder(self) -> Path:
        return max((self.cwd / "outputs" / "runs").glob("*/*"))

    def job(self, number: int) -> dict[str, Any]:
        """A job's report; nothing before it has begun."""
        path = self.folder / str(number) / "job.json"
        return json.loads(path.read_text()) if path.is_file() else {}

    def log(self, number: int) -> str:
        path = self.folder / str(number) / "btu.log"
        return path.read_text() if path.is_file() else ""

    def slurm_ids(self) -> dict[int, str]:
        """Slurm's name of each job."""
        told = (path.name for path in (self.folder / ".submitit").glob("[0-9]*_*"))
        return {int(name.split("_")[1]): name for name in told}

    def only_slurm_id(self) -> str:
        """Slurm's name of the job of a sweep of one, which is no array."""
        names = (path.name for path in (self.folder / ".submitit").iterdir())
        return next(name for name in names if name.isdigit())

    def slurm_state(self, number: int, seconds: float = 60) -> str:
        """How a job ended for Slurm, whose process ends some time after the job has said so."""
        deadline = time.monotonic() + seconds
        while True:
            words = self.call("scontrol", "-o", "show", "job", self.slurm_ids()[number]).split()
            state = next(word.partition("=")[2] for word in words if word.startswith("JobState="))
            if state not in ("RUNNING", "COMPLETING") or time.monotonic() > deadline:
                return state
            time.sleep(0.2)

    def call(self, *command: str) -> str:
        done = subprocess.run(
            command, env=self.environment, check=True, capture_output=True, text=True, timeout=60
        )
        return done.stdout

    def wait_for(self, condition: Callable[[], Any], seconds: float = 90) -> None:
        deadline = time.monotonic() + seconds
        while True:
            try:
                if condition():
                    return
            except (ValueError, KeyError, OSError):
                pass  # not there yet
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.1)

    def end(self, seconds: float = 120) -> tuple[int, str, str]:
        """Exit code, what was printed, and errors."""
        out, err = self.process.communicate(timeout=seconds)
        return self.process.returncode, out, err


@pytest.fixture
def multirun(slurm: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Type a sweep in an empty folder; nothing of it is left to the next test."""
    started = []

    def run(*overrides: str, plain: bool = False) -> Running:
        words = list(overrides) if plain else [*TINY, *LAUNCHER, *overrides]
        process = subprocess.Popen(
            [sys.executable, "-m", "btu", "-m", *words],
            cwd=tmp_path,
            env={**slurm, "COLUMNS": "200"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return Running(tmp_path, process, slurm)

    yield run
    for process in started:
        process.kill()
    subprocess.run(["scancel", "--user=root"], env=slurm, check=True, timeout=60)


def test_a_grid_leaves_all_records_and_a_job_that_raises_fails_for_slurm_too(multirun):
    grid = multirun("seed=1,2", "attack.poison_rate=0.1,7")

    code, out, err = grid.end()

    assert code == 1
    assert "2 of 4 jobs finished, 2 failed" in out
    assert "job 1: attack.poison_rate is a fraction between 0 and 1, got 7" in out
    assert "Traceback" not in out + err
    assert [grid.job(n)["status"] for n in range(4)] == ["finished", "failed"] * 2
    assert [grid.slurm_state(n) for n in range(4)] == ["COMPLETED", "FAILED"] * 2
    records = list((grid.cwd / "outputs" / "records").glob("*.json"))
    assert len(records) == 2 * 2
    assert all((grid.folder / "0" / path).is_file() for path in grid.job(0)["records"])
    assert f"btu -m rerun={grid.folder.relative_to(grid.cwd)} hydra/launcher=slurm" in out


def test_a_cancelled_job_is_reported_and_can_be_run_again(multirun):
    grid = multirun("attack.poison_rate=0.1,0.2", "model.training.epochs=3000,1")
    grid.wait_for(lambda: "rows" in grid.log(0))  # jobs 0 and 1, of 3,000 epochs, take minutes
    grid.call("scancel", grid.slurm_ids()[0])
    grid.wait_for(lambda: "rows" in grid.log(1))
    grid.call("scancel", grid.slurm_ids()[1])
    code, out, err = grid.end()

    assert code == 1
    assert "2 of 4 jobs finished, 2 died" in out
    assert "job 1: it was cancelled; the last line of " in out
    assert [grid.job(n)["status"] for n in range(4)] == ["died", "died", "finished", "finished"]
    assert "Traceback" not in out + err
    first = grid.folder
    again = multirun(f"rerun={first}", "model.training.epochs=2", *LAUNCHER, plain=True)
    code, out, err = again.end()
    assert code == 0, err
    assert "2 of 2 jobs finished" in out
    assert again.folder != first
    rates = [f"attack.poison_rate={rate}" for rate in (0.1, 0.2)]
    for number, rate in enumerate(rates):
        words = again.job(number)["overrides"]
        assert words.count(rate) == words.count("model.training.epochs=2") == 1
        assert "model.training.epochs=3000" not in words


def test_a_requeued_job_computes_no_finished_stage_again(multirun):
    many = ",".join(str(n / 1000) for n in range(10, 40))
    grid = multirun(f"thresholds=[{many}]", "seed=1", "tuning.epochs=40")
    cache = grid.cwd / "outputs" / "cache"
    grid.wait_for(lambda: list(cache.glob("detection/*/manifest.json")))
    before = {e.folder: e.folder.stat().st_ino for e in entries(cache) if e.stage != "evaluation"}

    grid.call("scontrol", "requeue", grid.only_slurm_id())
    code, out, err = grid.end(180)

    assert code == 0, err
    assert "1 of 1 jobs finished" in out
    assert "Restarts=1" in grid.call("scontrol", "-o", "show", "job", grid.only_slurm_id())
    assert any(folder.parent.name == "victim" for folder in before)
    assert {folder: folder.stat().st_ino for folder in before} == before
    assert grid.log(0).count("from the cache") >= 2
    assert len(list((grid.cwd / "outputs" / "records").glob("*.json"))) == 1 + 30


def test_a_job_whose_time_is_over_goes_on_after_its_last_epoch(multirun):
    """By the signal that Slurm sends before a time limit, and before a preemption."""
    grid = multirun("model.training.epochs=250", "seed=1", "cache.save_every_s=0.5")
    cache = grid.cwd / "outputs" / "cache"
    grid.wait_for(lambda: list(cache.glob("victim/*.epochs/manifest.json")))

    grid.call("scancel", "--signal=USR2", grid.only_slurm_id())
    code, out, err = grid.end(180)

    assert code == 0, err
    assert "1 of 1 jobs finished" in out
    assert "Restarts=1" in grid.call("scontrol", "-o", "show", "job", grid.only_slurm_id())
    assert "continues after epoch " in grid.log(0)
    assert not list(cache.glob("victim/*.epochs"))


def test_a_time_limit_that_never_suffices_is_said(multirun):
    grid = multirun("model.training.epochs=30000", "seed=1", "hydra.launcher.max_num_timeout=0")
    grid.wait_for(lambda: "rows" in grid.log(0))

    grid.call("scancel", "--signal=USR2", grid.only_slurm_id())
    code, out, _ = grid.end()

    assert code == 1
    assert "0 of 1 jobs finished, 1 failed" in out
    assert "it ran out of time more often than hydra.launcher.max" in grid.job(0)["error"]


def test_two_tasks_are_the_processes_of_one_job(multirun):
    grid = multirun("seed=1", "hydra.launcher.tasks_per_node=2")

    code, out, err = grid.end()

    assert code == 0, err
    assert "1 of 1 jobs finished" in out
    records = list((grid.cwd / "outputs" / "records").glob("*.json"))
    assert len(records) == 2
    assert json.loads(records[0].read_text())["provenance"]["processes"] == 2


def test_a_partition_that_does_not_exist_is_the_schedulers_message(multirun):
    code, _, err = multirun("seed=1,2", "hydra.launcher.partition=nowhere").end()

    assert code == 1
    assert "Slurm refuses the jobs: " in err
    assert "invalid partition specified: nowhere" in err
    assert "Traceback" not in err
    assert len(err.strip().splitlines()) == 1
