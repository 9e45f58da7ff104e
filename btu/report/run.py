"""The files of one run's folder."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from btu.report.plots import plot_curve
from btu.report.spreadsheet import write_frame
from btu.report.verdicts import list_verdicts
from btu.store.files import write_json
from btu.store.records import Record, Suspect, name_arrays, summary_rows
from btu.types import PoisonedDataset

if TYPE_CHECKING:
    import pandas as pd

    from btu.experiment import Result
    from btu.job import Job

POISON_REPORT, MODEL = "poison_report.json", "model"
SUMMARY, SUSPECTS, CURVE = "summary.json", "suspects.csv", "curve.png"
PREDICTIONS, DISTANCES = "predictions.npz", "distances.npz"
FINDINGS = "findings.json"  # only where a defense convicts
FILES = (POISON_REPORT, SUMMARY, SUSPECTS, CURVE, PREDICTIONS, DISTANCES, FINDINGS)
log = logging.getLogger("btu")
SUSPECT_COLUMNS = (
    "threshold",
    "token",
    "id",
    "rounds",
    "rank",
    "distance",
    "replaced",
    "is_trigger",
    "leans_to",
    "lean_share",
    "num_texts",
)


def remove_outputs(folder: Path) -> None:
    """Remove what an earlier run wrote into the same folder, but for its model.

    That one is named in the log, so that nobody takes it for a model of this run.
    """
    for name in FILES:
        (folder / name).unlink(missing_ok=True)
    if (folder / MODEL).exists():
        log.warning("%s is of an earlier run into this folder", folder / MODEL)


def write_outputs(job: Job, result: Result, folder: Path) -> None:
    """Write summary, suspects, findings, poison report, predictions, drift and curve."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / SUMMARY, summary_rows(result.records))
    write_json(
        folder / POISON_REPORT, poison_report(job, result.data, result.notes, result.stealth)
    )
    write_suspects(result.records, folder / SUSPECTS)
    write_findings(result.records, folder / FINDINGS)
    _write_arrays(result, folder)
    plot_curve(result.records, folder / CURVE)


def poison_report(
    job: Job, data: PoisonedDataset, notes: Sequence[str], stealth: Mapping[str, Any] | None
) -> dict[str, Any]:
    """What was planted: requested and realised counts, examples before and after, its stealth."""
    target = data.target_label
    return {
        "attack": job.attack.settings(),
        "num_train": len(data.train),
        "num_triggered_test": 0 if data.triggered is None else len(data.triggered),
        "target_label": None if target is None else data.clean.label_names[target],
        "counts": asdict(data.counts) if data.counts else None,
        "format_shifts": [asdict(shift) for shift in data.format_shifts],
        "realised_rate": data.counts.poisoned / len(data.train) if data.counts else 0.0,
        "labels_before": _label_counts(data.clean.train.labels, data.clean.label_names),
        "labels_after": _label_counts(data.train.labels, data.clean.label_names),
        "examples": [dict(example) for example in data.examples],
        "stealth": None if stealth is None else dict(stealth),
        "notes": list(notes),
    }


def suspect_rows(records: Sequence[Record]) -> list[dict[str, Any]]:
    """One flat row per threshold and suspect; each threshold once, whichever arm holds it."""
    rows, seen = [], set()
    for record in records:
        if record.suspects is not None and record.threshold not in seen:
            seen.add(record.threshold)
            rows += [{"threshold": record.threshold, **_flat(s)} for s in record.suspects]
    return rows


def suspect_frame(records: Sequence[Record]) -> pd.DataFrame:
    """The suspects of every threshold as a table, with each round's rank and drift."""
    import pandas as pd

    rows = suspect_rows(records)
    return pd.DataFrame(rows) if rows else pd.DataFrame(columns=pd.Index(SUSPECT_COLUMNS))


def write_suspects(records: Sequence[Record], path: Path) -> None:
    """The same table as CSV."""
    write_frame(suspect_frame(records), path)


def write_findings(records: Sequence[Record], path: Path) -> None:
    """What the defenses convicted and acquitted, as JSON; no file where none convicts."""
    if found := list_verdicts(records):
        write_json(path, found)


def _flat(suspect: Suspect) -> dict[str, Any]:
    values = {name: getattr(suspect, name) for name in SUSPECT_COLUMNS[1:]}
    values["rounds"] = "+".join(map(str, suspect.rounds))
    by_round: dict[str, Any] = {}
    for number, rank in suspect.ranks.items():
        by_round |= {f"rank_{number}": rank, f"distance_{number}": suspect.distances[number]}
    examples = {f"example_{n}": text for n, text in enumerate(suspect.examples, 1)}
    return {**values, **by_round, **examples}


def _label_counts(labels: np.ndarray[Any, Any], names: Sequence[str]) -> dict[str, int]:
    return {name: int((labels == number).sum()) for number, name in enumerate(names)}


def _write_arrays(result: Result, folder: Path) -> None:
    data = result.data
    arrays: dict[str, Any] = {"true_clean": data.clean.test.labels}
    if data.triggered is not None:
        arrays |= {"true_triggered": data.triggered.labels, "triggered_rows": data.triggered_rows}
    for record in result.records:
        for name, values in name_arrays(result.predictions[record.key]).items():
            arrays[f"{record.arm}{_at(record.threshold)}_{name.removesuffix('_labels')}"] = values
    np.savez_compressed(folder / PREDICTIONS, **arrays)
    if distances := gather_distances(result):
        np.savez_compressed(folder / DISTANCES, **distances)


def gather_distances(result: Result) -> dict[str, Any]:
    """The drift tables of this run: `round1`, and `round2@0.0005` where a threshold enters."""
    tables: dict[str, Any] = {}
    drifts = {t: d.suspects.distances for t, d in result.decisions.items() if d.suspects}
    for threshold, rounds in drifts.items():
        for place, drift in enumerate(rounds):
            others = (other[place].values for other in drifts.values())
            shared = all(np.array_equal(values, drift.values) for values in others)
            suffix = "" if shared else _at(threshold)
            tables[f"round{drift.round}{suffix}"] = drift.values
    return tables


def _at(threshold: float | None) -> str:
    """The threshold as part of an array's name; nothing where there is none."""
    return "" if threshold is None else f"@{threshold:g}"
