"""Cache entries are whole, verified and kept apart."""

import pytest

from btu.cache import MANIFEST, StageCache, make_key


@pytest.fixture
def cache(tmp_path):
    return StageCache(tmp_path / "cache")


def writing(text, calls):
    def work(folder):
        calls.append(text)
        (folder / "result.txt").write_text(text)

    return work


def test_an_entry_is_computed_once_and_found_again(cache):
    calls = []

    for _ in range(2):
        folder, _ = cache.folder("stage", {"a": 1}, writing("x", calls))

    assert calls == ["x"]
    assert (folder / "result.txt").read_text() == "x"
    assert (folder / MANIFEST).is_file()


def test_other_parts_or_another_stage_are_another_entry(cache):
    calls = []

    for stage, parts in (("one", {"a": 1}), ("one", {"a": 2}), ("two", {"a": 1})):
        cache.folder(stage, parts, writing("x", calls))

    assert len(calls) == 3


def test_the_key_does_not_depend_on_the_order_of_parts():
    assert make_key({"a": 1, "b": [2]}) == make_key({"b": [2], "a": 1})


@pytest.mark.parametrize("damage", [b"y", b"", b"xx"])
def test_a_damaged_entry_is_said_and_made_again(cache, caplog, damage):
    calls = []
    folder, _ = cache.folder("stage", {}, writing("x", calls))
    (folder / "result.txt").write_bytes(damage)

    folder, _ = cache.folder("stage", {}, writing("x", calls))

    assert calls == ["x", "x"]
    assert (folder / "result.txt").read_text() == "x"
    assert "is damaged" in caplog.text


def test_a_failed_stage_leaves_nothing(cache):
    def fail(folder):
        (folder / "half.txt").write_text("half")
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError):
        cache.folder("stage", {}, fail)

    assert list((cache.root / "stage").iterdir()) == []


def test_recompute_computes_each_entry_once_more(tmp_path):
    calls = []
    StageCache(tmp_path).folder("stage", {}, writing("x", calls))
    forced = StageCache(tmp_path, recompute=True)

    for _ in range(2):
        forced.folder("stage", {}, writing("z", calls))

    assert calls == ["x", "z"]


def test_the_loser_of_a_race_takes_the_winners_entry(cache):
    calls = []

    def slow(folder):
        cache.folder("stage", {}, writing("winner", calls))
        (folder / "result.txt").write_text("loser")

    folder, _ = cache.folder("stage", {}, slow)

    assert (folder / "result.txt").read_text() == "winner"
    assert len(list((cache.root / "stage").iterdir())) == 1
