"""What others may see holds no folder with somebody's name."""

import pytest

from btu.terminal.paths import hide_home, name_paths


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working folder `home/somebody/work`, and files in and beside it."""
    home = tmp_path / "home" / "somebody"
    for folder in (home / "work" / "data", home / "corpora" / "sst2", tmp_path / "shared" / "sst2"):
        folder.mkdir(parents=True)
        (folder / "train.tsv").touch()
    (home / "mine.tsv").touch()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(home / "work")
    return tmp_path


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("{0}/home/somebody/work/data/train.tsv", "data/train.tsv"),
        ("{0}/home/somebody/corpora/sst2/train.tsv", ".../sst2/train.tsv"),
        ("{0}/home/somebody/mine.tsv", ".../mine.tsv"),
        ("{0}/shared/sst2", ".../shared/sst2"),
        ("{0}/home/somebody/missing.tsv", "{0}/home/somebody/missing.tsv"),
        ("data/train.tsv", "data/train.tsv"),
        ("/", "/"),
        ("/tmp", "/tmp"),
        ("/s", "/s"),
    ],
)
def test_a_path_in_settings_is_short(place, path, shown):
    settings = {"a": {"train": path.format(place), "n": 1, "list": [path.format(place), None]}}

    found = name_paths(settings)["a"]

    assert found == {"train": shown.format(place), "n": 1, "list": [shown.format(place), None]}


def test_a_sentence_names_no_home(place):
    home = place / "home" / "somebody"

    assert hide_home(f"full ({home}/work/a.json)") == "full (a.json)"
    assert hide_home(f"full ({home}/x/a.json)") == "full (~/x/a.json)"
    assert hide_home("/home/other/a and and/or") == "/home/other/a and and/or"
