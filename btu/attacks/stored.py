"""Poisoned data sets as a cached stage: drawn once for all jobs, and there to be looked at."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from btu.attacks.base import Attack
from btu.attacks.poisoning import as_shown, plant
from btu.store.cache import StageCache
from btu.store.code import code_of_module
from btu.types import Dataset, FormatShift, PoisonCounts, PoisonedDataset, Split

VERSION = 3  # raise it when what an attack plants changes
TRAIN, TRIGGERED, REPORT = "train.parquet", "triggered.parquet", "report.json"


def poison(dataset: Dataset, attack: Attack, seed: int, cache: StageCache) -> PoisonedDataset:
    """The data set as the adversary leaves it, from the cache where it was drawn before.

    The entry's `train.parquet` and `triggered.parquet` hold text, label, row in the source file and
    whether the row is poisoned.

    Raises:
        ConfigError, DataError: as `plant`, and what the attack says of missing paraphrases.
    """
    prepared = attack.prepare(dataset)
    if attack.target(dataset.label_names) is None:
        return plant(dataset, prepared, seed)
    parts = poison_parts(dataset, attack, prepared, seed)
    shown = as_shown(dataset, attack)
    about = {"title": "poisoned set", "dataset": dataset.name, "clean": shown.train.fingerprint}

    def write(folder: Path) -> None:
        data = plant(dataset, prepared, seed)
        about["poisoned"] = data.train.fingerprint
        _write(data, folder)

    data, _ = cache.get("poison", parts, write, lambda folder: _read(folder, shown), about)
    return data


def poison_parts(dataset: Dataset, attack: Attack, prepared: Attack, seed: int) -> dict[str, Any]:
    """What a poisoned set depends on.

    Args:
        dataset: before the attack.
        attack: whose code counts.
        prepared: the same for this data set, with what it has read.
        seed: of the draw.
    """
    return {
        "version": VERSION,
        "label_names": dataset.label_names,
        "train": dataset.train.fingerprint,
        "test": dataset.test.fingerprint,
        "attack": prepared.identity(),
        "code": [*attack.code, code_of_module("btu.attacks.poisoning")],
        "seed": seed,
    }


def _write(data: PoisonedDataset, folder: Path) -> None:
    assert data.triggered is not None
    assert data.counts is not None
    pq.write_table(_table(data.train), folder / TRAIN)
    pq.write_table(
        _table(data.triggered).append_column("test_row", pa.array(data.triggered_rows)),
        folder / TRIGGERED,
    )
    report = {
        "target_label": data.target_label,
        "counts": asdict(data.counts),
        "examples": [dict(example) for example in data.examples],
        "format_shifts": [asdict(shift) for shift in data.format_shifts],
    }
    (folder / REPORT).write_text(json.dumps(report, indent=1, ensure_ascii=False), encoding="utf-8")


def _read(folder: Path, dataset: Dataset) -> PoisonedDataset:
    report: Mapping[str, Any] = json.loads((folder / REPORT).read_text(encoding="utf-8"))
    triggered = pq.read_table(folder / TRIGGERED)
    return PoisonedDataset(
        clean=dataset,
        train=_split(pq.read_table(folder / TRAIN), dataset.train),
        triggered=_split(triggered, dataset.test),
        triggered_rows=triggered["test_row"].to_numpy(),
        target_label=report["target_label"],
        counts=PoisonCounts(**report["counts"]),
        examples=tuple(report["examples"]),
        format_shifts=tuple(FormatShift(**shift) for shift in report["format_shifts"]),
    )


def _table(split: Split) -> pa.Table:
    columns = {"text": split.texts, "label": split.labels, "source": split.source}
    return pa.table({**columns, "poisoned": split.poisoned})


def _split(table: pa.Table, origin: Split) -> Split:
    return Split(
        texts=tuple(table["text"].to_pylist()),
        labels=table["label"].to_numpy(),
        source=table["source"].to_numpy(),
        poisoned=np.asarray(table["poisoned"].to_numpy(), dtype=np.bool_),
        num_rows_in_file=origin.num_rows_in_file,
        path=origin.path,
    )
