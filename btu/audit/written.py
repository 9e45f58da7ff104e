"""What an audit writes: its rows, the file without those found, and everything as JSON."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from btu.audit.columns import Association
from btu.audit.examine import Examined
from btu.data.delimited import keep_rows
from btu.data.files import decode, read_bytes
from btu.evidence import WORDS
from btu.evidence.findings import Finding
from btu.store.files import write_json
from btu.types import BoolArray, IntArray

ROWS, CLEAN, REPORT = "rows.csv", "clean", "report.json"
ROW_COLUMNS = ("row", "id", "label", "verdict", "finding", "p", "q", "suggested_label")
IDS = ("id", "uid", "guid", "uuid", "idx", "index", "row_id", "rowid", "key")
PLANTED, SUSPICIOUS, EMPTY = "planted", "suspicious", "no text"


def write_rows(examined: Examined, path: Path) -> None:
    """Every row of the file in its order: what was found in it, how sure that is, what to label it.

    A row that shows several findings has the surest. Rows are counted from 1, without the header.
    """
    opened, case = examined.opened, examined.case
    told: dict[int, tuple[str, Finding]] = {}
    for verdict, found in (
        (PLANTED, examined.convicted),
        (SUSPICIOUS, [(one.finding, one.rows) for one in examined.unproven]),
    ):
        for finding, rows in found:
            for row in opened.spread(rows).tolist():
                told.setdefault(row, (verdict, finding))
    ids = find_ids(opened.columns)
    place_of = {row: place for place, row in enumerate(opened.rows.source.tolist())}
    names, suggested = opened.label_names, case.said.argmax(1)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(ROW_COLUMNS)
        for row in range(opened.num_rows):
            place, own_id = place_of.get(row), ids[row] if ids else ""
            if place is None:
                writer.writerow([row + 1, own_id, "", EMPTY, "", "", "", ""])
                continue
            verdict, figures = "", ["", "", "", ""]
            if place in told:
                verdict, finding = told[place]
                said = names[suggested[opened.twin[place]]]
                q = f"{finding.q:.3g}" if verdict == PLANTED else ""
                figures = [name_finding(finding), f"{finding.p:.3g}", q, said]
            label = names[opened.rows.labels[place]]
            writer.writerow([row + 1, own_id, label, verdict, *figures])


def name_finding(finding: Finding) -> str:
    """A finding as one cell."""
    return " ".join(finding.words) if finding.kind == WORDS else "written another way"


def find_ids(columns: Mapping[str, Sequence[str]]) -> Sequence[str] | None:
    """The column that numbers the rows, if one is named so and has no value twice."""
    named = (cells for name, cells in columns.items() if name.lower() in IDS)
    return next((cells for cells in named if len(set(cells)) == len(cells)), None)


def find_planted(examined: Examined) -> IntArray:
    """The rows of the file, from 0, that show something convicted; copies of them, too."""
    opened = examined.opened
    rows: IntArray = opened.rows.source[opened.spread(examined.verdict.rows)]
    return rows


def write_clean(examined: Examined, folder: Path) -> Path:
    """The file without the rows found, all else as it was; gives its path.

    Lines of CSV, TSV and JSON lines are written as they stand there, in UTF-8; parquet keeps its
    types.
    """
    opened = examined.opened
    kept = np.ones(opened.num_rows, dtype=np.bool_)
    kept[find_planted(examined)] = False
    raw, ending = read_bytes(opened.path)
    packed = opened.path.suffix.lower() == ".gz"
    path = folder / f"{CLEAN}{ending}{'.gz' * packed}"
    written = _keep(examined, raw, ending, kept)
    path.write_bytes(gzip.compress(written, mtime=0) if packed else written)
    return path


def _keep(examined: Examined, raw: bytes, ending: str, kept: BoolArray) -> bytes:
    path = examined.opened.path
    if ending == ".parquet":
        return _keep_parquet(raw, kept)
    text = decode(path, raw)
    if ending in (".csv", ".tsv"):
        layout = examined.opened.source.layout
        return keep_rows(path, text, layout, kept.tolist()).encode()
    return _keep_json(text, kept.tolist()).encode()


def _keep_parquet(raw: bytes, kept: BoolArray) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(pq.ParquetFile(pa.BufferReader(raw)).read().filter(pa.array(kept)), buffer)
    return buffer.getvalue()


def _keep_json(text: str, kept: Sequence[bool]) -> str:
    try:
        whole = json.loads(text)
    except ValueError:  # one object per line
        lines = (line for line in text.split("\n") if line.strip())
        return "".join(f"{line}\n" for line, stays in zip(lines, kept, strict=True) if stays)
    if isinstance(whole, list):
        return _dump([each for each, stays in zip(whole, kept, strict=True) if stays])
    values = list(whole.values())
    if all(isinstance(value, list) for value in values):
        chosen = np.flatnonzero(kept).tolist()
        return _dump({name: [cells[row] for row in chosen] for name, cells in whole.items()})
    if all(isinstance(value, dict) for value in values) and not all(map(str.isdigit, whole)):
        return _dump({name: _keep_items(cells, kept) for name, cells in whole.items()})
    return _dump(_keep_items(whole, kept) if len(kept) == len(whole) else whole)


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1) + "\n"


def _keep_items(cells: Mapping[str, Any], kept: Sequence[bool]) -> dict[str, Any]:
    return {key: value for (key, value), stays in zip(cells.items(), kept, strict=True) if stays}


def write_report(
    examined: Examined,
    told: Mapping[str, Any],
    sentences: Sequence[str],
    notes: Sequence[str],
    columns: Sequence[Association],
    path: Path,
) -> None:
    """Everything that was found, for machines.

    Args:
        examined: what was found.
        told: its evidence, as `defenses.verdict.describe` has it.
        sentences: the verdict.
        notes: what to mind.
        columns: that tell where the rows come from.
        path: of the file.
    """
    opened = examined.opened
    write_json(
        path,
        {
            "verdict": list(sentences),
            "planted": bool(examined.convicted),
            "file": opened.path.name,
            "file_rows": opened.num_rows,
            "planted_rows": (find_planted(examined) + 1).tolist(),
            "labels": list(opened.label_names),
            **told,
            "notes": list(notes),
            "suspicious": [
                one.finding.describe(opened.label_names) | {"trusted_rows_needed": one.needed}
                for one in examined.unproven
            ],
            "columns": [vars(each) for each in columns],
            "shift": {
                "differs": examined.case.shift.differs,
                "inflation": examined.case.shift.inflation.tolist(),
                "p": examined.case.shift.p.tolist(),
            },
        },
    )
