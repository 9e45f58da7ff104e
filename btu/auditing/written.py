"""What an audit writes of its own: each row with what was found in it, and everything as JSON."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from btu.auditing.columns import Association
from btu.auditing.examined import Examined
from btu.evidence import WORDS
from btu.evidence.findings import Finding
from btu.types import IntArray

ROWS, REPORT = "rows.csv", "report.json"
ROW_COLUMNS = ("row", "id", "label", "verdict", "finding", "p", "q", "suggested_label")
IDS = ("id", "uid", "guid", "uuid", "idx", "index", "row_id", "rowid", "key")
PLANTED, SUSPICIOUS, EMPTY = "planted", "suspicious", "no text"


def write_rows(examined: Examined, path: Path) -> None:
    """Every row of the file in its order: what was found in it, how sure that is, what to label it.

    A row that shows several findings has the surest. Rows are counted from 1, without the header.
    """
    opened = examined.opened
    told: dict[int, tuple[str, Finding]] = {}
    for verdict, found in (
        (PLANTED, examined.convicted),
        (SUSPICIOUS, [(one.finding, one.rows) for one in examined.unproven]),
    ):
        for finding, rows in found:
            for row in opened.spread(rows).tolist():
                told.setdefault(row, (verdict, finding))
    unread = {row: one for one in examined.unread for row in opened.spread(one.rows).tolist()}
    ids = find_ids(opened.columns)
    place_of = {row: place for place, row in enumerate(opened.rows.source.tolist())}
    names, suggested = opened.label_names, examined.suggested
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
            elif place in unread:
                verdict, said = SUSPICIOUS, names[suggested[opened.twin[place]]]
                figures = [unread[place].what, f"{unread[place].p:.3g}", "", said]
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


def suggest_labels(examined: Examined, planted: IntArray) -> dict[int, str]:
    """For rows of the file, from 0, the labels that a model without what was planted gives them.

    As the file spells them.
    """
    opened = examined.opened
    place_of = {row: place for place, row in enumerate(opened.rows.source.tolist())}
    spelled: dict[int, str] = {}
    for place, row in enumerate(opened.rows.source.tolist()):
        spelled.setdefault(int(opened.rows.labels[place]), opened.labels[row])
    twins = (opened.twin[place_of[row]] for row in planted.tolist())
    said = (int(examined.suggested[twin]) for twin in twins)
    return dict(zip(planted.tolist(), (spelled[label] for label in said), strict=True))


def _count_from_one(evidence: Mapping[str, Any]) -> dict[str, Any]:
    """The verdict with the numbers of its example rows as rows.csv has them."""

    def count(finding: Mapping[str, Any]) -> dict[str, Any]:
        examples = [each | {"row": each["row"] + 1} for each in finding["examples"]]
        return {**finding, "examples": examples}

    lists = {name: [*map(count, evidence[name])] for name in ("findings", "acquitted")}
    return {**evidence, **lists}


def make_report(
    examined: Examined,
    sentences: Sequence[str],
    suspicions: Sequence[str],
    notes: Sequence[str],
    columns: Sequence[Association],
) -> dict[str, Any]:
    """Everything that was found, for machines.

    Args:
        examined: what was found.
        sentences: the verdict.
        suspicions: a sentence for each, in the order of `examined.unproven`.
        notes: what to mind.
        columns: that tell where the rows come from.
    """
    opened, shift = examined.opened, examined.shift
    return {
        "verdict": list(sentences),
        "planted": bool(examined.convicted),
        "file": opened.path.name,
        "file_rows": opened.num_rows,
        "planted_rows": (find_planted(examined) + 1).tolist(),
        "labels": list(opened.label_names),
        **_count_from_one(examined.evidence),
        "limits": list(examined.limits),
        "notes": list(notes),
        "suspicious": [
            one.finding.describe(opened.label_names)
            | {"trusted_rows_needed": one.needed, "sentence": sentence}
            for one, sentence in zip(examined.unproven, suspicions, strict=True)
        ],
        "unread": [
            {
                "what": one.what,
                "label": opened.label_names[one.label],
                "rows": len(one.rows),
                "trusted": one.trusted,
                "p": one.p,
            }
            for one in examined.unread
        ],
        "columns": [vars(each) for each in columns],
        "drift": [vars(each) for each in examined.drift],
        "shift": None
        if shift is None
        else {
            "differs": shift.differs,
            "inflation": shift.inflation.tolist(),
            "p": shift.p.tolist(),
        },
    }
