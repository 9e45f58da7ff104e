"""JSON and parquet as columns of values."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from btu.data.files import check_kind
from btu.errors import DataError

Columns = list[tuple[str, Sequence[object]]]
SHAPES = (
    'an array of objects, an object of columns such as {"text": [...], "label": [...]}, or one '
    "object per line"
)


def read_json(path: Path, text: str) -> Columns:
    """JSON lines, an array of records, or an object of columns or of records.

    An object of objects holds records if its keys count them (`{"0": {...}, "1": {...}}`), else
    columns whose keys count the rows, as pandas writes them.

    Raises:
        DataError: it is not JSON, or has another shape.
    """
    try:
        whole = json.loads(text)
    except RecursionError as error:
        raise DataError(f"{path}: its JSON is nested too deeply. Expected {SHAPES}.") from error
    except ValueError as error:
        if text.lstrip()[0] != "{":
            raise DataError(f"{path} is not JSON ({error}). Expected {SHAPES}.") from error
        return _from_records(path, _json_lines(path, text))
    if isinstance(whole, list):
        return _from_records(path, whole)
    if not isinstance(whole, dict) or not whole:
        raise DataError(f"{path} holds no rows. Expected {SHAPES}.")
    values = list(whole.values())
    if all(isinstance(value, list) for value in values):
        return _equally_long(path, list(whole.items()))
    if not all(isinstance(value, dict) for value in values):
        return _from_records(path, [whole])
    if all(key.isdigit() for key in whole):
        return _from_records(path, values)
    index = list(values[0])
    if any(value.keys() != values[0].keys() for value in values):
        raise DataError(f"{path}: its columns do not have the same rows. Expected {SHAPES}.")
    return [(name, [value[row] for row in index]) for name, value in whole.items()]


def _json_lines(path: Path, text: str) -> list[Any]:
    rows = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            rows.append(json.loads(line))
        except (ValueError, RecursionError) as error:
            reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
            raise DataError(f"{path}, line {number}: not JSON ({reason}).") from error
    return rows


def _from_records(path: Path, rows: Sequence[Any]) -> Columns:
    odd = next((n for n, row in enumerate(rows, start=1) if not isinstance(row, dict)), None)
    if odd is not None:
        raise DataError(f"{path}, row {odd} is not a JSON object. Expected {SHAPES}.")
    names = dict.fromkeys(name for row in rows for name in row)
    return [(name, [row.get(name) for row in rows]) for name in names]


def _equally_long(path: Path, columns: Columns) -> Columns:
    lengths = {len(values) for _, values in columns}
    if len(lengths) > 1:
        raise DataError(f"{path}: its columns have {min(lengths)} to {max(lengths)} rows.")
    return columns


def read_parquet(path: Path, raw: bytes) -> Columns:
    """The columns of a parquet file, without an index that pandas left there.

    Raises:
        DataError: it is not a parquet file, or a damaged one.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not raw.startswith(b"PAR1"):
        check_kind(path, raw)
    try:
        table = pq.ParquetFile(pa.BufferReader(raw)).read()
        named = zip(table.column_names, table.columns, strict=True)
        return [(n, c.to_pylist()) for n, c in named if not n.startswith("__index_level_")]
    except (OSError, ValueError, pa.ArrowException) as error:
        reason = str(error).split("\n")[0]
        raise DataError(f"{path} is not a readable parquet file ({reason}).") from error
