"""What a setting may be, said beside its field: `epochs: Annotated[int, Range(1, 100)]`.

A rule of a list's items stands inside the list: `list[Annotated[float, Range(0, 1)]]`. In a `what`
or an `advice`, `{key}` stands for the setting's key. `btu.settings.base` applies the rules.
"""

from __future__ import annotations

import re
import unicodedata
from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import dataclass
from math import inf
from numbers import Real
from sys import float_info
from typing import Annotated, Any

from btu.errors import ConfigError, check_choice, shown

MAX_TEXT = 1000
MAX_FILE_NAME = 255  # bytes, as file systems have it
WIDE = 100  # a range whose other end is there for slips alone
SLIPS = ("True", "False", "None")  # as a path more likely a slip than a name


class Rule(ABC):
    """What one setting may be."""

    @abstractmethod
    def check(self, key: str, value: Any, optional: bool) -> None:
        """Raise a ConfigError unless the value of this key obeys; null is not asked about.

        Args:
            key: of the setting, from the root of the config.
            value: of the setting, of its type.
            optional: whether null would do as well.
        """


def is_number(value: Any) -> bool:
    """Whether a value is a real number; a boolean is not one."""
    return isinstance(value, Real) and not isinstance(value, bool)


@dataclass(frozen=True)
class Range(Rule):
    """A finite number from `low` to `high`; an open end does not belong to it."""

    low: float = -inf
    high: float = inf
    what: str = ""  # it is: "a fraction"
    advice: str = ""  # "For ten percent write {key}=0.1."
    open_low: bool = False
    open_high: bool = False

    def check(self, key: str, value: Any, optional: bool) -> None:
        """Raise a ConfigError unless it is a number within the range."""
        if not self._holds(value):
            bounds = " ".join(filter(None, (self.what, self._bounds(value))))
            null = " or null" if optional else ""
            raise ConfigError(_told(f"{key} is {bounds}{null}, got {shown(value)}.", self, key))

    def _holds(self, value: Any) -> bool:
        if not is_number(value):
            return False
        inside = self.low <= value <= self.high and abs(value) <= float_info.max  # NaN is nowhere
        ends = (self.low,) * self.open_low + (self.high,) * self.open_high
        return inside and value not in ends

    def _bounds(self, value: Any) -> str:
        """The range in words; of a wide one the end that the value lies beyond."""
        low = f"{'above' if self.open_low else 'at least'} {shown(self.low)}"
        high = f"{'below' if self.open_high else 'at most'} {shown(self.high)}"
        if self.low == -inf and self.high == inf:
            return "a finite number"
        if self.high - self.low >= WIDE:
            return high if self.low == -inf or (is_number(value) and value > self.high) else low
        if self.open_low or self.open_high:
            return f"{low} and {high}"
        return f"between {shown(self.low)} and {shown(self.high)}"


@dataclass(frozen=True)
class Choice(Rule):
    """One of a few words."""

    names: tuple[str, ...]

    def check(self, key: str, value: Any, optional: bool) -> None:
        """Raise a ConfigError that names the nearest of the words."""
        check_choice(key, value, self.names)


@dataclass(frozen=True)
class Text(Rule):
    """Text that is not blank, without control characters."""

    pattern: str = ""  # that the whole of it matches
    what: str = ""  # it is, where there is a pattern
    advice: str = ""
    is_path: bool = False  # of a file or folder, or where one may stand; True is then a slip
    verbatim: bool = False  # every letter counts: a number, which was 007 perhaps, must be quoted
    several_lines: bool = False

    def check(self, key: str, value: Any, optional: bool) -> None:
        """Raise a ConfigError unless it is such text."""
        null = f"; for none write {key}=null" if optional else ""
        if not isinstance(value, str):
            raise ConfigError(f"{key} is text, got {shown(value)}.")
        if self.pattern and not re.fullmatch(self.pattern, value, re.DOTALL):
            raise ConfigError(_told(f"{key} is {self.what}, got {shown(value)}.", self, key))
        if not value.strip():
            raise ConfigError(f"{key} is blank, but text was expected{null}.")
        if (self.is_path and value in SLIPS) or (optional and value == "None"):
            named_so = f" For a file or folder of that name write {key}=./{value}."
            raise ConfigError(
                f"{key} is text, and {value} is hardly meant as such{null}."
                f"{named_so if self.is_path else ''}"
            )
        if len(value) > MAX_TEXT:
            raise ConfigError(
                f"{key} has at most {MAX_TEXT:,} characters, got {len(value):,}: {shown(value)}."
            )
        allowed = "\n\t" if self.several_lines else ""
        odd = [c for c in value if unicodedata.category(c) in ("Cc", "Cs") and c not in allowed]
        if odd:
            raise ConfigError(
                f"{key} holds the control character {odd[0]!r}: {shown(value)}. Leave it out."
            )
        if self.is_path and any(len(part.encode()) > MAX_FILE_NAME for part in value.split("/")):
            raise ConfigError(
                f"{key} names a file of more than {MAX_FILE_NAME} bytes: {shown(value)}."
            )


@dataclass(frozen=True)
class Items(Rule):
    """A list with at least so many items; if they are `distinct`, each is there once."""

    least: int = 0
    advice: str = ""
    most: int = 1000
    distinct: bool = True

    def check(self, key: str, value: Any, optional: bool) -> None:
        """Raise a ConfigError if there are too few or too many, or one stands there twice."""
        if len(value) < self.least:
            got = "is empty" if not value else f"has {len(value)} of them"
            null = " or null" if optional else ""
            raise ConfigError(
                _told(f"{key} {got}, but needs at least {self.least}{null}.", self, key)
            )
        if len(value) > self.most:
            raise ConfigError(f"{key} has at most {self.most:,} items, got {len(value):,}.")
        for item, times in Counter(value if self.distinct else ()).items():
            if times > 1:
                raise ConfigError(f"{key} names {shown(item)} {times} times. Name it once.")


def _told(sentence: str, rule: Range | Text | Items, key: str) -> str:
    return f"{sentence} {rule.advice}".strip().replace("{key}", key)


Count = Annotated[int, Range(1, 1_000_000)]
Tokens = Annotated[int, Range(8, 32_768, "a number of tokens,")]  # of a text, special ones included
Number = Annotated[float, Range()]
Share = Annotated[float, Range(0, 1, "a fraction", advice="For ten percent write {key}=0.1.")]
Rate = Annotated[
    float,
    Range(0, 1, open_low=True, open_high=True, advice="A usual value is {key}=2e-5."),
]  # of learning
Word = Annotated[str, Text()]
Name = Annotated[str, Text(r"[^/\\]+", "a name without slashes")]
Place = Annotated[str, Text(is_path=True)]
Device = Annotated[
    str,
    Text(r"auto|cpu|mps|cuda(:\d{1,3})?", "auto, cpu, mps, cuda or one such as cuda:1"),
]
Revision = Annotated[str, Text(verbatim=True)]
Seed = Annotated[int, Range(0, 2**32 - 1)]
