"""Paraphrases that come with the data: a column of its files, or files beside them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

from btu.data.tables import LABEL_COLUMNS, read_table, read_texts
from btu.errors import DataError, listed
from btu.settings.ranges import Text
from btu.types import Dataset, Split

HOW_TO_NAME = (
    "=rules for the built-in rewriter, column:NAME for a column of the data files, file:PATH for "
    "parallel files, or model for a language model."
)
Source = Annotated[
    str,
    Text(
        "rules|model|(column|file):.+",
        what="rules, model, column:NAME or file:PATH",
        advice=f"Write {{key}}{HOW_TO_NAME}",
    ),
]
MAX_OTHER_LABELS = 0.05  # of a parallel file's rows; more mean that it has another order


def read_twins(setting: str, source: str, role: str, dataset: Dataset) -> tuple[str, ...]:
    """The paraphrase of each row of train or test, as `column:NAME` or `file:PATH` has it.

    PATH is a folder whose files are named like the data set's, row for row, or one file that
    holds the twins of the training rows followed by those of the test rows, or of these alone where
    only they are asked for.

    Args:
        setting: that names the source, for errors.
        source: its value.
        role: train or test.
        dataset: whose rows have twins.

    Raises:
        DataError: there is no such column, or a parallel file is missing or of another length.
    """
    kind, _, value = source.partition(":")
    split: Split = getattr(dataset, role)
    if kind == "file":
        rows = _parallel_rows(setting, Path(value).expanduser(), role, dataset)
        return tuple(rows[row] for row in split.source)
    if value not in split.columns:
        known = listed(split.columns) or "none besides text and label"
        raise DataError(
            f"{setting}: dataset.{role} has no column {value!r} with paraphrases "
            f"(text columns: {known}). Write {setting}{HOW_TO_NAME}"
        )
    return split.columns[value]


def _parallel_rows(setting: str, path: Path, role: str, dataset: Dataset) -> list[str]:
    split: Split = getattr(dataset, role)
    if not path.is_dir():
        return _rows_of_one_file(setting, path, role, dataset)
    if not split.path:
        raise DataError(
            f"{setting}: data set {dataset.name} does not come from files whose names could be "
            f"looked for in {path}. Give one file with the twins of the training rows followed by "
            "those of the test rows."
        )
    file = path / Path(split.path).name
    rows = read_texts(file)
    if len(rows) != split.num_rows_in_file:
        raise DataError(
            f"{setting}: the parallel file of dataset.{role} has {len(rows)} rows, but "
            f"{split.path} has {split.num_rows_in_file}. Give one row per row, in the same order."
        )
    _check_order(setting, file, split)
    return rows


def _rows_of_one_file(setting: str, path: Path, role: str, dataset: Dataset) -> list[str]:
    rows = read_texts(path)
    num_train, num_test = dataset.train.num_rows_in_file, dataset.test.num_rows_in_file
    if role == "test" and len(rows) == num_test:
        return rows
    if len(rows) != num_train + num_test:
        raise DataError(
            f"{setting}: {path} has {len(rows)} rows, but train and test have {num_train} + "
            f"{num_test} = {num_train + num_test}. Give one row per training row and then per "
            "test row, or a folder with files named like the data set's."
        )
    return rows[:num_train] if role == "train" else rows[num_train:]


def _check_order(setting: str, path: Path, split: Split) -> None:
    """Raise if the file has labels, too, and they are those of rows in another order."""
    columns = read_table(path).columns
    name = next((column for column in columns if column.lower() in LABEL_COLUMNS), None)
    if name is None:
        return
    raw = [columns[name][row].strip() for row in split.source]
    pairs = Counter(zip(raw, split.labels.tolist(), strict=True))
    most = {value: max(n for (v, _), n in pairs.items() if v == value) for value in set(raw)}
    num_other = len(raw) - sum(most.values())
    if num_other > MAX_OTHER_LABELS * len(raw):
        raise DataError(
            f"{setting}: {num_other} of {len(raw)} labels in {path} are not those of {split.path}, "
            "row by row. Give its rows in the same order."
        )
