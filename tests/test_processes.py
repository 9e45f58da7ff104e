"""Several processes for one job: one result, written once, and no process outlives another."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from btu import processes
from btu.errors import ConfigError
from btu.processes import ALONE, ProcessGroup
from btu.sweeps.followers import run_folder
from btu.training.devices import resolve_device
from tests.conftest import TINY
from tests.test_config import ROOT

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"]
SMALL = [*TINY, "model=tiny", "model.training.epochs=1"]
PATCHED = """
import os
import btu.sweeps.followers, btu.processes, btu.lab
btu.sweeps.followers.PATIENCE, btu.processes.VISIBLE_SECONDS = 1.0, 0.5
fit = btu.lab.fit
def failing(*arguments, **keywords):
    if os.environ["RANK"] == os.environ.get("FAILS"):
        raise OSError(28, "full")
    fit(*arguments, **keywords)
btu.lab.fit = failing
from btu.cli import main
main()
"""


def torchrun(*command, cwd, **environment):
    return subprocess.run(
        [*TORCHRUN, *map(str, command)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **environment},
        check=False,
    )


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("num_rows", [1, 2, 7])
def test_the_weighted_means_of_the_shares_are_the_mean(size, num_rows):
    losses = np.random.default_rng(1).random(num_rows)

    shares = [ProcessGroup(rank, size).share(range(num_rows)) for rank in range(size)]

    means = [weight * losses[list(rows)].mean() for rows, weight in shares]
    assert np.mean(means) == pytest.approx(losses.mean())
    assert all(len(rows) <= -(-num_rows // size) for rows, _ in shares)


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """What two processes computed together, by rank."""
    folder = tmp_path_factory.mktemp("together")
    done = torchrun("-m", "tests.shared_work", folder, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return [load_file(folder / f"process{rank}.safetensors") for rank in range(2)]


def named(found, beginning):
    return {
        name.removeprefix(beginning): value
        for name, value in found.items()
        if name.startswith(beginning)
    }


@pytest.mark.slow
def test_two_processes_have_the_gradient_of_the_batch(together):
    """Of whole models, frozen ones and probes; also where one process has no row."""
    from tests.shared_work import gradients

    alone = gradients(ALONE)

    for found in together:
        shared = named(found, "gradient ")
        assert shared.keys() == alone.keys()
        for name, value in alone.items():
            torch.testing.assert_close(shared[name], value, atol=1e-6, rtol=1e-4)


@pytest.mark.slow
def test_two_processes_end_with_the_same_weights(together):
    one, other = (named(found, "whole ") for found in together)

    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.slow
def test_two_processes_go_on_after_their_last_epoch(together):
    for found in together:
        whole, continued = named(found, "whole "), named(found, "continued ")
        assert whole.keys() == continued.keys()
        assert all(torch.equal(whole[name], continued[name]) for name in whole)


@pytest.mark.slow
def test_a_job_of_two_processes_writes_once_and_is_read_again(files, run_btu, tmp_path):
    command = [*files.overrides, *SMALL, "arms=[poisoned,defended]"]
    alone = {row["record"] for row in run_btu(*command)}

    first = torchrun("-m", "btu", *command, "save_model=true", cwd=tmp_path)
    again = torchrun("-m", "btu", *command, cwd=tmp_path)

    assert (first.returncode, again.returncode) == (0, 0), first.stderr + again.stderr
    assert first.stdout.count("poisoned             CACC") == 1
    assert again.stdout.count("recorded before") == 2
    runs = sorted((tmp_path / "outputs" / "runs").glob("*/*"))
    assert len(runs) == 2
    assert (runs[0] / "model" / "model.safetensors").is_file()
    rows = [json.loads((run / "summary.json").read_text()) for run in runs]
    assert rows[0] == rows[1]
    records = {path.stem: path for path in (tmp_path / "outputs" / "records").glob("*.json")}
    shared = {row["record"] for row in rows[0]}
    assert records.keys() == shared | alone  # whose noise differs: other numbers, other keys
    assert not shared & alone
    processes_of = {
        key: json.loads(path.read_text())["provenance"].get("processes")
        for key, path in records.items()
    }
    assert processes_of == dict.fromkeys(shared, 2) | dict.fromkeys(alone)


def test_a_mistake_is_printed_once_and_nothing_is_left(files, tmp_path):
    done = torchrun("-m", "btu", *files.overrides, *SMALL, "attack.poison_rate=7", cwd=tmp_path)

    assert done.returncode != 0
    assert done.stderr.count("between 0 and 1, got 7") == 1
    assert len(list((tmp_path / "outputs" / "runs").glob("*/*"))) == 1


def test_a_multirun_is_refused_before_it_makes_a_folder(tmp_path):
    done = torchrun("-m", "btu", "-m", *SMALL, "seed=1,2", cwd=tmp_path)

    assert done.returncode != 0
    assert done.stderr.count("Run torchrun once for each job") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow  # tests/slurm does it with a real launcher
def test_a_launcher_may_start_the_processes_of_one_job_of_a_multirun(files, tmp_path):
    command = [*files.overrides, *SMALL, "arms=[poisoned]", "report=false"]

    done = torchrun("-m", "btu", "-m", *command, cwd=tmp_path, BTU_LAUNCHED="1")

    assert done.returncode == 0, done.stderr
    (sweep,) = (tmp_path / "outputs" / "runs").glob("*/*")
    (log,) = sweep.glob("*/btu.log")
    assert log.read_text().count("poisoned             CACC") == 1
    assert json.loads((log.parent / "job.json").read_text())["status"] == "finished"


def test_a_follower_closes_the_log_of_a_run_and_works_elsewhere(started, tmp_path):
    """Where Hydra has opened it before, as for the processes of a launcher."""
    started(1, 2, 1, 2)
    root, before = logging.getLogger(), list(logging.getLogger().handlers)
    root.addHandler(logging.FileHandler(tmp_path / "btu.log"))
    try:
        folder = run_folder(tmp_path)
        root.warning("said by a follower")
    finally:
        root.handlers[:] = before

    assert folder != tmp_path
    assert folder.is_dir()
    assert (tmp_path / "btu.log").read_text() == ""


def test_process_0_works_in_the_folder_of_the_run(started, tmp_path):
    started(0, 2, 0, 2)

    assert run_folder(tmp_path) == tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_the_failure_of_one_process_ends_all_of_them(rank, files, tmp_path):
    """Of a follower it is said which one."""
    (tmp_path / "patched.py").write_text(PATCHED)
    start = time.monotonic()

    command = [*files.overrides, *SMALL, "arms=[poisoned]"]
    done = torchrun("patched.py", *command, cwd=tmp_path, FAILS=str(rank))

    assert done.returncode != 0
    assert time.monotonic() - start < 60  # the time to load torch on a busy machine; never waits
    assert done.stderr.count("error: No space left on device") == 1
    assert ("process 1 of 2 on" in done.stderr) == (rank == 1)


@pytest.mark.slow
def test_a_folder_that_a_process_does_not_see_is_named(files, tmp_path):
    (tmp_path / "patched.py").write_text(PATCHED)

    folder = "cache.folder=${outputs}/cache${oc.env:RANK}"
    done = torchrun("patched.py", *files.overrides, *SMALL, folder, cwd=tmp_path)

    assert done.returncode != 0
    assert done.stderr.count("cache.folder=outputs/cache0: process 1 on ") == 1
    assert "Write cache.folder=PATH" in done.stderr
    assert not list((tmp_path / "outputs").glob("cache*/.seen*"))


@pytest.fixture
def started(monkeypatch):
    """Set what a launcher says in the environment, on a machine with two GPUs."""

    def set_group(rank, size, local_rank, local_size):
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
        for name, value in zip(names, (rank, size, local_rank, local_size), strict=True):
            monkeypatch.setenv(name, str(value))
        return processes.started()

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    return set_group


def test_a_process_knows_its_place(started):
    assert processes.started() == ALONE
    assert started(3, 4, 1, 2) == ProcessGroup(3, 4, 1, 2)
    assert started(0, 1, 0, 1) == ALONE


@pytest.mark.parametrize("name", ["auto", "cuda"])
def test_each_process_has_a_device_of_its_own(started, name, monkeypatch):
    started(3, 4, 1, 2)

    assert resolve_device(name) == "cuda:1"
    assert resolve_device("cpu") == "cpu"
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert resolve_device("auto") == "cpu"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("cuda:1", "device=cuda:1 is one device, but 3 processes were started"),
        ("mps", "device=mps is one device, but 3 processes were started"),
        ("cuda", "has 2 CUDA devices for them. Write torchrun --nproc-per-node=2"),
    ],
)
def test_a_device_that_processes_would_share_is_refused(started, name, said):
    started(0, 3, 0, 3)

    with pytest.raises(ConfigError, match=said):
        resolve_device(name)
