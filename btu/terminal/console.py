"""The terminal and the log: the one place where texts that others wrote are made safe to show."""

from __future__ import annotations

import logging
import sys
import traceback
from typing import Any

from rich.console import Console
from rich.text import Text

from btu.terminal.text import plain

MIN_WIDTH = 80  # columns; on a narrower terminal lines wrap, where rich would cut numbers


class Terminal(Console):
    """A console that takes every text as it is: no markup, no emoji codes, nothing hidden.

    Args:
        min_width: columns that a table may take where the terminal has fewer.
        settings: of rich's `Console`.
    """

    def __init__(self, min_width: int = MIN_WIDTH, **settings: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **settings)
        if self.width < min_width:
            self.width = min_width

    def render_str(self, text: str, **settings: Any) -> Text:
        """The text as it is, also that of a table's cells, title and caption."""
        return super().render_str(plain(text, keep="\n"), **settings)

    def say(self, line: str) -> None:
        """Print one line, however long it is."""
        self.print(Text(plain(line)), soft_wrap=True)


class LineFormatter(logging.Formatter):
    """Each message on one line, so that no text can pass for another message; then its trace."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        record.message = plain(record.message, keep="\t")
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:
        """The trace of a record, in its lines."""
        return plain(super().formatException(ei), keep="\n")


def say_error(sentence: str) -> None:
    """Print the sentence of an error on standard error."""
    print(f"error: {plain(sentence)}", file=sys.stderr)


def trace_of(error: BaseException) -> str:
    """The trace of an error, in its lines."""
    return plain("".join(traceback.format_exception(error)), keep="\n")
