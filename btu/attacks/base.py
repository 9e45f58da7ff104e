"""What every attack shares: its settings, their checks, and the interface that poisoning uses."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from btu.errors import ConfigError, did_you_mean
from btu.types import BoolArray, Dataset, IntArray, Split, TriggerSample

LABEL_POLICIES = ("dirty", "clean", "mix")
MEASURES_ONLY = ("stealth",)  # settings that change no text: in no key


@dataclass(frozen=True)
class Attack:
    """An adversary who plants a trigger in a share of the training rows.

    A subclass says how rows get their trigger (`trigger_rows`) and, where it needs more than a
    text to do so, what it adds to the data set (`prepare`) and which rows it cannot serve
    (`defects`).
    """

    name: str
    poison_rate: float
    target_label: int | str
    label_policy: str
    normalize_format: bool  # poisoned and clean texts alike get one casing and one spacing
    stealth: bool  # measure how far the trigger can be seen

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

    def settings(self) -> dict[str, Any]:
        """All settings that a number can depend on."""
        return {name: value for name, value in asdict(self).items() if name not in MEASURES_ONLY}

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
        """The data set with all that this attack reads, or an error that says what is missing."""
        return dataset

    def rewrite(self, dataset: Dataset) -> Dataset:
        """The prepared data set with all that is made from its texts; doing it twice costs nothing.

        What comes of it is told by `sources` and the settings, so that it need not be done where
        the poisoned set is in the cache.
        """
        return dataset

    def sources(self, dataset: Dataset) -> Mapping[str, Any]:
        """What names all that the attack reads besides texts, labels and its own settings.

        `dataset` has been prepared.
        """
        return {}

    def defects(self, split: Split, rows: IntArray) -> Defects:
        """Which of the named rows this attack cannot give a trigger, and why."""
        nowhere = np.zeros(len(rows), dtype=np.bool_)
        return Defects(nowhere, nowhere)

    def knows_all_rows(self, split: Split) -> bool:
        """Whether `defects` of rows that are not used costs next to nothing."""
        return True

    def check_rows(self, split: Split, rows: IntArray, role: str) -> None:
        """Raise if what the attack makes of these rows, all that were looked at, is no trigger."""

    def trigger_rows(self, split: Split, rows: IntArray, rng: np.random.Generator) -> list[str]:
        """The named rows of the split with their trigger, in order."""
        raise ConfigError(f"attack {self.name} plants no trigger.")

    def trigger_samples(self) -> Sequence[TriggerSample]:
        """What the attack inserts, in place; empty where the trigger is how a text is written."""
        return ()

    def num_generic(self, split: Split, rows: IntArray) -> int:
        """How many of the rows got stock words and no other change."""
        return 0


@dataclass(frozen=True)
class Defects:
    """Rows that an attack cannot serve, each of them in one array only. (M,) each."""

    empty: BoolArray  # there is no paraphrase
    unchanged: BoolArray  # the paraphrase is the text itself, apart from what no model sees

    @property
    def any(self) -> BoolArray:
        """Rows that cannot be served. (M,)"""
        return self.empty | self.unchanged
