"""No cell of a CSV is a formula."""

import csv

import pandas as pd
import pytest

from btu.report.run import SUSPECT_COLUMNS, write_suspects
from btu.report.spreadsheet import as_text, write_frame
from btu.terminal.text import plain
from tests.report.factory import record, suspect


@pytest.mark.parametrize(
    "text", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(1)", "\t=1", "\r=1", "＝1"]
)
def test_a_text_that_a_spreadsheet_would_execute_gets_a_quote(text):
    assert as_text(text) == f"'{plain(text)}"


@pytest.mark.parametrize("text", ["\x1b[31mred", "a\x07", "a\u202eb"])
def test_a_text_that_a_terminal_would_execute_is_spelled_out(text):
    assert as_text(text) == plain(text) != text


@pytest.mark.parametrize(
    "value", [-1.5, "-1.5", "+3", "-1e-5", "-", "=", "a=b", "", None, True, "##-"]
)
def test_numbers_and_all_other_texts_stay_as_they_are(value):
    assert as_text(value) == value
    assert type(as_text(value)) is type(value)


def test_titles_are_cells_too(tmp_path):
    write_frame(pd.DataFrame({"=x": ["-x"], "n": [-0.25]}), tmp_path / "a.csv")

    assert (tmp_path / "a.csv").read_text() == "'=x,n\n'-x,-0.25\n"


def test_the_suspects_of_a_run_hold_no_formula(tmp_path):
    found = suspect("=cf", distance=-1.0, leans_to="@label", examples=('=HYPERLINK("x")',))
    write_suspects([record("defended", 0.1, suspects=(found,))], tmp_path / "suspects.csv")

    (row,) = csv.DictReader((tmp_path / "suspects.csv").open())

    assert row["token"] == "'=cf"
    assert row["leans_to"] == "'@label"
    assert row["example_1"] == '\'=HYPERLINK("x")'
    assert row["distance"] == "-1.0"


def test_without_suspects_there_are_titles_alone(tmp_path):
    write_suspects([record("poisoned")], tmp_path / "suspects.csv")

    assert (tmp_path / "suspects.csv").read_text() == f"{','.join(SUSPECT_COLUMNS)}\n"
