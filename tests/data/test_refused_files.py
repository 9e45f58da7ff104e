"""Files that cannot be read, each called what it is in one short sentence."""

import gzip
import os
import socket

import pytest

from btu.data.tables import read_table
from btu.errors import DataError
from tests.data.test_files import load, write

LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"
KINDS = {
    "git lfs": ("x.tsv", LFS, r"x\.tsv is a pointer of Git LFS\. .* git lfs pull\."),
    "git lfs parquet": ("x.parquet", LFS, r"x\.parquet is a pointer of Git LFS"),
    "html": ("x.csv", "\n<!DOCTYPE html>\n<html>" + "x" * 20_000, r"is a web page \(HTML"),
    "zip": ("x.csv", b"PK\x03\x04\x14\0\0\0", r"is a zip archive or an Excel file\. Unpack it"),
    "gzip": (
        "x.csv",
        gzip.compress(b"text,label"),
        r"is packed by gzip\. Let its name end in \.gz",
    ),
    "parquet": ("x.csv", b"PAR1\x15\x04", r"is a parquet file\. Let its name end in \.parquet"),
    "no gzip": ("x.csv.gz", "text,label\n", r"cannot be unpacked by gzip \(Not a gzipped"),
    "cut gzip": ("x.csv.gz", gzip.compress(b"text,label\n" * 99)[:30], r"cannot be unpacked by gz"),
    "no parquet": ("x.parquet", "text,label\n", r"is not a readable parquet file \("),
    "cp1252": (
        "x.csv",
        b"text,label\n\x93caf\xe9\x94 noir,1\n",
        r"line 2: .* not UTF-8\. As cp1252 "
        r".* they read 'text,label “café” noir.*: iconv -f cp1252 -t utf-8 x\.csv > utf8-x",
    ),
    "packed cp1252": (
        "x.csv.gz",
        gzip.compress(b"text,label\ncaf\xe9,1\n"),
        r": gunzip -k x\.csv\.gz; iconv -f cp1252 -t utf-8 x\.csv > utf8-x\.csv$",
    ),
    "no encoding": (
        "x.csv",
        b"text,label\n\x81\xff,1\n",
        r"line 2: the bytes are not UTF-8\. Save",
    ),
    "bad utf-16": ("x.csv", b"\xff\xfea\0b", r"begins as utf-16 does, but is not"),
    "utf-16 le": (
        "x.csv",
        "text,label\na,1\n".encode("utf-16-le"),
        r"UTF-16 .* -f utf-16le -t utf-8",
    ),
    "utf-16 be": (
        "x.csv",
        "text,label\na,1\n".encode("utf-16-be"),
        r"UTF-16 .* -f utf-16be -t utf-8",
    ),
    "nul": (
        "x.tsv",
        "text\tlabel\n" + "long text\t1\n" * 9 + "a\0b\t1\n",
        r"line 11 holds a NUL byte",
    ),
    "empty": ("x.json", "\n ", r"x\.json is empty"),
    "bare comma": (
        "x.csv",
        "label,text\n0,one\n1,two, three\n",
        r"row 2 \(line 3\) has 3 cells where "
        r"the first line has 2: '1', 'two', ' three'\. Put a cell that holds a comma in",
    ),
    "short row": ("x.tsv", "text\tlabel\na\t1\nb\n", r"row 2 \(line 3\) has 1 cells"),
    "open quote": (
        "x.csv",
        'text,label\n"a,1\nb,0\n',
        r"row 1 \(line 2\): the quotes are not as CSV",
    ),
    "bare quote": (
        "x.csv",
        'text,label\n"a "b" c",1\n',
        r"Double each quote .*dataset\.quoting=none",
    ),
    "both ways": ("x.tsv", 'text\tlabel\n"a\tb"\t1\nc\td\te\n', r"row 2 \(line 3\) has 3 cells"),
    "two names": (
        "x.csv",
        "text,label,text \na,1,b\n",
        r"two columns with the name 'text'\. Rename",
    ),
    "two cases": (
        "x.csv",
        "Text,TEXT,label\na,b,1\n",
        r"the columns 'Text', 'TEXT'\. Write dataset\.",
    ),
    "no header": (
        "x.csv",
        "a fine film,1\n" * 30,
        r"which of the columns 'a fine film', '1' is meant",
    ),
    "wide": (
        "x.csv",
        ",".join(f"column{n}" for n in range(9_000)) + "\n",
        r"'column29' and 8,970 more",
    ),
    "header alone": ("x.csv", "text,label\n", r"has no rows with text"),
    "blanks": ("x.csv", "text,label\n  ,1\n\t,0\n", r"has no rows with text"),
    "no labels": ("x.csv", "text,label\na,\nb,\n", r"row 1 has no label \(nor have 1 more\)"),
    "no json": (
        "x.json",
        "[1, 2",
        r"is not JSON \(.*Expected an array of objects, an object of col",
    ),
    "deep json": ("x.json", "[" * 100_000, r"its JSON is nested too deeply"),
    "json numbers": ("x.json", "[1, 2]", r"row 1 is not a JSON object"),
    "json scalar": ("x.json", "5", r"holds no rows"),
    "json lengths": ("x.json", '{"text": ["a"], "label": [0, 1]}', r"columns have 1 to 2 rows"),
    "json rows": (
        "x.json",
        '{"text": {"0": "a"}, "label": {"1": 0}}',
        r"do not have the same rows",
    ),
    "json texts": (
        "x.json",
        '[{"text": ["a"], "label": 0}]',
        r"'text' holds values of the type list",
    ),
    "broken line": ("x.jsonl", '{"text": "a", "label": 0}\n{"text', r"line 2: not JSON \("),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_cannot_be_read_is_one_short_sentence(tmp_path, kind):
    name, content, sentence = KINDS[kind]
    path = write(tmp_path, name, content)

    with pytest.raises(DataError, match=sentence) as error:
        load(path)

    assert str(error.value).count("\n") == 0
    assert len(str(error.value)) < 1000


def make_socket(path):
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


PLACES = {
    "pipe": (os.mkfifo, r"is a pipe, a socket or a device"),
    "loop": (lambda path: path.symlink_to(path), r"cannot be read: Too many levels of symbolic"),
    "dead link": (
        lambda path: path.symlink_to("gone.tsv"),
        r"is a link to gone\.tsv, which is not",
    ),
    "folder": (
        lambda path: path.mkdir(),
        r"is a folder; expected a file that ends in \.tsv, .*\.gz",
    ),
    "socket": (make_socket, r"is a pipe, a socket or a device"),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_path_that_is_no_file_is_called_what_it_is(tmp_path, monkeypatch, place):
    make, sentence = PLACES[place]
    monkeypatch.chdir(tmp_path)  # a socket's path is short
    path = tmp_path / "x.tsv"
    make(path.relative_to(tmp_path) if place == "socket" else path)

    with pytest.raises(DataError, match=sentence):
        read_table(path)


def test_a_name_that_is_too_long_and_a_file_that_may_not_be_read_are_told(tmp_path, monkeypatch):
    with pytest.raises(DataError, match="cannot be read: File name too long") as error:
        read_table(tmp_path / ("x" * 5_000 + ".tsv"))
    assert len(str(error.value)) < 300

    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.read_bytes", refuse)
    with pytest.raises(DataError, match=r"x\.tsv cannot be read: Permission denied"):
        read_table(write_empty(tmp_path / "x.tsv"))


def write_empty(path):
    path.touch()
    return path
