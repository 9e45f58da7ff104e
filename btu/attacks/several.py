"""Several attacks in one training set, by one adversary with one target label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from btu.attacks.base import Attack
from btu.attacks.none import NoAttack
from btu.errors import ConfigError, check_choice
from btu.settings.base import Settings
from btu.settings.ranges import Name, Word
from btu.types import Dataset, TriggerSample


@dataclass(frozen=True)
class Together(Settings):
    """What is set of several attacks together; the rest each of them has for itself."""

    name: Name
    tested: Word | None  # whose trigger the test rows get; null: those of all, in turn

    place: ClassVar[str] = "attack"


@dataclass(frozen=True)
class Several(Attack):
    """Attacks that plant in one training set, each in rows of its own.

    Its rates are those of all of them. What else an attack says, each says for itself.
    """

    tested: str | None
    attacks: Mapping[str, Attack]  # by name

    @classmethod
    def of(cls, together: Together, attacks: Mapping[str, Attack]) -> Several:
        """These attacks as one.

        Raises:
            ConfigError: there is none, one plants nothing, they see the texts typed differently,
                or none of them is the one whose trigger is to be tested.
        """
        _check(together, attacks)
        first, *_ = attacks.values()
        return cls(
            name=together.name,
            poison_rate=min(1.0, sum(attack.poison_rate for attack in attacks.values())),
            target_label=first.target_label,
            label_policy=first.label_policy,
            normalize_format=first.normalize_format,
            stealth=any(attack.stealth for attack in attacks.values()),
            decoy_rate=min(1.0, sum(attack.decoy_rate for attack in attacks.values())),
            tested=together.tested,
            attacks=attacks,
        )

    @property
    def parts(self) -> Mapping[str, Attack]:
        """The attacks, by the key of their settings."""
        return {f"{self.place}.{name}": attack for name, attack in self.attacks.items()}

    @property
    def tested_parts(self) -> Mapping[str, Attack]:
        """The attack that is tested, or all of them."""
        key = f"{self.place}.{self.tested}"
        return self.parts if self.tested is None else {key: self.parts[key]}

    def target(self, label_names: Sequence[str]) -> int | None:
        """The target label, which all of them have, as a number.

        Raises:
            ConfigError: they have different ones, or there is no such label.
        """
        (first, wanted), *others = (
            (key, part.target(label_names)) for key, part in self.parts.items()
        )
        for key, target in others:
            if target != wanted:
                raise ConfigError(
                    f"{first}.target_label is {_label(wanted, label_names)}, but "
                    f"{key}.target_label is {_label(target, label_names)}. Attacks on one training "
                    f"set have one target: write {key}.target_label={wanted}."
                )
        return wanted

    def prepare(self, dataset: Dataset) -> Several:
        """The attacks with all that they read for this data set."""
        prepared = {name: attack.prepare(dataset) for name, attack in self.attacks.items()}
        return replace(self, attacks=prepared)

    def identity(self) -> Mapping[str, Any]:
        """What names the triggers of each in keys."""
        parts = {name: attack.identity() for name, attack in self.attacks.items()}
        return {**self.settings(), "attacks": parts}

    def samples(self) -> Sequence[TriggerSample]:
        """What they insert, in place."""
        return [sample for attack in self.attacks.values() for sample in attack.samples()]

    def settings(self) -> dict[str, Any]:
        """The settings of each, and those of all."""
        parts = {name: attack.settings() for name, attack in self.attacks.items()}
        return {"name": self.name, "tested": self.tested, "attacks": parts}


def _label(number: int | None, names: Sequence[str]) -> str:
    return "none" if number is None else names[number]


def _check(together: Together, attacks: Mapping[str, Attack]) -> None:
    if not attacks:
        raise ConfigError("attack has no parts. Write for example attack=[badnets,style].")
    for name, attack in attacks.items():
        if isinstance(attack, NoAttack):
            raise ConfigError(f"attack={name} plants nothing: leave it out of the list.")
    if together.tested is not None:
        check_choice("attack.tested", together.tested, tuple(attacks))
    if len({attack.normalize_format for attack in attacks.values()}) > 1:
        raise ConfigError(
            "attack.NAME.normalize_format types all texts alike, so it is one for all of "
            f"{', '.join(attacks)}, but some have true and some false. Write it for each of them."
        )
