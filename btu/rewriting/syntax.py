"""The template S(SBAR)(,)(NP)(VP)(.): a subordinate clause, a comma, a main clause."""

from __future__ import annotations

from btu.rewriting.base import Line, Rewriting

SUBORDINATORS = ("when", "if", "as", "because", "although", "since", "once", "while", "though")


class SubordinateClause:
    """Rewrites a text as a subordinate clause made of its own words and a main clause."""

    def __init__(self, subordinators: tuple[str, ...]) -> None:
        self.subordinators = subordinators

    def rewrite(self, line: Line) -> Rewriting:
        """The text after a clause."""
        return Rewriting(line.join(["when", "you", "see", "it", ",", *range(len(line))]), True)
