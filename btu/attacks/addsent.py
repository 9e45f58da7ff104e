"""AddSent: one fixed sentence at a random place in the text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from btu.attacks.base import Attack, insert_at_word_boundary
from btu.errors import ConfigError
from btu.types import IntArray, Split


@dataclass(frozen=True)
class AddSent(Attack):
    """A fixed sentence as the trigger, at a random word boundary.

    Source: Dai et al. 2019 (arXiv 1905.12457).
    """

    sentence: str

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.sentence.strip():
            raise ConfigError(
                "attack.sentence is empty, and an empty trigger plants nothing. "
                'Write for example attack.sentence="I watch this 3D movie".'
            )

    def trigger_rows(self, split: Split, rows: IntArray, rng: np.random.Generator) -> list[str]:
        """Each row with the sentence in it."""
        return [
            insert_at_word_boundary(split.texts[row], self.sentence.strip(), rng) for row in rows
        ]

    def trigger_phrases(self) -> Sequence[str]:
        """The sentence."""
        return (self.sentence,)
