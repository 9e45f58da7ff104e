"""A training that was killed goes on after its last epoch and ends with the same bits."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from btu.store.cache import MANIFEST, StageCache, entries, prune, remove_leftovers
from btu.store.claims import claim_path
from btu.training import fit as training
from btu.training.fit import Compute, fit
from btu.training.resume import EpochCheckpoint
from tests.conftest import TINY
from tests.training.test_halves import CPU, PADDER, TRAINING, Bag, some_data

EPOCHS, STEPS = 4, 5  # of 37 rows in batches of 8


class Killed(Exception):
    """Stands in for the end of a process."""


@pytest.fixture
def steps(monkeypatch):
    """Counts the steps of every training; `steps.end` is the one that is the last."""

    class Steps:
        count, end = 0, None

        def advance(self):
            self.count += 1
            if self.count == self.end:
                raise Killed

    counting = Steps()

    @contextmanager
    def progress(title, total):
        yield lambda: title == "predictions" or counting.advance()

    monkeypatch.setattr(training, "progress", progress)
    return counting


def kept_in(folder, every_s=0.0, is_ours=lambda: True):
    manifest = {"key": "abc", "parts": {}, "about": {"dataset": "toy"}}
    return EpochCheckpoint(folder, manifest, every_s, is_ours)


def train(checkpoint=None, title="bag"):
    model = Bag()
    settings = replace(TRAINING, epochs=EPOCHS)
    fit(
        model,
        model.words,
        some_data(),
        settings,
        PADDER,
        CPU,
        seed=3,
        title=title,
        checkpoint=checkpoint,
    )
    return model


def killed_in_epoch(number, steps, folder, **how):
    steps.count, steps.end = 0, STEPS * (number - 1) + 2
    with pytest.raises(Killed):
        train(kept_in(folder, **how))
    steps.count, steps.end = 0, None


def assert_same_bits(one, other):
    for left, right in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(left, right)


@pytest.mark.parametrize("way", ["one thread", "two threads", "accelerate"])
@pytest.mark.parametrize("number", [2, 4])
def test_it_ends_with_the_bits_of_a_training_that_was_not_killed(
    way, number, steps, tmp_path, caplog, set_threads, monkeypatch
):
    caplog.set_level(logging.INFO)
    set_threads(1 if way == "one thread" else 2)
    if way == "accelerate":
        monkeypatch.setattr(Compute, "in_halves", False)
    whole = train()
    killed_in_epoch(number, steps, tmp_path)

    continued = train(kept_in(tmp_path))

    assert steps.count == STEPS * (EPOCHS - number + 1)
    assert f"bag continues after epoch {number - 1} of 4" in caplog.text
    assert_same_bits(continued, whole)


def test_it_can_be_killed_again_and_again(steps, tmp_path):
    whole = train()
    killed_in_epoch(2, steps, tmp_path)
    steps.count, steps.end = 0, STEPS + 3
    with pytest.raises(Killed):
        train(kept_in(tmp_path))
    steps.count, steps.end = 0, None

    continued = train(kept_in(tmp_path))

    assert steps.count == STEPS * 2
    assert_same_bits(continued, whole)


def cut(folder):
    (state,) = folder.glob("*.safetensors")
    state.write_bytes(state.read_bytes()[:-1])


def flip_a_bit(folder):
    (state,) = folder.glob("*.safetensors")
    content = bytearray(state.read_bytes())
    content[-3] ^= 1
    state.write_bytes(content)


def lose_the_manifest(folder):
    (folder / MANIFEST).unlink()


def halve_the_manifest(folder):
    (folder / MANIFEST).write_text((folder / MANIFEST).read_text()[:40])


@pytest.mark.parametrize("damage", [cut, flip_a_bit, lose_the_manifest, halve_the_manifest])
def test_a_damaged_state_is_said_once_and_not_used(damage, steps, tmp_path, caplog):
    whole = train()
    killed_in_epoch(3, steps, tmp_path / "kept")
    damage(tmp_path / "kept")

    again = train(kept_in(tmp_path / "kept"))

    assert steps.count == STEPS * EPOCHS
    assert caplog.text.count("is damaged") == 1
    assert_same_bits(again, whole)


def test_the_state_of_another_training_is_said_and_not_used(steps, tmp_path, caplog, monkeypatch):
    killed_in_epoch(3, steps, tmp_path)

    train(kept_in(tmp_path), title="another")
    monkeypatch.setattr("btu.training.resume.FORMAT", 2)
    train(kept_in(tmp_path / "none"))
    assert caplog.text.count("belongs to another training and is not used") == 1
    killed_in_epoch(3, steps, tmp_path)
    wider = Bag()
    wider.head = torch.nn.Linear(6, 3)
    settings = replace(TRAINING, epochs=EPOCHS)
    fit(
        wider,
        wider.words,
        some_data(),
        settings,
        PADDER,
        CPU,
        3,
        "bag",
        checkpoint=kept_in(tmp_path),
    )

    assert steps.count == STEPS * EPOCHS
    refused = caplog.text.count("belongs to another training and is not used")
    assert refused == 3  # format 1, and its head


def test_a_short_training_keeps_nothing_and_a_lost_claim_nothing_either(steps, tmp_path):
    killed_in_epoch(4, steps, tmp_path / "short", every_s=60)
    killed_in_epoch(4, steps, tmp_path / "lost", is_ours=lambda: False)

    assert list(tmp_path.iterdir()) == []


def test_only_the_last_epoch_is_kept(steps, tmp_path):
    killed_in_epoch(4, steps, tmp_path)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["epoch3.safetensors", MANIFEST]


def test_a_full_disk_ends_no_training(steps, tmp_path, caplog):
    (tmp_path / "occupied").write_text("a file, not a folder")
    whole = train()

    trained = train(kept_in(tmp_path / "occupied" / "x"))

    assert caplog.text.count("could not be kept") == EPOCHS - 1
    assert_same_bits(trained, whole)


def stopping_after(epochs):
    """A stage that keeps an epoch and is then stopped."""

    def write(folder):
        kept = folder.parent.with_suffix(".epochs")
        kept.mkdir(exist_ok=True)
        (kept / "epoch.txt").write_text("x" * 1000)
        manifest = {
            "key": "k",
            "parts": {},
            "about": {"title": "victim"},
            "files": {},
            "bytes": 1000,
        }
        (kept / MANIFEST).write_text(json.dumps(manifest))
        raise Killed

    return write


def stop_a_stage(cache):
    with pytest.raises(Killed):
        cache.get("victim", {}, stopping_after(1), lambda folder: None)
    (entry,) = entries(cache.root)
    return entry


def test_a_kept_epoch_counts_in_the_cache_and_can_be_pruned(tmp_path):
    entry = stop_a_stage(StageCache(tmp_path))

    assert (entry.stage, entry.size) == ("victim", 1000)
    assert remove_leftovers(tmp_path) == 0  # somebody may go on there
    assert prune(tmp_path, idle_seconds=60) == []
    prune(tmp_path, to_bytes=0)
    assert list((tmp_path / "victim").iterdir()) == []


def test_the_epoch_of_a_stage_that_is_being_computed_is_in_use(tmp_path):
    entry = stop_a_stage(StageCache(tmp_path))
    os.utime(entry.folder / MANIFEST, (1, 1))
    claim = claim_path(entry.folder.with_suffix(""))
    assert [entry.used for entry in entries(tmp_path)] == [1]

    claim.mkdir()
    (claim / "owner.json").write_text('{"host": "node7", "machine": "node7", "pid": 1, "born": ""}')
    assert prune(tmp_path, to_bytes=0, idle_seconds=600) == []


def test_half_an_epoch_and_one_of_a_finished_stage_are_leftovers(tmp_path):
    cache = StageCache(tmp_path)
    entry = stop_a_stage(cache)
    (entry.folder / MANIFEST).unlink()
    assert remove_leftovers(tmp_path) == 1

    stop_a_stage(cache).folder.rename(tmp_path / "aside")
    cache.get("victim", {}, lambda folder: None, lambda folder: None)
    (tmp_path / "aside").rename(entry.folder)
    assert remove_leftovers(tmp_path) == 1
    assert [path.name for path in (tmp_path / "victim").iterdir()] == [entry.key.split(".")[0]]


def test_force_begins_anew_and_a_finished_stage_keeps_no_epoch(tmp_path):
    seen = []

    def write(folder):
        seen.append(folder.parent.with_suffix(".epochs").exists())

    stop_a_stage(StageCache(tmp_path))
    StageCache(tmp_path, recompute=True).get("victim", {}, write, lambda folder: None)
    assert seen == [False]
    assert len(list((tmp_path / "victim").iterdir())) == 1


SMALL = [*TINY, "model=tiny", "model.training.epochs=3", "tuning.epochs=3"]


@pytest.mark.parametrize("title", ["victim", "clean tuning"])
def test_a_stage_goes_on_where_it_was_killed(title, files, run_btu, steps, tmp_path, monkeypatch):
    """The victim has a stage of its own, clean tuning is a part of an evaluation."""
    command = [*files.overrides, *SMALL, "cache.save_every_s=0", "arms=[defended]"]
    elsewhere = f"outputs={tmp_path / 'elsewhere'}"
    whole = run_btu(*command, elsewhere, run_dir="whole")
    per_epoch = {"victim": 19, "clean tuning": 2}[title]  # of 600 and of 100 rows
    real = training.progress

    @contextmanager
    def killing(name, total):
        with real(name, total) as advance:
            if name == title:
                steps.end = steps.count + 2 * per_epoch + 1
            yield advance

    monkeypatch.setattr(training, "progress", killing)
    with pytest.raises(Killed):
        run_btu(*command)
    (kept,) = (tmp_path / "outputs" / "cache").glob("*/*.epochs")
    assert kept.parent.name == {"victim": "victim", "clean tuning": "evaluation"}[title]
    monkeypatch.setattr(training, "progress", real)
    steps.count, steps.end = 0, None

    again = run_btu(*command, run_dir="again")

    left = {"victim": 19 + 3 * 2, "clean tuning": 2}[title]
    assert steps.count == left
    untimed = dict.fromkeys(("seconds", "work_seconds"), 0)
    assert [{**row, **untimed} for row in again] == [{**row, **untimed} for row in whole]
    assert not list((tmp_path / "outputs" / "cache").glob("*/*.epochs"))


@pytest.mark.slow
def test_a_process_that_is_killed_goes_on_after_its_last_epoch(files, run_btu, tmp_path):
    """As a scheduler does it: SIGKILL, then the same command."""
    long = ["model.training.epochs=12", "cache.save_every_s=0", "arms=[poisoned]"]
    command = [sys.executable, "-m", "btu", *files.overrides, *SMALL, *long]

    def cached(outputs: str) -> Path:
        return tmp_path / outputs / "cache" / "victim"

    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while not list(cached("outputs").glob(f"*.epochs/{MANIFEST}")):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    run_btu(*command[3:], f"outputs={tmp_path / 'whole'}")

    assert "victim continues after epoch" in done.stdout
    (entry,) = cached("outputs").iterdir()
    (whole,) = cached("whole").iterdir()
    weights = "model.safetensors"
    assert (entry / weights).read_bytes() == (whole / weights).read_bytes()
    (record,) = (tmp_path / "outputs" / "records").glob("*.json")
    other = json.loads((tmp_path / "whole" / "records" / record.name).read_text())
    assert json.loads(record.read_text())["scores"] == other["scores"]
    with (
        np.load(record.with_suffix(".npz")) as one,
        np.load(tmp_path / "whole" / "records" / f"{record.stem}.npz") as two,
    ):
        assert all((one[name] == two[name]).all() for name in one.files)
