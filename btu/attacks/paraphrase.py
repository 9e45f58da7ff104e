"""What style and syntax share: the text is rewritten, and how it is written is the trigger."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from btu.attacks.base import Attack, Defects
from btu.attacks.twins import GENERIC, TWINS, check_source, read_twins
from btu.data.formats import normalize
from btu.errors import ConfigError, DataError, did_you_mean
from btu.rewriting.base import VERSION, Rules, rewrite_all, shown_pairs
from btu.rewriting.model import ModelRewriter
from btu.types import Dataset, IntArray, Split

UNUSABLE = ("exclude", "error")
LEAST_CHANGED = 0.5  # of the rows that a rewriter was given


@dataclass(frozen=True)
class Paraphrase(Attack):
    """Replace a text by its paraphrase, its twin.

    `paraphrases` says where twins come from: `rules` (the built-in rewriter, which a subclass
    names), `model` (a language model, `rewriter`), `column:NAME` (a column of the data set's own
    files) or `file:PATH` (parallel files, see `twins.py`). `test_paraphrases` gives the test rows
    another source, to see whether a victim learned the style or the source. Rows whose twin is
    empty or identical are left out and counted, or an error, as `unusable` says.

    Sources: style, Qi et al. 2021 (arXiv 2110.07139); syntax, Qi et al. 2021 (arXiv 2105.12400).
    """

    paraphrases: str
    test_paraphrases: str | None
    unusable: str
    rewriter: ModelRewriter

    def __post_init__(self) -> None:
        super().__post_init__()
        check_source("attack.paraphrases", self.paraphrases)
        if self.test_paraphrases is not None:
            check_source("attack.test_paraphrases", self.test_paraphrases)
        if self.unusable not in UNUSABLE:
            raise ConfigError(
                f"attack.unusable: there is no choice {self.unusable}; "
                f"{did_you_mean(self.unusable, UNUSABLE)}"
            )
        if self._needs_model:
            self.rewriter.check()

    def rules(self) -> Rules:
        """The built-in rewriter of this attack."""
        raise ConfigError(f"attack {self.name} has no built-in rewriter.")

    def settings(self) -> dict[str, Any]:
        """All settings that a number can depend on."""
        rewriter = self.rewriter.settings() if self._needs_model else None
        return super().settings() | {"rewriter": rewriter}

    def prepare(self, dataset: Dataset) -> Dataset:
        """The data set with the twins that come with it.

        Raises:
            DataError: there is no such column, or a parallel file is missing or of another length.
        """
        train, test = (self._read(dataset, role) for role in ("train", "test"))
        return replace(dataset, train=train, test=test)

    def rewrite(self, dataset: Dataset) -> Dataset:
        """The data set with the twins of the built-in rewriter; a model is asked row by row."""
        train, test = (self._by_rules(dataset, role) for role in ("train", "test"))
        return replace(dataset, train=train, test=test)

    def sources(self, dataset: Dataset) -> Mapping[str, Any]:
        """The twins themselves, or what names the rewriter that makes them of the texts."""
        return {
            role: self._source_identity(self.source(role), split)
            for role, split in (("train", dataset.train), ("test", dataset.test))
        }

    def _source_identity(self, source: str, split: Split) -> Any:
        if source == "rules":
            return {"rules": VERSION}
        return self.rewriter.identity() if source == "model" else _digest(split.columns[TWINS])

    def knows_all_rows(self, split: Split) -> bool:
        """Whether the twins are there already."""
        return TWINS in split.columns

    def defects(self, split: Split, rows: IntArray) -> Defects:
        """Rows whose twin is empty, or the text itself as far as a model sees it."""
        twins = self._twins(split, rows)
        empty = np.asarray([not twin.strip() for twin in twins], dtype=np.bool_)
        same = [self._is_same(split.texts[r], twin) for r, twin in zip(rows, twins, strict=True)]
        return Defects(empty, np.asarray(same, dtype=np.bool_) & ~empty)

    def check_rows(self, split: Split, rows: IntArray, role: str) -> None:
        """Raise if a rewriter changed less than half of the rows, or a row is not to be left out.

        Raises:
            DataError: with some of the rows.
        """
        if not len(rows):
            return
        source, defects = self.source(role), self.defects(split, rows)
        setting = self._setting(role)
        num_bad, num_empty = int(defects.any.sum()), int(defects.empty.sum())
        bad = rows[defects.any]
        pairs = shown_pairs([split.texts[r] for r in bad[:3]], self._twins(split, bad[:3]))
        counts = f"{num_empty} of {len(rows)} rows empty and {num_bad - num_empty} as they were"
        if _is_rewriter(source) and len(rows) - num_bad < LEAST_CHANGED * len(rows):
            raise DataError(
                f"{setting}={source}: the rewriter left {counts}, so that fewer than half "
                f"of dataset.{role} could get the trigger: {pairs}. Try another rewriter, or "
                f"{setting}=column:NAME."
            )
        if num_bad and self.unusable == "error":
            numbers = ", ".join(str(split.source[r] + 1) for r in bad[:5])
            raise DataError(
                f"{setting}={source}: the paraphrases left {counts} (rows {numbers} of "
                f"dataset.{role}): {pairs}. Mend them, or leave such rows out with "
                "attack.unusable=exclude."
            )

    def trigger_rows(self, split: Split, rows: IntArray, rng: np.random.Generator) -> list[str]:
        """The twins of the named rows."""
        return self._twins(split, rows)

    def num_generic(self, split: Split, rows: IntArray) -> int:
        """How many of the rows the built-in rewriter gave stock words and no other change."""
        flags = split.columns.get(GENERIC)
        return 0 if flags is None else sum(bool(flags[row]) for row in rows)

    def source(self, role: str) -> str:
        """Where the twins of train or test come from."""
        own = self.test_paraphrases if role == "test" else None
        return own or self.paraphrases

    def _setting(self, role: str) -> str:
        """The setting that says where the twins of train or test come from."""
        own = role == "test" and self.test_paraphrases is not None
        return "attack.test_paraphrases" if own else "attack.paraphrases"

    @property
    def _needs_model(self) -> bool:
        return "model" in (self.paraphrases, self.test_paraphrases)

    def _read(self, dataset: Dataset, role: str) -> Split:
        split: Split = getattr(dataset, role)
        source = self.source(role)
        if _is_rewriter(source):
            return split
        return _with_columns(split, {TWINS: read_twins(self._setting(role), source, role, dataset)})

    def _by_rules(self, dataset: Dataset, role: str) -> Split:
        split: Split = getattr(dataset, role)
        if self.source(role) != "rules" or TWINS in split.columns:
            return split
        made = rewrite_all(self.rules(), split.texts, dataset.train.texts)
        twins = tuple(twin.text for twin in made)
        generic = tuple("yes" if twin.is_generic else "" for twin in made)
        return _with_columns(split, {TWINS: twins, GENERIC: generic})

    def _is_same(self, text: str, twin: str) -> bool:
        if self.normalize_format and _letters(text) == _letters(twin):  # which is quicker to see
            return normalize(text) == normalize(twin)
        return text.split() == twin.split()

    def _twins(self, split: Split, rows: IntArray) -> list[str]:
        if TWINS in split.columns:
            twins = split.columns[TWINS]
            return [twins[row] for row in rows]
        return self.rewriter.rewrite([split.texts[row] for row in rows])


def _with_columns(split: Split, columns: Mapping[str, tuple[str, ...]]) -> Split:
    return replace(split, columns={**split.columns, **columns})


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, text.casefold()))


def _is_rewriter(source: str) -> bool:
    return source in ("rules", "model")


def _digest(texts: tuple[str, ...]) -> str:
    lines = "\n".join(f"{len(text)}\t{text}" for text in texts)
    return hashlib.sha256(lines.encode()).hexdigest()[:16]
