"""Your own files: TSV, CSV, JSON lines or parquet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from btu.data.base import DatasetSource, RawSplit
from btu.data.tables import LABEL_COLUMNS, TEXT_COLUMNS, find_column, read_table
from btu.settings.ranges import Place, Word


@dataclass(frozen=True)
class LocalDataset(DatasetSource):
    """Files named one by one. Columns are guessed where they are not named."""

    train: Place
    tuning: Place | None
    test: Place | None
    text_column: Word | None
    label_column: Word | None

    def read(self) -> Mapping[str, RawSplit | None]:
        """The named files; None where there is none."""
        paths = {"train": self.train, "tuning": self.tuning, "test": self.test}
        return {role: self._file(path) if path else None for role, path in paths.items()}

    def _file(self, name: str) -> RawSplit:
        path = Path(name).expanduser()
        frame = read_table(path)
        text = find_column(frame, self.text_column, TEXT_COLUMNS, path, "text_column")
        label = find_column(frame, self.label_column, LABEL_COLUMNS, path, "label_column")
        others = [column for column in frame.columns if column not in (text, label)]
        columns = {column: list(frame[column]) for column in others}
        return RawSplit(list(frame[text]), list(frame[label]), columns, str(path))
