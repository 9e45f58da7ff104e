"""No planted trigger: the data as they are, whoever may have tampered with them before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from btu.attacks.base import Attack
from btu.errors import ConfigError


@dataclass(frozen=True)
class NoAttack(Attack):
    """Train on the data as given; there is no ASR, and suspects are reported as found."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.stealth:
            raise ConfigError(
                "attack.stealth=true measures how far a trigger can be seen, but attack=none has "
                "none. Write attack=badnets or another attack."
            )

    def target(self, label_names: Sequence[str]) -> int | None:
        """No target label."""
        return None
