"""Paraphrases that come with the data: a column of its files, or files beside them."""

from __future__ import annotations

from pathlib import Path

from btu.data.tables import read_texts
from btu.errors import ConfigError, DataError
from btu.types import Dataset, Split

TWINS = "btu:twins"  # column that an attack adds: each text's paraphrase, empty where there is none
GENERIC = "btu:generic"  # likewise: "yes" where the paraphrase has a clause of stock words
HOW_TO_NAME = (
    "Write attack.paraphrases=rules for the built-in rewriter, column:NAME for a column of the "
    "data files, file:PATH for parallel files, or model for a language model."
)


def check_source(setting: str, source: str) -> None:
    """Raise if this names no source of paraphrases."""
    kind, _, value = source.partition(":")
    if source in ("rules", "model") or (kind in ("column", "file") and value):
        return
    raise ConfigError(
        f"{setting} must be rules, model, column:NAME or file:PATH, got {source!r}. {HOW_TO_NAME}"
    )


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
        known = ", ".join(split.columns) or "none besides text and label"
        raise DataError(
            f"{setting}: dataset.{role} has no column {value!r} with paraphrases "
            f"(text columns: {known}). {HOW_TO_NAME}"
        )
    return split.columns[value]


def _parallel_rows(setting: str, path: Path, role: str, dataset: Dataset) -> list[str]:
    split: Split = getattr(dataset, role)
    if path.is_dir():
        if not split.path:
            raise DataError(
                f"{setting}: data set {dataset.name} comes from no files whose names "
                f"could be looked for in {path}. Give one file with the twins of the training rows "
                "followed by those of the test rows."
            )
        rows = read_texts(path / Path(split.path).name)
        if len(rows) != split.num_rows_in_file:
            raise DataError(
                f"{setting}: the parallel file of dataset.{role} has {len(rows)} rows, "
                f"but {split.path} has {split.num_rows_in_file}. Give one row per row, in the same "
                "order."
            )
        return rows
    rows = read_texts(path)
    num_train, num_test = dataset.train.num_rows_in_file, dataset.test.num_rows_in_file
    if role == "test" and len(rows) == num_test:
        return rows
    if len(rows) != num_train + num_test:
        raise DataError(
            f"{setting}: {path} has {len(rows)} rows, but train and test have {num_train} "
            f"+ {num_test} = {num_train + num_test}. Give one row per training row and then per "
            "test row, or a folder with files named like the data set's."
        )
    return rows[:num_train] if role == "train" else rows[num_train:]
