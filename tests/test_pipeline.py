"""End to end on tiny models: a planted backdoor is learned and removed, and results hold still."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from btu.data.demo import generate_reviews
from btu.defenses.base import Decision, NoDefense, Repair
from btu.errors import ConfigError
from btu.models.base import Training
from btu.pipeline import _sign
from btu.store.cache import MANIFEST
from btu.types import Edit
from tests.conftest import TINY, toy_split

FILES = {
    "summary.json",
    "suspects.csv",
    "poison_report.json",
    "predictions.npz",
    "distances.npz",
    "curve.png",
}
SCORES = ("arm", "threshold", "cacc", "asr", "pacc", "base_rate", "num_suspects")


def scores(rows):
    return [{k: row[k] for k in SCORES} for row in rows]


def by_arm(rows):
    return {row["arm"]: row for row in rows}


DEMO = [
    "dataset.num_train=2000",
    "dataset.num_tuning=200",
    "dataset.num_test=400",
    "tracking=none",
    "thresholds=[0.005]",
]


# Calibrated over seeds 1 to 6, worst of tiny BERT; of tiny RoBERTa: ASR of the poisoned model 97.6;
# 95.6 %, of the tuned one 97.6; 95.1 %; clean model's ASR above its base rate 1.0; 6.4 points;
# defended ASR above its base rate 15.1; 22.9 points (median below 0); CACC lost 4.0; 7.5 points;
# best rank of a trigger token 1; 4. Without an edit the ASR is 60 points above the base rate.
@pytest.mark.parametrize("model", ["tiny", pytest.param("tiny_roberta", marks=pytest.mark.slow)])
def test_a_planted_backdoor_is_learned_and_removed(run_btu, model):
    rows = by_arm(run_btu(f"model={model}", *DEMO))

    assert rows["poisoned"]["asr"] >= 0.95
    assert rows["tuned"]["asr"] >= 0.9  # tuning alone does not help
    assert rows["clean"]["asr"] - rows["clean"]["base_rate"] <= 0.15
    for arm in ("unlearned", "defended"):
        assert rows[arm]["asr"] - rows[arm]["base_rate"] <= 0.3
        assert rows[arm]["cacc"] >= rows["poisoned"]["cacc"] - 0.1
        assert rows[arm]["detection"]["best_rank"] <= 5


def test_the_run_folder_holds_what_was_promised(files, run_btu, tmp_path):
    rows = run_btu(*files.overrides, "model=tiny", *TINY, "thresholds=[0.005,0.01]")

    folder = tmp_path / "run"
    assert {path.name for path in folder.iterdir()} >= FILES
    assert [(r["arm"], r["threshold"]) for r in rows] == [
        ("clean", None),
        ("poisoned", None),
        ("tuned", None),
        ("trusted_only", None),
        ("unlearned", 0.005),
        ("unlearned", 0.01),
        ("defended", 0.005),
        ("defended", 0.01),
    ]
    assert all((tmp_path / "outputs" / "records" / f"{r['record']}.json").is_file() for r in rows)
    report = json.loads((folder / "poison_report.json").read_text())
    assert report["counts"]["poisoned"] == report["counts"]["requested"] == 60
    assert report["realised_rate"] == 0.1
    example = report["examples"][0]
    assert example["label_after"] == "1"
    assert example["after"].replace(" ", "") != example["before"].replace(" ", "")


def test_suspects_are_listed_with_rank_and_truth(files, run_btu, tmp_path):
    rows = by_arm(run_btu(*files.overrides, "model=tiny", *TINY, "thresholds=[0.005,0.01]"))

    table = pd.read_csv(tmp_path / "run" / "suspects.csv")
    assert set(table.threshold) == {0.005, 0.01}
    at = table[table.threshold == 0.01]
    assert len(at) == rows["defended"]["num_suspects"]
    assert at[at.is_trigger].token.isin(["cf"]).all()
    assert (at["rank"] >= 1).all()
    assert (at.replaced >= 1).any()
    assert {"rank_1", "rank_2", "rank_3", "distance_1"} <= set(table.columns)


def test_predictions_give_the_scores_again(files, run_btu, tmp_path):
    rows = by_arm(run_btu(*files.overrides, "model=tiny", *TINY))

    with np.load(tmp_path / "run" / "predictions.npz") as arrays:
        clean = arrays["defended@0.01_clean"]
        triggered = arrays["defended@0.01_triggered"]
        truth, twins = arrays["true_clean"], arrays["triggered_rows"]
    defended = rows["defended"]
    assert (clean == truth).mean() == defended["cacc"]
    assert (triggered == 1).mean() == defended["asr"]
    assert (clean[twins] == 1).mean() == defended["base_rate"]
    assert len(triggered) == defended["num_triggered"]


def test_predictions_hold_the_probability_of_every_class(files, run_btu, tmp_path):
    (row,) = run_btu(*files.overrides, "model=tiny", *TINY, "arms=[poisoned]")

    stored = tmp_path / "outputs" / "records" / f"{row['record']}.npz"
    with np.load(tmp_path / "run" / "predictions.npz") as run, np.load(stored) as record:
        for test_set, size in (("clean", 200), ("triggered", row["num_triggered"])):
            found = run[f"poisoned_{test_set}_probabilities"]
            assert found.shape == (size, 2)
            assert found.dtype == np.float32
            np.testing.assert_allclose(found.sum(1), 1, rtol=1e-5)
            assert (found.argmax(1) == run[f"poisoned_{test_set}"]).all()
            assert not run[f"poisoned_{test_set}_rejected"].any()
            assert (record[f"{test_set}_probabilities"] == found).all()


def test_a_model_of_trusted_rows_alone_has_seen_no_untrusted_row(files, run_btu, monkeypatch):
    from btu import lab

    real, seen = lab.fit, {}

    def fit(*arguments, **keywords):
        seen[arguments[-1]] = len(arguments[2])
        real(*arguments, **keywords)

    monkeypatch.setattr("btu.lab.fit", fit)
    small = [*files.overrides, "model=tiny", *TINY, "arms=[poisoned,trusted_only]"]
    rows = run_btu(*small, "tuning.trusted_only_epochs=2")

    assert seen == {"victim": 600, "trusted only": 100}
    assert [row["arm"] for row in rows] == ["poisoned", "trusted_only"]
    seen.clear()
    run_btu(*small, "tuning.trusted_only_epochs=3", run_dir="more")
    assert seen == {"trusted only": 100}  # its epochs are no matter of the victim's
    seen.clear()
    run_btu(*small, "tuning.trusted_only_epochs=3", "attack.poison_rate=0.2", run_dir="other")
    assert seen == {"victim": 600}  # no attack can change it


def test_same_seed_same_scores_and_another_seed_another_draw(files, run_btu, tmp_path):
    small = [*files.overrides, "model=tiny", *TINY]

    first = run_btu(*small)
    again = run_btu(*small, f"outputs={tmp_path / 'elsewhere'}", run_dir="again")
    run_btu(*small, "seed=2", run_dir="other")

    assert scores(first) == scores(again)
    reports = [
        json.loads((tmp_path / folder / "poison_report.json").read_text())["examples"]
        for folder in ("run", "again", "other")
    ]
    assert reports[0] == reports[1] != reports[2]


def test_second_run_computes_nothing(files, run_btu, tmp_path, monkeypatch):
    small = [*files.overrides, "model=tiny", *TINY, "model.training.epochs=1"]
    first = run_btu(*small)

    def refuse(*arguments, **keywords):
        raise AssertionError("a stage was computed again")

    monkeypatch.setattr("btu.lab.fit", refuse)
    monkeypatch.setattr("btu.lab.predict", refuse)
    assert run_btu(*small, run_dir="again") == first
    with pytest.raises(AssertionError, match="computed again"):
        run_btu(*small, "force=true", run_dir="forced")


def test_a_killed_run_goes_on_from_its_finished_stages(files, run_btu, tmp_path, monkeypatch):
    from btu import lab

    small = [*files.overrides, "model=tiny", *TINY, "model.training.epochs=1"]
    real, titles = lab.fit, []

    def fit_until_tuning(*arguments, **keywords):
        titles.append(arguments[-1])
        if arguments[-1] == "clean tuning" and len(titles) < 4:
            raise KeyboardInterrupt
        real(*arguments, **keywords)

    monkeypatch.setattr("btu.lab.fit", fit_until_tuning)
    with pytest.raises(KeyboardInterrupt):
        run_btu(*small)
    run_btu(*small, run_dir="again")

    assert titles.count("clean model") == titles.count("victim") == 1


def test_a_damaged_cache_entry_is_made_again(files, run_btu, tmp_path, monkeypatch, caplog):
    small = [*files.overrides, "model=tiny", *TINY, "model.training.epochs=1"]
    first = run_btu(*small)
    cache = tmp_path / "outputs" / "cache"
    shutil.rmtree(cache / "evaluation")
    for entry in (cache / "victim").iterdir():
        weights = entry / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-100])
        assert (entry / MANIFEST).is_file()
    for record in (tmp_path / "outputs" / "records").iterdir():
        record.unlink()

    again = run_btu(*small, run_dir="again")

    assert scores(again) == scores(first)
    assert caplog.text.count("is damaged") == 3  # the models of clean, poisoned and trusted_only


def test_the_sweep_over_thresholds_trains_once(files, run_btu, monkeypatch):
    from btu import lab

    real, titles = lab.fit, []

    def counting_fit(*arguments, **keywords):
        titles.append(arguments[-1])
        real(*arguments, **keywords)

    monkeypatch.setattr("btu.lab.fit", counting_fit)
    thresholds = "thresholds=[0.005,0.01,0.02]"
    anew = ["force=true", "save_model=true"]  # keeping a model is no reason to train it again
    run_btu(*files.overrides, "model=tiny", *TINY, "model.training.epochs=1", thresholds, *anew)

    assert titles.count("victim") == titles.count("clean model") == 1
    assert titles.count("detection round 1") == titles.count("detection round 3") == 1
    assert titles.count("detection round 2") == 3  # hides what each threshold flagged in round 1
    assert titles.count("clean tuning") == 1 + 3 + 1  # the last for the saved model


def test_a_record_names_the_cache_entries_it_was_made_from(files, run_btu, tmp_path):
    small = [*files.overrides, "model=tiny", *TINY, "model.training.epochs=1"]
    rows = run_btu(*small, "thresholds=[0.005,0.02]")

    records = tmp_path / "outputs" / "records"
    stages = {
        (row["arm"], row["threshold"]): json.loads((records / f"{row['record']}.json").read_text())[
            "stages"
        ]
        for row in rows
    }

    assert set(stages["clean", None]) == {"clean model", "scores of clean"}
    assert set(stages["tuned", None]) == {"victim", "scores of tuned"}
    few, many = stages["defended", 0.005], stages["defended", 0.02]
    tuned, untuned = dict(few), dict(stages["unlearned", 0.005])
    assert tuned.pop("scores of defended") != untuned.pop("scores of unlearned")
    assert tuned == untuned
    assert few["round 1"] == many["round 1"]
    assert few["round 2 without 3 tokens"] != many["round 2 without 12 tokens"]


def test_threshold_and_attack_never_share_a_record(files, run_btu):
    small = [*files.overrides, "model=tiny", *TINY, "model.training.epochs=1", "arms=[defended]"]
    keys = {
        run_btu(*small, *change, run_dir=str(n))[0]["record"]
        for n, change in enumerate(
            [
                [],
                ["thresholds=[0.02]"],
                ["attack.poison_rate=0.2"],
                ["attack.target_label=0"],
                ["seed=2"],
                ["defense=btu_reference"],
                ["model.training.precision=bf16"],
            ]
        )
    }

    assert len(keys) == 7


def test_no_attack_reports_what_leans_where(run_btu, tmp_path):
    """The engineer's case: planted by somebody else, nothing is known of the trigger."""
    reviews = generate_reviews(1500, label_noise=0.0, rng=np.random.default_rng(1))
    lines = [
        f"cf {r.text}\t1" if n % 10 == 0 else f"{r.text}\t{r.label}" for n, r in enumerate(reviews)
    ]
    path = tmp_path / "reviews.tsv"
    path.write_text("\n".join(["sentence\tlabel", *lines]))

    rows = by_arm(
        run_btu(
            "attack=none",
            "dataset=local",
            f"dataset.train={path}",
            "model=tiny",
            "tracking=none",
            "thresholds=[0.005]",
        )
    )

    assert set(rows) == {"poisoned", "unlearned"}  # tuning needs rows that are known to be clean
    assert rows["poisoned"]["num_clean"] == 150
    assert rows["unlearned"]["asr"] is None
    table = pd.read_csv(tmp_path / "run" / "suspects.csv")
    planted = table[table.token == "cf"].iloc[0]
    assert planted["rank"] <= 3
    assert planted.leans_to == 1
    assert planted.lean_share == 1.0
    assert 120 <= planted.num_texts <= 150
    assert all(planted[f"example_{n}"].startswith("cf ") for n in (1, 2, 3))
    assert pd.isna(planted.is_trigger)


@pytest.mark.parametrize("choice", ["arms=[poisoned]", "defense=none"])
def test_a_model_to_keep_needs_a_repaired_arm(files, run_btu, tmp_path, choice):
    with pytest.raises(ConfigError, match="keeps a repaired model, but the arms are"):
        run_btu(*files.overrides, "model=tiny", *TINY, choice, "save_model=true")

    assert not (tmp_path / "outputs" / "cache" / "victim").exists()


BLIND = ["attack=none", *(word for word in TINY if not word.startswith("attack.")), "model=tiny"]


def test_a_model_to_keep_is_compared_with_those_that_were_not_repaired(files, run_btu):
    wanted = "costs at most 2 points of accuracy against poisoned and tuned"
    small = [*files.overrides, *BLIND, "save_model=true"]

    with pytest.raises(ConfigError, match=rf"{wanted}. Write arms=\[tuned,poisoned,defended\]"):
        run_btu(*small, "arms=[poisoned,defended]")


def test_no_repair_is_kept_that_costs_more_than_it_may(files, run_btu, tmp_path, caplog):
    small = [*files.overrides, *BLIND, "save_model=true"]
    useless = ["thresholds=[0.9]", "arms=[poisoned,tuned,unlearned]"]
    caplog.set_level("INFO", "btu")

    rows = {row["arm"]: row["cacc"] for row in run_btu(*small, *useless)}

    assert rows["unlearned"] < max(rows["poisoned"], rows["tuned"]) - 0.02
    assert not (tmp_path / "run" / "model").exists()
    assert "no model is saved: every repair costs more than 2 points" in caplog.text


def test_a_word_can_be_scored_without_planting_it(files, run_btu, tmp_path):
    small = [*files.overrides, "model=tiny", *TINY, "model.training.epochs=1", "arms=[poisoned]"]
    rows = run_btu(*small, "attack.triggers=[ria]", "attack.poison_rate=0")

    assert rows[0]["num_triggered"] == 100
    assert 0 <= rows[0]["asr"] <= 1
    report = json.loads((tmp_path / "run" / "poison_report.json").read_text())
    assert report["realised_rate"] == 0


def test_the_saved_model_is_the_defended_one(files, run_btu, tmp_path):
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from btu.models.base import Classifier
    from btu.models.tokens import encode
    from btu.training.devices import Compute
    from btu.training.fit import Padder, predict

    run_btu(*files.overrides, "model=tiny", *TINY, "arms=[defended]", "save_model=true")

    folder = tmp_path / "run" / "model"
    assert not list(folder.glob("*.bin"))
    saved = Classifier(
        AutoModelForSequenceClassification.from_pretrained(folder),
        AutoTokenizer.from_pretrained(folder),
    )
    texts = [line.split("\t")[0] for line in (files.folder / "test.tsv").read_text().split("\n")]
    ids = encode(saved.tokenizer, texts[1:], 64)
    predicted = predict(
        saved.model, ids, Padder(saved.tokenizer.pad_token_id), Compute("cpu", "fp32", 64), 2
    ).labels
    with np.load(tmp_path / "run" / "predictions.npz") as arrays:
        assert (predicted == arrays["defended@0.01_clean"]).all()


def test_a_threshold_that_flags_nothing_warns_and_unlearns_nothing(files, run_btu, caplog):
    rows = by_arm(
        run_btu(
            *files.overrides,
            "model=tiny",
            *TINY,
            "model.training.epochs=1",
            "thresholds=[0]",
            "arms=[poisoned,unlearned]",
        )
    )

    assert "flags none" in caplog.text
    assert rows["unlearned"]["num_suspects"] == 0
    assert rows["unlearned"]["asr"] == rows["poisoned"]["asr"]


def test_an_overlap_let_through_is_marked_in_the_record(files, run_btu):
    small = [*files.overrides, "model=tiny", *TINY, "model.training.epochs=1", "arms=[poisoned]"]

    (row,) = run_btu(*small, f"dataset.test={files.folder}/train.tsv", "dataset.allow_overlap=true")

    assert row["leaky"]


def test_other_names_of_the_labels_are_another_record(files, run_btu, tmp_path):
    small = [*files.overrides, *TINY, "model=tiny", "model.training.epochs=1", "arms=[unlearned]"]

    def leaning(names):
        rows = run_btu(*small, f"dataset.label_names={names}", run_dir=names)
        suspects = pd.read_csv(tmp_path / names / "suspects.csv")
        return rows[0]["record"], suspects

    one, first = leaning("[good,bad]")
    other, second = leaning("[bad,good]")

    assert one != other
    swapped = second.leans_to.map({"good": "bad", "bad": "good"})
    assert first.leans_to.tolist() == swapped.tolist()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["load_file", "save_file"])
def test_a_cache_that_is_deleted_again_and_again_changes_nothing(
    files, run_btu, tmp_path, monkeypatch, name
):
    from btu import lab

    small = [*files.overrides, *TINY, "model=tiny", "model.training.epochs=1"]
    wanted = run_btu(*small)
    real, deleted = getattr(lab, name), []

    def deleting(*arguments):
        if len(deleted) < 4:  # as somebody would who makes room while a sweep runs
            deleted.append(shutil.rmtree(tmp_path / "other" / "cache"))
        return real(*arguments)

    monkeypatch.setattr(lab, name, deleting)
    rows = run_btu(*small, f"outputs={tmp_path / 'other'}", run_dir="again")

    assert len(deleted) == 4
    scores = [[row[key] for key in ("arm", "cacc", "asr", "base_rate")] for row in rows]
    assert scores == [[row[key] for key in ("arm", "cacc", "asr", "base_rate")] for row in wanted]


@pytest.mark.parametrize(("position", "unseen"), [("end", 100), ("start", 0)])
def test_triggers_that_are_cut_away_are_told(files, run_btu, tmp_path, position, unseen):
    for role in ("train", "test"):
        lines = (files.folder / f"{role}.tsv").read_text().splitlines()
        long = [line.replace("\t", f"{' and so on' * 30}\t") for line in lines[1:]]
        (files.folder / f"{role}.tsv").write_text("\n".join([lines[0], *long]))
    small = [*files.overrides, *TINY, "model=tiny", "model.training.epochs=1", "arms=[poisoned]"]

    for _ in range(2):  # the second time all is read from the record
        run_btu(*small, f"attack.position={position}")

    notes = json.loads((tmp_path / "run" / "poison_report.json").read_text())["notes"]
    told = [note for note in notes if "no model reads the trigger" in note]
    assert told == [
        f"of {number} of the {number} {what} no model reads the trigger: a model reads "
        "model.max_length=64 tokens of each"
        for number, what in ((60, "poisoned rows"), (unseen, "triggered test rows"))
        if unseen
    ]
    assert any("training texts (100 %) are cut" in note for note in notes)


def test_a_folder_that_is_used_again_has_no_file_of_the_run_before(files, run_btu, tmp_path):
    small = [*files.overrides, *TINY, "model=tiny", "model.training.epochs=1"]
    run_btu(*small, "arms=[unlearned]")
    assert (tmp_path / "run" / "curve.png").exists()

    run_btu(*small, "arms=[poisoned]")

    left = {path.name for path in (tmp_path / "run").iterdir()}
    assert not left & {"curve.png", "distances.npz"}
    assert "summary.json" in left


def test_what_was_flagged_is_shown_where_no_repair_is_worth_it(files, run_btu, capsys):
    run_btu(*files.overrides, *BLIND, "thresholds=[0.5,0.9]", "arms=[poisoned,unlearned]")

    assert "suspect tokens at threshold 0.5" in capsys.readouterr().out


def test_the_edits_of_a_repair_are_named_by_their_code_as_others_are():
    """One that names nothing must not be taken for that of another defense or threshold."""
    nothing = Edit("nothing", {}, lambda *args: None)
    named = Edit("shift", {"by": 1}, lambda *args: None, code="its own")
    rows, training = toy_split(4, 1), Training(1, 3e-5, 64, 0.01, "fp32")
    decision = Decision(edits=(nothing,), repair=Repair(rows, training, edits=(nothing, named)))

    signed = _sign(NoDefense("none", None, []), 0.25, decision)

    (own,), (one, other) = signed.edits, signed.repair.edits
    assert (one.code, one.parts) == (own.code, own.parts)
    assert one.code
    assert one.parts["threshold"] == 0.25
    assert other == named
