"""Style and syntax: the text is rewritten, and how it is written is the trigger."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from btu.attacks.base import Attack
from btu.errors import ConfigError, DataError
from btu.types import BoolArray, Dataset, IntArray, Split

HOW_TO_NAME = (
    "Write attack.paraphrases=column:NAME for a column of the data files, or "
    "attack.paraphrases=file:PATH for parallel files."
)


@dataclass(frozen=True)
class Paraphrase(Attack):
    """Replace a text by its paired paraphrase.

    `paraphrases` is `column:NAME` (a column of the data set's own files) or `file:PATH`. PATH is
    a folder whose files are named like the data set's, row for row, or one file that holds the
    twins of the training rows followed by those of the test rows.

    Sources: style, Qi et al. 2021 (arXiv 2110.07139); syntax, Qi et al. 2021 (arXiv 2105.12400).
    """

    paraphrases: str

    def __post_init__(self) -> None:
        super().__post_init__()
        kind, _, value = self.paraphrases.partition(":")
        if kind not in ("column", "file") or not value:
            raise ConfigError(
                f"attack.paraphrases must be column:NAME or file:PATH, got {self.paraphrases!r}. "
                f"{HOW_TO_NAME}"
            )

    def prepare(self, dataset: Dataset) -> Dataset:
        """The data set with a twin for each row of train and test.

        Raises:
            DataError: there is no such column, or a parallel file is missing or of another length.
        """
        kind, _, value = self.paraphrases.partition(":")
        if kind == "file":
            train, test = _parallel_rows(Path(value), dataset)
            return _with_column(dataset, self.column(), train, test)
        for role, split in (("train", dataset.train), ("test", dataset.test)):
            if value not in split.columns:
                known = ", ".join(split.columns) or "none besides text and label"
                raise DataError(
                    f"attack {self.name}: dataset.{role} has no column {value!r} with paraphrases "
                    f"(text columns: {known}). {HOW_TO_NAME}"
                )
        return dataset

    def usable_rows(self, split: Split) -> BoolArray:
        """Rows whose paraphrase is not empty."""
        return np.asarray([bool(twin.strip()) for twin in self._twins(split)], dtype=np.bool_)

    def trigger_rows(self, split: Split, rows: IntArray, rng: np.random.Generator) -> list[str]:
        """The paraphrases of the named rows."""
        twins = self._twins(split)
        return [twins[row] for row in rows]

    def column(self) -> str:
        """The column of the paraphrases; those of parallel files get one named like the setting."""
        kind, _, value = self.paraphrases.partition(":")
        return value if kind == "column" else self.paraphrases

    def _twins(self, split: Split) -> tuple[str, ...]:
        return split.columns[self.column()]


def _parallel_rows(path: Path, dataset: Dataset) -> tuple[list[str], list[str]]:
    from btu.data.tables import read_texts

    if path.is_dir():
        return (
            _same_length(read_texts(path / Path(dataset.train.path).name), dataset.train, "train"),
            _same_length(read_texts(path / Path(dataset.test.path).name), dataset.test, "test"),
        )
    rows = read_texts(path)
    num_train, num_test = dataset.train.num_rows_in_file, dataset.test.num_rows_in_file
    if len(rows) != num_train + num_test:
        raise DataError(
            f"attack.paraphrases: {path} has {len(rows)} rows, but train and test have {num_train} "
            f"+ {num_test} = {num_train + num_test}. Give one row per training row and then per "
            "test row, or a folder with files named like the data set's."
        )
    return rows[:num_train], rows[num_train:]


def _same_length(rows: list[str], split: Split, role: str) -> list[str]:
    if len(rows) != split.num_rows_in_file:
        raise DataError(
            f"attack.paraphrases: the parallel file of dataset.{role} has {len(rows)} rows, but "
            f"{split.path} has {split.num_rows_in_file}. Give one row per row, in the same order."
        )
    return rows


def _with_column(dataset: Dataset, name: str, train: list[str], test: list[str]) -> Dataset:
    def add(split: Split, rows: list[str]) -> Split:
        twins = tuple(rows[row] for row in split.source)
        return replace(split, columns={**split.columns, name: twins})

    return replace(dataset, train=add(dataset.train, train), test=add(dataset.test, test))
