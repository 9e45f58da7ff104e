"""What style and syntax share: the text is rewritten, and how it is written is the trigger."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Annotated, Any

import numpy as np

from btu.attacks.base import Attack, Planter
from btu.attacks.triggered import Outcome, Outcomes, Triggered, count_outcome, find_usable
from btu.attacks.twins import Source, read_twins
from btu.data.formats import normalize
from btu.errors import ConfigError, DataError
from btu.rewriting.base import VERSION, Rewriting, Rules, rewrite_all, shown_pairs
from btu.rewriting.model import ModelRewriter
from btu.settings.ranges import Choice
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

    paraphrases: Source
    test_paraphrases: Source | None
    unusable: Annotated[str, Choice(UNUSABLE)]
    rewriter: ModelRewriter

    def __post_init__(self) -> None:
        super().__post_init__()
        if self._needs_model:
            self.rewriter.check()

    def rules(self) -> Rules:
        """The built-in rewriter of this attack."""
        raise ConfigError(f"attack {self.name} has no built-in rewriter.")

    def settings(self) -> dict[str, Any]:
        """All settings that a number can depend on."""
        rewriter = self.rewriter.settings() if self._needs_model else None
        return super().settings() | {"rewriter": rewriter}

    def prepare(self, dataset: Dataset) -> PreparedParaphrase:
        """The attack with the twins that come with the data set; others are made when asked for.

        Raises:
            DataError: there is no such column, or a parallel file is missing or of another length.
        """
        train, test = (self._twin_planter(dataset, role) for role in ("train", "test"))
        own = {field.name: getattr(self, field.name) for field in fields(Attack)}
        return PreparedParaphrase(**own, original=self, train=train, test=test)

    @property
    def _needs_model(self) -> bool:
        return "model" in (self.paraphrases, self.test_paraphrases)

    def _twin_planter(self, dataset: Dataset, role: str) -> TwinPlanter:
        setting, source = "attack.paraphrases", self.paraphrases
        if role == "test" and self.test_paraphrases is not None:
            setting, source = "attack.test_paraphrases", self.test_paraphrases
        given = None if is_rewriter(source) else read_twins(setting, source, role, dataset)
        split: Split = getattr(dataset, role)
        return TwinPlanter(self, split, role, setting, source, given, dataset.train.texts)


@dataclass(frozen=True)
class PreparedParaphrase(Attack):
    """A paraphrase attack with the twins of one data set, or what makes them."""

    original: Paraphrase
    train: TwinPlanter
    test: TwinPlanter

    def settings(self) -> dict[str, Any]:
        """The settings of the attack."""
        return self.original.settings()

    def identity(self) -> Mapping[str, Any]:
        """The settings, and the twins themselves or what names the rewriter that makes them."""
        twins = {"train": self.train.identity(), "test": self.test.identity()}
        return {**self.settings(), "twins": twins}

    def planter(self, role: str, split: Split) -> Planter:
        """What puts the twins in place of the rows of train or test."""
        planter = self.test if role == "test" else self.train
        if split is not planter.split:
            raise ValueError(
                f"attack {self.name} was prepared for other rows of {role} than these."
            )
        return planter


@dataclass(frozen=True)
class TwinPlanter(Planter):
    """Gives rows of one split their twins."""

    attack: Paraphrase
    role: str  # train or test
    setting: str  # that names the source, for errors
    source: str  # its value
    given: tuple[str, ...] | None  # (N,) twins that come with the data; None: a rewriter makes them
    like: tuple[str, ...]  # training texts: rules type as most of them are typed

    @cached_property
    def known(self) -> Outcomes | None:
        """What will become of each row; None where a model is asked row by row. (N,)"""
        if self.is_slow:
            return None
        return self._outcomes(np.arange(len(self.split), dtype=np.int64), self._twins)

    @property
    def is_slow(self) -> bool:
        """Whether a language model writes the twins."""
        return self.source == "model"

    def identity(self) -> Any:
        """The twins themselves, or what names the rewriter that makes them of the texts."""
        if self.given is not None:
            return _digest(self.given)
        return self.attack.rewriter.identity() if self.is_slow else {"rules": VERSION}

    def plant(self, rows: IntArray, rng: np.random.Generator) -> Triggered:
        """The twins of the named rows."""
        twins = self._twins_of(rows)
        known = self.known
        outcomes = self._outcomes(rows, twins) if known is None else known[rows]
        return Triggered(twins, outcomes)

    def check(self, rows: IntArray, outcomes: Outcomes) -> None:
        """Raise if a rewriter changed less than half of the rows, or a row is not to be left out.

        Raises:
            DataError: with some of the rows.
        """
        bad = rows[~find_usable(outcomes)]
        if not len(bad):
            return
        shown, num_empty = bad[:3], count_outcome(outcomes, Outcome.EMPTY)
        pairs = shown_pairs([self.split.texts[row] for row in shown], self._twins_of(shown))
        counts = f"{num_empty} of {len(rows)} rows empty and {len(bad) - num_empty} as they were"
        if is_rewriter(self.source) and len(rows) - len(bad) < LEAST_CHANGED * len(rows):
            raise DataError(
                f"{self.setting}={self.source}: the rewriter left {counts}, so that fewer than "
                f"half of dataset.{self.role} could get the trigger: {pairs}. Try another "
                f"rewriter, or {self.setting}=column:NAME."
            )
        if self.attack.unusable == "error":
            numbers = ", ".join(str(self.split.source[row] + 1) for row in bad[:5])
            raise DataError(
                f"{self.setting}={self.source}: the paraphrases left {counts} (rows {numbers} of "
                f"dataset.{self.role}): {pairs}. Mend them, or leave such rows out with "
                "attack.unusable=exclude."
            )

    @cached_property
    def _by_rules(self) -> list[Rewriting]:
        return rewrite_all(self.attack.rules(), self.split.texts, self.like)

    @cached_property
    def _twins(self) -> tuple[str, ...]:
        """The twins of all rows, where no model writes them."""
        if self.given is not None:
            return self.given
        return tuple(twin.text for twin in self._by_rules)

    def _twins_of(self, rows: IntArray) -> tuple[str, ...]:
        if self.is_slow:
            return tuple(self.attack.rewriter.rewrite([self.split.texts[row] for row in rows]))
        return tuple(self._twins[row] for row in rows)

    def _outcomes(self, rows: IntArray, twins: tuple[str, ...]) -> Outcomes:
        pairs = zip(rows.tolist(), twins, strict=True)
        return np.asarray([self._outcome(row, twin) for row, twin in pairs], dtype=np.int8)

    def _outcome(self, row: int, twin: str) -> Outcome:
        if not twin.strip():
            return Outcome.EMPTY
        if self._is_same(self.split.texts[row], twin):
            return Outcome.UNCHANGED
        stock = self.source == "rules" and self._by_rules[row].is_generic
        return Outcome.GENERIC if stock else Outcome.DONE

    def _is_same(self, text: str, twin: str) -> bool:
        if self.attack.normalize_format and _letters(text) == _letters(twin):  # quicker to see
            return normalize(text) == normalize(twin)
        return text.split() == twin.split()


def is_rewriter(source: str) -> bool:
    """Whether twins are made from the texts, and do not come with them."""
    return source in ("rules", "model")


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, text.casefold()))


def _digest(texts: tuple[str, ...]) -> str:
    lines = "\n".join(f"{len(text)}\t{text}" for text in texts)
    return hashlib.sha256(lines.encode()).hexdigest()[:16]
