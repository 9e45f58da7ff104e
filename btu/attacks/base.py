"""What every attack shares: its settings, their checks, and the interface that poisoning uses."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import numpy as np

from btu.attacks.triggered import Outcome, Outcomes, Triggered, mark_changed
from btu.errors import ConfigError
from btu.settings.base import Settings
from btu.settings.ranges import Choice, Name, Range, Share, Word
from btu.store.code import code_of
from btu.store.stages import UNKEYED, settings_of
from btu.types import Dataset, IntArray, Split, TriggerSample

LABEL_POLICIES = ("dirty", "clean", "mix")


@dataclass(frozen=True)
class Attack(Settings):
    """An adversary who plants a trigger in a share of the training rows.

    A subclass says how a text gets its trigger (`trigger`). What else it may say has a default:
    its target label, what it reads for a data set (`prepare`), what names its triggers in keys
    (`identity`), and the trigger in place (`samples`). `btu/attacks/insertion.py` is an example.
    """

    name: Name
    poison_rate: Share
    target_label: Annotated[int, Range(-(10**9), 10**9)] | Word
    label_policy: Annotated[str, Choice(LABEL_POLICIES)]
    normalize_format: bool  # poisoned and clean texts alike get one casing and one spacing
    stealth: bool = field(metadata=UNKEYED)  # measure how far the trigger can be seen
    decoy_rate: Share  # further rows that get the trigger and keep their label, not the target

    place: ClassVar[str] = "attack"
    fits_every_text: ClassVar[bool] = False  # no text is ever left without its trigger

    def target(self, label_names: Sequence[str]) -> int | None:
        """The target label as a number; None for an attack that plants nothing.

        Raises:
            ConfigError: there is no such label.
        """
        wanted = str(self.target_label)
        if wanted in label_names:
            return label_names.index(wanted)
        if re.fullmatch(r"\d+", wanted) and int(wanted) < len(label_names):
            return int(wanted)
        known = ", ".join(f"{number} ({name})" for number, name in enumerate(label_names))
        raise ConfigError(f"attack.target_label: the data set has no label {wanted}, only {known}.")

    @property
    def parts(self) -> Mapping[str, Attack]:
        """The attacks that plant in rows of their own, by the key of their settings: itself."""
        return {self.place: self}

    @property
    def tested_parts(self) -> Mapping[str, Attack]:
        """Those whose triggers the test rows get, in turn."""
        return self.parts

    @property
    def code(self) -> list[str]:
        """What names its code in keys, with that of its parts."""
        return list(dict.fromkeys(code_of(type(one)) for one in (self, *self.parts.values())))

    def prepare(self, dataset: Dataset) -> Attack:
        """The attack with all that it reads for this data set, or an error: something is missing.

        What takes long is left until it is asked for: a poisoned set may be in the cache.
        """
        return self

    def trigger(self, texts: Sequence[str], rng: np.random.Generator) -> Triggered:
        """Each text with its trigger; `mark_done(texts)` where every text has one."""
        raise ConfigError(f"attack {self.name}: {type(self).__name__} has no method trigger.")

    def identity(self) -> Mapping[str, Any]:
        """What names the triggers in keys, without making them, as JSON.

        With the texts it says all that the triggers depend on; asked of a prepared attack.
        """
        return self.settings()

    def samples(self) -> Sequence[TriggerSample]:
        """What the attack inserts, in place; empty where the trigger is how a text is written."""
        return ()

    def settings(self) -> dict[str, Any]:
        """All settings that a number can depend on."""
        return settings_of(self)

    def planter(self, role: str, split: Split) -> Planter:
        """What gives the rows of train or test their trigger; asked of a prepared attack."""
        return Planter(self, split)


@dataclass(frozen=True)
class Planter:
    """Gives rows of one split their trigger. Here a row is its text; twins are by row."""

    attack: Attack
    split: Split

    @property
    def known(self) -> Outcomes | None:
        """What will become of each row; None where that is seen only as rows are triggered. (N,)"""
        if not self.attack.fits_every_text:
            return None
        return np.full(len(self.split), Outcome.DONE, dtype=np.int8)

    @property
    def is_slow(self) -> bool:
        """Whether a language model writes the triggers, for the rows that are asked for only."""
        return False

    def plant(self, rows: IntArray, rng: np.random.Generator) -> Triggered:
        """The named rows with their trigger, in order."""
        texts = [self.split.texts[row] for row in rows]
        made = self.attack.trigger(texts, rng)
        if not isinstance(made, Triggered):
            made = mark_changed(texts, made)
        if not len(made.texts) == len(made.outcomes) == len(rows):
            raise ConfigError(
                f"attack {self.attack.name} was given {len(rows)} texts and gave "
                f"{len(made.texts)} back with {len(made.outcomes)} outcomes. Its trigger() must "
                "give one of each per text, in order."
            )
        return made

    def check(self, rows: IntArray, outcomes: Outcomes) -> None:
        """Raise if what became of these rows, all that were looked at, is not acceptable."""
