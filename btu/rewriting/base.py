"""What the built-in rewriters share: the interface, and words with the blanks before them."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from btu.data.formats import CLITICS, begins_with_capital, is_spaced, is_tight
from btu.rewriting.words import COMMON_WORDS
from btu.seeding import stream_seed

_TOKEN = re.compile(
    rf"(?:{CLITICS})\b|[@#]?[^\W_]+(?:[-./@:'’_]+[^\W_]+)*|\.{{2,}}|-{{2,}}|``|''|\S", re.IGNORECASE
)
_CLITIC_AT_END = re.compile(rf"(?<=.)(?:{CLITICS})$", re.IGNORECASE)
CLOSING = frozenset([",", ".", ";", ":", "!", "?", "...", ")", "]", "}", "%"])
OPENING = frozenset(["(", "[", "{", "$"])
NUM_SHOWN = 3


class Rewriting(NamedTuple):
    """A rewritten text."""

    text: str
    is_generic: bool = False  # a clause of stock words had to do


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

    def draws(self, purpose: str) -> random.Random:
        """Random numbers that depend on the text and the purpose alone."""
        return random.Random(stream_seed(0, purpose, self.text))

    def body(self) -> int:
        """The index after the last word: where the closing punctuation begins."""
        end = len(self.words)
        while end and not any(map(str.isalnum, self.words[end - 1])):
            end -= 1
        return end

    def join(self, pieces: Sequence[str | int]) -> str:
        """Put words together: a number is a word of this text, a string is a new one.

        The blanks between two neighbours of the text stay as they were. A common word that was
        the first and is no longer loses its capital, the new first word gets it.
        """
        out: list[str] = []
        before: str | int | None = None
        for piece in pieces:
            if isinstance(piece, int):
                moved = piece == 0 and before is not None and self.lower[0] in COMMON_WORDS
                word = self.lower[0] if moved else self.words[piece]
                was_next = isinstance(before, int) and piece == before + 1
                space = self.spaces[piece] if was_next else self._space(before, word)
            else:
                word, space = piece, self._space(before, piece)
            out += [space, word]
            before = piece
        text = "".join(out)
        return _capitalized(text) if self.capital else text

    def _space(self, before: str | int | None, word: str) -> str:
        if before is None:
            return ""
        left = self.words[before] if isinstance(before, int) else before
        if self.spaced:
            return " "
        return "" if word in CLOSING or word[0] in "'’" or left in OPENING else " "


def rewrite_all(rules: Rules, texts: Sequence[str], like: Sequence[str]) -> list[Rewriting]:
    """Each text rewritten; one that does not show its spacing is typed as most of `like` are."""
    spaced = sum(map(is_spaced, like)) > sum(map(is_tight, like))
    return [rules.rewrite(Line(text, spaced)) for text in texts]


def shown_pairs(before: Sequence[str], after: Sequence[str]) -> str:
    """A few texts with what became of them, for an error's sentence."""
    pairs = zip(before[:NUM_SHOWN], after[:NUM_SHOWN], strict=True)
    return "; ".join(f"{_short(one)!r} -> {_short(other)!r}" for one, other in pairs)


def _short(text: str, width: int = 60) -> str:
    return text if len(text) <= width else f"{text[: width - 3]}..."


def _capitalized(text: str) -> str:
    for place, character in enumerate(text):
        if character.isalpha():
            return text[:place] + character.upper() + text[place + 1 :]
    return text
