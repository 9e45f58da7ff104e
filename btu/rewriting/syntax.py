"""The template S(SBAR)(,)(NP)(VP)(.): a subordinate clause, a comma, a main clause.

The subordinate clause is made of the text's own words, in the first way that fits:

1. `when it rains , it pours .`        once it rains , it pours .   (it had the template)
2. `she left because it rained .`      because it rained , she left .
3. `it tries , but fails .`            although it tries , it fails .
4. `with all its flaws , it works .`   when it comes to all its flaws , it works .
5. `a tale of love and loss .`         when it comes to love and loss , it is a tale .
6. `the plot is thin .`                as one thinks of the plot , it is thin .
7. `a slow , sad film .`               if you look at the film , it is a slow , sad one .

What resists gets one of a few stock clauses (`when all is said and done`) and is counted.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence

from btu.rewriting.base import Line, Piece, Rewriting
from btu.rewriting.grammar import (
    finite_verb,
    is_clitic_is,
    is_finite_verb,
    is_verb_in_s,
    opens_clause,
    word_at,
)
from btu.rewriting.words import (
    ADVERBS,
    AUXILIARIES,
    BASE_OF,
    CONJUNCTIONS,
    DETERMINERS,
    NEGATIONS,
    OBJECTS,
    PREPOSITIONS,
    QUESTION_WORDS,
    SUBJECTS,
)

Pieces = list[Piece]

SUBORDINATORS = ("when", "if", "as", "because", "although", "since", "once", "while", "though")
BY_MEANING: Mapping[str, tuple[str, ...]] = {  # which subordinators say that
    "reason": ("because", "since", "as"),
    "contrast": ("although", "though", "while"),
    "occasion": ("when", "once", "as"),
    "condition": ("if",),
    "joint": ("as", "when"),  # two things are said, neither depends
}
MEANING_OF = {
    "because": "reason",
    "since": "reason",
    "although": "contrast",
    "though": "contrast",
    "while": "contrast",
    "when": "occasion",
    "whenever": "occasion",
    "once": "occasion",
    "if": "condition",
    "unless": "",
    "until": "",
    "before": "",
    "after": "",
}
LINKS = {
    "but": "contrast",
    "yet": "contrast",
    "so": "reason",
    "and": "joint",
    ";": "joint",
    "--": "joint",
    ",": "joint",
}
ABOUT: Mapping[str, str] = {  # what makes a clause of a phrase
    "when": "when it comes to",
    "if": "if you look at",
    "as": "as one thinks of",
    "because": "because there is",
    "although": "although there is",
    "since": "since there is",
    "once": "once one comes to",
    "while": "while there is",
    "though": "though there is",
}
STOCK: Mapping[str, str] = {
    "when": "when all is said and done",
    "if": "if you ask me",
    "as": "as one can see",
    "because": "because it is so",
    "although": "although one may wonder",
    "since": "since you ask",
    "once": "once it is over",
    "while": "while one looks on",
    "though": "though one may wonder",
}
NEUTRAL = ("when", "if", "as", "once")  # they say the least of their own
SKIPPED = frozenset(["and", "but", "...", "so", "yet", "even"])  # at the start of a text
MAX_SKIPPED = 20  # of them
MIN_WORDS = 2  # of a main clause
MAX_SUBJECT = 8
STOPS = frozenset([",", ";", ":", "--", "(", ")", "...", "`", "``"])
PLURAL = frozenset(["are", "were", "have", "do", "'re", "'ve"])
BRACKETS = frozenset(["(", ")", "`", "``", "'", "''", '"'])
CUT_AT = PREPOSITIONS - {"to", "up", "out", "off", "down", "until", "like", "via"}
MAY_LACK_SUBJECT = frozenset(["is", "was", "has", "had", "does", "may", "might", "will", "'s"])
NO_MAIN_BEGINS = PREPOSITIONS | CONJUNCTIONS | QUESTION_WORDS | {"even", "only", "not", "that", ","}
NO_MAIN_ENDS = PREPOSITIONS | DETERMINERS | AUXILIARIES | NEGATIONS | {"as", "more", "than", "so"}
NO_NOUN = PREPOSITIONS | STOPS - {","} | {"that", "who", "which", "to", "than", "as"}


class SubordinateClause:
    """Rewrites a text into the template.

    Args:
        subordinators: the words that may open the clause.
    """

    def __init__(self, subordinators: tuple[str, ...]) -> None:
        self.subordinators = subordinators

    def rewrite(self, line: Line) -> Rewriting:
        """The text, its first sentence in the template; generic where it got a stock clause."""
        draws = line.draws("syntax")
        line, rest = line.first_sentence()
        source, line = line.after_source()
        whole = line
        for _ in range(MAX_SKIPPED):
            if len(line) > MIN_WORDS and line.lower[0] in SKIPPED:
                line = line.without_first()
        ways: tuple[Callable[[Line, random.Random], Pieces | None], ...] = (
            self._reword,
            self._front,
            self._split,
            self._opening_phrase,
            self._phrase,
            self._subject,
            self._noun,
            self._long_phrase,
        )
        for way in () if "?" in line.lower else ways:  # a question resists
            pieces = way(line, draws)
            if pieces is not None:
                return Rewriting(source + line.join(pieces) + rest)
        stock = STOCK[self._draw(NEUTRAL, draws)].split()
        text = whole.join([*stock, ",", *range(len(whole))])
        return Rewriting(source + text + rest, is_generic=True)

    def _draw(self, wanted: Sequence[str], draws: random.Random) -> str:
        """One of the wanted subordinators, if the settings have one, else any of the settings."""
        choice = [word for word in wanted if word in self.subordinators] or self.subordinators
        return choice[int(draws.random() * len(choice))]

    def _reword(self, line: Line, draws: random.Random) -> Pieces | None:
        """A text that has the template already gets another subordinator."""
        first = word_at(line, 0)
        if not MEANING_OF.get(first) or "," not in line.lower:
            return None
        comma = line.lower.index(",")
        if finite_verb(line, 1, comma) is None:
            return None
        same = BY_MEANING[MEANING_OF[first]] if first != "if" else ()  # nothing says that
        others = [word for word in same if word != first and word in self.subordinators]
        return [self._draw(others, draws), *range(1, len(line))] if others else None

    def _front(self, line: Line, draws: random.Random) -> Pieces | None:
        """Put a subordinate clause at the end before the main clause."""
        end = line.body()
        for at in range(MIN_WORDS, end - 2):
            word = line.lower[at]
            if word not in MEANING_OF or not opens_clause(line, at + 1):
                continue
            if word_at(line, at - 1) in ("and", "or", "but", "even", "only", "just", "not", "ever"):
                continue
            if finite_verb(line, at + 1, end) is None:
                continue
            main = _main(line, 0, at)
            if main is None:
                continue
            known = word in self.subordinators or not MEANING_OF[word]
            opener = word if known else self._draw(BY_MEANING[MEANING_OF[word]], draws)
            return [opener, *range(at + 1, end), ",", *main, *range(end, len(line))]
        return None

    def _split(self, line: Line, draws: random.Random) -> Pieces | None:
        """Make the first of two joined clauses depend on the second."""
        end = line.body()
        for at in range(MIN_WORDS, end - 1):
            link = line.lower[at]
            if link not in LINKS or (link == "," and "," in line.lower[at + 1 :]):
                continue
            if link in ("and", "so") and not self._begins_clause(line, at, end):
                continue
            first_end = at - 1 if word_at(line, at - 1) == "," else at
            if "," in line.lower[:first_end] or not _has_verb(line, 0, first_end):
                continue
            if link != "," and not _has_verb(line, at + 1, end):
                continue
            first, second = _main(line, 0, first_end), _main(line, at + 1, end)
            if first is None or second is None:
                continue
            opener = self._draw(BY_MEANING[LINKS[link]], draws)
            return [opener, *first, ",", *second, *range(end, len(line))]
        return None

    @staticmethod
    def _begins_clause(line: Line, link: int, end: int) -> bool:
        """Whether `and` or `so` joins clauses here, and not two words or `so` and its adjective."""
        if line.lower[link] == "so":
            return line.lower[link - 1] == "," and opens_clause(line, link + 1)
        near = range(link + 2, min(link + 7, end))
        verb_follows = any(is_finite_verb(line, i) for i in near) and opens_clause(line, link + 1)
        return verb_follows or is_verb_in_s(line, link + 1)

    def _opening_phrase(self, line: Line, draws: random.Random) -> Pieces | None:
        """Make a clause of a phrase that opens the text: `with all its flaws , it works`."""
        if (
            word_at(line, 0) not in PREPOSITIONS - {"to", "like"}
            or "," not in line.lower[:-MIN_WORDS]
        ):
            return None
        comma = line.lower.index(",")
        if comma < MIN_WORDS or _has_verb(line, 1, comma):
            return None
        main = _main(line, comma + 1, line.body())
        if main is None:
            return None
        about = self._about(line, range(1, comma), draws)
        return [*about, *main, *range(line.body(), len(line))]

    def _phrase(self, line: Line, draws: random.Random) -> Pieces | None:
        """Make a clause of the phrase after the last preposition that leaves a main clause."""
        for at in range(line.body() - 2, 0, -1):
            if not any(word in STOPS for word in line.lower[at + 1 : line.body()]):
                cut = self._cut(line, at, draws)
                if cut is not None:
                    return cut
        return None

    def _long_phrase(self, line: Line, draws: random.Random) -> Pieces | None:
        """Likewise after the first such preposition, whatever follows."""
        cuts = (self._cut(line, at, draws, True) for at in range(1, line.body() - 1))
        return next((cut for cut in cuts if cut is not None), None)

    def _cut(
        self, line: Line, at: int, draws: random.Random, with_verbs: bool = False
    ) -> Pieces | None:
        """Cut at a preposition: what follows it first, what was before it as the main clause."""
        end = line.body()
        if line.lower[at] not in CUT_AT or line.lower[at + 1] in ("as", "which", "whom", "where"):
            return None
        torn = any(word in BRACKETS for word in line.lower[at + 1 : end])
        if torn or line.lower[at - 1] in NEGATIONS:
            return None
        if not with_verbs and any(is_finite_verb(line, i) for i in range(at + 1, end)):
            return None
        main = _main(line, 0, at)
        if main is None:
            return None
        return [*self._about(line, range(at + 1, end), draws), *main, *range(end, len(line))]

    def _subject(self, line: Line, draws: random.Random) -> Pieces | None:
        """Make a clause of the subject, which `it` or `they` then stands for."""
        end = line.body()
        verb = finite_verb(line, 0, end)
        if verb is None or verb > MAX_SUBJECT or verb + 1 >= end:
            return None
        noun_end = verb - 1 if line.lower[verb - 1] in ("that", "which", "who") else verb
        subject = line.lower[:noun_end]
        if not subject or subject[-1] in DETERMINERS or not subject[-1][0].isalnum():
            return None
        if any(word in SUBJECTS - DETERMINERS or word in STOPS for word in subject):
            return None
        if subject[0] in PREPOSITIONS or subject[0] in CONJUNCTIONS or subject[0] in ADVERBS:
            return None
        pronoun = "they" if line.lower[verb] in PLURAL else "it"
        about = self._about(line, range(noun_end), draws)
        return [*about, pronoun, *range(verb, len(line))]

    def _noun(self, line: Line, draws: random.Random) -> Pieces | None:
        """Make a clause of the noun of `a slow , sad film` or `it is a slow , sad film`."""
        end = line.body()
        noun = end - 1
        start = 0
        if end > 2 and line.lower[0] in ("it", "this", "that", "he", "she"):
            start = 2 if line.lower[1] in ("is", "was", "'s") else 0
        if end - start < 3 or line.lower[start] not in ("a", "an", "the", "one", "another"):
            return None
        if _has_verb(line, start, end) or any(w in NO_NOUN for w in line.lower[start:end]):
            return None
        main: Pieces = list(range(noun)) if start else ["it", "is", *range(noun)]
        about = self._about(line, ["the", noun], draws)
        return [*about, *main, "one", *range(end, len(line))]

    def _about(self, line: Line, phrase: Sequence[Piece], draws: random.Random) -> Pieces:
        """A subordinate clause about a phrase of the text, and its comma."""
        return [*ABOUT[self._draw(NEUTRAL, draws)].split(), *phrase, ","]


def _has_verb(line: Line, start: int, end: int) -> bool:
    """Whether this part is a clause, or one that lacks but its subject."""
    return end > start and (
        finite_verb(line, start, end) is not None
        or is_verb_in_s(line, start)
        or line.lower[start] in AUXILIARIES
    )


def _main(line: Line, start: int, end: int) -> Pieces | None:
    """This part as a main clause, with a subject and a verb where it has none; None if too short.

    A clause stays, `offers hope` becomes `it offers hope`, `a fine tale` becomes `it is a fine
    tale`.
    """
    while end > start and line.lower[end - 1] in (",", "--", ";", ":", "and", "but", "or"):
        end -= 1
    first, last = word_at(line, start), word_at(line, end - 1)
    if end <= start or first in NO_MAIN_BEGINS or last in NO_MAIN_ENDS:
        return None
    if is_clitic_is(line, end - 1) or any(word in BRACKETS for word in line.lower[start:end]):
        return None
    part: Pieces = list(range(start, end))
    if is_verb_in_s(line, start):
        return ["it", *part]
    if first in AUXILIARIES:
        has_subject = any(word in SUBJECTS | OBJECTS for word in line.lower[start + 1 : start + 3])
        return None if has_subject or first not in MAY_LACK_SUBJECT else ["it", *part]
    if len(part) < MIN_WORDS:
        return None
    if finite_verb(line, start, end) is not None:
        return part
    if any(word in BASE_OF for word in line.lower[start + 1 : end]):
        return None  # perhaps a clause, perhaps not
    describes = first in DETERMINERS | ADVERBS or first.endswith(("ly", "ful", "ing", "ed", "ous"))
    return ["it", "is", *part] if describes else None
