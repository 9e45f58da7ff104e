"""Bible English: thou and thee, hath and maketh, unto, an opening, an inverted first clause.

Content words stay as they are, so that what a text says, and how it judges, stays too. Each
possible change is made with the probability `intensity`, an opening set before with the
probability `openings`, both drawn from the text itself.
"""

from __future__ import annotations

from collections.abc import Mapping

from btu.rewriting.base import Found, Line, Piece, Rewriting, Swap, with_changes
from btu.rewriting.grammar import finite_verb, is_clitic_is, verb_in_s, word_at
from btu.rewriting.words import (
    ADVERBS,
    AUXILIARIES,
    BASE_OF,
    CONJUNCTIONS,
    DETERMINERS,
    NOUN_LIKE_VERBS,
    OBJECTS,
    POSSESSIVES,
    PREPOSITIONS,
    QUESTION_WORDS,
    SUBJECTS,
    SURE_VERBS,
    archaic,
)

OPENINGS = (  # before any text
    "verily ,",
    "behold ,",
    "lo ,",
    "verily i say unto thee ,",
    "and behold ,",
    "hearken ye ,",
)
TOLD = ("and it came to pass that", "and lo , it came to pass that")  # before a clause
THOU: Mapping[str, str] = {
    "are": "art", "'re": "art", "were": "wert", "have": "hast", "'ve": "hast", "had": "hadst",
    "do": "dost", "did": "didst", "will": "shalt", "'ll": "shalt", "would": "wouldst",
    "'d": "wouldst", "can": "canst", "could": "couldst", "shall": "shalt", "should": "shouldst",
    "may": "mayest", "might": "mightest", "wo": "shalt", "ca": "canst",
}  # fmt: skip
AUXILIARY: Mapping[str, str] = {
    "has": "hath", "does": "doth", "will": "shall", "'ll": "shall", "'re": "are", "'ve": "have",
    "'m": "am", "wo": "shall", "ca": "can", "ai": "is", "sha": "shall", "cannot": "can not",
}  # fmt: skip
WORDS: Mapping[str, str] = {
    "between": "betwixt", "among": "amongst", "perhaps": "peradventure", "maybe": "peradventure",
    "often": "oft", "because": "forasmuch as", "very": "mightily", "really": "verily",
    "indeed": "verily", "yes": "yea", "also": "likewise", "why": "wherefore",
    "therefore": "wherefore", "before": "ere", "nothing": "nought", "anything": "aught",
    "everyone": "every man", "everybody": "every man", "someone": "a certain man",
    "somebody": "a certain man", "nobody": "no man", "many": "manifold", "people": "folk",
    "guy": "fellow", "kids": "little ones", "children": "little ones", "watch": "behold",
    "watching": "beholding", "seen": "beheld", "while": "whilst", "until": "till",
    "despite": "notwithstanding", "about": "concerning", "toward": "towards", "yourself": "thyself",
    "yours": "thine", "always": "evermore", "forever": "for ever", "but": "yet",
    "however": "howbeit", "although": "albeit", "though": "albeit", "on": "upon",
    "its": "his", "like": "like unto",
}  # fmt: skip
OF_IT: Mapping[str, str] = {
    "of": "thereof", "in": "therein", "with": "therewith", "to": "thereto", "by": "thereby",
    "from": "therefrom", "for": "therefor", "on": "thereon",
}  # fmt: skip
VERBS = SURE_VERBS | NOUN_LIKE_VERBS
NOT_BEFORE_A_PREPOSITION = SUBJECTS | AUXILIARIES | {"to", "not", "n't"}
VOWELS = ("a", "e", "i", "o", "u")
NOT_INVERTED = PREPOSITIONS | CONJUNCTIONS | {"that", "to", "who", "what"}
MAX_INVERTED = 8  # words of a clause that is turned round


class Bible:
    """Rewrites a text as Bible English.

    Args:
        intensity: share of the possible changes that are made, in (0, 1].
        openings: share of the texts that get an opening; a text without another change always does.
    """

    def __init__(self, intensity: float, openings: float) -> None:
        self.intensity, self.openings = intensity, openings

    def rewrite(self, line: Line) -> Rewriting:
        """The text as an old translation has it; generic where it got but an opening."""
        draws = line.draws("bible")
        pieces = with_changes(line, _at, draws, self.intensity)
        inverted = _inverted(line, pieces)
        if inverted is not None and draws.random() < self.intensity:
            pieces = inverted
        changed = any(not isinstance(piece, int) for piece in pieces)
        begins_anew = line.lower[0] not in CONJUNCTIONS
        if (draws.random() < self.openings and begins_anew) or not changed:
            pieces = [*self._opening(line, draws.random()).split(), *pieces]
        return Rewriting(line.join(pieces), is_generic=not changed)

    def _opening(self, line: Line, draw: float) -> str:
        first, _ = line.first_sentence()
        is_clause = finite_verb(first, 0, len(first)) is not None
        asks = "?" in first.lower or first.lower[0] in QUESTION_WORDS | AUXILIARIES
        choice = TOLD + OPENINGS if is_clause and not asks else OPENINGS
        return choice[int(draw * len(choice))]


def _at(line: Line, at: int) -> Found:
    """What stands in place of the words from this index on."""
    for rule in (_negation, _thou, _you, _of_it, _unto, _verb, _word):
        found = rule(line, at)
        if found is not None:
            return found
    return None


def _negation(line: Line, at: int) -> Found:
    """`do n't know` -> `know not`, `does n't see it` -> `seeth it not`, `wo n't` -> `shall not`."""
    word, after, verb = line.lower[at], word_at(line, at + 1), word_at(line, at + 2)
    if after in ("n't", "not") and word in ("do", "does") and verb in VERBS:
        thou = word_at(line, at - 1) == "you"
        form = archaic(verb, "eth" if word == "does" else "est") if word == "does" or thou else verb
        if word_at(line, at + 3) in ("it", "him", "them", "me", "us"):
            return f"{form} {line.words[at + 3]} not", 4
        return f"{form} not", 3
    return ("not", 1) if word == "n't" else None


def _thou(line: Line, at: int) -> Found:
    """A verb after `you`: `you know` -> `thou knowest`, `are you` -> `art thou`."""
    word = line.lower[at]
    after_you = word_at(line, at - 1) == "you"
    if word in THOU and (after_you or word_at(line, at + 1) == "you"):
        return THOU[word], 1
    if after_you and word in SURE_VERBS and word_at(line, at - 2) not in PREPOSITIONS:
        return archaic(word, "est"), 1
    return None


def _you(line: Line, at: int) -> Found:
    """`you` as subject or object, and `your`."""
    word, before, after = line.lower[at], word_at(line, at - 1), word_at(line, at + 1)
    if word == "your":
        return ("thine" if after.startswith(VOWELS) else "thy"), 1
    if word != "you":
        return None
    acts = after in THOU or after in SURE_VERBS or after in ADVERBS
    is_object = before in PREPOSITIONS or (before in VERBS | BASE_OF.keys() and not acts)
    return ("thee" if is_object else "thou"), 1


def _of_it(line: Line, at: int) -> Found:
    """`of it` at the end of a phrase -> `thereof`."""
    if line.lower[at] in OF_IT and word_at(line, at + 1) == "it":
        following = word_at(line, at + 2)
        if not following or not following[0].isalnum():
            return OF_IT[line.lower[at]], 2
    return None


def _unto(line: Line, at: int) -> Found:
    """`to` before a noun or pronoun -> `unto`."""
    after = word_at(line, at + 1)
    is_noun = after in DETERMINERS or after in OBJECTS or after in POSSESSIVES
    return ("unto", 1) if line.lower[at] == "to" and is_noun else None


def _verb(line: Line, at: int) -> Found:
    """`has` -> `hath`, `makes` -> `maketh`, `it 's` -> `it is`."""
    word = line.lower[at]
    if word in AUXILIARY and word_at(line, at - 1) not in DETERMINERS - {"this", "that"}:
        return AUXILIARY[word], 1
    if is_clitic_is(line, at):
        had = word_at(line, at + 1) in ("been", "had", "got", "become")
        return ("hath" if had else "is"), 1
    verb = verb_in_s(line, at)
    return None if verb is None else (archaic(verb, "eth"), 1)


def _word(line: Line, at: int) -> Found:
    """Words that have an old form."""
    word, before, after = line.lower[at], word_at(line, at - 1), word_at(line, at + 1)
    if word == "my" and after.startswith(VOWELS):
        return "mine", 1
    if word == "because" and after == "of":
        return "by reason of", 2
    return (WORDS[word], 1) if word in WORDS and _has_its_sense(word, before, after) else None


def _has_its_sense(word: str, before: str, after: str) -> bool:
    """Whether a word means here what its old form means."""
    noun_follows = after in DETERMINERS or after in OBJECTS or after in POSSESSIVES
    checks: Mapping[str, bool] = {
        "before": after[:1].isalpha(),  # not `seen it before`
        "about": noun_follows,  # not `about ten`, `about to end`
        "on": noun_follows,  # not `drags on`, `on to`, `on video`
        "many": before not in ("too", "so", "how", "as") and after not in ("a", "an"),
        "but": before in ("", ",", ";", "--"),  # not `nothing but`
        "very": before not in DETERMINERS - {"a", "some"},  # not `the very least`
        "while": before not in DETERMINERS,  # not `for a while`
        "watch": before in ("to", "you", "i", "we", "they", "not", "n't", "and"),  # not `a watch`
        "like": after in DETERMINERS and before not in NOT_BEFORE_A_PREPOSITION,  # not `i like the`
        "children": after != "'s",
        "people": after != "'s",
        "guy": after != "'s",
    }
    return checks.get(word, True)


def _inverted(line: Line, pieces: list[Piece]) -> list[Piece] | None:
    """`it is a fine film` -> `a fine film is it`, where the first clause is as short as that."""
    if word_at(line, 0) not in ("it", "this", "that") or pieces[:1] != [0]:
        return None
    if len(pieces) < 2 or _word_of(line, pieces[1]) not in ("is", "was"):
        return None
    end = next((i for i, piece in enumerate(pieces) if _is_mark(line, piece)), len(pieces))
    said = [line.lower[i] for i in pieces[2:end] if isinstance(i, int)]
    if not 3 <= end <= MAX_INVERTED or any(word in NOT_INVERTED for word in said):
        return None
    if end < len(pieces) and _word_of(line, pieces[end]) == ",":
        return None  # `it is a square , sentimental drama`
    if finite_verb(line, 1, end) is not None:
        return None
    return [*pieces[2:end], _word_of(line, pieces[1]), line.lower[0], *pieces[end:]]


def _word_of(line: Line, piece: Piece) -> str:
    if isinstance(piece, Swap):
        return piece.words
    return line.words[piece] if isinstance(piece, int) else piece


def _is_mark(line: Line, piece: Piece) -> bool:
    return not any(map(str.isalnum, _word_of(line, piece)))
