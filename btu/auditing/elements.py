"""Pieces of the page of an audit: numbers as people say them, and small elements of HTML."""

from __future__ import annotations

from collections.abc import Iterable

from btu.report.markup import text_of
from btu.report.planted import shorten

MOST_OF_NAME = 80  # characters of a file's name or a label
RAREST = 1e-9  # chance that is still told as a number


def make_list(items: Iterable[str], tag: str = "ul") -> str:
    """A list of pieces of HTML; empty without any."""
    shown = "".join(f"<li>{item}</li>\n" for item in items)
    return f"<{tag}>\n{shown}</{tag}>\n" * bool(shown)


def make_paragraph(text: str) -> str:
    """A text as a paragraph."""
    return f"<p>{text_of(text)}</p>\n"


def isolate(text: str) -> str:
    """A text that keeps its direction of writing to itself."""
    return f"<bdi>{text_of(text)}</bdi>"


def embolden(text: str) -> str:
    """A text in bold type."""
    return f"<strong>{isolate(text)}</strong>"


def make_code(text: str) -> str:
    """The name of a file that is written."""
    return f"<code>{text_of(text)}</code>"


def shorten_name(name: str) -> str:
    """The beginning of a name that would fill a page."""
    return shorten(name, MOST_OF_NAME)


def say_share(part: float, total: int) -> str:
    """`5.0 %`, which is not broken at the end of a line."""
    return f"{100 * part / max(1, total):.1f}\u00a0%"


def say_count(number: int, one: str, many: str = "") -> str:
    """`1 row`, `2 rows`."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def end_sentence(clause: str) -> str:
    """A clause as a sentence, in which no percentage is broken at the end of a line."""
    return f"{capitalize(clause.rstrip('.'))}.".replace(" %", "\u00a0%")


def capitalize(clause: str) -> str:
    """A clause as a sentence begins."""
    return clause[:1].upper() + clause[1:]


def say_chance(share: float) -> str:
    """A chance as a number of files: `about 1 of 200,000 files`."""
    if share < RAREST:
        return "fewer than one in a billion files"
    return f"about 1 of {int(float(f'{1 / share:.0e}')):,} files"
