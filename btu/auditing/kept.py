"""The file as it was, without some of its rows or with other labels: in its own format."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from btu.auditing.opened import Opened
from btu.data.delimited import Layout, keep_rows, replace_cells
from btu.data.files import decode, read_bytes
from btu.types import BoolArray, IntArray

CLEAN, RELABELLED = "clean", "relabelled"


def write_without(opened: Opened, rows: IntArray, folder: Path) -> Path:
    """The file without some rows, from 0, all else as it was; gives its path.

    Lines of CSV, TSV and JSON lines are written as they stand there, in UTF-8; parquet keeps its
    types.
    """
    kept = np.ones(opened.num_rows, dtype=np.bool_)
    kept[rows] = False
    return _write(opened, folder / CLEAN, _Without(kept))


def write_relabelled(opened: Opened, labels: Mapping[int, str], folder: Path) -> Path:
    """The file with other labels, by row from 0, all else as it was; gives its path."""
    return _write(opened, folder / RELABELLED, _Relabelled(opened.label_column, labels))


@dataclass(frozen=True)
class _Without:
    """Takes rows out of what a file holds."""

    kept: BoolArray

    def change_lines(self, path: Path, text: str, layout: Layout) -> str:
        return keep_rows(path, text, layout, self.kept.tolist())

    def change_table(self, table: Any) -> Any:
        import pyarrow as pa

        return table.filter(pa.array(self.kept))

    def change_items(self, items: Sequence[Any]) -> list[Any]:
        return [item for item, stays in zip(items, self.kept.tolist(), strict=True) if stays]

    def change_cells(self, name: str, cells: Any) -> Any:
        """Of a column, as a list or by the names of its rows."""
        if isinstance(cells, list):
            return self.change_items(cells)
        return dict(self.change_items(list(cells.items())))


@dataclass(frozen=True)
class _Relabelled:
    """Gives rows of what a file holds another label."""

    column: str
    labels: Mapping[int, str]

    def change_lines(self, path: Path, text: str, layout: Layout) -> str:
        return replace_cells(path, text, layout, self.column, self.labels)

    def change_table(self, table: Any) -> Any:
        import pyarrow as pa

        place = [name.strip() for name in table.column_names].index(self.column)
        column = table.column(place)
        cells = self.change_cells(self.column, column.to_pylist())
        name = table.column_names[place]
        return table.set_column(place, name, pa.array(cells, type=column.type))

    def change_items(self, items: Sequence[Any]) -> list[Any]:
        def change(row: int, item: Any) -> Any:
            name = next(name for name in item if name.strip() == self.column)
            return {**item, name: _spell_as(item[name], self.labels[row])}

        return [change(k, item) if k in self.labels else item for k, item in enumerate(items)]

    def change_cells(self, name: str, cells: Any) -> Any:
        """Of a column, as a list or by the names of its rows."""
        if name.strip() != self.column:
            return cells
        if isinstance(cells, dict):
            return dict(zip(cells, self.change_cells(name, list(cells.values())), strict=True))
        return [
            _spell_as(cell, self.labels[row]) if row in self.labels else cell
            for row, cell in enumerate(cells)
        ]


def _spell_as(old: Any, label: str) -> Any:
    """A label as a value of the kind that stood there."""
    if isinstance(old, bool):
        return label.lower() == "true"
    return type(old)(float(label)) if isinstance(old, int | float) else label


def _write(opened: Opened, stem: Path, change: _Without | _Relabelled) -> Path:
    raw, ending = read_bytes(opened.path)
    packed = opened.path.suffix.lower() == ".gz"
    path = stem.with_name(f"{stem.name}{ending}{'.gz' * packed}")
    written = _change(opened, raw, ending, change)
    path.write_bytes(gzip.compress(written, mtime=0) if packed else written)
    return path


def _change(opened: Opened, raw: bytes, ending: str, change: _Without | _Relabelled) -> bytes:
    if ending == ".parquet":
        return _change_parquet(raw, change.change_table)
    text = decode(opened.path, raw)
    if ending in (".csv", ".tsv"):
        return change.change_lines(opened.path, text, opened.source.layout).encode()
    return _change_json(text, opened.num_rows, change).encode()


def _change_parquet(raw: bytes, change: Callable[[Any], Any]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(change(pq.ParquetFile(pa.BufferReader(raw)).read()), buffer)
    return buffer.getvalue()


def _change_json(text: str, num_rows: int, change: _Without | _Relabelled) -> str:
    try:
        whole = json.loads(text)
    except ValueError:  # one object per line
        return _change_json_lines([line for line in text.split("\n") if line.strip()], change)
    if isinstance(whole, list):
        return _dump(change.change_items(whole))
    values = list(whole.values())
    by_column = all(isinstance(value, dict) for value in values) and not all(
        map(str.isdigit, whole)
    )
    if by_column or all(isinstance(value, list) for value in values):
        return _dump({name: change.change_cells(name, cells) for name, cells in whole.items()})
    if len(whole) != num_rows:
        return _dump(whole)
    keys = change.change_items([{**value, _KEY: key} for key, value in whole.items()])
    return _dump({item.pop(_KEY): item for item in keys})


def _change_json_lines(lines: Sequence[str], change: _Without | _Relabelled) -> str:
    """Lines that change are written anew, all others stay as they are."""
    if isinstance(change, _Without):
        return "".join(f"{line}\n" for line in change.change_items(lines))
    items = change.change_items([json.loads(line) for line in lines])
    return "".join(
        f"{json.dumps(item, ensure_ascii=False) if row in change.labels else line}\n"
        for row, (line, item) in enumerate(zip(lines, items, strict=True))
    )


_KEY = "\0key"  # of a row, where a file names its rows; no column has this name


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1) + "\n"
