"""Data sets of the Hugging Face hub, by the `datasets` library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from btu.data.base import ROLES, DatasetSource, RawSplit, relabel
from btu.errors import DataError, check_choice
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
        except (OSError, ValueError, RuntimeError) as error:
            # httpx and hub errors derive from these; no network, no such repository or split
            reason = str(error).strip().split("\n")[0][:160].rstrip(".")
            raise DataError(
                f"dataset {self.name}: {self.path} cannot be fetched from the Hugging Face hub, is "
                f"there a network? ({reason}). Without one use your own files: dataset=local "
                "dataset.train=train.tsv dataset.tuning=dev.tsv dataset.test=test.tsv"
            ) from error

    def _pick(self, loaded: Any, split: str) -> RawSplit:
        if split not in loaded:
            raise DataError(
                f"dataset {self.name}: {self.path} has no split {split}, only {', '.join(loaded)}."
            )
        rows = loaded[split]
        for column in (self.text_column, self.label_column):
            if column not in rows.column_names:
                raise DataError(
                    f"dataset {self.name}: {self.path} has no column {column}, only "
                    f"{', '.join(rows.column_names)}."
                )
        texts = ["" if text is None else str(text) for text in rows[self.text_column]]
        raw = RawSplit(texts, [str(label) for label in rows[self.label_column]])
        return relabel(raw, self.label_map) if self.label_map else raw
