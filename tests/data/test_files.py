"""Files of the kinds that the field ships, each read rightly or called what it is."""

import csv
import gzip
import json
import logging

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from btu.data.delimited import Layout
from btu.data.files import FORMATS
from btu.data.local import LocalDataset
from btu.data.tables import TEXT_COLUMNS, find_column, read_table
from btu.errors import ConfigError, DataError
from tests.data.test_loading import COMMON, LOOK, openbackdoor, rows, tsv

SAID = ['she said "no" twice', '"quoted" at first', "a tab\there", "two\nlines", 'all "', "plain"]


def write(folder, name, content):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def columns(path, **layout):
    return dict(read_table(path, Layout(**layout)).columns)


def load(train, **changes):
    settings = {"name": "local", "train": str(train), "tuning": None, "test": None}
    return LocalDataset(**{**settings, **LOOK, **COMMON, "test_holdout": 0.2, **changes}).load()


def test_tsv_of_pandas_is_read_without_its_quotes(tmp_path):
    pd.DataFrame({"text": SAID, "label": range(6)}).to_csv(
        tmp_path / "x.tsv", sep="\t", index=False
    )

    assert columns(tmp_path / "x.tsv")["text"] == SAID


def test_tsv_with_quotes_around_each_text_is_read_without_them(tmp_path):
    frame = pd.DataFrame({"text": ["one", "two", 'a "third"'], "label": [0, 1, 0]})
    frame.to_csv(tmp_path / "x.tsv", sep="\t", index=False, quoting=csv.QUOTE_NONNUMERIC)

    assert columns(tmp_path / "x.tsv")["text"] == ["one", "two", 'a "third"']


@pytest.mark.parametrize(
    "texts",
    [
        ['"one" and "two"', 'he said " no', '"'],  # as in GLUE: nothing is doubled
        ['"one"', "two"],  # pandas would not have put quotes there
        ['"a ""b"" c"', 'x " y', '5" pipe'],  # one cell as pandas has it, two that are not
    ],
)
def test_tsv_of_the_glue_files_keeps_its_quotes(tmp_path, texts):
    path = write(tmp_path, "x.tsv", "sentence\tlabel\n" + "".join(f"{t}\t0\n" for t in texts))

    assert columns(path)["sentence"] == texts


def test_how_quotes_were_read_is_noted_and_can_be_forced(tmp_path):
    path = write(tmp_path, "x.tsv", 'text\tlabel\n"a ""b"""\t0\nplain\t1\n')

    table = read_table(path)

    assert table.columns["text"] == ['a "b"', "plain"]
    assert table.notes == (
        "quotes that enclose a cell are taken off, as pandas puts them (dataset.quoting=none is "
        "the other way)",
    )
    assert columns(path, quoting="none")["text"] == ['"a ""b"""', "plain"]


def test_quotes_that_read_alike_in_both_ways_are_no_note(tmp_path):
    assert read_table(write(tmp_path, "x.tsv", 'text\tlabel\n5" pipe\t0\n')).notes == ()


@pytest.mark.parametrize(
    ("name", "delimiter", "word"),
    [
        ("x.csv", ";", "semicolon"),
        ("x.csv", "|", "pipe"),
        ("x.csv", "\t", "tab"),
        ("x.tsv", ",", "comma"),
    ],
)
def test_another_delimiter_is_told_by_looking_and_noted(tmp_path, name, delimiter, word):
    frame = pd.DataFrame({"text": ["one, two; three | four", "five"], "label": [0, 1]})
    frame.to_csv(tmp_path / name, sep=delimiter, index=False)

    table = read_table(tmp_path / name)

    assert table.columns == {"text": ["one, two; three | four", "five"], "label": ["0", "1"]}
    assert table.notes[0] == f"the cells are divided by {word}"
    assert columns(tmp_path / name, delimiter=word) == columns(tmp_path / name, delimiter=delimiter)


@pytest.mark.parametrize("setting", [{"delimiter": "colon"}, {"quoting": "doubled"}])
def test_a_layout_that_is_none_is_refused(setting):
    with pytest.raises(ConfigError, match=r"dataset\.(delimiter|quoting): there is no \w+; "):
        load("x.tsv", **setting)


def test_a_row_that_is_longer_than_the_csv_module_allows_is_read(tmp_path):
    long = "word " * 40_000
    path = write(tmp_path, "x.csv", f'text,label\n"{long}",0\nshort,1\n')

    assert columns(path)["text"] == [long, "short"]


def test_the_sms_spam_file_of_kaggle_is_read(tmp_path):
    """Three columns without a name, and equal texts."""
    lines = [
        f'{"spam" if n % 5 == 0 else "ham"},"text {n % 60}, said ""so""",,,' for n in range(100)
    ]
    path = write(tmp_path, "spam.csv", "v1,v2,,,\n" + "\n".join(lines))

    dataset = load(path, text_column="v2", label_column="v1")

    assert dataset.label_names == ("ham", "spam")
    assert dataset.train.texts[0].endswith(', said "so"')
    assert not set(dataset.train.texts) & set(dataset.test.texts)


def test_a_csv_that_openbackdoor_saved_is_read(tmp_path):
    """Its header counts the columns, after that of the index."""
    lines = [f'{n},"text, {n}",{n % 2},{int(n < 5)}' for n in range(40)]
    path = write(tmp_path, "train-poison.csv", ",0,1,2\n" + "\n".join(lines))

    dataset = load(path, text_column="0", label_column="1")

    assert set(dataset.train.columns) == {"Unnamed: 0", "2"}
    assert len(dataset.train) + len(dataset.test) == 40


def test_a_folder_of_openbackdoor_may_name_columns_otherwise_in_each_file(tmp_path):
    tsv(tmp_path / "train.tsv", rows("a", 40), "sentences\tlabels")
    tsv(tmp_path / "dev.tsv", rows("b", 20), "sentence\tlabel")
    write(tmp_path, "test.csv", "text,label\n" + "".join(f"c {n},{n % 2}\n" for n in range(20)))

    dataset = openbackdoor(tmp_path).load()

    assert (len(dataset.train), len(dataset.tuning), len(dataset.test)) == (40, 20, 20)


def test_the_run_says_which_columns_it_took_and_how_many_rows_each_label_has(tmp_path, caplog):
    train = tsv(tmp_path / "x.tsv", rows("a", 40), "sentence\tlabel")
    test = tsv(tmp_path / "y.tsv", rows("b", 21), "Review\tstars")
    caplog.set_level(logging.INFO, "btu")

    load(train, test=test)

    assert caplog.messages == [
        "data local: columns sentence, label / Review, stars; train 40 (0: 20, 1: 20); "
        "test 21 (0: 11, 1: 10)"
    ]


def test_a_shared_split_in_toxic_comments_counts_each_class(tmp_path):
    """Comments over several lines, with doubled quotes, as in Jigsaw's files."""
    lines = [f'{n:05d},"""so"" {n}\n\nhe wrote, twice",{int(n % 10 == 0)}' for n in range(100)]
    path = write(tmp_path, "x.csv", "id,comment_text,toxic\n" + "\r\n".join(lines))

    dataset = load(path)

    assert dataset.train.texts[0].startswith('"so" ')
    assert sorted(dataset.test.labels.tolist()) == [0] * 18 + [1] * 2


WAYS = {
    "lines": lambda frame: frame.to_json(orient="records", lines=True),
    "array": lambda frame: frame.to_json(orient="records"),
    "columns": lambda frame: json.dumps(frame.to_dict("list")),
    "columns of an index": lambda frame: frame.to_json(),
    "records of an index": lambda frame: frame.to_json(orient="index", indent=2),
}


@pytest.mark.parametrize("ending", ["json", "jsonl"])
@pytest.mark.parametrize("way", WAYS)
def test_json_is_read_in_each_shape(tmp_path, way, ending):
    frame = pd.DataFrame({"text": ["one\u2028two", "é 🎬"], "label": [1, 0]})

    path = write(tmp_path, f"x.{ending}", WAYS[way](frame))

    assert columns(path) == {"text": ["one\u2028two", "é 🎬"], "label": ["1", "0"]}


def test_values_of_json_become_strings_and_missing_ones_empty(tmp_path):
    path = write(tmp_path, "x.jsonl", '{"text": 5, "label": true}\n{"text": null}\n{"text": NaN}')

    assert columns(path) == {"text": ["5", "", ""], "label": ["True", "", ""]}


def test_half_of_a_character_is_replaced_and_noted(tmp_path):
    path = write(
        tmp_path, "x.json", r'[{"text": "cut \ud83d", "label": 0}, {"text": "a", "label": 1}]'
    )

    table = read_table(path)

    assert table.columns["text"] == ["cut \ufffd", "a"]
    assert table.notes == ("1 cells hold half of a character (a lone surrogate), read as \ufffd",)


@pytest.mark.parametrize("ending", FORMATS)
def test_each_format_may_be_packed_by_gzip(tmp_path, ending):
    frame = pd.DataFrame({"text": ["one", "two"], "label": ["0", "1"]})
    path = tmp_path / f"x{ending}"
    if ending == ".parquet":
        frame.to_parquet(path)
    elif "json" in ending:
        path.write_text(WAYS["lines"](frame))
    else:
        frame.to_csv(path, sep="\t" if ending == ".tsv" else ",", index=False)

    packed = write(tmp_path, f"{path.name}.GZ", gzip.compress(path.read_bytes()))

    assert columns(packed) == columns(path) == frame.to_dict("list")


def test_odd_types_of_parquet_are_read_or_refused_by_name(tmp_path):
    texts = pa.array(["one", "two", "one"])
    table = pa.table(
        {
            "text": texts.dictionary_encode(),
            "bytes": texts.cast(pa.binary()),
            "label": pa.array([1, None, 0]),
            "tokens": pa.array([["a"], ["b"], []]),
            "other": pa.array([b"\xff", b"", b""]),
        }
    )
    pq.write_table(table, tmp_path / "x.parquet")

    found = read_table(tmp_path / "x.parquet")

    assert found.columns["text"] == found.columns["bytes"] == ["one", "two", "one"]
    assert found.columns["label"] == ["1", "", "0"]
    assert found.nested == {"tokens": "list", "other": "bytes"}
    with pytest.raises(DataError, match="'tokens' holds values of the type list, expected texts"):
        find_column(found, "tokens", TEXT_COLUMNS, "text_column")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_a_byte_order_mark_and_any_line_ends_are_read(tmp_path, encoding, line_end):
    content = line_end.join(["text,label", "café,0", '"one, two",1', ""])

    path = write(tmp_path, "x.csv", content.encode(encoding))

    assert columns(path) == {"text": ["café", "one, two"], "label": ["0", "1"]}


def test_mixed_line_ends_inside_of_quotes_are_one_kind(tmp_path):
    path = write(tmp_path, "x.csv", 'text,label\r\n"a\r\nb\nc",0\nd,1\r\n')

    assert columns(path)["text"] == ["a\nb\nc", "d"]


@pytest.mark.parametrize(
    ("header", "taken"),
    [("text,Text,label", "text"), ("Text,TEXTS,label", "Text"), (" Text ,label,n", "Text")],
)
def test_of_columns_that_differ_in_case_the_plain_one_is_taken(tmp_path, header, taken):
    table = read_table(write(tmp_path, "x.csv", f"{header}\na,b,c\n"))

    assert find_column(table, None, TEXT_COLUMNS, "text_column") == taken
