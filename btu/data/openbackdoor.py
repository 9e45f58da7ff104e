"""Data folders as the OpenBackdoor toolkit lays them out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from btu.data.base import RawSplit
from btu.data.delimited import first_cells
from btu.data.files import decode, read_bytes
from btu.data.labels import spell
from btu.data.local import TableSource
from btu.data.tables import read_table
from btu.errors import DataError
from btu.settings.ranges import Place

NEWS_HEADER = ["label", "headline", "body"]
ENDINGS = (".tsv", ".csv", ".tsv.gz", ".csv.gz")
STEMS = {"train": ("train",), "tuning": ("dev", "valid", "validation"), "test": ("test",)}


@dataclass(frozen=True)
class OpenBackdoorDataset(TableSource):
    """A folder with train, dev and test as TSV or CSV with a header, or AG News as CSV without one.

    In the layout of AG News a row is `label,headline,body`, labels count from 1, and the text is
    the headline followed by the body.
    """

    folder: Place

    def read(self) -> Mapping[str, RawSplit | None]:
        """The files of the folder; the development split is optional."""
        folder = Path(self.folder).expanduser()
        if not folder.is_dir():
            raise DataError(f"there is no folder {folder}. Write dataset.folder=PATH.")
        found = {role: self._find(folder, stems) for role, stems in STEMS.items()}
        if found["train"] is None:
            raise DataError(f"{folder} has no train.tsv or train.csv. Write dataset.folder=PATH.")
        return found

    def _find(self, folder: Path, stems: tuple[str, ...]) -> RawSplit | None:
        names = (f"{stem}{ending}" for stem in stems for ending in ENDINGS)
        path = next((folder / name for name in names if (folder / name).exists()), None)
        if path is None:
            return None
        return self._news(path) if self._is_news(path) else self.from_file(path)

    def _is_news(self, path: Path) -> bool:
        """Whether the file is CSV in the layout of AG News: by its header, or its first row."""
        raw, ending = read_bytes(path)
        if ending != ".csv" or not raw.strip():
            return False
        cells = first_cells(decode(path, raw))
        return cells == NEWS_HEADER or (len(cells) >= len(NEWS_HEADER) and cells[0].isdecimal())

    def _news(self, path: Path) -> RawSplit:
        table = read_table(path, self.layout, NEWS_HEADER)
        label, headline, body = table.columns.values()
        texts = [f"{h} {b}".replace("\\", " ").strip() for h, b in zip(headline, body, strict=True)]
        labels = [_shift(label, self.first_label - 1) for label in label]
        return RawSplit(
            texts, labels, path=str(path), taken="headline and body, label", notes=table.notes
        )


def _shift(label: str, by: int) -> str:
    """A label counted from 1 as one counted from `by + 1`; what is not a number stays."""
    value = spell(label)
    return str(int(value) + by) if value.isdecimal() else value
