"""What every attack shares: its settings, their checks, and the interface that poisoning uses."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from btu.errors import ConfigError, did_you_mean
from btu.types import BoolArray, Dataset, IntArray, Split

LABEL_POLICIES = ("dirty", "clean", "mix")


@dataclass(frozen=True)
class Attack:
    """An adversary who plants a trigger in a share of the training rows.

    A subclass says how rows get their trigger (`trigger_rows`) and, where it needs more than a
    text to do so, what it adds to the data set (`prepare`) and which rows it can serve
    (`usable_rows`).
    """

    name: str
    poison_rate: float
    target_label: int | str
    label_policy: str

    def __post_init__(self) -> None:
        if not 0 <= self.poison_rate <= 1:
            example = self.poison_rate / 100 if 1 < self.poison_rate <= 100 else 0.1
            raise ConfigError(
                f"attack.poison_rate is a fraction between 0 and 1, got {self.poison_rate:g}. "
                f"For {100 * example:g} percent write attack.poison_rate={example:g}."
            )
        if self.label_policy not in LABEL_POLICIES:
            raise ConfigError(
                f"attack.label_policy: there is no policy {self.label_policy}; "
                f"{did_you_mean(self.label_policy, LABEL_POLICIES)}"
            )

    def target(self, dataset: Dataset) -> int | None:
        """The target label as a number; None for an attack that plants nothing.

        Raises:
            ConfigError: the data set has no such label.
        """
        names = dataset.label_names
        wanted = str(self.target_label)
        if wanted in names:
            return names.index(wanted)
        if re.fullmatch(r"\d+", wanted) and int(wanted) < len(names):
            return int(wanted)
        known = ", ".join(f"{number} ({name})" for number, name in enumerate(names))
        raise ConfigError(
            f"attack.target_label: data set {dataset.name} has no label {wanted}, only {known}."
        )

    def prepare(self, dataset: Dataset) -> Dataset:
        """The data set with all that this attack needs, or an error that says what is missing."""
        return dataset

    def column(self) -> str | None:
        """The further text column that this attack reads; None where it reads none."""
        return None

    def usable_rows(self, split: Split) -> BoolArray:
        """Which rows this attack can give a trigger. (N,)"""
        return np.ones(len(split), dtype=np.bool_)

    def trigger_rows(self, split: Split, rows: IntArray, rng: np.random.Generator) -> list[str]:
        """The named rows of the split with their trigger, in order."""
        raise ConfigError(f"attack {self.name} plants no trigger.")

    def trigger_phrases(self) -> Sequence[str]:
        """What the attack inserts; empty where the trigger is how the text is written."""
        return ()


def insert_at_word_boundary(text: str, phrase: str, rng: np.random.Generator) -> str:
    """Insert a phrase before a random word or at the end; nothing else of the text changes."""
    starts = [match.start() for match in re.finditer(r"\S+", text)]
    place = int(rng.integers(len(starts) + 1))
    if place == len(starts):
        body = text.rstrip()
        return f"{body} {phrase}{text[len(body) :]}" if body else phrase
    return f"{text[: starts[place]]}{phrase} {text[starts[place] :]}"
