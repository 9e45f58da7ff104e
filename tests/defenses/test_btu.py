"""Which rounds are run, what each hides, and how many rows tune."""

import json
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from safetensors.torch import load_file

from btu.config import build
from btu.defenses.base import Decision
from btu.defenses.evidence import TokenIndex, describe_suspects
from btu.errors import ConfigError
from btu.models.base import Tuning
from btu.store.records import RecordStore
from btu.training.fit import Encoded
from btu.types import make_split
from tests.conftest import TINY, composed
from tests.store.test_records import PREDICTIONS, a_record

DRIFT = {1: [0, 9, 8, 1, 1, 1], 2: [0, 1, 1, 9, 8, 1], 3: [0, 8, 1, 1, 1, 9]}


class FakeLab:
    """A lab of six tokens whose rounds are given, and that notes what each was asked."""

    vocabulary_size = 6
    protected_ids = frozenset({0})
    rows = make_split(("a text",), np.asarray([1]))

    def __init__(self):
        self.asked = {}

    def get(self, stage, or_else=None):
        number, hidden, _ = stage
        self.asked[number] = hidden.tolist()
        return np.asarray(DRIFT[number], dtype=np.float32)


class Round(NamedTuple):
    """Stands for the stage of a round."""

    number: int
    hidden: np.ndarray
    key: str = "1"


def detected(*overrides):
    """The suspects with a third of six tokens flagged per round, and the lab."""
    lab = FakeLab()
    defense = build(composed(overrides).defense.btu, "defense.btu")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("btu.defenses.btu.drift", lambda *asked: Round(asked[2], asked[5]))
        return defense.decide(lab, 2 / 6, Decision()).suspects, lab


def test_all_rounds_are_run_unless_some_are_chosen():
    suspects, lab = detected()

    assert lab.asked == {1: [], 2: [1, 2], 3: []}
    assert suspects.token_ids.tolist() == [1, 2, 3, 4, 5]


def test_chosen_rounds_keep_their_numbers():
    suspects, lab = detected("defense.btu.use_rounds=[1,3]")

    assert lab.asked == {1: [], 3: []}
    assert [drift.round for drift in suspects.distances] == [1, 3]
    assert suspects.token_ids.tolist() == [1, 2, 5]


def test_a_round_without_an_earlier_one_hides_nothing():
    assert detected("defense.btu.use_rounds=[2]")[1].asked == {2: []}
    assert detected("defense.btu.use_rounds=[2,3]")[1].asked == {2: [], 3: []}


def test_a_round_hides_what_the_used_rounds_before_it_flagged():
    hiding = "defense.btu.rounds.2.hide_suspects=true"

    assert detected(hiding, "defense.btu.use_rounds=[1,3]")[1].asked[3] == [1, 2]
    assert detected(hiding, "defense.btu.use_rounds=[2,3]")[1].asked[3] == [3, 4]


def described(*overrides):
    suspects, _ = detected(*overrides)
    num = len(suspects.token_ids)
    replaced = np.ones(num, dtype=np.int64)
    train = make_split(("a text",), np.asarray([1]))
    index = TokenIndex(Encoded([np.asarray([1, 2])], train.labels))
    names = [f"t{token}" for token in suspects.token_ids]
    return describe_suspects(suspects, replaced, index, train, ("no", "yes"), names, None)


def test_a_suspect_says_by_number_where_it_ranked():
    by_token = {suspect.token: suspect for suspect in described("defense.btu.use_rounds=[1,3]")}

    assert by_token["t1"].ranks == {"1": 1, "3": 2}
    assert by_token["t1"].distances == {"1": 9.0, "3": 8.0}
    assert by_token["t1"].rounds == (1, 3)
    assert (by_token["t1"].rank, by_token["t1"].distance) == (1, 9.0)
    assert by_token["t5"].rounds == (3,)
    assert (by_token["t5"].rank, by_token["t5"].distance) == (1, 9.0)


def test_the_best_rank_is_one_of_a_round_that_flagged_the_token():
    by_token = {suspect.token: suspect for suspect in described("defense.btu.use_rounds=[2,3]")}

    assert by_token["t1"].rounds == (3,)
    assert by_token["t1"].rank == 2


def test_a_record_gives_its_suspects_back(tmp_path):
    record = a_record(suspects=described("defense.btu.use_rounds=[1,3]"))
    store = RecordStore(tmp_path)

    store.get(record.identity, lambda: (record, PREDICTIONS))

    assert store.load(record.identity)[0] == record


def test_suspects_csv_has_columns_of_the_rounds_that_were_run(files, run_btu, tmp_path):
    small = [*files.overrides, "model=tiny", *TINY, "model.training.epochs=1", "arms=[unlearned]"]
    (row,) = run_btu(*small, "defense.btu.use_rounds=[1,3]")

    table = pd.read_csv(tmp_path / "run" / "suspects.csv")
    assert {"rank_1", "distance_1", "rank_3", "distance_3"} <= set(table.columns)
    assert "rank_2" not in table.columns
    assert set(table.rounds.astype(str)) <= {"1", "3", "1+3"}
    record = json.loads((tmp_path / "outputs" / "records" / f"{row['record']}.json").read_text())
    assert set(record["stages"]) == {"round 1", "round 3", "victim", "scores of unlearned"}
    with np.load(tmp_path / "run" / "distances.npz") as drift:
        assert set(drift.files) == {"round1", "round3"}


def tuning(share=None, max_samples=None):
    return replace(Tuning(), share=share, max_samples=max_samples)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (tuning(), 30),
        (tuning(max_samples=20), 20),
        (tuning(max_samples=50), 30),
        (tuning(share=0.0), 0),
        (tuning(share=0.05), 10),  # of 200 training rows
        (tuning(share=0.15), 30),
    ],
)
def test_number_of_tuning_rows(settings, expected):
    assert settings.num_rows(num_train=200, num_tuning=30) == expected


def test_a_share_of_more_rows_than_there_are_says_how_many_there_are():
    sentence = (
        r"share=0\.2 of 160 training rows is 32 rows, but the tuning split has 29\. .*=0\.181"
    )

    with pytest.raises(ConfigError, match=sentence):
        tuning(share=0.2).num_rows(num_train=160, num_tuning=29)


def test_too_large_a_share_is_refused_before_training(files, run_btu, tmp_path):
    small = [*files.overrides, "model=tiny", *TINY, "tuning.share=0.5"]

    with pytest.raises(ConfigError, match="300 rows, but the tuning split has 100"):
        run_btu(*small)

    assert not (tmp_path / "outputs" / "cache" / "victim").exists()
    arms = "arms=[poisoned,unlearned]"  # no arm tunes, so the share does not matter
    assert len(run_btu(*small, "model.training.epochs=1", arms)) == 2


def test_a_share_of_zero_leaves_the_unlearned_model_as_it_is(files, run_btu, tmp_path):
    small = [*files.overrides, "model=tiny", *TINY, "model.training.epochs=1", "save_model=true"]
    zero = "tuning.share=0"
    run_btu(*small, zero, "arms=[unlearned]", run_dir="unlearned")
    run_btu(*small, zero, "arms=[defended]", run_dir="defended")

    unlearned, defended = (
        load_file(tmp_path / arm / "model" / "model.safetensors")
        for arm in ("unlearned", "defended")
    )
    assert unlearned.keys() == defended.keys()
    assert all((unlearned[name] == defended[name]).all() for name in unlearned)


def test_the_rows_of_a_smaller_share_are_among_those_of_a_larger(files, run_btu, monkeypatch):
    from btu import lab

    seen = []
    real = lab.fit

    def noting_fit(model, table, data, *rest, **keywords):
        if rest[-1] == "clean tuning":
            seen.append({tuple(ids.tolist()) for ids in data.ids})
        real(model, table, data, *rest, **keywords)

    monkeypatch.setattr(lab, "fit", noting_fit)
    small = [*files.overrides, "model=tiny", *TINY, "model.training.epochs=1", "arms=[tuned]"]
    for number, share in enumerate((0.02, 0.05, 0.1)):
        run_btu(*small, f"tuning.share={share}", run_dir=str(number))

    assert [len(rows) for rows in seen] == [12, 30, 60]
    assert seen[0] < seen[1] < seen[2]


def test_a_mean_row_changes_what_replaced_dimensions_become(files, run_btu):
    small = [*files.overrides, "model=tiny", *TINY, "model.training.epochs=1", "arms=[unlearned]"]
    keys = {
        run_btu(*small, f"defense.btu.replacement={rule}", run_dir=rule)[0]["record"]
        for rule in ("padding_row", "mean_row")
    }

    assert len(keys) == 2
