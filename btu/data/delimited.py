"""CSV and TSV: which character divides the cells and what a quote means, told by looking.

**The delimiter** is the ending's own (tab, comma) if the first line has it, else the one of tab,
comma, semicolon and `|` that divides the first line into most cells.

**Quotes.** Where no tab divides the cells, quotes enclose cells, as RFC 4180 says. With tabs there
are two customs: the GLUE files' quotes are ordinary characters, pandas and Excel enclose a cell
that holds a quote and double those inside. The whole file is read both ways. If only one gives
each row as many cells as the header, it is that one. If both do, quotes enclose cells if more of
the cells that hold a quote are as a writer leaves them than are not. A writer leaves a quote only
in cells that it encloses, and encloses those that hold a quote, or a whole column.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from btu.data.files import find_ending
from btu.errors import DataError, listed

DELIMITERS: Mapping[str, str] = {"tab": "\t", "comma": ",", "semicolon": ";", "pipe": "|"}
QUOTING = ("csv", "none")
MAX_CELL = 2**31 - 1  # characters; the csv module's own limit is 131,072
NUM_CELLS_SHOWN = 5
Columns = list[tuple[str, list[str]]]


@dataclass(frozen=True)
class Layout:
    """How CSV and TSV are laid out, as far as it is not to be told by looking (None)."""

    delimiter: str | None = None  # a name in DELIMITERS, or the character
    quoting: str | None = None  # csv: quotes enclose cells; none: they are ordinary characters


ALL_BY_LOOKING = Layout()


class Row(NamedTuple):
    """The cells of a row, and the line of the file that it begins on."""

    line: int
    cells: list[str]


class _Misfit(DataError):
    """A row that does not fit the others."""

    def __init__(self, sentence: str, line: int) -> None:
        super().__init__(sentence)
        self.line = line


def read_delimited(
    path: Path, text: str, layout: Layout, header: Sequence[str] | None = None
) -> tuple[Columns, list[str]]:
    """The columns of a file, and what was told by looking, one sentence each.

    Args:
        path: of the file, for its ending and for errors.
        text: what it holds.
        layout: what is known beforehand.
        header: the columns' names, where the first line may lack them.

    Raises:
        DataError: a row has not as many cells as the first, or its quotes are not as in CSV.
    """
    delimiter = _find_delimiter(path, text, layout)
    rows, note = _read_rows(path, text, delimiter, layout.quoting)
    names = [cell.strip() for cell in rows[0].cells]
    if header is None or [name.lower() for name in names] == list(header):
        rows = rows[1:]
    if header is not None:
        if len(header) != len(names):
            raise DataError(f"{path}: {len(names)} cells in a row, expected {listed(header)}.")
        names = list(header)
    cells = [list(column) for column in zip(*(row.cells for row in rows), strict=True)]
    columns = list(zip(names, cells or [[] for _ in names], strict=True))
    told = f"the cells are divided by {_name_of(delimiter)}"
    return columns, ([told] if delimiter != _own_delimiter(path) else []) + note


def keep_rows(path: Path, text: str, layout: Layout, kept: Sequence[bool]) -> str:
    """The header and the named rows of a file, each written as it was.

    Args:
        path: of the file, for its ending and for errors.
        text: what it holds.
        layout: what is known beforehand.
        kept: which rows stay, without the header.
    """
    rows, _ = _read_rows(path, text, _find_delimiter(path, text, layout), layout.quoting)
    lines = (line for _, line in _with_lines(rows, text))
    chosen = [True, *kept]
    return "".join(f"{line}\n" for line, stays in zip(lines, chosen, strict=True) if stays)


def replace_cells(
    path: Path, text: str, layout: Layout, column: str, cells: Mapping[int, str]
) -> str:
    """The file with other cells in one column, every other row written as it was.

    Args:
        path: of the file, for its ending and for errors.
        text: what it holds.
        layout: what is known beforehand.
        column: its name.
        cells: by row from 0, without the header.
    """
    delimiter = _find_delimiter(path, text, layout)
    rows, _ = _read_rows(path, text, delimiter, layout.quoting)
    place = [cell.strip() for cell in rows[0].cells].index(column)
    quoted = any(row.cells != text_of.split(delimiter) for row, text_of in _with_lines(rows, text))
    written = []
    for number, (row, line) in enumerate(_with_lines(rows, text), start=-1):
        if number not in cells:
            written.append(line)
            continue
        changed = [*row.cells]
        changed[place] = cells[number]
        written.append(_join_cells(changed, delimiter) if quoted else delimiter.join(changed))
    return "".join(f"{line}\n" for line in written)


def _with_lines(rows: Sequence[Row], text: str) -> Iterator[tuple[Row, str]]:
    """Each row with what stands there in the file."""
    lines = text.split("\n")
    ends = [row.line - 1 for row in rows[1:]] + [len(lines)]
    for row, end in zip(rows, ends, strict=True):
        yield row, "\n".join(lines[row.line - 1 : end]).strip("\n")


def _join_cells(cells: Sequence[str], delimiter: str) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, delimiter=delimiter, lineterminator="").writerow(cells)
    return buffer.getvalue()


def first_cells(text: str) -> list[str]:
    """The first line of a CSV file as cells in lower case."""
    return [cell.strip().lower() for cell in _first_line(text).replace('"', "").split(",")]


def _own_delimiter(path: Path) -> str:
    return "\t" if find_ending(path) == ".tsv" else ","


def _first_line(text: str) -> str:
    return next(line for line in text.split("\n") if line.strip())


def _name_of(delimiter: str) -> str:
    return next(name for name, character in DELIMITERS.items() if character == delimiter)


def _find_delimiter(path: Path, text: str, layout: Layout) -> str:
    if layout.delimiter is not None:
        return DELIMITERS.get(layout.delimiter, layout.delimiter)
    first, own = _first_line(text), _own_delimiter(path)
    if own in first:
        return own
    widths = {d: len(first.split(d)) for d in DELIMITERS.values()}
    return max((own, *widths), key=lambda delimiter: widths[delimiter])


def _read_rows(
    path: Path, text: str, delimiter: str, quoting: str | None
) -> tuple[list[Row], list[str]]:
    """All rows by the way of quoting that is asked for, or else told by looking."""
    if '"' not in text and delimiter == "\t":
        quoting = "none"
    elif quoting is None and delimiter != "\t":
        quoting = "csv"
    if quoting is not None:
        return _read_as(quoting, path, text, delimiter), []
    readings, faults = {}, []
    for way in _READERS:
        try:
            readings[way] = _read_as(way, path, text, delimiter)
        except _Misfit as fault:
            faults.append(fault)
    if not readings:
        raise max(faults, key=lambda fault: fault.line)
    if len(readings) == 2 and readings["csv"] == readings["none"]:
        return readings["none"], []
    chosen = next(iter(readings))
    if len(readings) == 2:
        num_written, num_other = _count_quoted(readings["none"])
        chosen = "csv" if num_written > num_other else "none"
    return readings[chosen], [_quoting_note(chosen, can_be_forced=len(readings) == 2)]


def _quoting_note(chosen: str, can_be_forced: bool) -> str:
    if chosen == "csv":
        note, other = "quotes that enclose a cell are taken off, as pandas puts them", "none"
    else:
        note, other = "quotes are ordinary characters and kept", "csv"
    return f"{note} (dataset.quoting={other} is the other way)" if can_be_forced else note


def _count_quoted(rows: Sequence[Row]) -> tuple[int, int]:
    """Cells with a quote that are as a writer of CSV leaves them, and those that are not."""
    num_written = num_other = 0
    for column in zip(*(row.cells for row in rows[1:]), strict=True):
        quoted = [cell for cell in column if '"' in cell]
        enclosed = [cell for cell in quoted if _is_enclosed(cell)]
        whole_column = len(enclosed) == sum(map(bool, column))
        written = enclosed if whole_column else [cell for cell in enclosed if '"' in cell[1:-1]]
        num_written += len(written)
        num_other += len(quoted) - len(written)
    return num_written, num_other


def _is_enclosed(cell: str) -> bool:
    """Whether the cell is in quotes, and each quote within is doubled."""
    inner = cell[1:-1]
    ends = len(cell) >= 2 and cell[0] == cell[-1] == '"'
    return ends and '"' not in inner.replace('""', "")


def _read_as(quoting: str, path: Path, text: str, delimiter: str) -> list[Row]:
    """All rows that are not blank, the first of them the header, each as long as that.

    Empty cells beyond the header's width are dropped.
    """
    lines = _READERS[quoting](path, text, delimiter)
    first = next(lines)
    width = len(first.cells)
    rows = [first]
    for number, row in enumerate(lines, start=1):
        if len(row.cells) > width and not any(row.cells[width:]):
            row = Row(row.line, row.cells[:width])
        if len(row.cells) != width:
            raise _Misfit(_misfit(path, number, row, first.cells, delimiter, quoting), row.line)
        rows.append(row)
    return rows


def _misfit(
    path: Path, number: int, row: Row, header: Sequence[str], delimiter: str, quoting: str
) -> str:
    name = _name_of(delimiter)
    advice = f"Put a cell that holds a {name} in quotes" if quoting == "csv" else "Mend the row"
    return (
        f"{path}, row {number} (line {row.line}) has {len(row.cells)} cells where the first line "
        f"has {len(header)}: {listed(map(repr, row.cells), NUM_CELLS_SHOWN)}. {advice}, or name "
        "what divides the cells with dataset.delimiter."
    )


def _plain_rows(path: Path, text: str, delimiter: str) -> Iterator[Row]:
    """Each line that is not blank is a row."""
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip(" \t\r") or delimiter in line:
            yield Row(number, line.split(delimiter))


def _quoted_rows(path: Path, text: str, delimiter: str) -> Iterator[Row]:
    """Rows as RFC 4180 has them; blank lines are none."""
    csv.field_size_limit(MAX_CELL)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    begin, number = 1, 0
    try:
        for cells in rows:
            if cells and (len(cells) > 1 or not cells[0] or cells[0].strip(" \t")):
                yield Row(begin, cells)
                number += 1
            begin = 1 + rows.line_num
    except csv.Error as error:
        raise _Misfit(
            f"{path}, row {number} (line {begin}): the quotes are not as CSV has them ({error}). "
            "Double each quote inside of a quoted cell, or write dataset.quoting=none if quotes "
            "are ordinary characters.",
            begin,
        ) from error


_READERS = {"csv": _quoted_rows, "none": _plain_rows}
