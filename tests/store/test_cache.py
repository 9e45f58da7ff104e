"""Cache entries are whole, verified, computed once, and removed when there are too many."""

import json
import logging
import os
import shutil
import time

import pytest
from safetensors import SafetensorError

from btu.store.cache import MANIFEST, StageCache, entries, make_key, prune, remove_leftovers
from btu.store.claims import claim_path
from btu.store.files import disk_errors


@pytest.fixture
def cache(tmp_path):
    return StageCache(tmp_path / "cache")


def writing(text, calls):
    def work(folder):
        calls.append(text)
        (folder / "result.txt").write_text(text)

    return work


def read(folder):
    return (folder / "result.txt").read_text()


def folder_of(cache):
    (entry,) = entries(cache.root)
    return entry.folder


def test_an_entry_is_computed_once_and_found_again(cache):
    calls = []

    for _ in range(2):
        value, _ = cache.get("stage", {"a": 1}, writing("x", calls), read)

    assert calls == ["x"]
    assert value == "x"
    assert [p.name for p in (cache.root / "stage").iterdir()] == [folder_of(cache).name]


def test_other_parts_or_another_stage_are_another_entry(cache):
    calls = []

    for stage, parts in (("one", {"a": 1}), ("one", {"a": 2}), ("two", {"a": 1})):
        cache.get(stage, parts, writing("x", calls), read)

    assert len(calls) == 3


def test_the_key_does_not_depend_on_the_order_of_parts():
    assert make_key({"a": 1, "b": [2]}) == make_key({"b": [2], "a": 1})


def truncate(folder):
    (folder / "result.txt").write_bytes(b"")


def flip_a_byte(folder):
    (folder / "result.txt").write_bytes(b"y")


def lose_a_file(folder):
    (folder / "result.txt").unlink()


def halve_the_manifest(folder):
    text = (folder / MANIFEST).read_text()
    (folder / MANIFEST).write_text(text[: len(text) // 2])


def lose_the_manifest(folder):
    (folder / MANIFEST).unlink()


def name_a_file_elsewhere(folder):
    (folder.parent.parent / "elsewhere.txt").write_text("x")
    manifest = json.loads((folder / MANIFEST).read_text())
    sums = manifest["files"]
    manifest["files"] = {"../../elsewhere.txt": sums["result.txt"]}
    (folder / MANIFEST).write_text(json.dumps(manifest))


def writing_manifest(text):
    return lambda folder: (folder / MANIFEST).write_text(text)


NO_MANIFESTS = ["[]", "7", "[" * 100_000, "\0", '{"files": {"a": 1}}', '{"files": [], "key": 1}']


@pytest.mark.parametrize("text", NO_MANIFESTS)
def test_a_manifest_that_is_none_is_left_out_and_named(cache, caplog, text):
    for number in (1, 2):
        cache.get("stage", {"n": number}, writing("x", []), read)
    (bad, good) = entries(cache.root)
    writing_manifest(text)(bad.folder)

    assert [entry.key for entry in entries(cache.root)] == [good.key]
    assert f"{bad.folder} is left out: its manifest is damaged" in caplog.text
    assert cache.get("stage", bad.manifest.parts, writing("z", []), read)[0] == "z"


@pytest.mark.parametrize(
    "damage",
    [
        truncate,
        flip_a_byte,
        lose_a_file,
        halve_the_manifest,
        lose_the_manifest,
        name_a_file_elsewhere,
    ],
)
def test_a_damaged_entry_is_said_and_made_again(cache, caplog, damage):
    calls = []
    cache.get("stage", {}, writing("x", calls), read)
    damage(folder_of(cache))

    value, _ = cache.get("stage", {}, writing("x", calls), read)

    assert calls == ["x", "x"]
    assert value == "x"
    assert caplog.text.count("is damaged") == 1
    assert len(list((cache.root / "stage").iterdir())) == 1


def test_a_failed_stage_leaves_nothing(cache):
    def fail(folder):
        (folder / "half.txt").write_text("half")
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError):
        cache.get("stage", {}, fail, read)

    assert list((cache.root / "stage").iterdir()) == []


def test_recompute_computes_each_entry_once_more(tmp_path):
    calls = []
    StageCache(tmp_path).get("stage", {}, writing("x", calls), read)
    forced = StageCache(tmp_path, recompute=True)

    values = [forced.get("stage", {}, writing("z", calls), read)[0] for _ in range(2)]

    assert calls == ["x", "z"]
    assert values == ["z", "z"]


def test_an_entry_that_is_pruned_while_it_is_read_is_made_again(cache):
    calls, readings = [], []

    def vanishing(folder):
        readings.append(folder)
        if len(readings) == 1:
            prune(cache.root)
        return read(folder)

    value, _ = cache.get("stage", {}, writing("x", calls), vanishing)

    assert value == "x"
    assert calls == ["x", "x"]


class LibraryError(Exception):
    """What a library raises of a file that it cannot read; no OSError."""


def test_whatever_reading_raises_of_an_entry_that_was_damaged_means_that_there_is_none(cache):
    calls, readings = [], []

    def failing(folder):
        readings.append(folder)
        if len(readings) == 1:
            flip_a_byte(folder)
            raise LibraryError("header too short")
        return read(folder)

    cache.get("stage", {}, writing("x", calls), read)

    assert cache.get("stage", {}, writing("x", calls), failing)[0] == "x"
    assert calls == ["x", "x"]


def test_an_error_in_reading_a_whole_entry_is_not_hidden(cache):
    def failing(folder):
        raise LibraryError("no such device")

    cache.get("stage", {}, writing("x", []), read)

    with pytest.raises(LibraryError):
        cache.get("stage", {}, pytest.fail, failing)


def test_a_claim_that_was_taken_over_is_begun_again_whatever_the_error(cache):
    tries = []

    def work(folder):
        tries.append(folder)
        if len(tries) == 1:
            shutil.rmtree(folder.parent)
            raise LibraryError("No such file or directory (os error 2)")
        writing("x", [])(folder)

    assert cache.get("stage", {}, work, read)[0] == "x"
    assert len(tries) == 2


def test_a_full_disk_is_an_os_error_also_where_safetensors_says_it():
    with pytest.raises(OSError, match="No space left on device"), disk_errors():
        raise SafetensorError("Error while serializing: I/O error: No space (os error 28)")


def fill(cache, count, size=1000):
    for number in range(count):
        cache.get("stage", {"n": number}, writing("x" * size, []), read)
        (entry,) = (e for e in entries(cache.root) if e.manifest.parts["n"] == number)
        os.utime(entry.folder / MANIFEST, (number, number))


def numbers(cache):
    return sorted(entry.manifest.parts["n"] for entry in entries(cache.root))


def test_pruning_to_a_size_removes_what_was_used_least_recently(cache):
    fill(cache, 5)
    cache.get("stage", {"n": 0}, writing("x", []), read)  # used again: now the latest

    would = prune(cache.root, to_bytes=2500, dry_run=True)
    assert numbers(cache) == [0, 1, 2, 3, 4]
    removed = prune(cache.root, to_bytes=2500)

    assert [e.manifest.parts["n"] for e in removed] == [1, 2, 3]
    assert [e.key for e in would] == [e.key for e in removed]
    assert numbers(cache) == [0, 4]


def test_pruning_by_age_spares_what_was_used_lately(cache):
    fill(cache, 3)
    cache.get("stage", {"n": 1}, writing("x", []), read)

    prune(cache.root, idle_seconds=60)

    assert numbers(cache) == [1]


def test_the_size_limit_holds_but_spares_what_is_in_use(tmp_path):
    fill(StageCache(tmp_path), 4)
    limited = StageCache(tmp_path, limit_bytes=2500)

    limited.get("stage", {"n": 9}, writing("x" * 1000, []), read)
    limited.get("stage", {"n": 8}, writing("x" * 1000, []), read)
    limited.get("stage", {"n": 7}, writing("x" * 1000, []), read)

    assert numbers(limited) == [7, 8, 9]  # above the limit, but all of them just used


def in_child(work):
    """Run in a forked child that never returns; gives its process number."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(0)
    return pid


def wait_for(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "waited 20 s in vain"
        time.sleep(0.01)


def slow(calls_file, seconds):
    def work(folder):
        with calls_file.open("a") as file:
            file.write("x")
        (folder / "result.txt").write_text("half")
        time.sleep(seconds)
        (folder / "result.txt").write_text("whole")

    return work


def test_four_processes_compute_one_stage_once(cache, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    calls = tmp_path / "calls"
    about = {"title": "victim"}
    children = [
        in_child(lambda: cache.get("stage", {}, slow(calls, 1), read, about)) for _ in range(3)
    ]
    wait_for(calls.exists)

    value, key = cache.get("stage", {}, slow(calls, 1), read, about)

    for child in children:
        os.waitpid(child, 0)
    assert value == "whole"
    assert calls.read_text() == "x"
    assert f"waiting for victim (key {key}), which process " in caplog.text
    assert [p.name for p in (cache.root / "stage").iterdir()] == [key]


def test_a_killed_owner_does_not_block_the_others(cache, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    calls = tmp_path / "calls"
    child = in_child(lambda: cache.get("stage", {}, slow(calls, 60), read))
    wait_for(lambda: list(cache.root.glob("stage/*/*/result.txt")))
    os.kill(child, 9)  # a zombie until waited for: its number still exists

    start = time.monotonic()
    value, key = cache.get("stage", {}, slow(calls, 0), read)

    assert time.monotonic() - start < 5
    os.waitpid(child, 0)
    assert value == "whole"
    assert "its owner is gone" in caplog.text
    assert [p.name for p in (cache.root / "stage").iterdir()] == [key]


def test_a_silent_owner_on_another_machine_is_given_up(cache, monkeypatch):
    monkeypatch.setattr("btu.store.claims.SILENCE_SECONDS", 0.6)
    key = make_key({"stage": "stage"})
    claim = claim_path(cache.root / "stage" / key)
    claim.mkdir(parents=True)
    (claim / "owner.json").write_text('{"host": "node7", "machine": "node7", "pid": 1, "born": ""}')

    start = time.monotonic()
    value, _ = cache.get("stage", {}, writing("x", []), read)

    assert value == "x"
    assert 0.6 <= time.monotonic() - start < 5


def test_an_owner_that_touches_its_claim_is_waited_for(cache, monkeypatch):
    monkeypatch.setattr("btu.store.claims.SILENCE_SECONDS", 0.6)
    monkeypatch.setattr("btu.store.claims.TOUCH_SECONDS", 0.1)
    monkeypatch.setattr("btu.store.claims._is_gone", lambda owner: False)  # as from another machine
    calls = cache.root.parent / "calls"
    child = in_child(lambda: cache.get("stage", {}, slow(calls, 2), read))
    wait_for(calls.exists)

    cache.get("stage", {}, slow(calls, 2), read)

    os.waitpid(child, 0)
    assert calls.read_text() == "x"


def test_an_owner_taken_for_dead_begins_again_and_harms_nobody(cache):
    calls = []

    def overtaken(folder):
        calls.append("first")
        if len(calls) == 1:
            claim = folder.parent
            claim.rename(claim.with_name(".taken"))  # as the one who takes it away does
            cache.get("stage", {}, writing("other", calls), read)
        (folder / "result.txt").write_text("mine")

    value, _ = cache.get("stage", {}, overtaken, read)

    assert value == "other"
    assert calls == ["first", "other"]


def test_leftovers_of_killed_processes_are_removed(cache, tmp_path):
    calls = tmp_path / "calls"
    child = in_child(lambda: cache.get("stage", {}, slow(calls, 60), read))
    wait_for(lambda: list(cache.root.glob("stage/*/*/result.txt")))
    os.kill(child, 9)
    os.waitpid(child, 0)

    assert remove_leftovers(cache.root) == 1
    assert list((cache.root / "stage").iterdir()) == []
