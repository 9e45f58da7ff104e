"""The words that the built-in rewriters know, by what they do in a sentence."""

from __future__ import annotations

import re


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


DETERMINERS = _words(
    "a an the this that these those my your his her its our their every each some any no all both "
    "another either neither such what whose"
)
POSSESSIVES = _words("my your his her its our their whose")
SUBJECTS = _words(
    "i you he she it we they who which that this there one everyone everybody someone somebody "
    "nobody nothing everything something anyone these those"
)
OBJECTS = _words("me you him her it us them whom himself herself itself themselves")
PREPOSITIONS = _words(
    "about above across after against along among around at before behind below beneath beside "
    "between beyond by despite down during for from in inside into like near of off on onto out "
    "over past per through throughout to toward towards under until up upon with within without "
    "amid via"
)
BE = _words("is are was were am 're 'm")
AUXILIARIES = BE | _words(
    "has have had do does did will would can could shall should may might must wo ca 'll 've 'd "
    "cannot ought"
)
NEGATIONS = _words("not n't never")
ADVERBS = NEGATIONS | _words(
    "always just even still also only really very too so ever often sometimes hardly rarely "
    "seldom almost quite rather simply merely already soon once twice again now then perhaps "
    "maybe barely far much more most less least well probably certainly likely"
)
CONJUNCTIONS = _words("and but or nor yet so because although though while when if since unless as")
QUESTION_WORDS = _words("what where who why how when which whom")
COMMON_WORDS = (
    DETERMINERS
    | (SUBJECTS - {"i"})
    | OBJECTS
    | PREPOSITIONS
    | (AUXILIARIES - {"may"})
    | ADVERBS
    | CONJUNCTIONS
    | QUESTION_WORDS
    | _words("here yes oh well let not")
)

# Verbs whose forms are hardly ever anything else, and verbs that are nouns or adjectives, too.
SURE_VERBS = _words(
    "achieve add admit agree allow announce appear argue arrive ask assume avoid become begin "
    "believe belong bring build buy capture carry catch choose claim collapse come compare compel "
    "complete concern confirm confuse consider consist contain continue convey convince create "
    "decide define deliver demand depend depict deserve deny describe destroy develop die discover "
    "discuss draw eat educate embody embrace emerge emphasize employ enable encourage end endure "
    "engage enjoy enter entertain establish evoke examine exist expand expect explain explore "
    "expose express fail fall feed find follow forget forgive fulfill gain generate get give "
    "glorify go grow happen hear hide hit hold ignore illustrate imagine imply improve include "
    "indicate inspire insist intend introduce invite involve invoke join keep know lack lead learn "
    "leave lend let lie listen live lose love maintain make manage marry meet move need "
    "observe occur offer overcome own pay perform persist persuade plan prefer prepare present "
    "pretend prevent proceed produce promise propose prove provide provoke pull push put raise "
    "reach read realize receive recall recognize refer reflect refuse register reject relate "
    "rely remain remember remind remove render repeat replace represent require resemble resist "
    "resolve respond resonate retain return reveal rise say see seek seem sell send serve show "
    "sink sit sound speak spend stand start stay steal strike struggle stumble succeed suffer "
    "suffuse suggest support suppose survive suspect sustain take teach tell tend think throw "
    "touch transcend transform treat try turn undermine understand unfold use veer wait walk "
    "want warm wear win wish wonder work write yearn bore manages amuse annoy astonish delight "
    "disappoint dazzle charm thrill satisfy linger falter plod meander drag soar shine sparkle "
    "wander crackle capitalize collect combine conclude conduct confess conquer attempt accept "
    "accompany account act affect aim amount amaze approach attract award beat bear bend bind "
    "blend boast borrow bounce break bubble burn call care cast cause celebrate challenge change "
    "close confront connect cost count cover cross cry cut deal debate depart drive drop "
    "exceed exploit face feature feel fight fill fit float fly focus force form gather grant grab "
    "guide handle hang help hint hope hurt indulge lay lift look mean measure mention miss mix "
    "name note open operate pack pass perish pick play please point possess post press purport "
    "reduce rest reward ride ring rob roll run seize sing sleep slip speed spin spoil stick stir "
    "stop stretch stroll study sweep swim talk tear test trace track trade travel trust verge "
    "view visit vote waste watch welcome"
) - {"manages"}
NOUN_LIKE_VERBS = _words(
    "account act aim amount approach award beat bear bend blend bounce break burn call care cast "
    "cause challenge change charm claim close collapse concern cost count cover cross cry cut deal "
    "debate delight demand drag drive drop end exploit express face feature feed feel fight fill "
    "find fit float fly focus force form gain grant guide handle hang help hint hit hold hope hurt "
    "lack lead lie lift live look love mean measure mention miss mix move name need note offer "
    "open own pack pass pick plan play point post present press promise push pull raise reach read "
    "rest return reward ride ring rise roll run say sense show sing slip sound speed spin stand "
    "start stay stick stop stretch strike struggle study support suspect sweep talk tear tend test "
    "thrill throw touch trace track trade travel treat trust try turn use view visit vote wait "
    "bubble charm delight shine sparkle drag bore walk warm waste watch wear welcome will win wish "
    "wonder work attempt cuts"
) - {"cuts"}
PAST_VERBS = _words(
    "said went came made took gave found got saw knew thought felt left kept brought began won "
    "lost became told met ran fell rose held led sold sent spent stood wrote spoke broke chose "
    "drew drove grew heard paid struck taught understood wore built bought caught sat meant"
)
_DOUBLED = _words(  # besides those of one syllable, such as `get`
    "admit beget begin commit compel control forget occur permit prefer propel refer regret submit "
    "transfer"
)
_ONE_SYLLABLE = re.compile(r"[^aeiou]*[aeiou][^aeiouwxy]|[^aeiou]*qu[aeiou][^aeiouwxy]")


def third_person(verb: str) -> str:
    """What he, she or it does: `carry` gives `carries`."""
    if verb in ("have", "do", "go"):
        return {"have": "has", "do": "does", "go": "goes"}[verb]
    if verb.endswith("y") and verb[-2] not in "aeiou":
        return f"{verb[:-1]}ies"
    return f"{verb}es" if verb.endswith(("s", "sh", "ch", "x", "z")) else f"{verb}s"


def bare_form(verb: str) -> str:
    """The verb of which this is the third person: `carry` of `carries`."""
    if verb.endswith("ies"):
        return f"{verb[:-3]}y"
    return verb[:-2] if verb.endswith(("shes", "ches", "sses", "xes", "zzes")) else verb[:-1]


def archaic(verb: str, ending: str) -> str:
    """The verb as Bible English has it: `make`, `eth` gives `maketh`; `get`, `est` `gettest`."""
    if verb == "say":
        return "saith" if ending == "eth" else "sayest"
    if verb.endswith("y") and verb[-2] not in "aeiou":
        return f"{verb[:-1]}i{ending}"
    if verb.endswith("e"):
        return f"{verb[:-1]}{ending}"
    if verb.endswith("c"):
        return f"{verb}k{ending}"
    doubled = verb in _DOUBLED or _ONE_SYLLABLE.fullmatch(verb)
    return f"{verb}{verb[-1]}{ending}" if doubled else f"{verb}{ending}"


BASE_OF = {third_person(verb): verb for verb in SURE_VERBS | NOUN_LIKE_VERBS}  # `makes` -> `make`
NOUN_LIKE_FORMS = frozenset(map(third_person, NOUN_LIKE_VERBS))
