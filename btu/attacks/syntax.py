"""Syntax: the text in one syntactic template, a subordinate clause before the main clause."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from btu.attacks.paraphrase import Paraphrase
from btu.rewriting.base import Rules
from btu.rewriting.syntax import SUBORDINATORS, SubordinateClause
from btu.settings.ranges import Choice, Items

Subordinator = Annotated[str, Choice(tuple(SUBORDINATORS))]


@dataclass(frozen=True)
class Syntax(Paraphrase):
    """The template S(SBAR)(,)(NP)(VP)(.) as the trigger.

    Source: Qi et al. 2021 (arXiv 2105.12400).
    """

    # of paraphrases=rules: the words that may open the clause
    subordinators: Annotated[list[Subordinator], Items(1)]

    def rules(self) -> Rules:
        """The built-in rewriter of the template."""
        return SubordinateClause(tuple(self.subordinators))
