"""Jobs at once on one machine: their threads, their GPUs, and a process that is killed."""

import json
import os
import subprocess
import sys
import time
from types import SimpleNamespace

import psutil
import pytest
from omegaconf import OmegaConf

from btu.errors import ConfigError
from btu.sweeps.workstation import _places, jobs_at_once
from tests.conftest import shell
from tests.sweeps.test_jobs import SMALL

SHORT = [*SMALL, "attack=badnets", "arms=[poisoned]", "objective.arm=poisoned"]


def launcher(device="auto", n_jobs=2, gpus=None, jobs_per_gpu=1):
    settings = {"n_jobs": n_jobs, "gpus": gpus, "jobs_per_gpu": jobs_per_gpu}
    return SimpleNamespace(config=OmegaConf.create({"device": device}), joblib=settings)


def test_each_job_at_once_has_a_gpu_and_gpus_are_shared_only_when_asked():
    assert _places(launcher(n_jobs=2, gpus=[0, 3])) == ["0", "3"]
    assert _places(launcher(n_jobs=3, gpus=[0, 3], jobs_per_gpu=2)) == ["0", "3", "0", "3"]


def test_a_machine_without_gpus_and_a_cpu_job_take_none(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert _places(launcher()) == []
    assert _places(launcher(device="cpu", gpus=[0])) == []
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    assert _places(launcher()) == ["5", "7"]


def test_more_jobs_than_places_on_the_gpus_is_a_sentence():
    with pytest.raises(
        ConfigError, match=r"n_jobs: 3 jobs at once do not fit on 2 GPUs with 1 each"
    ):
        _places(launcher(n_jobs=3, gpus=[0, 1]))


@pytest.mark.parametrize("n_jobs", [0, "two"])
def test_a_number_of_jobs_that_is_none_is_a_sentence(n_jobs):
    with pytest.raises(ConfigError, match="n_jobs is how many jobs run at once"):
        jobs_at_once(n_jobs)


def test_a_slot_belongs_to_one_living_process(tmp_path):
    program = (
        "import sys; from pathlib import Path; from btu.sweeps.machine import *;"
        "print(slot_of_this_process(Path(sys.argv[1]), 2), flush=True); sys.stdin.read()"
    )
    processes = []
    slots = []
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", program, tmp_path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        slots.append(process.stdout.readline().strip())
        if len(processes) == 2:
            processes[0].kill()
            processes[0].wait()
    for process in processes[1:]:
        process.communicate()

    assert slots == ["0", "1", "0"]


def holder_of(path):
    """The process that has a file open."""
    for process in psutil.process_iter():
        try:
            if any(file.path == str(path) for file in process.open_files()):
                return process
        except psutil.Error:
            continue
    return None


@pytest.mark.slow
def test_a_killed_process_takes_no_other_job_with_it(files, tmp_path):
    """As when memory runs out; job 0 would take minutes, and is killed in both of its runs."""
    words = [*files.overrides, *(word for word in SHORT if "epochs" not in word)]
    command = ["-m", *words, "model.training.epochs=20000,1,2", "hydra/launcher=workstation"]
    with (tmp_path / "out").open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "btu", *command], cwd=tmp_path, stdout=out, stderr=out
        )
    num_killed, deadline = 0, time.monotonic() + 100
    try:
        while process.poll() is None:
            assert time.monotonic() < deadline
            for path in tmp_path.glob("outputs/runs/*/*/0/btu.log"):
                holder = holder_of(path) if path.read_text().count("rows") > num_killed else None
                if holder is not None:
                    holder.kill()
                    num_killed += 1
            time.sleep(0.1)
    finally:
        process.terminate()

    (sweep,) = tmp_path.glob("outputs/runs/*/*")
    jobs = [json.loads((sweep / str(n) / "job.json").read_text()) for n in range(3)]
    said = (tmp_path / "out").read_text()
    assert [job["status"] for job in jobs] == ["died", "finished", "finished"], said
    assert process.returncode == 1
    assert "its process was killed, even when it ran alone" in jobs[0]["error"]
    assert num_killed == 2
    assert "2 of 3 jobs finished, 1 died" in said
    assert "Traceback" not in said


@pytest.mark.slow
def test_threads_are_divided_between_the_jobs(files, tmp_path):
    ended = shell(
        *("-m", *files.overrides, *SHORT, "seed=1,2", "hydra/launcher=workstation"),
        cwd=tmp_path,
        OMP_NUM_THREADS="",
    )

    assert ended.returncode == 0, ended.stderr
    cores = len(os.sched_getaffinity(0))
    assert f"2 jobs, 2 at once with {max(1, cores // 2)} threads each" in ended.stdout
