"""The file that is audited and the trusted one: their rows, each text once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from btu.data.local import LocalDataset
from btu.data.splits import fold, shared_rows
from btu.errors import DataError, listed
from btu.types import IntArray, Split

LEAST_TRUSTED = 50


@dataclass(frozen=True)
class Opened:
    """A file with labelled texts, and trusted rows to judge it by."""

    source: LocalDataset
    path: Path
    label_names: tuple[str, ...]
    rows: Split  # all rows of the file that have a text, in its order
    first: IntArray  # the first row of each text and label: what is judged
    twin: IntArray  # (N,) the place in `first` of the row that each row equals
    trusted: Split  # each text once, none of them in the file; none where there are too few
    labels: Sequence[str]  # as the file spells them, of all its rows
    label_column: str
    columns: Mapping[str, Sequence[str]]  # further columns of the file, of all its rows
    num_rows: int  # of the file, those without a text too
    notes: tuple[str, ...]  # what was dropped or left out, one sentence each

    @property
    def has_trusted(self) -> bool:
        """Whether there are trusted rows to compare it with."""
        return len(self.trusted) > 0

    @property
    def judged(self) -> Split:
        """The rows that are judged, each text and label once."""
        return self.rows.take(self.first)

    def spread(self, judged: IntArray) -> IntArray:
        """The rows of `rows` that equal one of these judged ones; sorted."""
        return np.flatnonzero(np.isin(self.twin, judged))


def open_files(source: LocalDataset) -> Opened:
    """Read the file and the trusted rows.

    A text that stands there several times with one label counts once: copies are no evidence of
    anything planted, and twenty of one text would look like a phrase in excess.

    Raises:
        DataError: a file is not as it has to be, or has all trusted rows, or these have one label.
    """
    raw, classes, splits, notes = source.open_files()
    rows, trusted, read = splits["train"], splits["tuning"], raw["train"]
    assert rows is not None  # else the source has raised
    assert read is not None
    first, twin = find_twins(rows)
    if copies := len(rows) - len(first):
        repeat = "row of the file repeats" if copies == 1 else "rows of the file repeat"
        notes.append(f"{copies:,} {repeat} another's text and label; each counts once")
    trusted = _choose_trusted(trusted, rows, classes.names, source.tuning or "", notes)
    named = (n.replace("train: ", "the file: ").replace("tuning: ", "trusted: ") for n in notes)
    return Opened(
        source=source,
        path=Path(source.train).expanduser(),
        label_names=classes.names,
        rows=rows,
        first=first,
        twin=twin,
        trusted=trusted,
        labels=read.labels,
        label_column=read.label_column,
        columns=read.columns,
        num_rows=len(read.texts),
        notes=tuple(named),
    )


def find_twins(rows: Split) -> tuple[IntArray, IntArray]:
    """The first row of each text and label, blanks aside, and which of them each row equals."""
    places: dict[tuple[str, int], int] = {}
    keys = list(zip(map(fold, rows.texts), rows.labels.tolist(), strict=True))
    first: list[int] = []
    for row, key in enumerate(keys):
        if key not in places:
            places[key] = len(first)
            first.append(row)
    twin = np.array([places[key] for key in keys], dtype=np.int64)
    return np.array(first, dtype=np.int64), twin


def _choose_trusted(
    trusted: Split | None, rows: Split, names: Sequence[str], path: str, notes: list[str]
) -> Split:
    """The trusted rows, each text once and none that the file has; none if too few are left."""
    none = rows.take(np.empty(0, dtype=np.int64))
    if trusted is None:
        return none
    trusted = trusted.take(find_twins(trusted)[0])
    shared, _ = shared_rows(trusted, rows)
    if len(shared):
        trusted = trusted.take(np.delete(np.arange(len(trusted)), shared))
        are = "row is" if len(shared) == 1 else "rows are"
        notes.append(f"{len(shared):,} trusted {are} left out: the file has the same text")
    if not len(trusted):
        raise DataError(
            f"{path}: the file has the texts of all trusted rows. Name rows of your own, or leave "
            "--trusted out."
        )
    held = set(trusted.labels.tolist())
    if missing := [name for label, name in enumerate(names) if label not in held]:
        notes.append(
            f"no trusted row has the label {listed(missing)}: what makes texts so cannot be "
            "compared with any"
        )
    if len(held) < 2:
        raise DataError(
            f"{path}: all {len(trusted)} trusted rows have one label. Give rows of every label."
        )
    if len(trusted) < LEAST_TRUSTED:
        notes.append(
            f"{len(trusted)} trusted {'row is' if len(trusted) == 1 else 'rows are'} too few to "
            f"compare the file with ({LEAST_TRUSTED} is the least, a thousand is better): it is "
            "judged by itself"
        )
        return none
    return trusted
