"""Records are whole, computed once, and never mistaken for another's."""

import os
import subprocess
from dataclasses import replace

import numpy as np
import pytest

from btu.errors import ConfigError
from btu.store import files, records
from btu.store.records import (
    CHOICES,
    FORMAT,
    KEY_LENGTH,
    Choice,
    Record,
    RecordStore,
    RoundDrift,
    Work,
    is_dirty,
    provenance,
    read_record,
)
from btu.types import CutTexts, FormatShift, Predicted, Predictions, Scores

IDENTITY = "0123456789abcdef" * 4


def a_record(**changes):
    made = Record(
        key=IDENTITY[:KEY_LENGTH],
        identity=IDENTITY,
        arm="defended",
        threshold=0.1,
        threshold_label="share",
        seed=1,
        choices=dict.fromkeys(CHOICES, "a"),
        scores=Scores(0.9, 10, 0.2, 0.7, 0.1, 5),
        suspects=(),
        detection=None,
        drift=(RoundDrift(1, (0.1, 0.2, 0.4), (5, 7), 12, 0.3, {"cf": 0.35}),),
        evidence={"rows dropped": 3},
        format_shifts=(FormatShift("test", "ends with a stop", 0.9, 0.5, 10, True),),
        cut=CutTexts(64, 10, 1, 2, 0, 5, 0),
        leaky=False,
        config={},
        stages={},
        seconds=1.0,
        provenance={},
        work=Work(60.0, 12.0),
        choice=Choice("accuracy", 0.1, False, 0.9, 0.91),
    )
    return replace(made, **changes)


def said(*labels):
    numbers = np.asarray(labels)
    probabilities = np.eye(2, dtype=np.float32)[numbers]
    return Predicted(numbers, probabilities, np.zeros(len(labels), dtype=np.bool_))


PREDICTIONS = Predictions(said(0, 1, 1), said(1))


@pytest.fixture
def store(tmp_path):
    return RecordStore(tmp_path / "records")


def names(store):
    return sorted(path.name for path in store.folder.iterdir())


def test_a_record_is_computed_once_and_read_back_the_same(store):
    made, _ = store.get(IDENTITY, lambda: (a_record(), PREDICTIONS))

    record, predictions = store.get(IDENTITY, pytest.fail)

    assert record == made == a_record()
    assert predictions.clean.labels.tolist() == [0, 1, 1]
    assert predictions.triggered.labels.tolist() == [1]
    assert names(store) == [f"{IDENTITY[:16]}.json", f"{IDENTITY[:16]}.npz"]


def test_other_settings_that_claim_the_same_key_are_an_error(store):
    store.get(IDENTITY, lambda: (a_record(), PREDICTIONS))

    with pytest.raises(ConfigError, match="other settings than this run's, yet claims the same"):
        store.load(IDENTITY[:16] + "f" * 48)


@pytest.mark.parametrize("ending", ["json", "npz"])
@pytest.mark.parametrize("share", [0, 0.5])
def test_half_a_record_is_computed_again(store, ending, share):
    store.get(IDENTITY, lambda: (a_record(), PREDICTIONS))
    path = store.path(IDENTITY).with_suffix(f".{ending}")
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])

    record, _ = store.get(IDENTITY, lambda: (a_record(seconds=2.0), PREDICTIONS))

    assert record.seconds == 2.0
    assert store.load(IDENTITY)[0].seconds == 2.0


def test_another_format_is_not_read(store):
    store.get(IDENTITY, lambda: (a_record(), PREDICTIONS))
    path = store.path(IDENTITY)
    path.write_text(path.read_text().replace(f'"format": {FORMAT}', f'"format": {FORMAT + 1}', 1))

    assert store.load(IDENTITY) is None


@pytest.mark.parametrize("ending", ["json", "npz"])
def test_a_flipped_bit_anywhere_makes_a_record_unreadable(store, ending):
    store.get(IDENTITY, lambda: (a_record(), PREDICTIONS))
    path = store.path(IDENTITY).with_suffix(f".{ending}")
    whole = path.read_bytes()

    for place in range(0, len(whole), 7):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << place % 8
        path.write_bytes(flipped)
        assert store.load(IDENTITY) is None, place

    path.write_bytes(whole)
    assert store.load(IDENTITY) is not None


@pytest.mark.parametrize("cacc", [float("nan"), 9.5, -0.1, "0.9", True, None])
def test_a_score_that_is_not_a_share_is_not_read(store, cacc):
    scores = replace(a_record().scores, cacc=cacc)
    store.get(IDENTITY, lambda: (a_record(scores=scores), PREDICTIONS))

    with pytest.raises(ValueError, match=r"is not a record of format 5 \(scores.cacc: "):
        read_record(store.path(IDENTITY))


def test_predictions_of_another_record_are_not_taken(store):
    other = "f" * 64
    changed = a_record(identity=other, key=other[:KEY_LENGTH])
    store.get(IDENTITY, lambda: (a_record(), PREDICTIONS))
    store.get(other, lambda: (changed, Predictions(said(1, 1, 1), said(0))))

    store.path(other).with_suffix(".npz").replace(store.path(IDENTITY).with_suffix(".npz"))

    assert store.load(IDENTITY) is None


@pytest.mark.parametrize(
    "text",
    ["", "\0\0\0", "[" * 100_000, '{"format": 5,', "{}", "7", '{"format": "5"}', "\ufeff{}"],
)
def test_what_is_not_a_record_is_refused_in_words(tmp_path, text):
    path = tmp_path / "x.json"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(ValueError, match=r"^is not a record$"):
        read_record(path)


def test_a_file_larger_than_any_record_is_not_read_into_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MOST_BYTES", 1 << 20)
    path = tmp_path / "x.json"
    path.write_bytes(b" " * ((1 << 20) + 1))

    with pytest.raises(ValueError, match=r"^is larger than 1 MB$"):
        read_record(path)


def test_processes_that_want_one_record_compute_it_once(store, tmp_path):
    calls = tmp_path / "calls"

    def compute():
        with calls.open("a") as file:
            file.write("x")
        return a_record(), PREDICTIONS

    children = []
    for _ in range(4):
        pid = os.fork()
        if pid == 0:
            try:
                store.get(IDENTITY, compute)
            finally:
                os._exit(0)
        children.append(pid)

    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
    assert calls.read_text() == "x"
    assert len(names(store)) == 2


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A checkout with one committed file, which the records take for btu's own."""
    (tmp_path / "btu").mkdir()
    (tmp_path / "btu" / "old.py").write_text("ONE = 1")
    (tmp_path / ".gitignore").write_text("__pycache__")
    for words in (
        ["init", "-q"],
        ["add", "."],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "Begin"],
    ):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    monkeypatch.setattr(records, "PACKAGE", tmp_path / "btu")
    monkeypatch.setattr(records, "in_checkout", lambda: True)
    return tmp_path


@pytest.mark.parametrize(
    ("path", "dirty"),
    [
        ("btu/old.py", True),
        ("btu/new.py", True),
        ("conf/attack/new.yaml", True),
        ("notes.txt", False),
        ("btu/__pycache__/old.pyc", False),
    ],
)
def test_new_files_of_code_and_settings_make_a_checkout_dirty(repository, path, dirty):
    assert not is_dirty()

    (repository / path).parent.mkdir(parents=True, exist_ok=True)
    (repository / path).write_text("TWO = 2")

    assert is_dirty() is dirty


def test_a_record_names_the_plugins_it_was_made_with():
    plugin = {"class": "my_package.Mine", "file": "my_package.py", "sha256": "0" * 64}

    assert provenance("cpu", "fp32", [plugin])["plugins"] == [plugin]
    assert provenance("cpu", "fp32")["plugins"] == []
