"""What can be told of a sentence from its words alone: where a verb stands, what is a clause."""

from __future__ import annotations

from btu.rewriting.base import Line
from btu.rewriting.words import (
    ADVERBS,
    AUXILIARIES,
    BASE_OF,
    CONJUNCTIONS,
    DETERMINERS,
    NOUN_LIKE_FORMS,
    NOUN_LIKE_VERBS,
    OBJECTS,
    PAST_VERBS,
    POSSESSIVES,
    PREPOSITIONS,
    SUBJECTS,
    SURE_VERBS,
    bare_form,
)

PLURALS = frozenset(["these", "those", "i", "you", "we", "they", "ones"])
_BEFORE_IT = CONJUNCTIONS | frozenset(["", ",", ".", "--", "that", "once", "after", "before"])
_BEFORE_IS = SUBJECTS | frozenset(["here", "what", "where", "how", "he", "she"])


def word_at(line: Line, index: int) -> str:
    """The word in lower case; empty outside of the text."""
    return line.lower[index] if 0 <= index < len(line) else ""


def verb_in_s(line: Line, index: int) -> str | None:
    """The verb of which the word is the third person: `make` of `makes`; None of other words."""
    word, before = line.lower[index], word_at(line, index - 1)
    if word in BASE_OF:
        return BASE_OF[word] if _is_known_verb_in_s(line, index) else None
    regular = len(word) > 4 and word.endswith("s") and not word.endswith(("ss", "us", "is", "ys"))
    is_subject = before in ("he", "she", "who") or (
        before == "it" and word_at(line, index - 2) in _BEFORE_IT
    )
    return bare_form(word) if regular and is_subject and word.isalpha() else None


def is_verb_in_s(line: Line, index: int) -> bool:
    """Whether the word is a verb of the third person, such as `makes`, and no plural noun."""
    return verb_in_s(line, index) is not None


def _is_known_verb_in_s(line: Line, index: int) -> bool:
    word = line.lower[index]
    before, after = word_at(line, index - 1), word_at(line, index + 1)
    if before in DETERMINERS - SUBJECTS or before in POSSESSIVES or before in PREPOSITIONS:
        return False
    if before in PLURALS:
        return False
    if word not in NOUN_LIKE_FORMS or before in SUBJECTS or before in ADVERBS:
        return True
    if before.endswith("ed"):
        return False
    followed = after in DETERMINERS or after in OBJECTS or after in ("as", "like", "up", "off")
    return followed or after.endswith("ly") or before.endswith("ly")


def is_clitic_is(line: Line, index: int) -> bool:
    """Whether a `'s` stands for `is` and not for a possessive."""
    return line.lower[index] == "'s" and word_at(line, index - 1) in _BEFORE_IS


def is_finite_verb(line: Line, index: int) -> bool:
    """Whether a clause may be built on the word."""
    word, before = line.lower[index], word_at(line, index - 1)
    if word in AUXILIARIES or word in PAST_VERBS:
        return before != "to" and before not in DETERMINERS - SUBJECTS
    if is_clitic_is(line, index) or is_verb_in_s(line, index):
        return True
    if word in SURE_VERBS:
        plural = before.endswith("s") and len(before) > 3 and word not in NOUN_LIKE_VERBS
        return plural or before in ("i", "you", "we", "they", "who", "people")
    return word.endswith("ed") and len(word) > 4 and before in SUBJECTS


def finite_verb(line: Line, start: int, end: int) -> int | None:
    """The first finite verb of this part that has something before it; None where there is none."""
    return next((i for i in range(start + 1, end) if is_finite_verb(line, i)), None)


def opens_clause(line: Line, index: int) -> bool:
    """Whether a subject may begin here."""
    word = word_at(line, index)
    return word in SUBJECTS or word in DETERMINERS
