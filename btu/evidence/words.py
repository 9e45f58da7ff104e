"""Whole words as they are written, and which texts hold which words and pairs of words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import regex
from scipy.sparse import csc_array

from btu.types import BoolArray, IntArray

START, END = "⟨start⟩", "⟨end⟩"  # of a text; no text holds one, since brackets are words there
LONGEST = 30  # words of a phrase
LETTERS = r"[\p{L}\p{N}\p{M}\p{Cf}_]"  # \p{Cf}: invisible characters inside a word belong to it
WORD = regex.compile(
    r"(?=\p{Extended_Pictographic})\X|\p{RI}\p{RI}|[0-9#*]\ufe0f?\u20e3"  # an emoji, flag, keycap
    rf"|{LETTERS}+(?:['’.\-]{LETTERS}+)*"
    r"|(\p{P}|\p{S})\1*+"  # a run of one sign: ..., !!, ##
    r"|(?![\s\x1c-\x1f])\X"  # the last four are blanks to Python alone
)

Words = tuple[str, ...]  # one after the other; the first may be START, the last END


def split_words(text: str, fold: bool) -> list[str]:
    """The words of a text, in order: runs of letters, of one sign, and single symbols.

    An emoji is a word, however many code points it has; letters of another alphabet make another
    word. Blanks are left out.

    Args:
        text: as written.
        fold: whether capital and small letters are one.
    """
    return [_fold(match.group(), fold) for match in WORD.finditer(text)]


def _fold(word: str, fold: bool) -> str:
    return word.lower() if fold else word


def find_terms(words: Sequence[str]) -> list[str]:
    """The words of one text and its pairs of neighbours, its ends included, joined by blanks."""
    marked = [START, *words, END]
    return [*words, *(f"{one} {other}" for one, other in pairwise(marked))]


@dataclass(frozen=True)
class TermIndex:
    """Which texts hold which terms; a term is a word, or two neighbours, and counts once a text."""

    terms: tuple[Words, ...]  # F
    holds: Any  # csc_array (N, F) of 0 and 1

    @cached_property
    def places(self) -> dict[Words, int]:
        """The column of each term."""
        return {term: place for place, term in enumerate(self.terms)}

    @cached_property
    def words(self) -> BoolArray:
        """Which terms are one word; pairs repeat what their words say. (F,)"""
        return np.array([len(term) == 1 for term in self.terms], dtype=np.bool_)

    def count(self, rows: IntArray) -> IntArray:
        """How many of these texts hold each term. (F,)"""
        times = np.bincount(rows, minlength=self.holds.shape[0])
        return np.asarray(times @ self.holds, dtype=np.int64).ravel()

    def rows_of(self, column: int) -> IntArray:
        """The texts that hold a term, in order."""
        start, end = self.holds.indptr[column : column + 2]
        return np.sort(self.holds.indices[start:end]).astype(np.int64)


def index_terms(texts: Sequence[Sequence[str]], least: int) -> TermIndex:
    """Index texts that are split into words.

    Args:
        texts: words of each, in order.
        least: a term that fewer texts hold is left out.
    """
    from sklearn.feature_extraction.text import CountVectorizer

    vectorizer = CountVectorizer(analyzer=find_terms, binary=True, min_df=least)
    try:
        holds = vectorizer.fit_transform(texts)
    except ValueError:  # no term is frequent enough
        return TermIndex((), csc_array((len(texts), 0), dtype=np.int64))
    terms = tuple(tuple(term.split(" ")) for term in vectorizer.get_feature_names_out())
    return TermIndex(terms, csc_array(holds))


def find_phrase(marked: Sequence[str], phrase: Words) -> int | None:
    """Where a phrase begins among the words of a text between START and END; None: nowhere."""
    size = len(phrase)
    for start in range(len(marked) - size + 1):
        if marked[start] == phrase[0] and tuple(marked[start : start + size]) == phrase:
            return start
    return None


def grow_phrase(texts: Sequence[Sequence[str]], term: Words) -> Words:
    """The longest phrase around a term that more than half of the texts with the term hold.

    Its first word is START, or its last END, where it stands at the start or the end of most.

    Args:
        texts: words of the texts that hold the term.
        term: one or two words.
    """
    marked, phrase = [[START, *words, END] for words in texts], term
    while len(phrase) < LONGEST:
        starts = [find_phrase(words, phrase) for words in marked]
        found = [
            (words, start) for words, start in zip(marked, starts, strict=True) if start is not None
        ]
        before = Counter(words[start - 1] for words, start in found if start)
        after = Counter(
            words[start + len(phrase)]
            for words, start in found
            if words[start + len(phrase) - 1] != END
        )
        (word_before, times_before), (word_after, times_after) = (
            _most_common(before),
            _most_common(after),
        )
        if max(times_before, times_after) <= len(texts) / 2:
            break
        phrase = (word_before, *phrase) if times_before >= times_after else (*phrase, word_after)
    return phrase


def trim_phrase(texts: Sequence[Sequence[str]], phrase: Words) -> Words:
    """The phrase without signs at its ends, such as a full stop, that not all of its texts have.

    Args:
        texts: words of the texts that hold the term it was grown from.
        phrase: as `grow_phrase` gives it.
    """
    marked = [[START, *words, END] for words in texts]

    def count(some: Words) -> int:
        return sum(find_phrase(words, some) is not None for words in marked)

    while len(phrase) > 1:
        ends = (phrase[1:], phrase[0]), (phrase[:-1], phrase[-1])
        shorter = (rest for rest, end in ends if _is_sign(end) and count(rest) > count(phrase))
        if (found := next(shorter, None)) is None:
            break
        phrase = found
    return phrase


def _is_sign(word: str) -> bool:
    return word not in (START, END) and not any(char.isalnum() for char in word)


def _most_common(words: Counter[str]) -> tuple[str, int]:
    return words.most_common(1)[0] if words else ("", 0)


def insert_phrase(text: str, phrase: Words, rng: np.random.Generator) -> str:
    """The text with a phrase before a random word or after the last, or at its own place."""
    parts = text.split()
    place = int(rng.integers(len(parts), endpoint=True))
    place = 0 if phrase[0] == START else len(parts) if phrase[-1] == END else place
    inner = [word for word in phrase if word not in (START, END)]
    return " ".join([*parts[:place], *inner, *parts[place:]])


def mark_words(text: str, phrases: Sequence[Words], fold: bool) -> list[tuple[int, int]]:
    """Where phrases stand in a text: starts and ends in characters, in order, none overlapping."""
    spans = [match.span() for match in WORD.finditer(text)]
    words = [START, *(_fold(text[start:end], fold) for start, end in spans), END]
    marked = np.zeros(len(words), dtype=np.bool_)
    for phrase in phrases:
        for start in range(len(words) - len(phrase) + 1):
            marked[start : start + len(phrase)] |= (
                tuple(words[start : start + len(phrase)]) == phrase
            )
    found: list[tuple[int, int]] = []
    for word, (start, end) in enumerate(spans, 1):
        goes_on = word > 1 and marked[word - 1]
        if marked[word]:
            found.append((found.pop()[0] if goes_on else start, end))
    return found


def remove_phrase(text: str, phrase: Words, fold: bool) -> str:
    """The text without a phrase, wherever it stands; all other characters stay."""
    parts, at = [], 0
    for start, end in mark_words(text, (phrase,), fold):
        parts.append(text[at:start])
        at = end
    return "".join([*parts, text[at:]])
