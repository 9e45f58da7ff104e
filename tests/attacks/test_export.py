"""A poisoned set is written whole, read again as it was, and never over another."""

import json
import os
import re
import shlex
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from btu import processes
from btu.attacks.export import export
from btu.attacks.insertion import Insertion
from btu.attacks.poisoning import poison
from btu.config import build
from btu.errors import ConfigError
from btu.running import run_job
from btu.store.files import checksum
from btu.types import Dataset, make_split
from tests.conftest import TINY, composed, toy_split

SPLITS = ("train", "tuning", "test", "triggered")
STRANGE = (
    'he said "no", twice',
    "a tab\there and a line\nbreak and\r\nanother",
    "back\\slash \\n and 'single' quotes",
    " blanks around ",
    "naïve café \u2028 日本語 🎬 \x00 null",
    "[UNK], NaN, null, 1.0",
)


def badnets(rate=0.1, target=1, normalize=False) -> Insertion:
    return Insertion(
        "badnets", rate, target, "mix", normalize, False, 0.0, ["cf"], None, 1, "random"
    )


def strange_dataset(names=("negative", "positive")) -> Dataset:
    """Texts that a careless file format would change."""

    def split(role: str):
        texts = tuple(f"{text} {role} {n}" for n in range(4) for text in STRANGE)
        return make_split(texts, np.arange(len(texts)) % 2)

    return Dataset("strange", names, split("train"), split("tuning"), split("test"))


def loaded(*files: str) -> Dataset:
    return build(composed(["attack=none", "dataset=local", *files]).dataset, "dataset").load()


def named(split, names):
    return split.texts, [names[label] for label in split.labels]


def lines(folder, name):
    text = (folder / f"{name}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.removesuffix("\n").split("\n")]


def about(folder):
    return json.loads((folder / "about.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("names", [("negative", "positive"), ("zeta", "alpha"), ("0", "1")])
def test_an_exported_set_is_read_again_as_it_was(tmp_path, names):
    data = poison(strange_dataset(names), badnets(target=0), 1)
    export(data, badnets(target=0), 1, tmp_path / "out")

    again = loaded(
        f"dataset.train={tmp_path}/out/train.jsonl", f"dataset.test={tmp_path}/out/test.jsonl"
    )

    assert named(again.train, again.label_names) == named(data.train, names)
    assert named(again.test, again.label_names) == named(data.clean.test, names)
    assert any("cf" in text for text in again.train.texts)


@pytest.mark.parametrize("names", [("b", 'a "quoted", [odd] \\" one\\'), ("1", "2"), ("5", "3")])
def test_the_written_commands_load_every_split_with_its_numbers(tmp_path, names):
    data = poison(strange_dataset(names), badnets(), 1)
    folder = tmp_path / "a place, with [odd] 'signs'"
    export(data, badnets(), 1, folder)

    for test, wanted in (("clean", data.clean.test), ("triggered", data.triggered)):
        command = shlex.split(about(folder)["load"][f"{test} test set"])
        again = build(composed(command[1:]).dataset, "dataset").load()

        assert again.label_names == names
        assert again.test.texts == wanted.texts
        for got, was in ((again.train, data.train), (again.tuning, data.clean.tuning)):
            assert got.texts == was.texts
            assert got.labels.tolist() == was.labels.tolist()


def test_every_row_says_where_it_comes_from(tmp_path):
    data = poison(strange_dataset(), badnets(0.25), 1)
    export(data, badnets(0.25), 1, tmp_path / "out")
    train, test, triggered = (lines(tmp_path / "out", n) for n in ("train", "test", "triggered"))

    assert [row["poisoned"] for row in train] == data.train.poisoned.tolist()
    assert [row["original_text"] for row in train] == list(data.clean.train.texts)
    assert [row["source_row"] for row in train] == list(range(1, 25))
    flipped = [row for row in train if row["label"] != row["original_label"]]
    assert len(flipped) == data.counts.flipped > 0
    assert all(row["poisoned"] and row["label"] == "positive" for row in flipped)
    for row in triggered:
        twin = test[row["test_row"] - 1]
        assert row["original_text"] == twin["text"] != row["text"]
        assert row["label"] == row["original_label"] == twin["label"] == "negative"
        assert row["source_row"] == twin["source_row"]


def test_about_says_what_was_planted(tmp_path):
    data = poison(strange_dataset(), badnets(0.25), 7)
    export(data, badnets(0.25), 7, tmp_path / "out")

    said = about(tmp_path / "out")
    assert said["attack"] == badnets(0.25).settings()
    assert (said["seed"], said["dataset"], said["target_label"]) == (7, "strange", "positive")
    assert said["counts"]["poisoned"] == 6
    assert len(said["format_shifts"]) == len(data.format_shifts) > 0
    rows = {"train": 24, "tuning": 24, "test": 24, "triggered": 12}
    assert {n: said["files"][f"{n}.jsonl"]["rows"] for n in SPLITS} == rows


def test_other_tools_read_the_lines(tmp_path):
    data = poison(strange_dataset(), badnets(), 1)
    export(data, badnets(), 1, tmp_path / "out")

    frame = pd.read_json(tmp_path / "out" / "train.jsonl", lines=True)

    assert tuple(frame.text) == data.train.texts
    assert frame.poisoned.sum() == data.counts.poisoned


def test_without_clean_rows_there_is_no_tuning_file(tmp_path):
    data = poison(replace(strange_dataset(), tuning=None), badnets(), 1)

    export(data, badnets(), 1, tmp_path / "out")

    assert not (tmp_path / "out" / "tuning.jsonl").exists()
    assert "tuning" not in about(tmp_path / "out")["load"]["clean test set"]


def test_texts_that_two_splits_share_after_normalizing_are_told(tmp_path, caplog):
    clean = strange_dataset()
    twin = make_split((*clean.test.texts, "A Twin !"), np.append(clean.test.labels, 1))
    train = make_split((*clean.train.texts, "a twin!"), np.append(clean.train.labels, 1))
    attack = badnets(0.0, normalize=True)
    data = poison(replace(clean, train=train, test=twin), attack, 1)

    export(data, attack, 1, tmp_path / "out")

    assert "1 rows have a text that another split has" in caplog.text
    command = shlex.split(about(tmp_path / "out")["load"]["clean test set"])
    again = build(composed(command[1:]).dataset, "dataset").load()
    assert again.train.texts == data.train.texts


def test_the_same_export_again_changes_nothing(tmp_path):
    data = poison(strange_dataset(), badnets(), 1)
    export(data, badnets(), 1, tmp_path / "out")
    before = os.stat(tmp_path / "out" / "train.jsonl")

    export(poison(strange_dataset(), badnets(), 1), badnets(), 1, tmp_path / "out")

    after = os.stat(tmp_path / "out" / "train.jsonl")
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize(("rate", "seed"), [(0.2, 1), (0.1, 2)])
def test_another_export_is_never_overwritten(tmp_path, rate, seed):
    folder = tmp_path / "out"
    export(poison(strange_dataset(), badnets(), 1), badnets(), 1, folder)
    before = checksum(folder / "train.jsonl")

    with pytest.raises(ConfigError) as error:
        export(poison(strange_dataset(), badnets(rate), seed), badnets(rate), seed, folder)

    sentence = str(error.value)
    assert "holds another poisoned set (data set strange, attack badnets, seed 1)" in sentence
    assert "export_poisoned='sets/${attack.name}-${attack.poison_rate}-${seed}'" in sentence
    assert "\n" not in sentence
    assert checksum(folder / "train.jsonl") == before


def test_an_export_of_other_data_is_another(tmp_path):
    export(poison(strange_dataset(), badnets(), 1), badnets(), 1, tmp_path / "out")
    other = replace(strange_dataset(), tuning=toy_split(4, 1))

    with pytest.raises(ConfigError, match="another poisoned set"):
        export(poison(other, badnets(), 1), badnets(), 1, tmp_path / "out")


def test_a_folder_with_other_files_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    data = poison(strange_dataset(), badnets(), 1)

    with pytest.raises(ConfigError, match=r"holds other files \(thesis\.tex\)"):
        export(data, badnets(), 1, tmp_path)
    with pytest.raises(ConfigError, match=r"thesis\.tex is not a folder"):
        export(data, badnets(), 1, tmp_path / "thesis.tex")

    assert os.listdir(tmp_path) == ["thesis.tex"]


def test_an_empty_folder_is_filled(tmp_path):
    data = poison(strange_dataset(), badnets(), 1)

    export(data, badnets(), 1, tmp_path)

    assert {path.name for path in tmp_path.iterdir()} == {
        *(f"{n}.jsonl" for n in SPLITS),
        "about.json",
    }


def test_an_export_that_was_changed_is_pointed_out(tmp_path):
    data = poison(strange_dataset(), badnets(), 1)
    export(data, badnets(), 1, tmp_path / "out")
    (tmp_path / "out" / "test.jsonl").write_text("{}\n")

    with pytest.raises(ConfigError, match=r"but test\.jsonl is missing or was changed"):
        export(data, badnets(), 1, tmp_path / "out")


def test_a_write_that_fails_leaves_nothing(tmp_path, monkeypatch):
    data = poison(strange_dataset(), badnets(), 1)

    def fail(*arguments):
        raise OSError("disk full")

    monkeypatch.setattr("btu.attacks.export.write_json", fail)
    with pytest.raises(OSError, match="disk full"):
        export(data, badnets(), 1, tmp_path / "out")

    assert os.listdir(tmp_path) == []


def test_labels_that_could_not_be_read_again_are_refused(tmp_path):
    data = poison(strange_dataset(("1", "1.0")), badnets(), 1)

    with pytest.raises(ConfigError, match=r"labels 1, 1\.0 could not be told apart"):
        export(data, badnets(), 1, tmp_path / "out")


@pytest.fixture
def only_export(files, tmp_path, fits):
    """Run a job that is to train nothing; gives the titles of what it trained."""

    def run(*overrides: str, run_dir: str = "run"):
        words = [*files.overrides, "tracking=none", f"outputs={tmp_path / 'outputs'}", "arms=[]"]
        run_job(composed([*words, *overrides]), tmp_path / run_dir)
        return fits

    return run


def test_an_export_without_arms_trains_nothing_and_names_the_folder(only_export, tmp_path, capsys):
    trained = only_export(f"export_poisoned={tmp_path}/out")

    assert trained == []
    assert capsys.readouterr().out.splitlines()[-1] == f"poisoned set: {tmp_path}/out"
    assert len(lines(tmp_path / "out", "train")) == 600
    report = json.loads((tmp_path / "run" / "poison_report.json").read_text())
    assert report["counts"]["poisoned"] == 60


def test_no_arms_are_refused_without_an_export(only_export):
    with pytest.raises(ConfigError, match=r"arms is empty.*only with export_poisoned=PATH"):
        only_export()


def test_nothing_planted_is_nothing_to_export(only_export, tmp_path):
    with pytest.raises(ConfigError, match="but attack=none plants nothing"):
        only_export("attack=none", f"export_poisoned={tmp_path}/out")
    assert not (tmp_path / "out").exists()


def test_only_the_first_of_several_processes_writes(only_export, tmp_path, monkeypatch):
    group = processes.ProcessGroup(1, 2)
    monkeypatch.setattr(processes, "follows", lambda: group.rank > 0)
    monkeypatch.setattr("btu.attacks.stored.poison", lambda d, a, s, cache: poison(d, a, s))

    only_export(f"export_poisoned={tmp_path}/out")

    assert not (tmp_path / "out").exists()


def test_an_export_is_written_before_training_and_is_in_no_record(
    files, run_btu, tmp_path, monkeypatch
):
    from btu import lab

    real = lab.fit

    def fit(*arguments, **keywords):
        assert (tmp_path / "out" / "about.json").is_file()
        real(*arguments, **keywords)

    monkeypatch.setattr("btu.lab.fit", fit)
    small = [*files.overrides, "model=tiny", *TINY, "model.training.epochs=1", "arms=[poisoned]"]
    first = run_btu(*small, f"export_poisoned={tmp_path}/out")
    again = run_btu(*small, run_dir="again")

    assert first == again  # the key of the record, too
    (record,) = (tmp_path / "outputs" / "records").glob("*.json")
    assert "export_poisoned" not in record.read_text()


def test_a_sweep_exports_each_job_and_ends_well(files, multirun, tmp_path):
    sweep = multirun(
        *files.overrides,
        "attack.poison_rate=0.1,0.2",
        "arms=[]",
        "tracking=none",
        "export_poisoned='sets/${attack.name}-${attack.poison_rate}'",
    )

    assert sweep.code == 0
    assert [job["status"] for job in sweep.jobs] == ["finished", "finished"]
    assert sorted(os.listdir(tmp_path / "sets")) == ["badnets-0.1", "badnets-0.2"]
    assert not re.search("recorded *│", sweep.out)
