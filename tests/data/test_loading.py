"""Files as people have them: every quirk that loads, and every fault's sentence."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from btu.data.hub import HubDataset
from btu.data.local import LocalDataset
from btu.data.openbackdoor import OpenBackdoorDataset
from btu.data.splits import fold
from btu.errors import DataError

COMMON = {
    "label_names": None,
    "first_label": 0,
    "test_holdout": 0.0,
    "tuning_holdout": 0.0,
    "holdout_seed": 0,
    "wrong_labels": 0.0,
    "allow_overlap": False,
}
LOOK = {"text_column": None, "label_column": None, "delimiter": None, "quoting": None}


def rows(prefix: str, size: int) -> list[tuple[str, int]]:
    return [(f"{prefix} text {row}", row % 2) for row in range(size)]


def tsv(path: Path, content: list[tuple[str, object]], header: str = "sentence\tlabel") -> str:
    path.write_text("\n".join([header, *(f"{t}\t{y}" for t, y in content)]), encoding="utf-8")
    return str(path)


@pytest.fixture
def source(tmp_path):
    """A local data set of good files; keywords replace settings."""

    def make(**changes):
        settings = {
            "name": "local",
            "train": tsv(tmp_path / "train.tsv", rows("a", 40)),
            "tuning": tsv(tmp_path / "tuning.tsv", rows("b", 20)),
            "test": tsv(tmp_path / "test.tsv", rows("c", 20)),
            **LOOK,
            **COMMON,
        }
        return LocalDataset(**{**settings, **changes})

    return make


def loaded_train(source, path: Path | str, **changes):
    return source(train=str(path), **changes).load().train


def test_quotes_in_tsv_are_ordinary_characters(source, tmp_path):
    texts = ['she said " no', '"quoted"', "it 's", 'one " two " three']
    path = tsv(tmp_path / "x.tsv", [(text, row % 2) for row, text in enumerate(texts)])

    assert loaded_train(source, path).texts == tuple(texts)


def test_a_file_without_a_final_newline_keeps_its_last_row(source, tmp_path):
    path = tmp_path / "x.tsv"
    path.write_bytes(b"sentence\tlabel\nfirst\t0\nlast\t1")

    assert loaded_train(source, path).texts == ("first", "last")


def test_blanks_around_header_and_labels_are_ignored(source, tmp_path):
    path = tmp_path / "x.tsv"
    path.write_text("sentence \t label\none two \t 0\nthree \t 1\n")

    train = loaded_train(source, path)

    assert train.labels.tolist() == [0, 1]
    assert train.texts == ("one two ", "three ")


def test_windows_line_ends_and_a_byte_order_mark_are_read(source, tmp_path):
    path = tmp_path / "x.tsv"
    path.write_bytes(b"\xef\xbb\xbfsentence\tlabel\r\none\t0\r\ntwo\t1\r\n")

    assert loaded_train(source, path).labels.tolist() == [0, 1]


def test_words_that_pandas_takes_for_missing_stay_words(source, tmp_path):
    path = tsv(tmp_path / "x.tsv", [("NA", 0), ("null", 1), ("None", 0)])

    assert loaded_train(source, path).texts == ("NA", "null", "None")


def test_csv_quotes_and_json_lines_and_parquet_are_read_alike(source, tmp_path):
    texts, labels = ["one, two", 'a "quoted" word'], [0, 1]
    frame = pd.DataFrame({"review": texts, "class": labels, "twin": ["x", "y"]})
    frame.to_csv(tmp_path / "x.csv", index=False)
    frame.to_parquet(tmp_path / "x.parquet")
    lines = [json.dumps(row) for row in frame.to_dict("records")]
    (tmp_path / "x.jsonl").write_text("\n".join(lines))

    for name in ("x.csv", "x.parquet", "x.jsonl"):
        train = loaded_train(source, tmp_path / name)
        assert train.texts == tuple(texts), name
        assert train.labels.tolist() == labels, name
        assert train.columns == {"twin": ("x", "y")}, name


def test_label_names_are_taken_from_the_training_file(source, tmp_path):
    train = tsv(tmp_path / "x.tsv", [("one", "spam"), ("two", "ham")])
    test = tsv(tmp_path / "y.tsv", [("three", "spam")])

    dataset = source(train=train, test=test, tuning=None).load()

    assert dataset.label_names == ("ham", "spam")
    assert dataset.test.labels.tolist() == [1]


def test_named_labels_may_also_be_numbers(source):
    assert source(label_names=["bad", "good"]).load().train.labels.tolist()[:2] == [0, 1]


def test_labels_may_count_from_one(source, tmp_path):
    path = tsv(tmp_path / "x.tsv", [("one", 1), ("two", 2)])
    other = tsv(tmp_path / "y.tsv", [("three", 2)])

    dataset = source(train=path, test=other, tuning=None, first_label=1).load()

    assert dataset.train.labels.tolist() == [0, 1]
    assert dataset.test.labels.tolist() == [1]


def test_a_few_empty_texts_are_dropped_counted_and_keep_the_others_rows(source, tmp_path):
    content = rows("x", 40)
    content[3] = (" ", 1)

    dataset = source(train=tsv(tmp_path / "x.tsv", content)).load()

    assert "train: 1 of 40 rows dropped, empty text" in dataset.notes
    assert dataset.train.source.tolist() == [0, 1, 2, *range(4, 40)]
    assert dataset.train.num_rows_in_file == 40


def test_a_few_shared_texts_are_removed_from_train_and_counted(source, tmp_path):
    test = [*rows("c", 119), ("a  text   3", 1)]  # white space is folded

    dataset = source(
        train=tsv(tmp_path / "x.tsv", rows("a", 200)), test=tsv(tmp_path / "y.tsv", test)
    ).load()

    assert len(dataset.train) == 199
    assert "a text 3" not in {fold(text) for text in dataset.train.texts}
    assert "train: 1 rows removed, their text is also in test" in dataset.notes


def test_a_missing_test_file_is_held_out_and_a_missing_tuning_file_is_not(source):
    dataset = source(test=None, tuning=None, test_holdout=0.25).load()

    assert (len(dataset.train), len(dataset.test), dataset.tuning) == (30, 10, None)
    assert not set(dataset.train.texts) & set(dataset.test.texts)


def test_another_seed_holds_out_other_rows(source):
    one, again, other = (
        source(test=None, test_holdout=0.25, holdout_seed=seed).load() for seed in (1, 1, 2)
    )

    assert one.test.texts == again.test.texts != other.test.texts
    for each in (one, other):
        assert sorted(each.train.source.tolist() + each.test.source.tolist()) == list(range(40))


def test_labels_are_turned_in_training_rows_alone(source, tmp_path):
    three = [(f"text {row}", row % 3) for row in range(3_000)]
    file = tsv(tmp_path / "three.tsv", three)
    sizes = {"train": file, "test": None, "tuning": None, "test_holdout": 0.2}

    clean = source(**sizes).load()
    dataset = source(**sizes, wrong_labels=0.1).load()

    turned = dataset.train.labels != clean.train.labels
    wrong = (dataset.train.labels - clean.train.labels)[turned] % 3
    assert dataset.train.texts == clean.train.texts
    assert turned.sum() == pytest.approx(240, abs=4 * np.sqrt(240 * 0.9))
    assert np.bincount(wrong, minlength=3)[0] == 0
    assert np.bincount(wrong)[1] == pytest.approx(turned.sum() / 2, abs=4 * np.sqrt(60))
    np.testing.assert_array_equal(dataset.test.labels, clean.test.labels)
    assert f"train: {turned.sum()} of 2400 labels turned at random" in dataset.notes


FAULTS = {
    "missing file": (
        lambda p: {"train": str(p / "trian.tsv")},
        r"there is no file .*trian\.tsv; did you mean train\.tsv\?",
    ),
    "a folder": (
        lambda p: {"train": str(p)},
        r" is a folder; expected a file that ends in \.tsv",
    ),
    "missing folder": (
        lambda p: {"train": str(p / "gone" / "train.tsv")},
        r"there is no file .*train\.tsv, nor a folder .*gone\.",
    ),
    "a name without a label": (
        lambda p: {"train": tsv(p / "x.tsv", [("x", "good"), ("y", "bad"), ("z", " ")])},
        r"x\.tsv, row 3 has no label\. Give it one or remove the row\.",
    ),
    "a number without a label": (
        lambda p: {"test": tsv(p / "x.tsv", [*rows("x", 5), ("bad", "")])},
        r"x\.tsv, row 6 has no label",
    ),
    "missing column": (
        lambda p: {"text_column": "sentance"},
        r"no column 'sentance'; did you mean sentence\?",
    ),
    "no guess": (
        lambda p: {"train": tsv(p / "x.tsv", rows("x", 4), "foo\tlabel")},
        r"which of the columns 'foo', 'label'.*dataset\.text_column=NAME; the first line",
    ),
    "unknown ending": (
        lambda p: {"train": tsv(p / "x.doc", rows("x", 4))},
        r"expected a file that ends in \.tsv",
    ),
    "label outside the range": (
        lambda p: {"test": tsv(p / "x.tsv", [*rows("x", 5), ("bad", 7)])},
        r"x\.tsv, row 6: label '7' is not a class; expected one of 0, 1, as in the",
    ),
    "label not a number": (
        lambda p: {"test": tsv(p / "x.tsv", [*rows("x", 5), ("bad", "good")])},
        r"row 6: label 'good' is not a class; expected one of 0, 1, as in the",
    ),
    "one odd label in train": (
        lambda p: {"train": tsv(p / "x.tsv", [*rows("x", 5), ("bad", "good")])},
        r"row 6: label 'good' is not a number of .* others are \(0, 1\)\. If all are classes, name",
    ),
    "texts as labels": (
        lambda p: {"train": tsv(p / "x.tsv", [(f"x {i}", f"y {i}") for i in range(200)])},
        r"200 different labels such as 'y 0' look like texts",
    ),
    "one class": (
        lambda p: {"train": tsv(p / "x.tsv", [(f"x {i}", 0) for i in range(5)])},
        r"all training rows have the label 0; .* Write dataset\.label_column=NAME",
    ),
    "empty split": (
        lambda p: {"test": tsv(p / "x.tsv", [])},
        r"x\.tsv has no rows with text",
    ),
    "empty file": (
        lambda p: {"test": str(((p / "x.tsv").write_text("") and "") or p / "x.tsv")},
        r"x\.tsv is empty",
    ),
    "too many empty texts": (
        lambda p: {"train": tsv(p / "x.tsv", [*rows("x", 8), ("", 0)])},
        r"1 of 9 texts are empty, more than 5%",
    ),
    "overlap": (
        lambda p: {"test": tsv(p / "x.tsv", rows("a", 20))},
        r"train \(.*train\.tsv\) and test \(.*x\.tsv\) share 20 texts, "
        r"more than 1% of 20 \(rows 1, 2, 3, 4, 5 \.\.\. of train\).*"
        r"allow_overlap=true",
    ),
    "ragged row": (
        lambda p: {"train": tsv(p / "x.tsv", [("one", 0), ("two\tthree", 1)])},
        r"x\.tsv, row 2 \(line 3\) has 3 cells where the first line has 2: 'two', 'three', '1'\.",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_sentence(source, tmp_path, fault):
    change, sentence = FAULTS[fault]

    with pytest.raises(DataError, match=sentence) as error:
        source(**change(tmp_path)).load()

    assert "\n" not in str(error.value)


def test_bytes_that_are_not_utf8_name_file_and_line(source, tmp_path):
    path = tmp_path / "x.tsv"
    path.write_bytes(b"sentence\tlabel\nfine\t0\ncaf\xe9\t1\n")

    with pytest.raises(DataError, match=r"x\.tsv, line 3: the bytes are not UTF-8"):
        loaded_train(source, path)


def test_broken_json_names_its_line(source, tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text('{"text": "a", "label": 0}\n{"text": "b"')

    with pytest.raises(DataError, match=r"x\.jsonl, line 2: not JSON"):
        loaded_train(source, path)


def test_an_allowed_overlap_marks_the_data_set_leaky(source, tmp_path):
    dataset = source(test=tsv(tmp_path / "x.tsv", rows("a", 20)), allow_overlap=True).load()

    assert dataset.leaky
    assert "LEAKY: train and test share 20 texts" in dataset.notes


def openbackdoor(folder: Path) -> OpenBackdoorDataset:
    return OpenBackdoorDataset(
        "ob", **{**LOOK, **COMMON, "tuning_holdout": 0.1}, folder=str(folder)
    )


def test_openbackdoor_tsv_layout(tmp_path):
    for name, size in (("train", 40), ("dev", 20), ("test", 20)):
        tsv(tmp_path / f"{name}.tsv", rows(name, size))

    dataset = openbackdoor(tmp_path).load()

    assert [len(s) for s in (dataset.train, dataset.tuning, dataset.test)] == [40, 20, 20]


@pytest.mark.parametrize("header", ["", "label,headline,body\n"])
def test_openbackdoor_news_layout_counts_labels_from_one(tmp_path, header):
    for name, size in (("train", 40), ("test", 8)):
        lines = [f'{1 + i % 4},"{name} {i}","a\\b, ""c"" {i}"' for i in range(size)]
        (tmp_path / f"{name}.csv").write_text(header + "\n".join(lines))

    dataset = openbackdoor(tmp_path).load()

    assert dataset.num_labels == 4
    assert dataset.test.texts[1] == 'test 1 a b, "c" 1'
    assert dataset.test.labels.tolist() == [0, 1, 2, 3, 0, 1, 2, 3]
    assert (len(dataset.train), len(dataset.tuning)) == (36, 4)


def test_openbackdoor_without_a_folder_says_what_to_type(tmp_path):
    with pytest.raises(DataError, match=r"dataset\.folder=PATH"):
        openbackdoor(tmp_path / "none").load()


def hub(path: Path, **changes) -> HubDataset:
    settings = {
        "name": "hub",
        "path": str(path),
        "config": None,
        "revision": None,
        "splits": {"train": "train", "tuning": None, "test": "test"},
        "text_column": "text",
        "label_column": "label",
        "label_map": None,
        **COMMON,
        "tuning_holdout": 0.25,
    }
    return HubDataset(**{**settings, **changes})


@pytest.fixture
def hub_folder(tmp_path, monkeypatch):
    """A repository of JSON lines, as SetFit/sst2 is, that `datasets` reads from disk."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    folder = tmp_path / "repository"
    folder.mkdir()
    for name, size in (("train", 40), ("test", 20)):
        lines = [json.dumps({"text": t, "label": y}) for t, y in rows(name, size)]
        (folder / f"{name}.jsonl").write_text("\n".join(lines))
    return folder


def test_the_hub_library_reads_splits_and_holds_out_tuning(hub_folder):
    dataset = hub(hub_folder).load()

    assert (len(dataset.train), len(dataset.tuning), len(dataset.test)) == (30, 10, 20)


def test_hub_labels_can_be_merged_by_name(hub_folder):
    label_map = {"0": "neither", "1": "offensive"}

    dataset = hub(hub_folder, label_map=label_map, label_names=["offensive", "neither"]).load()

    np.testing.assert_array_equal(dataset.test.labels, [1, 0] * 10)


def test_a_hub_split_or_column_that_is_not_there_is_named(hub_folder):
    with pytest.raises(DataError, match="has no split dev, only train, test"):
        hub(hub_folder, splits={"train": "train", "tuning": None, "test": "dev"}).load()
    with pytest.raises(DataError, match=r"has no column 'tweet'; did you mean text\?"):
        hub(hub_folder, text_column="tweet").load()


def test_without_a_network_the_local_alternative_is_named():
    with pytest.raises(DataError, match=r"cannot be fetched.*network.*dataset=local") as error:
        hub(Path("SetFit/sst2")).load()

    assert "\n" not in str(error.value)
