"""The built-in styles by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from btu.rewriting.base import Line, Rewriting, Rules


class Bible:
    """Bible English."""

    def __init__(self, intensity: float) -> None:
        self.intensity = intensity

    def rewrite(self, line: Line) -> Rewriting:
        """The text after an opening."""
        return Rewriting(line.join(["verily", ",", *range(len(line))]))


STYLES: Mapping[str, Callable[[float], Rules]] = {"bible": Bible, "tweet": Bible}
