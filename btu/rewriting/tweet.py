"""Tweets: short forms of common words, dropped letters, an opening or a hashtag.

Words that judge stay as they are. Intensity and openings as in Bible English.
"""

from __future__ import annotations

from collections.abc import Mapping

from btu.rewriting.base import Found, Line, Rewriting, Swap, with_changes
from btu.rewriting.grammar import word_at
from btu.rewriting.words import DETERMINERS, SURE_VERBS

OPENINGS = ("tbh", "ok so", "ngl", "rn im like", "fyi", "imo", "so yeah", "hey tl ,")
HASHTAGS = ("#justsaying", "#mytwocents", "#thread", "#tbt", "#nowthis", "#hottake", "#fyp")
WORDS: Mapping[str, str] = {
    "you": "u", "your": "ur", "are": "r", "'re": "r", "for": "4", "before": "b4", "because": "bc",
    "with": "w/", "without": "w/o", "people": "ppl", "and": "&", "though": "tho", "although": "tho",
    "to": "2", "too": "2", "please": "pls", "thanks": "thx", "about": "abt", "very": "soooo",
    "really": "rly", "the": "da", "that": "dat", "this": "dis", "what": "wat", "something": "smth",
    "someone": "sum1", "everyone": "every1", "anyone": "any1", "see": "c", "why": "y", "be": "b",
    "tonight": "2nite", "today": "2day", "tomorrow": "2moro", "minutes": "mins", "between": "btwn",
    "much": "mch", "probably": "prolly", "never": "nvr", "know": "kno", "should": "shld",
    "would": "wld", "could": "cld", "have": "hav", "from": "frm", "just": "jus", "them": "em",
    "there": "ther", "when": "wen", "movie": "movieee", "film": "filmmm", "is": "iz",
}  # fmt: skip
PAIRS: Mapping[tuple[str, str], str] = {
    ("going", "to"): "gonna", ("want", "to"): "wanna", ("got", "to"): "gotta",
    ("kind", "of"): "kinda", ("sort", "of"): "sorta", ("out", "of"): "outta", ("a", "lot"): "alot",
    ("do", "n't"): "dont", ("does", "n't"): "doesnt", ("is", "n't"): "isnt", ("wo", "n't"): "wont",
    ("ca", "n't"): "cant", ("did", "n't"): "didnt", ("it", "'s"): "its", ("that", "'s"): "thats",
    ("i", "'m"): "im", ("i", "'ve"): "ive", ("you", "'re"): "ur", ("you", "'ll"): "ull",
}  # fmt: skip

NO_FORM_OF_A_VERB = frozenset(
    [
        "something",
        "anything",
        "nothing",
        "everything",
        "during",
        "morning",
        "evening",
        "spring",
        "string",
    ]
)


class Tweet:
    """Rewrites a text as a tweet.

    Args:
        intensity: share of the possible changes that are made, in (0, 1].
        openings: share of the texts that get an opening, and of those that get a hashtag, which a
            text without another change always does.
    """

    def __init__(self, intensity: float, openings: float) -> None:
        self.intensity, self.openings = intensity, openings

    def rewrite(self, line: Line) -> Rewriting:
        """The text as people type on a phone; at least one thing changes."""
        draws = line.draws("tweet")
        pieces = with_changes(line, _at, draws, self.intensity)
        changed = any(isinstance(piece, Swap) for piece in pieces)
        body = pieces.index(last) + 1 if (last := line.body() - 1) in pieces else len(pieces)
        if draws.random() < self.openings or not changed:  # before the stop, as typing stays
            pieces.insert(body, HASHTAGS[int(draws.random() * len(HASHTAGS))])
        if draws.random() < self.openings:
            pieces = [*OPENINGS[int(draws.random() * len(OPENINGS))].split(), *pieces]
        return Rewriting(line.join(pieces), is_generic=not changed)


def _at(line: Line, at: int) -> Found:
    """What stands in place of the words from this index on."""
    word, before, after = line.lower[at], word_at(line, at - 1), word_at(line, at + 1)
    if (word, after) in PAIRS and (word != "going" or word_at(line, at + 2) in SURE_VERBS | {"be"}):
        return PAIRS[word, after], 2
    if word in ("for", "to") and not after[:1].isalpha():
        return None
    if word == "very" and before in DETERMINERS - {"a", "some"}:
        return None
    if word.endswith("ing") and len(word) > 5 and word not in NO_FORM_OF_A_VERB:
        return f"{word[:-1]}'", 1
    return (WORDS[word], 1) if word in WORDS else None
