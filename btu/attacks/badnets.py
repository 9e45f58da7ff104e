"""BadNets: rare words at random places in the text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from btu.attacks.base import Attack, insert_at_word_boundary
from btu.errors import ConfigError
from btu.types import IntArray, Split


@dataclass(frozen=True)
class BadNets(Attack):
    """Rare words as triggers, each at a random word boundary, both ends included.

    Source: Gu et al. 2017 (arXiv 1708.06733); for text Kurita et al. 2020 (arXiv 2004.06660).
    """

    triggers: list[str]  # one is drawn per insertion
    num_triggers: int  # insertions per text

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.triggers or any(not word.strip() for word in self.triggers):
            raise ConfigError(
                f"attack.triggers needs one word or more, none of them empty, got {self.triggers}. "
                "Write for example attack.triggers=[cf]."
            )
        if self.num_triggers < 1:
            raise ConfigError(
                f"attack.num_triggers is the number of insertions per text, at least 1, "
                f"got {self.num_triggers}. For no trigger write attack=none."
            )

    def trigger_rows(self, split: Split, rows: IntArray, rng: np.random.Generator) -> list[str]:
        """Each row with `num_triggers` trigger words."""
        return [self._plant(split.texts[row], rng) for row in rows]

    def trigger_phrases(self) -> Sequence[str]:
        """The trigger words."""
        return self.triggers

    def _plant(self, text: str, rng: np.random.Generator) -> str:
        for _ in range(self.num_triggers):
            word = self.triggers[int(rng.integers(len(self.triggers)))].strip()
            text = insert_at_word_boundary(text, word, rng)
        return text
