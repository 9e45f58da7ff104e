"""Which rounds are run, and what each hides."""

import json

import numpy as np
import pandas as pd

from btu.config import build
from btu.evidence import TokenIndex, describe_suspects
from btu.records import Record, RecordStore
from btu.training import Encoded
from btu.types import EditReport, Predictions, Scores, TokenDistances, make_split
from tests.conftest import TINY, composed

DRIFT = {1: [0, 9, 8, 1, 1, 1], 2: [0, 1, 1, 9, 8, 1], 3: [0, 8, 1, 1, 1, 9]}


class Bench:
    """A workbench of six tokens whose rounds are given, and that notes what each was asked."""

    vocabulary_size = 6

    def __init__(self):
        self.asked = {}

    def detection_round(self, number, settings, learning_rate, hidden):
        self.asked[number] = hidden.tolist()
        return TokenDistances(number, np.asarray(DRIFT[number], dtype=np.float32), frozenset({0}))


def detected(*overrides):
    """The suspects with a third of six tokens flagged per round, and the bench."""
    bench = Bench()
    defense = build(composed(overrides).defense, "defense")
    return defense.detect(bench, 2 / 6), bench


def test_all_rounds_are_run_unless_some_are_chosen():
    suspects, bench = detected()

    assert bench.asked == {1: [], 2: [1, 2], 3: []}
    assert suspects.token_ids.tolist() == [1, 2, 3, 4, 5]


def test_chosen_rounds_keep_their_numbers():
    suspects, bench = detected("defense.use_rounds=[1,3]")

    assert bench.asked == {1: [], 3: []}
    assert [drift.round for drift in suspects.distances] == [1, 3]
    assert suspects.token_ids.tolist() == [1, 2, 5]


def test_a_round_without_an_earlier_one_hides_nothing():
    assert detected("defense.use_rounds=[2]")[1].asked == {2: []}
    assert detected("defense.use_rounds=[2,3]")[1].asked == {2: [], 3: []}


def test_a_round_hides_what_the_used_rounds_before_it_flagged():
    hiding = "defense.rounds.2.hide_suspects=true"

    assert detected(hiding, "defense.use_rounds=[1,3]")[1].asked[3] == [1, 2]
    assert detected(hiding, "defense.use_rounds=[2,3]")[1].asked[3] == [3, 4]


def described(*overrides):
    suspects, _ = detected(*overrides)
    num = len(suspects.token_ids)
    edits = EditReport(suspects.token_ids, np.ones(num, dtype=np.int64), np.zeros(num))
    train = make_split(("a text",), np.asarray([1]))
    index = TokenIndex(Encoded([np.asarray([1, 2])], train.labels))
    names = [f"t{token}" for token in suspects.token_ids]
    return describe_suspects(suspects, edits, index, train, ("no", "yes"), names, None)


def test_a_suspect_says_by_number_where_it_ranked():
    by_token = {suspect.token: suspect for suspect in described("defense.use_rounds=[1,3]")}

    assert by_token["t1"].ranks == {"1": 1, "3": 2}
    assert by_token["t1"].distances == {"1": 9.0, "3": 8.0}
    assert by_token["t1"].rounds == (1, 3)
    assert (by_token["t1"].rank, by_token["t1"].distance) == (1, 9.0)
    assert by_token["t5"].rounds == (3,)
    assert (by_token["t5"].rank, by_token["t5"].distance) == (1, 9.0)


def test_the_best_rank_is_one_of_a_round_that_flagged_the_token():
    by_token = {suspect.token: suspect for suspect in described("defense.use_rounds=[2,3]")}

    assert by_token["t1"].rounds == (3,)
    assert by_token["t1"].rank == 2


def test_a_record_gives_its_suspects_back(tmp_path):
    record = Record(
        key="k",
        arm="defended",
        threshold=0.1,
        seed=1,
        choices={},
        scores=Scores(0.9, 10, None, None, None, 0),
        suspects=described("defense.use_rounds=[1,3]"),
        detection=None,
        leaky=False,
        config={},
        stages={},
        seconds=1.0,
        provenance={},
    )
    none = np.empty(0, dtype=np.int64)

    RecordStore(tmp_path).save(record, Predictions(none, none))

    assert RecordStore(tmp_path).load("k")[0] == record


def test_suspects_csv_has_columns_of_the_rounds_that_were_run(files, run_btu, tmp_path):
    small = [*files.overrides, "model=tiny", *TINY, "model.training.epochs=1", "arms=[unlearned]"]
    (row,) = run_btu(*small, "defense.use_rounds=[1,3]")

    table = pd.read_csv(tmp_path / "run" / "suspects.csv")
    assert {"rank_1", "distance_1", "rank_3", "distance_3"} <= set(table.columns)
    assert "rank_2" not in table.columns
    assert set(table.rounds.astype(str)) <= {"1", "3", "1+3"}
    record = json.loads((tmp_path / "outputs" / "records" / f"{row['record']}.json").read_text())
    assert set(record["stages"]) == {"round 1", "round 3", "victim"}
    with np.load(tmp_path / "run" / "distances.npz") as drift:
        assert set(drift.files) == {"round1", "round3"}
