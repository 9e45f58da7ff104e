"""Settings of the defenses, checked without loading torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import floor

from btu.errors import ConfigError, check_choice
from btu.models.base import Training

KINDS = ("pooled", "full")
POOLINGS = ("real_tokens", "all_positions")
TRAINABLE = ("word_embeddings", "embedding_module")
CUTOFFS = ("mean", "row_mean", "frobenius", "whole_row")
REPLACEMENTS = ("padding_row", "mean_row")


def check_numbers(setting: str, numbers: Sequence[int], highest: int) -> None:
    """Raise unless a setting names some of the numbers from 1 to `highest`, each once, in order."""
    if numbers and list(numbers) == [n for n in range(1, highest + 1) if n in numbers]:
        return
    raise ConfigError(
        f"{setting} names rounds by their numbers from 1 to {highest}, each once and in order, "
        f"got {list(numbers)}. For the first alone write {setting}=[1]."
    )


@dataclass(frozen=True)
class Round:
    """One epoch of training whose only purpose is the drift of the word embeddings."""

    kind: str  # pooled: embedding module and linear head; full: the whole classifier
    batch_size: int
    max_length: int  # tokens
    hide_suspects: bool  # take tokens flagged by earlier rounds out of the texts
    pooling: str  # pooled only: mean over real tokens, or over padding too
    trainable: str  # pooled only: word embeddings alone, or the whole embedding module

    def __post_init__(self) -> None:
        check_choice("defense.rounds: kind", self.kind, KINDS)
        check_choice("defense.rounds: pooling", self.pooling, POOLINGS)
        check_choice("defense.rounds: trainable", self.trainable, TRAINABLE)
        if self.batch_size < 1 or self.max_length < 3:
            raise ConfigError(
                "defense.rounds: batch_size is at least 1 and max_length at least 3 tokens, "
                f"got {self.batch_size} and {self.max_length}."
            )


@dataclass(frozen=True)
class TuningSettings:
    """Clean tuning: all parameters, a fresh AdamW."""

    epochs: int
    learning_rate: float
    batch_size: int
    max_samples: int | None  # rows of the tuning split, drawn by the seed; null takes all
    share: float | None  # the same as a share of the number of training rows; 0 tunes nothing

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1 or not 0 < self.learning_rate < 1:
            raise ConfigError(
                "defense.clean_tuning: epochs and batch_size are at least 1 and learning_rate is "
                f"between 0 and 1, got {self.epochs}, {self.batch_size}, {self.learning_rate:g}."
            )
        if self.max_samples is not None and self.max_samples < 1:
            raise ConfigError(
                f"defense.clean_tuning.max_samples is at least 1 or null, got {self.max_samples}. "
                "For no tuning leave the arms tuned and defended out."
            )
        self._check_share()

    def _check_share(self) -> None:
        if self.share is None:
            return
        if self.max_samples is not None:
            raise ConfigError(
                "defense.clean_tuning: share and max_samples both say how many rows are used, got "
                f"{self.share:g} and {self.max_samples}. Set one of them to null."
            )
        if not 0 <= self.share <= 1:
            raise ConfigError(
                "defense.clean_tuning.share is a fraction of the number of training rows between 0 "
                f"and 1, got {self.share:g}. For ten percent write defense.clean_tuning.share=0.1."
            )

    def num_rows(self, num_train: int, num_tuning: int) -> int:
        """How many of the tuning rows are used.

        Raises:
            ConfigError: `share` asks for more rows than the tuning split has.
        """
        if self.share is None:
            return min(num_tuning, self.max_samples or num_tuning)
        wanted = round(self.share * num_train)
        if wanted > num_tuning:
            largest = floor(1000 * num_tuning / num_train) / 1000
            raise ConfigError(
                f"defense.clean_tuning.share={self.share:g} of {num_train} training rows is "
                f"{wanted} rows, but the tuning split has {num_tuning}. Give more tuning rows or "
                f"write at most defense.clean_tuning.share={largest:g}."
            )
        return wanted

    def as_training(self, victim: Training) -> Training:
        """These settings, with the victim's arithmetic and weight decay."""
        return replace(
            victim,
            epochs=self.epochs,
            learning_rate=self.learning_rate,
            batch_size=self.batch_size,
        )
