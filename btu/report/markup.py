"""HTML of tables and texts; whatever comes from records is escaped."""

from __future__ import annotations

import json
from html import escape

from btu.report.grids import Cell, Grid, Line
from btu.store.records import CHOICES
from btu.terminal.text import plain

SAID_ONCE = (*CHOICES, "seeds", "test rows", "attacked rows")  # where all rows agree


def text_of(text: str) -> str:
    """A text as HTML that shows it as it is."""
    return escape(plain(text))


def data_of(labels: dict[str, str]) -> str:
    """Attributes of an element, which the script of the page reads."""
    return "".join(f' data-{name}="{text_of(value)}"' for name, value in labels.items())


def table(grid: Grid, name: str) -> str:
    """A grid as an HTML table."""
    return box(grid, name, _rows(grid))


def box(grid: Grid, name: str, rows: str) -> str:
    """A table of these rows in a box that scrolls by itself, below what all of them share."""
    same = ", ".join(
        f"{grid.titles[at]} {grid.lines[0].cells[at].text}" for at in constant_columns(grid)
    )
    told = f"<p class=about>In every row: {text_of(same)}.</p>" * bool(same)
    inner = f'<table id="table-{name}">{_head(grid)}<tbody>{rows}</tbody></table>'
    return f'{told}<div class="box" tabindex="0">{inner}</div>'


def constant_columns(grid: Grid) -> list[int]:
    """The columns that have one value throughout: it stands above the table instead."""
    places = [at for at, title in enumerate(grid.titles) if title in SAID_ONCE]
    return [at for at in places if len({line.cells[at].text for line in grid.lines}) == 1]


def _rows(grid: Grid) -> str:
    return "".join(
        _row(line, grid, first=number == 0 or line.block != grid.lines[number - 1].block)
        for number, line in enumerate(grid.lines)
    )


def _head(grid: Grid) -> str:
    cells = (
        f'<th scope="col"{" class=n" * numeric}>'
        f'<button type="button">{_breakable(title)}</button></th>'
        for title, numeric in zip(grid.titles, grid.numeric, strict=True)
    )
    return f"<thead><tr>{''.join(cells)}</tr></thead>"


def _breakable(title: str) -> str:
    """A dotted key that may be broken after its dots."""
    return text_of(title).replace(".", ".<wbr>")


def _row(line: Line, grid: Grid, first: bool) -> str:
    cells = "".join(map(_cell, line.cells, grid.numeric, grid.titles))
    data = data_of({k: json.dumps([v]) for k, v in line.labels.items()})
    return f"<tr{' class=first' * first}{data}>{cells}</tr>\n"


def _cell(cell: Cell, numeric: bool, title: str) -> str:
    """A cell that knows its column's title, which a narrow screen writes above it."""
    text = f"<b>{text_of(cell.text)}</b>" if cell.bold else text_of(cell.text)
    return f'<td{" class=n" * numeric} data-title="{text_of(title)}">{text}</td>'
