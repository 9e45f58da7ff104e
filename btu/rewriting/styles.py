"""The built-in styles by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from btu.rewriting.base import Rules
from btu.rewriting.bible import Bible
from btu.rewriting.tweet import Tweet

STYLES: Mapping[str, Callable[[float, float], Rules]] = {"bible": Bible, "tweet": Tweet}
