"""Errors a user can mend: one sentence with what was expected, what came and what to type."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from numbers import Real
from typing import Any

MAX_SHOWN = 80  # characters of a value in an error

MOST_NAMES = 30  # of a list in a sentence
MOST_CHARACTERS = 60  # of one name or text in it


class BtuError(Exception):
    """Base of the errors that end a run with one sentence and exit code 1."""


class ConfigError(BtuError):
    """A setting is missing, mistyped or impossible."""


class DataError(BtuError):
    """A file, column, label or split is not what the settings say."""


class ModelError(BtuError):
    """A checkpoint or tokenizer cannot be used."""


def shorten(text: str, most: int = MOST_CHARACTERS) -> str:
    """The text, cut where it is longer than a sentence about it can bear."""
    return text if len(text) <= most else f"{text[: most - 3]}..."


def listed(names: Iterable[object], most: int = MOST_NAMES) -> str:
    """Names with commas between them, the first of them where there are many."""
    shown = [shorten(str(name)) for name in names]
    left_out = len(shown) - most
    return ", ".join(shown[:most]) + (f" and {left_out:,} more" if left_out > 0 else "")


def did_you_mean(wrong: str, known: Iterable[str], listing: str = "it knows") -> str:
    """The nearest known name as a question, or the list of all known names."""
    names = sorted(map(shorten, known))
    near = difflib.get_close_matches(shorten(wrong), names, n=1, cutoff=0.6)
    return f"did you mean {near[0]}?" if near else f"{listing}: {listed(names)}."


def check_choice(setting: str, value: str, known: tuple[str, ...]) -> None:
    """Raise unless a setting has one of its known values."""
    if value not in known:
        plain = value if value.isprintable() and 0 < len(value) <= MAX_SHOWN else shown(value)
        raise ConfigError(f"{setting}: there is no {plain}; {did_you_mean(value, known)}")


def shown(value: Any) -> str:
    """A value for an error: text in quotes and with its control characters told, none too long."""
    if isinstance(value, bool) or value is None:
        return "null" if value is None else str(value).lower()
    if isinstance(value, int):
        return f"{value:,}" if abs(value) < 10**20 else "a number of more than 20 digits"
    text = f"{float(value):g}" if isinstance(value, Real) else repr(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]} ..."


def first_line(error: BaseException) -> str:
    """What an error says, without what follows."""
    return str(error).strip().split("\n")[0]
