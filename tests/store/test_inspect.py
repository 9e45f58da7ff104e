"""scripts/cache.py: lists, explains and prunes."""

import subprocess
import sys

import pytest

from btu.store.cache import entries
from tests.conftest import TINY
from tests.test_config import ROOT


def tool(folder, *arguments):
    return subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "cache.py"), "--folder", str(folder), *arguments],
        capture_output=True,
        text=True,
        env={"COLUMNS": "200", "PYTHONPATH": str(ROOT)},
        check=False,
    )


@pytest.fixture
def cache(files, run_btu, tmp_path):
    """Two runs that differ in the poison rate."""
    small = [*files.overrides, *TINY, "model=tiny", "model.training.epochs=1", "arms=[poisoned]"]
    for rate in (0.1, 0.2):
        run_btu(*small, f"attack.poison_rate={rate}")
    return tmp_path / "outputs" / "cache"


def keys(cache, stage):
    return [entry.key for entry in entries(cache) if entry.stage == stage]


def test_the_list_has_every_entry_and_the_total(cache):
    done = tool(cache, "list")

    assert done.returncode == 0, done.stderr
    assert all(entry.key in done.stdout for entry in entries(cache))
    assert "6 entries" in done.stdout
    assert "victim  local/badnets/tiny  seed 1" in done.stdout


def test_why_two_evaluations_differ_is_followed_to_the_setting(cache):
    done = tool(cache, "why", *keys(cache, "evaluation"))

    lines = [line.strip() for line in done.stdout.split("\n")]
    assert "attack.poison_rate: 0.1 | 0.2" in lines
    victims = keys(cache, "victim")
    assert f"model: victim/{victims[0]} | victim/{victims[1]}" in lines
    assert not any(line.startswith("training.") for line in lines)


def test_an_entry_does_not_differ_from_itself(cache):
    (key, _) = keys(cache, "victim")

    assert "were made of the same parts" in tool(cache, "why", key, key).stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["why", "zz", "zz"], "no entry in the cache with a key that begins with 'zz'"),
        (["prune"], "prune needs --to-gb or --idle-days"),
    ],
)
def test_a_mistake_is_one_sentence(cache, arguments, said):
    done = tool(cache, *arguments)

    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_negative_size_is_refused(cache):
    done = tool(cache, "prune", "--to-gb", "-1")

    assert done.returncode != 0
    assert "at least 0, got -1" in done.stderr
    assert len(entries(cache)) == 6


def test_a_cache_that_is_not_there_is_one_sentence(tmp_path):
    assert "there is no cache at" in tool(tmp_path / "nowhere", "list").stderr


def test_prune_empties_the_cache_only_without_dry_run(cache):
    assert tool(cache, "prune", "--to-gb", "0", "--dry-run").returncode == 0
    assert len(entries(cache)) == 6

    assert tool(cache, "prune", "--to-gb", "0").returncode == 0
    assert entries(cache) == []
