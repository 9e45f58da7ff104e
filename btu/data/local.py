"""Your own files: TSV, CSV, JSON or parquet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from btu.data.base import DatasetSource, RawSplit
from btu.data.delimited import Layout
from btu.data.tables import LABEL_COLUMNS, TEXT_COLUMNS, find_column, read_table


@dataclass(frozen=True)
class TableSource(DatasetSource):
    """A data set of files. Columns are guessed in each file where they are not named."""

    text_column: str | None
    label_column: str | None
    delimiter: str | None
    quoting: str | None

    def __post_init__(self) -> None:
        self._layout()  # raises where it is none

    def _layout(self) -> Layout:
        return Layout(self.delimiter, self.quoting)

    def from_file(self, path: Path) -> RawSplit:
        """The texts, labels and further columns of a file."""
        table = read_table(path, self._layout())
        text = find_column(table, self.text_column, TEXT_COLUMNS, "text_column")
        label = find_column(table, self.label_column, LABEL_COLUMNS, "label_column")
        others = {name: cells for name, cells in table.columns.items() if name not in (text, label)}
        return RawSplit(
            texts=table.columns[text],
            labels=table.columns[label],
            columns=others,
            path=str(path),
            taken=f"{text}, {label}",
            notes=table.notes,
        )


@dataclass(frozen=True)
class LocalDataset(TableSource):
    """Files named one by one."""

    train: str
    tuning: str | None
    test: str | None

    def read(self) -> Mapping[str, RawSplit | None]:
        """The named files; None where there is none."""
        paths = {"train": self.train, "tuning": self.tuning, "test": self.test}
        return {
            role: self.from_file(Path(path).expanduser()) if path else None
            for role, path in paths.items()
        }
