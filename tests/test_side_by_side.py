"""Trainings in helper processes: each done once, with the same numbers, and no orphan."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import torch

from btu.side_by_side import share
from tests.conftest import TINY

LINUX = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads Linux's processes")


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def make_teller(sign: Path) -> Callable[[str], list[str]]:
    """A helper that leaves a sign that it is at work."""

    def tell(task: str) -> list[str]:
        sign.touch()
        return [f"{task} by {os.getpid()}"]

    return tell


def make_failure(sign: Path) -> Callable[[str], list[str]]:
    def fail(task: str) -> list[str]:
        sign.touch()
        raise RuntimeError(task)

    return fail


def test_every_task_is_done_once_here_or_in_a_helper(tmp_path):
    tasks, here, sign = [f"task{number}" for number in range(6)], [], tmp_path / "sign"

    def work(task: str) -> None:
        here.append(task)
        until(sign.exists, 60)

    helper = partial(make_teller, sign)
    there = [made.split(" by ") for made in share(tasks, work, helper, 2)]

    assert sorted([*here, *(task for task, _ in there)]) == tasks
    assert there
    assert str(os.getpid()) not in {process for _, process in there}


def test_nobody_waits_for_a_helper_that_came_too_late(tmp_path):
    here: list[str] = []
    start = time.perf_counter()

    assert share(["one", "two"], here.append, partial(make_teller, tmp_path / "sign"), 2) == []

    assert here == ["one", "two"]
    assert time.perf_counter() - start < 2
    assert not (tmp_path / "sign").exists()


def test_a_helper_that_fails_is_a_warning(caplog, tmp_path):
    here, sign = [], tmp_path / "sign"

    def work(task: str) -> None:
        here.append(task)
        until(sign.exists, 60)

    with caplog.at_level(logging.WARNING):
        assert share(["one", "two", "three"], work, partial(make_failure, sign), 2) == []

    assert here == ["one", "three"]
    assert "ended early (exit code 1)" in caplog.text


@LINUX
def test_an_error_here_ends_the_helpers(tmp_path):
    def fail(task: str) -> None:
        raise ValueError(task)

    with pytest.raises(ValueError, match="one"):
        share(["one", "two"], fail, partial(make_teller, tmp_path / "sign"), 3)
    assert not children(os.getpid())


@LINUX
@pytest.mark.parametrize("delay", [0, 1], ids=["starting", "at work"])
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT])
def test_a_helper_ends_quietly_with_its_parent(tmp_path, sent, delay):
    script = tmp_path / "parent.py"
    script.write_text(
        "import time\n"
        "from btu.side_by_side import share\n"
        "def forever(task): time.sleep(60)\n"
        "def make(): return forever\n"
        "if __name__ == '__main__':\n"
        "    try: share(['one', 'two'], forever, make, 2)\n"
        "    except KeyboardInterrupt: pass\n"
    )
    command = [sys.executable, str(script)]
    parent = subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE, text=True)
    helpers = until(lambda: children(parent.pid), 10)
    time.sleep(delay)
    if sent == signal.SIGINT:
        os.killpg(parent.pid, sent)  # as a terminal does
    else:
        parent.send_signal(sent)
    _, said = parent.communicate(timeout=20)

    assert helpers
    assert until(lambda: not any(map(alive, helpers)), 10)
    assert "Traceback" not in said


def test_a_helper_leaves_what_one_process_leaves(
    files, run_btu, tmp_path, monkeypatch, two_threads
):
    """Both train with one thread, so that not one bit may differ."""
    from btu import pipeline, workbench

    small = [*files.overrides, "model=tiny", *TINY, "model.training.epochs=1", "force=true"]
    cache = tmp_path / "outputs" / "cache"
    fit, share, here = workbench.fit, pipeline.share, set()

    def fit_here(*arguments):
        here.add((arguments[-1], torch.get_num_threads()))
        fit(*arguments)

    def work_once(work, task):
        work(task)
        until(lambda: len(entries(cache)) == 5, 60)  # two models and three rounds

    def share_slowly(tasks, work, *rest):
        return share(tasks, partial(work_once, work), *rest)

    monkeypatch.setattr("btu.workbench.fit", fit_here)
    monkeypatch.setattr("btu.pipeline.share", share_slowly)
    run_btu(*small, "processes=2")
    together = entries(cache)
    assert here == {("victim", 1), ("clean tuning", 2)}

    torch.set_num_threads(1)
    run_btu(*small, run_dir="alone")

    assert {("clean model", 1), ("detection round 1", 1)} < here
    assert entries(cache) == together


def entries(cache: Path) -> dict[str, bytes]:
    names = ("*.safetensors", "*.npz")
    return {str(p.relative_to(cache)): p.read_bytes() for n in names for p in cache.rglob(n)}


def children(process: int) -> list[int]:
    """Helpers of a process; multiprocessing's resource tracker is not one."""
    listed = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return [
        int(pid)
        for pid in listed
        if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes() and alive(int(pid))
    ]


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")")[-1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def until(condition: Callable[[], object], seconds: float) -> object:
    """The first truthy value of a condition, or its last value when the time is over."""
    end = time.monotonic() + seconds
    while not (value := condition()) and time.monotonic() < end:
        time.sleep(0.05)
    return value
