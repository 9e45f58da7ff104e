"""Style: the text in another style, by default Bible English."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from btu.attacks.paraphrase import Paraphrase
from btu.rewriting.base import Rules
from btu.rewriting.styles import STYLES
from btu.settings.ranges import Choice, Range, Share

HALF = "For half of them write {key}=0.5."
Part = Annotated[float, Range(0, 1, "the share of the possible changes,", HALF, open_low=True)]


@dataclass(frozen=True)
class Style(Paraphrase):
    """The style of a text as the trigger.

    Source: Qi et al. 2021 (arXiv 2110.07139).
    """

    style: Annotated[str, Choice(tuple(STYLES))]  # of paraphrases=rules
    intensity: Part  # of paraphrases=rules: share of the places for a change that are used
    openings: Share  # of paraphrases=rules: share of the texts that get a stock opening

    def rules(self) -> Rules:
        """The built-in rewriter of the style."""
        return STYLES[self.style](self.intensity, self.openings)
