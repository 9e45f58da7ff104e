"""What the built-in rewriters share: the interface, and words with the blanks before them."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from btu.data.formats import CLITICS, begins_with_capital, is_spaced, is_tight
from btu.errors import shorten
from btu.rewriting.words import COMMON_WORDS
from btu.seeding import stream_seed

VERSION = 3  # of all built-in rewriters: raise it when one writes otherwise
_TOKEN = re.compile(
    rf"(?:{CLITICS})\b|[@#]?[^\W_]+(?:[-./@:'’_]+[^\W_]+)*|\.{{2,}}|-{{2,}}|``|''|\S", re.IGNORECASE
)
_CLITIC_AT_END = re.compile(rf"(?<=.)(?:{CLITICS})$", re.IGNORECASE)
CLOSING = frozenset([",", ".", ";", ":", "!", "?", "...", ")", "]", "}", "%"])
OPENING = frozenset(["(", "[", "{", "$"])
ABBREVIATIONS = frozenset(
    "mr mrs ms dr prof rev gov rep sen gen lt col sgt st inc corp co ltd vs jr sr no u.s u.k u.n "  # noqa: SIM905
    "e.u a.m p.m etc jan feb mar apr jun jul aug sep sept oct nov dec".split()
)
LEAST_WORDS = 4  # of a sentence that is cut off from those after it
MAX_WORDS = 1000  # of a sentence, as a text may have no stop: rules try each place with each
MAX_SOURCE = 7  # words of a news agency and a place before a dash
N_T = ("n't", "n’t")
NUM_SHOWN = 3


class Rewriting(NamedTuple):
    """A rewritten text."""

    text: str
    is_generic: bool = False  # nothing but stock words were added


class Swap(NamedTuple):
    """New words in place of those of the text from `start` to before `end`, spaced as they were."""

    words: str
    start: int
    end: int


Found = tuple[str, int] | None  # new words, and how many of the text they replace
Piece = str | int | Swap  # new words, a word of the text by its index, or the one for the other


class Rules(Protocol):
    """A rewriter by rules: the same text always gives the same result."""

    def rewrite(self, line: Line) -> Rewriting:
        """The text in another form; how it is typed stays as it is."""
        ...


class Line:
    """A text as words, each with the blanks before it, and how its author types.

    `lower` has the words in lower case. New words get the text's own spacing and capital.

    Args:
        text: what is taken apart.
        spaced: whether blanks stand before punctuation, where the text itself does not show it.
    """

    def __init__(self, text: str, spaced: bool) -> None:
        self.text = text
        self.words: list[str] = []
        self.spaces: list[str] = []
        end = 0
        for match in _TOKEN.finditer(text):
            space, word = text[end : match.start()], match[0]
            end = match.end()
            clitic = _CLITIC_AT_END.search(word)
            cut = clitic.start() if clitic else len(word)
            for part in filter(None, (word[:cut], word[cut:])):
                self.words.append(part)
                self.spaces.append(space)
                space = ""
        self.lower = [word.lower().replace("’", "'") for word in self.words]
        self.capital = begins_with_capital(text)
        self.spaced = is_spaced(text) or (spaced and not is_tight(text))

    def __len__(self) -> int:
        return len(self.words)

    def first_sentence(self) -> tuple[Line, str]:
        """The first sentence or its first 1,000 words, and the text after it as it is."""
        end = 0
        for i, word in enumerate(self.words[:-2]):
            end += len(self.spaces[i]) + len(word)
            ends = word in (".", "!", "?") and self.spaces[i + 1]
            abbreviated = self.lower[i - 1] in ABBREVIATIONS or len(self.lower[i - 1]) == 1
            stops = ends and i >= LEAST_WORDS and not abbreviated
            if (stops and not self.words[i + 1].isdigit()) or i + 1 == MAX_WORDS:
                return Line(self.text[:end], self.spaced), self.text[end:]
        return self, ""

    def after_source(self) -> tuple[str, Line]:
        """What names a news agency or a place, such as `ap - `, and the text after it."""
        end = 0
        for i, word in enumerate(self.words[:MAX_SOURCE]):
            end += len(self.spaces[i]) + len(word)
            if self.lower[i] in COMMON_WORDS:
                break
            if word in ("-", "--") and i and self.spaces[i + 1 : i + 2] == [" "]:
                rest = self.text[end:].lstrip()
                return self.text[: len(self.text) - len(rest)], Line(rest, self.spaced)
        return "", self

    def without_first(self) -> Line:
        """The text after its first word."""
        cut = self.text[len(self.spaces[0]) + len(self.words[0]) :].lstrip()
        return Line(_capitalized(cut) if self.capital else cut, self.spaced)

    def draws(self, purpose: str) -> random.Random:
        """Random numbers that depend on the text and the purpose alone."""
        return random.Random(stream_seed(0, purpose, self.text))

    def body(self) -> int:
        """The index after the last word: where the closing punctuation begins."""
        end = len(self.words)
        while end and not any(map(str.isalnum, self.words[end - 1])):
            end -= 1
        return end

    def join(self, pieces: Sequence[Piece]) -> str:
        """Put words together.

        The blanks between two neighbours of the text stay as they were. A common word that was
        the first and is no longer loses its capital, the new first word gets it.
        """
        out: list[str] = []
        before, expected = "", 0  # the last word put, and the word of the text that came after it
        for piece in pieces:
            word, start, end = self._resolve(piece, is_first=not out)
            if not out:
                space = ""
            elif start >= 0 and start == expected:
                space = self.spaces[start] or _needed(before, word)
            else:
                space = self._usual(before, word)
            out += [space, word]
            before, expected = word, end
        text = "".join(out)
        return _capitalized(text) if self.capital else text

    def _resolve(self, piece: Piece, is_first: bool) -> tuple[str, int, int]:
        """The words of a piece, and the part of the text it stands for; -1 where for none."""
        if isinstance(piece, str):
            return piece, -1, -1
        if isinstance(piece, Swap):
            old, new = self.words[piece.start], piece.words
            if len(old) > 1 and old.isupper():
                new = new.upper()
            elif piece.start > 0 and old[:1].isupper():
                new = _capitalized(new)
            return new, *piece[1:]
        moved = piece == 0 and not is_first and self.lower[0] in COMMON_WORDS
        return self.lower[0] if moved else self.words[piece], piece, piece + 1

    def _usual(self, left: str, word: str) -> str:
        """The blank between two words that were no neighbours."""
        touch = word in CLOSING or word[0] in "'’" or left in OPENING
        return "" if touch and not self.spaced else " "


def with_changes(
    line: Line, change: Callable[[Line, int], Found], draws: random.Random, intensity: float
) -> list[Piece]:
    """The words of a line, each change that is found at a word made with this probability."""
    pieces: list[Piece] = []
    at = 0
    while at < len(line):
        found = change(line, at)
        used = 1
        if found is not None and draws.random() < intensity:
            words, used = found
            pieces.append(Swap(words, at, at + used))
        else:
            pieces.append(at)
        at += used
    return pieces


def _needed(left: str, word: str) -> str:
    """A blank where two words that touched would else become one: `it` and `is` for `it's`."""
    runs_together = left[-1:].isalnum() and word[:1].isalnum() and word.lower() not in N_T
    return " " if runs_together else ""


def rewrite_all(rules: Rules, texts: Sequence[str], like: Sequence[str]) -> list[Rewriting]:
    """Each text rewritten; one that does not show its spacing is typed as most of `like` are."""
    spaced = sum(map(is_spaced, like)) > sum(map(is_tight, like))
    lines = (Line(text, spaced) for text in texts)
    return [rules.rewrite(line) if line.body() else Rewriting(line.text) for line in lines]


def shown_pairs(before: Sequence[str], after: Sequence[str]) -> str:
    """A few texts with what became of them, for an error's sentence."""
    pairs = zip(before[:NUM_SHOWN], after[:NUM_SHOWN], strict=True)
    return "; ".join(f"{shorten(one)!r} -> {shorten(other)!r}" for one, other in pairs)


def _capitalized(text: str) -> str:
    for place, character in enumerate(text):
        if character.isalpha():
            return text[:place] + character.upper() + text[place + 1 :]
    return text
