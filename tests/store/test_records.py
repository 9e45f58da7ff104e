"""Records are whole, computed once, and never mistaken for another's."""

import json
import os
from dataclasses import replace

import numpy as np
import pytest

from btu.errors import ConfigError
from btu.store.records import FORMAT, KEY_LENGTH, Record, RecordStore, RoundDrift
from btu.types import FormatShift, Predictions, Scores

IDENTITY = "0123456789abcdef" * 4


def a_record(**changes):
    made = Record(
        key=IDENTITY[:KEY_LENGTH],
        identity=IDENTITY,
        arm="defended",
        threshold=0.1,
        seed=1,
        choices={},
        scores=Scores(0.9, 10, 0.2, 0.7, 0.1, 5),
        suspects=(),
        detection=None,
        drift=(RoundDrift(1, (0.1, 0.2, 0.4), (5, 7), 12, 0.3, {"cf": 0.35}),),
        format_shifts=(FormatShift("test", "ends with a stop", 0.9, 0.5, 10, True),),
        leaky=False,
        config={},
        stages={},
        seconds=1.0,
        provenance={},
    )
    return replace(made, **changes)


PREDICTIONS = Predictions(np.array([0, 1, 1]), np.array([1]))


@pytest.fixture
def store(tmp_path):
    return RecordStore(tmp_path / "records")


def names(store):
    return sorted(path.name for path in store.folder.iterdir())


def test_a_record_is_computed_once_and_read_back_the_same(store):
    made, _ = store.get(IDENTITY, lambda: (a_record(), PREDICTIONS))

    record, predictions = store.get(IDENTITY, pytest.fail)

    assert record == made == a_record()
    assert predictions.clean.tolist() == [0, 1, 1]
    assert predictions.triggered.tolist() == [1]
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
    raw = json.loads(path.read_text())
    path.write_text(json.dumps(raw | {"format": FORMAT + 1}))

    assert store.load(IDENTITY) is None


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
