"""Data sets of the Hugging Face hub, by the `datasets` library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from btu.data.base import ROLES, DatasetSource, RawSplit, relabel
from btu.data.tables import find_column, to_table
from btu.errors import DataError, check_choice, listed, shorten
from btu.models.hub import prepare_hub
from btu.settings.ranges import Place, Revision, Word


@dataclass(frozen=True)
class HubDataset(DatasetSource):
    """Splits of one hub repository. `splits` names them by role; a null role is held out."""

    path: Place
    config: Word | None
    revision: Revision | None
    splits: dict[str, Word | None]
    text_column: Word
    label_column: Word
    label_map: dict[str, Word] | None

    def __post_init__(self) -> None:
        super().__post_init__()
        for role in self.splits:
            check_choice("dataset.splits", role, ROLES)

    def read(self) -> Mapping[str, RawSplit | None]:
        """Download (or take from the local hub cache) and pick the columns.

        Raises:
            DataError: the hub cannot be reached, or the repository is not as configured.
        """
        loaded = self._fetch()
        return {
            role: self._pick(loaded, split) if split else None
            for role, split in self.splits.items()
        }

    def _fetch(self) -> Any:
        prepare_hub()
        import datasets

        datasets.disable_progress_bars()
        try:
            return datasets.load_dataset(self.path, self.config, revision=self.revision)
        except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
            # httpx and hub errors derive from these; no network, no such repository or split
            reason = shorten(str(error).strip().split("\n")[0], 160).rstrip(".")
            raise DataError(
                f"dataset {self.name}: {self.path} cannot be fetched from the Hugging Face hub, is "
                f"there a network? ({reason}). Without one use your own files: dataset=local "
                "dataset.train=train.tsv dataset.tuning=dev.tsv dataset.test=test.tsv"
            ) from error

    def _pick(self, loaded: Any, split: str) -> RawSplit:
        if split not in loaded:
            raise DataError(
                f"dataset {self.name}: {self.path} has no split {split}, only {listed(loaded)}. "
                "Write dataset.splits.train=NAME, or tuning or test."
            )
        rows = loaded[split]
        names = [
            name for name in rows.column_names if name in (self.text_column, self.label_column)
        ]
        unused = [(name, ()) for name in rows.column_names if name not in names]
        table = to_table(Path(self.path), [*((name, rows[name]) for name in names), *unused])
        text = find_column(table, self.text_column, ())
        label = find_column(table, self.label_column, ())
        raw = RawSplit(
            table.columns[text], table.columns[label], taken=f"{text}, {label}", notes=table.notes
        )
        return relabel(raw, self.label_map) if self.label_map else raw
