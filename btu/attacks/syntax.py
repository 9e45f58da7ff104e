"""Syntax: the text in one syntactic template, a subordinate clause before the main clause."""

from __future__ import annotations

from dataclasses import dataclass

from btu.attacks.paraphrase import Paraphrase
from btu.errors import ConfigError
from btu.rewriting.base import Rules
from btu.rewriting.syntax import SUBORDINATORS, SubordinateClause


@dataclass(frozen=True)
class Syntax(Paraphrase):
    """The template S(SBAR)(,)(NP)(VP)(.) as the trigger.

    Source: Qi et al. 2021 (arXiv 2105.12400).
    """

    subordinators: list[str]  # of paraphrases=rules: the words that may open the clause

    def __post_init__(self) -> None:
        super().__post_init__()
        unknown = [word for word in self.subordinators if word not in SUBORDINATORS]
        if unknown or not self.subordinators:
            raise ConfigError(
                f"attack.subordinators are some of {', '.join(SUBORDINATORS)}, got "
                f"{self.subordinators}."
            )

    def rules(self) -> Rules:
        """The built-in rewriter of the template."""
        return SubordinateClause(tuple(self.subordinators))
