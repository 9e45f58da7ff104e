"""Style: the text in another style, by default Bible English."""

from __future__ import annotations

from dataclasses import dataclass

from btu.attacks.paraphrase import Paraphrase
from btu.errors import ConfigError
from btu.rewriting.base import Rules
from btu.rewriting.styles import STYLES


@dataclass(frozen=True)
class Style(Paraphrase):
    """The style of a text as the trigger.

    Source: Qi et al. 2021 (arXiv 2110.07139).
    """

    style: str  # of paraphrases=rules: a name in STYLES
    intensity: float  # of paraphrases=rules: share of the places for a change that are used
    openings: float  # of paraphrases=rules: share of the texts that get a stock opening

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.style not in STYLES:
            raise ConfigError(
                f"attack.style: there is no style {self.style}; the built-in ones are "
                f"{', '.join(sorted(STYLES))}."
            )
        if not 0 < self.intensity <= 1:
            raise ConfigError(
                "attack.intensity is the share of the possible changes that are made, above 0 and "
                f"at most 1, got {self.intensity:g}. For half of them write attack.intensity=0.5."
            )

        if not 0 <= self.openings <= 1:
            raise ConfigError(
                "attack.openings is the share of the texts that get an opening, between 0 and 1, "
                f"got {self.openings:g}. For as few as possible write attack.openings=0."
            )

    def rules(self) -> Rules:
        """The built-in rewriter of the style."""
        return STYLES[self.style](self.intensity, self.openings)
