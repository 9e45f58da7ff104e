"""Data folders as the OpenBackdoor toolkit lays them out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from btu.data.base import DatasetSource, RawSplit
from btu.data.tables import LABEL_COLUMNS, TEXT_COLUMNS, find_column, read_table
from btu.errors import DataError
from btu.settings.ranges import Place

NEWS_HEADER = ["label", "headline", "body"]
STEMS = {"train": ("train",), "tuning": ("dev", "valid", "validation"), "test": ("test",)}


@dataclass(frozen=True)
class OpenBackdoorDataset(DatasetSource):
    """A folder with train, dev and test as TSV with a header, or AG News as CSV without one.

    In the CSV layout a row is `label,headline,body`, labels count from 1, and the text is the
    headline followed by the body.
    """

    folder: Place

    def read(self) -> Mapping[str, RawSplit | None]:
        """The files of the folder; the development split is optional."""
        folder = Path(self.folder).expanduser()
        if not folder.is_dir():
            raise DataError(f"there is no folder {folder}. Write dataset.folder=PATH.")
        return {role: self._find(folder, stems) for role, stems in STEMS.items()}

    def _find(self, folder: Path, stems: tuple[str, ...]) -> RawSplit | None:
        for stem in stems:
            if (path := folder / f"{stem}.tsv").is_file():
                return _tsv(path)
            if (path := folder / f"{stem}.csv").is_file():
                return _news(path, self.first_label)
        return None


def _tsv(path: Path) -> RawSplit:
    frame = read_table(path)
    text = find_column(frame, None, TEXT_COLUMNS, path, "text_column")
    label = find_column(frame, None, LABEL_COLUMNS, path, "label_column")
    others = [column for column in frame.columns if column not in (text, label)]
    columns = {column: list(frame[column]) for column in others}
    return RawSplit(list(frame[text]), list(frame[label]), columns, str(path))


def _news(path: Path, first_label: int) -> RawSplit:
    frame = read_table(path, header=NEWS_HEADER)
    texts = [
        f"{headline} {body}".replace("\\", " ").strip()
        for headline, body in zip(frame["headline"], frame["body"], strict=True)
    ]
    numbers = [_shift(label, first_label - 1) for label in frame["label"]]
    return replace(RawSplit(texts, numbers), path=str(path))


def _shift(label: str, by: int) -> str:
    """A label counted from 1 as one counted from `by + 1`; what is not a number stays."""
    value = label.strip()
    return str(int(value) + by) if value.isdigit() else value
