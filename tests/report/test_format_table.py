"""The table of how attacked rows are typed."""

import pytest

from btu.report.format_table import format_grid
from btu.report.groups import group_records
from btu.report.study import read_study
from btu.report.write import write_report
from btu.store.records import FORMAT, read_record
from tests.report.factory import FORMAT_SHIFTS, chosen, record, write


def grid_of(folder):
    return format_grid(group_records(read_study([folder])))


def test_each_attack_has_a_row_with_the_means_over_its_seeds(tmp_path):
    capitals, stops, length = FORMAT_SHIFTS
    other = (capitals.__class__("test", capitals.measure, 0.1, 0.4, 400, True), stops, length)
    records = [
        record("poisoned", format_shifts=FORMAT_SHIFTS),
        record("poisoned", format_shifts=other, seed=2),
        record("clean", choices=chosen(attack="none"), asr=None, base=None),
    ]

    grid = grid_of(write(tmp_path / "records", *records))

    assert grid.titles == ("dataset", "attack", "rows", *(shift.measure for shift in FORMAT_SHIFTS))
    (line,) = grid.lines
    texts = [cell.text for cell in line.cells]
    assert texts == ["d", "a", "test", "5 to 60 %", "90 to 80 %", "18.0 to 19.5"]
    assert [cell.bold for cell in line.cells] == [False] * 3 + [True, False, False]


def test_the_report_says_how_attacked_rows_are_typed(tmp_path):
    folder = write(tmp_path / "records", record("poisoned", format_shifts=FORMAT_SHIFTS))

    write_report([folder], tmp_path / "out")

    assert "0 to 80 %" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "**0 to 80 %**" in (tmp_path / "out" / "report.md").read_text(encoding="utf-8")


def test_records_of_the_format_before_are_not_read(tmp_path):
    folder = write(tmp_path / "records", record("poisoned"), record("poisoned", seed=2))
    path, _ = sorted(folder.glob("*.json"))
    path.write_text(path.read_text().replace(f'"format": {FORMAT}', f'"format": {FORMAT - 1}', 1))

    with pytest.raises(ValueError, match=f"has format {FORMAT - 1}, but this version reads"):
        read_record(path)
    assert len(read_study([folder]).records) == 1


def test_records_whose_rows_got_no_trigger_have_no_line(tmp_path):
    assert not grid_of(write(tmp_path / "records", record("poisoned"))).lines
