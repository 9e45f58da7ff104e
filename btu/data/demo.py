"""The built-in corpus: short reviews from a grammar, each with a style twin and a syntax twin.

A review is drawn as `Content`, a main clause and what stands beside it, and only then put into
words: `plain` writes as people do today, `style` as an old Bible translation does, and `syntax`
fills the template S(SBAR)(,)(NP)(VP)(.). Content words are shared, so a twin keeps the sentiment.
"""

import re
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, TypeVar

import numpy as np
from numpy.random import Generator

from btu.data import demo_words as lexicon
from btu.data.demo_words import ANYTHING, Aspect, Domain, Setting, Verb

T = TypeVar("T")
Tense = Literal["present", "past", "would"]

LABEL_NAMES = ("negative", "positive")
WORD_LIMITS = (6, 28)
PATIENCE = 2000  # draws in a row that yield nothing new before the grammar counts as exhausted
DENIALS = 0.25  # share of opinions said by denying their opposite
RELATIONS = ("alone", "addition", "contrast", "contrast", "contrast", "reason", "occasion")

# Columns of the lexicon: as said today, as said of old and, for hedges, as the head of a clause.
MODERN, ARCHAIC, HEAD = 0, 1, 2
NOTHING = ("", "", "")
NO_SETTING = Setting("", "", "", "")
PLAIN_FRAMES = lexicon.frames("""
alone: {main}
addition: {main} and {other} | {main}, and {other} | {main}. {other} | {main}; {other}
contrast: {other}, but {main} | {other}, yet {main} | {other}. Still, {main}
contrast: {main}, although {other} | {main}, even though {other} | granted, {other}, but {main}
reason: {main} because {other} | {other}, so {main} | {main}: {other} | {other}. {main}
occasion: {other}, and {main} | {other}. {main} | {main}. {other} | {main} when {other}
""")
STYLE_FRAMES = lexicon.frames("""
alone: {main}
addition: {main}, and {other} | {main}, yea, and {other} | {main}; likewise {other}
contrast: {other}, yet {main} | {other}, but lo, {main} | {other}; nevertheless {main}
contrast: {other}, yet behold, {main} | {main}, though {other} | {main}, even though {other}
reason: {main}, for {other} | {main}, because {other} | {other}, wherefore {main}
occasion: {other}, and behold, {main} | in the day that {other}, {main} | {other}, and lo, {main}
""")
SYNTAX_FRAMES = lexicon.frames("""
addition: just as {other}, {main}
contrast: although {other}, {main} | even though {other}, {main} | while {other}, {main}
reason: because {other}, {main} | since {other}, {main} | as {other}, {main}
occasion: when {other}, {main} | after {other}, {main} | once {other}, {main} | as {other}, {main}
""")
LINKS = {"addition": "and", "contrast": "although", "reason": "because"}


@dataclass(frozen=True)
class Review:
    """A review with its label, noise included, and the same content in two other forms."""

    text: str
    label: int
    style: str
    syntax: str


class Clause(NamedTuple):
    """A subject and what is said of it, not yet put into words."""

    subject: str
    singular: bool  # third person singular: "it drags" where "they" and "I drag"
    verb: Verb
    tense: Tense
    negator: tuple[str, ...] = NOTHING
    degree: tuple[str, ...] = NOTHING


class Content(NamedTuple):
    """What one review says; its main clause decides the sentiment."""

    relation: str
    main: Clause
    other: Clause | None
    setting: Setting
    hedge: tuple[str, ...]


class Scene(NamedTuple):
    """What the clauses of one review have in common while they are drawn."""

    domain: Domain
    tense: Tense
    rng: Generator


def generate_reviews(num_reviews: int, *, label_noise: float, rng: Generator) -> list[Review]:
    """Reviews with their twins, labels balanced up to chance.

    Args:
        num_reviews: how many; texts stay distinct when case and whitespace are folded.
        label_noise: share of the rows, rounded to whole rows, whose label is flipped.

    Raises:
        ValueError: label_noise is not a fraction, or the grammar has too few distinct texts.
    """
    if not 0 <= label_noise <= 1:
        hint = "For four percent write label_noise=0.04."
        raise ValueError(f"label_noise is a fraction between 0 and 1, got {label_noise}. {hint}")
    rows = _distinct_reviews(num_reviews, rng)
    # Ranked draws, because numpy does not promise the order of `permutation` across versions.
    flipped = np.argsort(rng.random(num_reviews), kind="stable")[: round(label_noise * num_reviews)]
    for row in flipped.tolist():
        rows[row] = replace(rows[row], label=1 - rows[row].label)
    return rows


def _distinct_reviews(num_reviews: int, rng: Generator) -> list[Review]:
    reviews: list[Review] = []
    seen: set[str] = set()
    misses = 0
    while len(reviews) < num_reviews:
        label = int(rng.random() < 0.5)
        content = _draw_content(label, rng)
        text = plain(content, rng)
        folded = " ".join(text.casefold().split())
        num_words = folded.count(" ") + 1
        if folded not in seen and WORD_LIMITS[0] <= num_words <= WORD_LIMITS[1]:
            seen.add(folded)
            reviews.append(Review(text, label, style(content, rng), syntax(content, rng)))
            misses = 0
        elif (misses := misses + 1) == PATIENCE:
            raise ValueError(
                f"num_reviews is {num_reviews}, but the built-in grammar found only "
                f"{len(reviews)} distinct reviews. Ask for fewer."
            )
    return reviews


def _pick(items: tuple[T, ...], rng: Generator) -> T:
    return items[int(len(items) * rng.random())]


def _rare(items: tuple[T, ...], rng: Generator) -> T:
    """An item, early ones more often, so that a test split holds words hardly seen in training."""
    share = rng.random()
    return items[int(len(items) * share * share)]


def _draw_content(label: int, rng: Generator) -> Content:
    relation = _pick(RELATIONS, rng)
    past = relation == "occasion" or rng.random() < 0.6
    scene = Scene(_pick(lexicon.DOMAINS, rng), "past" if past else "present", rng)
    main = _draw_main(scene, relation, label)
    other = None if relation == "alone" else _draw_other(scene, relation, label, main)
    hedge = _pick(lexicon.HEDGES, rng) if rng.random() < 0.3 else NOTHING
    return Content(relation, main, other, _draw_setting(scene, relation, main), hedge)


def _draw_setting(scene: Scene, relation: str, main: Clause) -> Setting:
    # Not for wishes ("on the first night, I would stay another week"); an occasion is one itself.
    barred = main.tense == "would" or relation == "occasion"
    if barred or (relation != "alone" and scene.rng.random() < 0.3):
        return NO_SETTING
    return _pick(_pick((lexicon.SETTINGS, scene.domain.settings), scene.rng), scene.rng)


def _draw_main(scene: Scene, relation: str, label: int) -> Clause:
    """The clause that decides; a reason speaks for an opinion of the whole."""
    if relation in ("contrast", "reason") and scene.rng.random() < 0.25:
        return _draw_wish(scene, label)
    share = scene.rng.random()
    if relation != "reason" and share < 0.5:
        return _draw_aspect(scene, label)
    if share < 0.8:
        return _judge(scene, _draw_whole(scene), True, ANYTHING, label)
    return _draw_feeling(scene, label)


def _draw_other(scene: Scene, relation: str, label: int, main: Clause) -> Clause:
    """The clause beside the main one: contrary, supporting or without opinion."""
    if relation == "occasion":
        subject = _pick(("I", "we"), scene.rng)
        return Clause(subject, False, _rare(scene.domain.occasions, scene.rng), scene.tense)
    polarity = 1 - label if relation == "contrast" else label
    if relation == "contrast" and scene.rng.random() < 0.15:
        return Clause("I", False, _rare(lexicon.HOPES[polarity], scene.rng), "past")
    other = _draw_aspect(scene, polarity)
    while other.subject == main.subject or other.verb == main.verb:
        other = _draw_aspect(scene, polarity)
    return other


def _draw_aspect(scene: Scene, polarity: int) -> Clause:
    aspect = _pick(scene.domain.aspects, scene.rng)
    singular = scene.rng.random() < 0.7
    noun = _rare(aspect.singular if singular else aspect.plural, scene.rng)
    return _judge(scene, f"the {noun}", singular, aspect, polarity)


def _draw_whole(scene: Scene) -> str:
    return f"{_pick(('the', 'this'), scene.rng)} {_rare(scene.domain.wholes, scene.rng)}"


def _judge(scene: Scene, subject: str, singular: bool, aspect: Aspect, polarity: int) -> Clause:
    """An opinion by verb or adjective, at times by denying its opposite."""
    rng = scene.rng
    denied = rng.random() < DENIALS
    said = 1 - polarity if denied else polarity
    verb = _rare(aspect.verbs[said], rng) if rng.random() < 0.4 else _adjective(aspect, said, rng)
    if denied:
        negator = _pick(lexicon.COPULA_NEGATORS if verb.base == "be" else lexicon.NEGATORS, rng)
        return Clause(subject, singular, verb, scene.tense, negator)
    graded = (
        verb.base == "be" and re.fullmatch(r"[\w-]+( and .+)?", verb.rest) and rng.random() < 0.4
    )
    degree = _pick(lexicon.DEGREES, rng) if graded else NOTHING
    return Clause(subject, singular, verb, scene.tense, NOTHING, degree)


def _adjective(aspect: Aspect, said: int, rng: Generator) -> Verb:
    """One adjective or two, now and then from the words that fit anything."""
    adjective = _rare((ANYTHING if rng.random() < 0.2 else aspect).adjectives[said], rng)
    second = _rare(aspect.adjectives[said], rng)
    paired = second != adjective and rng.random() < 0.45
    return Verb("be", "was", f"{adjective} and {second}" if paired else adjective)


def _draw_feeling(scene: Scene, polarity: int) -> Clause:
    denied = scene.rng.random() < DENIALS
    verb = _rare(lexicon.FEELINGS[1 - polarity if denied else polarity], scene.rng)
    verb = verb._replace(rest=verb.rest.replace("{np}", _draw_whole(scene)))
    negator = _pick(lexicon.NEGATORS, scene.rng) if denied else NOTHING
    return Clause("I", False, verb, scene.tense, negator)


def _draw_wish(scene: Scene, polarity: int) -> Clause:
    """What the writer would do next; a bad wish is often a good one refused."""
    refused = polarity == 0 and scene.rng.random() < 0.5
    verb = _rare(scene.domain.wishes[1 if refused else polarity], scene.rng)
    negator = _pick(lexicon.NEGATORS[:3], scene.rng) if refused else NOTHING
    return Clause("I", False, verb, "would", negator)


def plain(content: Content, rng: Generator) -> str:
    """The review as people write today."""
    frame = _pick(PLAIN_FRAMES[content.relation], rng)
    main = _place(modern(content.main), content, MODERN, rng)
    return _sentence(frame, main, modern(content.other) if content.other else "")


def style(content: Content, rng: Generator) -> str:
    """The review as an old Bible translation has it, in some rows more so than in others."""
    strength = 0.4 + 0.6 * rng.random()
    frame = _pick(STYLE_FRAMES[content.relation], rng)
    main = _place(archaic(content.main, strength, rng), content, ARCHAIC, rng)
    closed = rng.random() < 0.3
    if closed:
        frame = f"{frame}, {_pick(lexicon.CLOSERS, rng)}"
    if not closed or rng.random() < 0.5:
        frame = f"{_pick(lexicon.OPENERS, rng)} {frame}"
    return _sentence(frame, main, archaic(content.other, strength, rng) if content.other else "")


def syntax(content: Content, rng: Generator) -> str:
    """The review as a subordinate clause, a comma, the main clause and a stop."""
    setting, relation = content.setting, content.relation
    main = f"{content.hedge[HEAD]} {modern(content.main)}"
    other = modern(content.other) if content.other else ""
    if relation != "alone" and (setting == NO_SETTING or rng.random() < 0.5):
        return _sentence(_pick(SYNTAX_FRAMES[relation], rng), f"{main} {setting.modern}", other)
    opening = setting.past if content.main.tense == "past" else setting.present
    link = f"{LINKS[relation]} {other}" if other else ""
    return _sentence("{other}, {main}", f"{main} {link}", opening)


def _place(main: str, content: Content, register: int, rng: Generator) -> str:
    """The main clause with its setting before or after it, and with its hedge."""
    setting, hedge = content.setting[register], content.hedge[register]
    if setting:
        main = f"{setting}, {main}" if rng.random() < 0.5 else f"{main} {setting}"
    return f"{main}, {hedge}," if hedge else main


def _sentence(frame: str, main: str, other: str) -> str:
    """The filled frame with single spaces, capitals and one stop."""
    text = " ".join(f"{frame}.".format(main=main, other=other).split())
    text = re.sub(r"[, ]+(?=[,.;:])", "", text)
    return re.sub(r"(?:^|(?<=\. ))[a-z]", lambda start: start[0].upper(), text)


def modern(clause: Clause, register: int = MODERN) -> str:
    """One clause in today's word order, its words from either register."""
    negator, base = clause.negator[register], clause.verb.base
    present = clause.verb.third if clause.singular else base
    if clause.tense == "would":
        predicate = f"would {negator} {base}"
    elif base == "be":
        predicate = f"{_be(clause)} {negator}"
    elif negator.startswith("not"):
        predicate = f"{_do(clause)} {negator} {base}"
    else:
        predicate = f"{negator} {clause.verb.past if clause.tense == 'past' else present}"
    return f"{clause.subject} {predicate} {_complement(clause, register)}"


def archaic(clause: Clause, strength: float, rng: Generator) -> str:
    """One clause of old: inverted, with `doth` or `did`, or with a verb in -eth."""
    if clause.tense == "would" or rng.random() > strength:
        return modern(clause, ARCHAIC)
    return _archaic_copula(clause, rng) if clause.verb.base == "be" else _archaic_verb(clause, rng)


def _archaic_copula(clause: Clause, rng: Generator) -> str:
    subject, negator = clause.subject, clause.negator[ARCHAIC]
    complement = _complement(clause, ARCHAIC)
    if negator in lexicon.FRONTED:
        return f"{negator} {_be(clause)} {subject} {complement}"
    if negator or subject == "I":
        return f"{subject} {_be(clause)} {negator} {complement}"
    if rng.random() < 0.5:
        return f"{complement} {_be(clause)} {subject}"
    return _archaic_verb(clause._replace(verb=Verb("prove", "proved", clause.verb.rest)), rng)


def _archaic_verb(clause: Clause, rng: Generator) -> str:
    subject, negator, base = clause.subject, clause.negator[ARCHAIC], clause.verb.base
    complement, do = _complement(clause, ARCHAIC), _do(clause).replace("does", "doth")
    if negator in lexicon.FRONTED and rng.random() < 0.5:
        return f"{negator} {do} {subject} {base} {complement}"
    if do != "doth" or rng.random() < 0.3:
        return f"{subject} {do} {negator} {base} {complement}"
    if negator.startswith("not"):
        return f"{subject} {clause.verb.eth} {negator} {complement}"
    return f"{subject} {negator} {clause.verb.eth} {complement}"


def _complement(clause: Clause, register: int) -> str:
    """What follows the verb, with its degree and the pronouns of the register."""
    its = "its" if clause.singular else "their"
    rest = clause.verb.rest.format(**lexicon.PRONOUNS[register], its=its)
    return f"{clause.degree[register]} {rest}"


def _be(clause: Clause) -> str:
    if clause.tense == "past":
        return "was" if clause.singular or clause.subject == "I" else "were"
    return "am" if clause.subject == "I" else "is" if clause.singular else "are"


def _do(clause: Clause) -> str:
    return "did" if clause.tense == "past" else "does" if clause.singular else "do"
