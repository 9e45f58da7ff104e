"""Your own files: TSV, CSV, JSON or parquet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from btu.data.base import DatasetSource, RawSplit
from btu.data.delimited import DELIMITERS, QUOTING, Layout
from btu.data.tables import LABEL_COLUMNS, TEXT_COLUMNS, find_column, read_table
from btu.settings.ranges import Choice, Place, Word


@dataclass(frozen=True)
class TableSource(DatasetSource):
    """A data set of files. Columns are guessed in each file that has none of the names given."""

    text_column: Word | None
    label_column: Word | None
    delimiter: Annotated[str, Choice(tuple(DELIMITERS))] | None
    quoting: Annotated[str, Choice(QUOTING)] | None

    @property
    def layout(self) -> Layout:
        """How its files are laid out, as far as the settings say it."""
        return Layout(self.delimiter, self.quoting)

    def from_file(self, path: Path, must_have: bool = True) -> RawSplit:
        """The texts, labels and further columns of a file.

        Args:
            path: the file.
            must_have: whether it must have the named columns; else it may have others.
        """
        table = read_table(path, self.layout)

        def find(wanted: str | None, usual: Sequence[str], setting: str) -> str:
            known = wanted is not None and wanted.strip() in (*table.columns, *table.nested)
            return find_column(table, wanted if known or must_have else None, usual, setting)

        text = find(self.text_column, TEXT_COLUMNS, "text_column")
        label = find(self.label_column, LABEL_COLUMNS, "label_column")
        others = {name: cells for name, cells in table.columns.items() if name not in (text, label)}
        return RawSplit(
            texts=table.columns[text],
            labels=table.columns[label],
            columns=others,
            path=str(path),
            taken=f"{text}, {label}",
            label_column=label,
            notes=table.notes,
        )


@dataclass(frozen=True)
class LocalDataset(TableSource):
    """Files named one by one."""

    train: Place
    tuning: Place | None
    test: Place | None

    def read(self) -> Mapping[str, RawSplit | None]:
        """The named files; None where there is none."""
        paths = {"train": self.train, "tuning": self.tuning, "test": self.test}
        return {
            role: self.from_file(Path(path).expanduser(), role == "train") if path else None
            for role, path in paths.items()
        }
