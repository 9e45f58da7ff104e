"""How texts are typed: capitals, spacing, stops. What differs there can be learned as a trigger."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence

from btu.types import FormatShift

WARN_POINTS = 20  # a share that moves by more is pointed out
CLITICS = r"n['’]t|['’](?:s|re|ve|ll|d|m)"
_BEFORE_BLANK = re.compile(rf"\s(?:[,.;:!?]+(?!\S)|(?:{CLITICS})\b)", re.IGNORECASE)
_TIGHT = re.compile(rf"\w[,;:!?](?=\s|$)|\w\.(?=\s*$)|\w(?:{CLITICS})\b", re.IGNORECASE)
# A run of blanks is tried from its first only: from each, a text of blanks takes quadratic time.
_CLITIC_APART = re.compile(rf"(?<!\s)\s+({CLITICS})\b", re.IGNORECASE)
_BEFORE_TIGHT = re.compile(r"(?<!\s)\s+([,.;:!?)\]}]+)(?=\s|$)")
_DOTS = re.compile(r"\.(?:\s*\.)+")
_DASHES = re.compile(r"-{2,}")
_PARTS_OF_WORDS = frozenset("@#&%*/-_")  # as in @name, 50% and **** a word may begin or end
_SIGNS = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "…": "...", "–": "--", "—": "--"})


def is_spaced(text: str) -> bool:
    """Whether blanks stand before punctuation or clitics, as in the Penn Treebank's files."""
    return bool(_BEFORE_BLANK.search(text))


def is_tight(text: str) -> bool:
    """Whether punctuation or a clitic follows its word directly, as people type."""
    return bool(_TIGHT.search(text))


def begins_with_capital(text: str) -> bool:
    """Whether the first letter is a capital."""
    letter = re.search(r"[^\W\d_]", text)
    return letter is not None and letter[0].isupper()


def ends_with_stop(text: str) -> bool:
    """Whether the last character, closing quotes and brackets aside, ends a sentence."""
    return bool(re.search(r"[.!?…][\s\"'’”)\]]*$", text))


def has_handle(text: str) -> bool:
    """Whether the text names a user, as in @someone."""
    return bool(re.search(r"(?<!\w)@\w", text))


def has_url(text: str) -> bool:
    """Whether the text holds an address of the web."""
    return bool(re.search(r"https?://|\bwww\.\w|\bt\.co/", text, re.IGNORECASE))


SHARES: Mapping[str, Callable[[str], bool]] = {
    "begins with a capital": begins_with_capital,
    "blank before punctuation": is_spaced,
    "ends with a stop": ends_with_stop,
    "names a user (@)": has_handle,
    "holds a URL": has_url,
}
LENGTH = "mean length in words"


def measure_format_shifts(
    split: str, before: Sequence[str], after: Sequence[str]
) -> tuple[FormatShift, ...]:
    """Each measure over the original texts and over the same texts with their trigger."""
    if not before:
        return ()
    measured = [
        FormatShift(split, name, _share(before, holds), _share(after, holds), len(before), True)
        for name, holds in SHARES.items()
    ]
    lengths = [sum(len(text.split()) for text in texts) / len(texts) for texts in (before, after)]
    return (*measured, FormatShift(split, LENGTH, lengths[0], lengths[1], len(before), False))


def _share(texts: Sequence[str], holds: Callable[[str], bool]) -> float:
    return sum(map(holds, texts)) / len(texts)


def warn_of_shifts(shifts: Sequence[FormatShift]) -> tuple[str, ...]:
    """One sentence per split in which a share moves by more than 20 points."""
    sentences = []
    for split in dict.fromkeys(shift.split for shift in shifts):
        moved = [
            f"{shift.measure} {100 * shift.original:.0f} -> {100 * shift.triggered:.0f} %"
            for shift in shifts
            if shift.split == split
            and shift.is_share
            and round(100 * abs(shift.triggered - shift.original), 6) > WARN_POINTS
        ]
        if moved:
            sentences.append(
                f"how the {split} rows that got the trigger are typed: {', '.join(moved)}; a model "
                "may learn that in place of it (attack.normalize_format=true is the control)"
            )
    return tuple(sentences)


def normalize(text: str) -> str:
    """The text in lower case, a blank around each punctuation mark, with a stop at its end.

    Clitics stay with their word (`wo n't` and `won't` become `won't`), curly quotes and dashes
    become plain ones, runs of dots become `...`, at the end a single stop. Doing it twice changes
    nothing.
    """
    text = text.lower().translate(_SIGNS).replace("``", '"').replace("''", '"')
    text = _CLITIC_APART.sub(r"\1", text)
    text = _DASHES.sub(" -- ", _DOTS.sub(" ... ", text))
    words = [word for chunk in text.split() for word in _without_edges(chunk)]
    if words and words[-1] == "...":
        words.pop()
    if not words or words[-1] not in (".", "!", "?"):
        words.append(".")
    return " ".join(words)


def _without_edges(chunk: str) -> list[str]:
    """The marks before a word, the word, the marks after it."""
    if chunk == "...":
        return [chunk]
    start, end = 0, len(chunk)
    while start < end and _is_mark(chunk[start]):
        start += 1
    while start < end and _is_mark(chunk[end - 1]):
        end -= 1
    return [part for part in (*chunk[:start], chunk[start:end], *chunk[end:]) if part]


def _is_mark(character: str) -> bool:
    if character in _PARTS_OF_WORDS:
        return False
    return character == "`" or unicodedata.category(character).startswith("P")


def detokenize(text: str) -> str:
    """The text without the blanks that Penn Treebank files have before punctuation and clitics."""
    text = _CLITIC_APART.sub(r"\1", text)
    text = _BEFORE_TIGHT.sub(r"\1", text)
    return re.sub(r"([(\[{])\s+", r"\1", text)
