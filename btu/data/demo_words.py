"""Words of the built-in corpus: five domains, each with nouns, opinions, occasions and settings.

Lists run from common to rare, because `btu.data.demo` draws the head of a list more often than
its tail. Pairs indexed by a label hold the negative list first.
"""

import re
from typing import NamedTuple


class Verb(NamedTuple):
    """A verb phrase: base form, past form and all that follows the verb."""

    base: str
    past: str
    rest: str

    @property
    def third(self) -> str:
        """The third person of today: drags, carries, catches."""
        stem = re.sub(r"(?<=[^aeiou])y$", "ie", self.base)
        return f"{stem}es" if re.search(r"(s|sh|ch|x|z|o)$", stem) else f"{stem}s"

    @property
    def eth(self) -> str:
        """The third person of old: draggeth, carrieth, maketh."""
        stem = re.sub(r"(?<=[^aeiou])y$", "ie", self.base)
        stem = re.sub(r"^([^aeiou]+[aeiou])([bdgmnprt])$", r"\1\2\2", stem)
        return f"{stem}th" if stem.endswith("e") else f"{stem}eth"


class Setting(NamedTuple):
    """One circumstance as an adverbial, in archaic words, and as a clause in either tense."""

    modern: str
    archaic: str
    present: str
    past: str


class Aspect(NamedTuple):
    """Things of one kind that a review can judge, with the words that fit them."""

    singular: tuple[str, ...]
    plural: tuple[str, ...]
    adjectives: tuple[tuple[str, ...], tuple[str, ...]]
    verbs: tuple[tuple[Verb, ...], tuple[Verb, ...]]


class Domain(NamedTuple):
    """What is under review: names of the whole, its aspects and what people do with it."""

    wholes: tuple[str, ...]
    occasions: tuple[Verb, ...]
    wishes: tuple[tuple[Verb, ...], tuple[Verb, ...]]
    settings: tuple[Setting, ...]
    aspects: tuple[Aspect, ...]


def words(text: str) -> tuple[str, ...]:
    """The items between the commas."""
    return tuple(item.strip() for item in text.split(","))


def phrases(text: str) -> tuple[str, ...]:
    """The items between the bars."""
    return tuple(item.strip() for item in text.split("|"))


def _verbs(text: str) -> tuple[Verb, ...]:
    """Verbs written as `base/past rest, base/past rest`."""
    split = (item.replace("/", " ", 1).split(" ", 2) for item in words(text))
    return tuple(Verb(base, past, " ".join(rest)) for base, past, *rest in split)


def pairs(text: str) -> tuple[tuple[str, ...], ...]:
    """Rows written as `today | of old, today | of old`."""
    return tuple(tuple(item.split("|")) for item in words(text))


def _setting(line: str) -> Setting:
    """A setting written as `adverbial | archaic adverbial | clause with one present/past verb`."""
    modern, archaic, clause = (part.strip() for part in line.split("|"))
    present = re.sub(r"(\w+)/\w+", r"\1", clause)
    return Setting(modern, archaic, present, re.sub(r"\w+/(\w+)", r"\1", clause))


def _block(text: str, joint: str = ", ") -> dict[str, str]:
    """The lines `key: items` of one block; a key that comes twice goes on."""
    found: dict[str, str] = {}
    for line in text.strip().splitlines():
        key, _, items = line.partition(": ")
        found[key] = f"{found[key]}{joint}{items}" if key in found else items
    return found


def frames(text: str) -> dict[str, tuple[str, ...]]:
    """The sentence frames `{...} | {...}` of each relation."""
    return {key: phrases(items) for key, items in _block(text, " | ").items()}


def _aspect(text: str) -> Aspect:
    block = _block(text)
    singular, plural = phrases(block["things"])
    return Aspect(
        words(singular),
        words(plural),
        (words(block["bad"]), words(block["good"])),
        (_verbs(block["sinks"]), _verbs(block["lifts"])),
    )


def _verb_pair(text: str) -> tuple[tuple[Verb, ...], tuple[Verb, ...]]:
    block = _block(text)
    return _verbs(block["bad"]), _verbs(block["good"])


def _domain(text: str) -> Domain:
    """A domain from its text: the first block is the domain, each further block an aspect."""
    head, *aspects = text.strip().split("\n\n")
    block = _block(head)
    return Domain(
        words(block["whole"]),
        _verbs(block["occasions"]),
        (_verbs(block["never again"]), _verbs(block["again"])),
        tuple(_setting(item) for item in words(block["when"])),
        tuple(_aspect(aspect) for aspect in aspects),
    )


FILM = _domain("""
whole: film, movie, picture, sequel, thriller, comedy, documentary, remake
occasions: watch/watched it with my brother, see/saw it on a wet Tuesday, rent/rented it last month
occasions: catch/caught a late screening downtown, stream/streamed it on the couch
again: watch/watched it twice, recommend/recommended it to anyone, queue/queued for a second viewing
never again: walk/walked out, skip/skipped the next one, want/wanted those two hours back
when: in the second half | in the latter half thereof | once the second half begins/began
when: on the big screen | upon the great screen | when you see/saw it on the big screen
when: after the opening credits | after the naming of the makers | as the opening credits fade/faded
when: in the dark cinema | in the darkness of that house | when the lights go/went down
when: on a second viewing | when seen a second time | if you watch/watched it a second time

things: plot, script, story, ending, dialogue, premise | jokes, twists, flashbacks, punchlines
bad: predictable, muddled, contrived, lifeless, plodding, half-baked, mawkish, hackneyed, incoherent
bad: threadbare, preachy, leaden, toothless, numbing
good: gripping, clever, touching, witty, surprising, tender, inventive, unpredictable
good: wickedly funny, sly, humane, bracing, nimble, disarming
sinks: fall/fell apart halfway through, run/ran out of ideas, wander/wandered off
lifts: grip/gripped {you} from the start, keep/kept {you} guessing, build/built to a superb payoff

things: lead actor, heroine, villain, director | leads, supporting players, newcomers, cameos
bad: wooden, miscast, unconvincing, stiff, shrill, smug, sleepy, out of place, charmless, hammy
good: magnetic, convincing, charming, fearless, luminous, nuanced, a joy to watch, natural, impish
sinks: coast/coasted along, mumble/mumbled every line, look/looked bored throughout
lifts: light/lit up every scene, steal/stole the show, carry/carried it with ease
""")

RESTAURANT = _domain("""
whole: restaurant, bistro, cafe, diner, tavern, pizzeria, brunch place, noodle bar
occasions: book/booked a table for six, eat/ate there after the theatre, stop/stopped by for lunch
occasions: order/ordered the set menu, take/took my parents there on a Sunday
again: come/came back tomorrow, order/ordered the same again, bring/brought the whole family
never again: cook/cooked at home instead, send/sent it back, cross/crossed the road to avoid it
when: at the first bite | at the first morsel | when you take/took the first bite
when: by the main course | by the chief dish of the feast | once the main course arrives/arrived
when: on a Friday night | upon the sixth evening of the week | if you go/went on a Friday night
when: over a long lunch | over a long meal at noon | while the long lunch goes/went on
when: even at rush hour | even in the hour of the multitude | when the place is/was at its busiest

things: soup, steak, pasta, curry, salad, risotto, dessert | dumplings, pancakes, fries, vegetables
bad: cold, bland, greasy, soggy, overcooked, dry, tasteless, undercooked, rubbery, stale, watery
good: delicious, fresh, tender, crisp, perfectly seasoned, fragrant, juicy, hearty, silky, moreish
sinks: taste/tasted of cardboard, arrive/arrived lukewarm, leave/left a sour aftertaste
lifts: melt/melted in the mouth, burst/burst with flavour, hit/hit the spot, sing/sang on the tongue

things: waiter, hostess, service, bartender, chef, owner | waiters, servers, kitchen hands, staff
bad: rude, slow, inattentive, surly, clumsy, brusque, snooty, forgetful, condescending, offhand
good: friendly, attentive, quick, gracious, polite, welcoming, patient, unhurried, cheerful, genial
sinks: ignore/ignored us for an hour, mix/mixed up every order, sigh/sighed at a simple question
lifts: remember/remembered every detail, make/made us feel at home, smile/smiled all evening
""")

BOOK = _domain("""
whole: book, novel, memoir, paperback, biography, story collection, mystery, cookbook
occasions: read/read it on the train, borrow/borrowed it from the library, start/started it in bed
occasions: pick/picked it up at the airport, finish/finished it over a weekend
again: read/read it again, press/pressed it on my friends, buy/bought the next volume
never again: leave/left it on a bench, give/gave up on the author, use/used it as a doorstop
when: in the opening pages | in the first leaves thereof | as the opening pages turn/turned
when: towards the end | toward the latter end | once the end comes/came into view
when: past the halfway mark | beyond the midst of the scroll | once you pass/passed the halfway mark
when: in short sittings | a little at a sitting | if you read/read it in short sittings
when: late at night | in the watches of the night | when you read/read it late at night

things: prose, first chapter, narrative, epilogue | chapters, descriptions, footnotes, letters
bad: tedious, overwritten, clumsy, repetitive, dense, shallow, turgid, disjointed, pompous, stilted
good: absorbing, lyrical, lucid, sharp, thoughtful, wise, vivid, graceful, playful, haunting, limpid
sinks: drag/dragged on forever, lose/lost the thread, plod/plodded, try/tried far too hard
lifts: pull/pulled {you} along, reward/rewarded slow reading, crackle/crackled with life

things: narrator, detective, protagonist, author | characters, villagers, sisters, suspects
bad: flat, irritating, implausible, whiny, two-dimensional, insufferable, tiresome, self-absorbed
good: believable, endearing, funny, complex, memorable, warm, flawed in the best way
sinks: preach/preached at {you}, talk/talked in slogans, behave/behaved like cardboard
lifts: leap/leapt off the page, grow/grew on {you}, speak/spoke straight to the heart
""")

HOTEL = _domain("""
whole: hotel, guesthouse, hostel, resort, inn, motel, lodge, apartment
occasions: stay/stayed there for three nights, arrive/arrived by the evening ferry
occasions: check/checked in around noon, visit/visited for a conference
again: stay/stayed another week, book/booked it again, send/sent my parents there
never again: sleep/slept in the car, ask/asked for a refund, warn/warned every traveller
when: on the first night | upon the first night | when the first night comes/came
when: in the morning | in the morning when the cock crew | once the morning arrives/arrived
when: after a long flight | after a weary journey | when you arrive/arrived from a long flight
when: in high season | in the season of many travellers | if you travel/travelled in high season
when: for a short stay | in a sojourn of few days | if you stay/stayed only briefly

things: room, bathroom, bed, mattress, shower, balcony, lobby | towels, pillows, curtains, windows
bad: dirty, damp, shabby, musty, noisy, stained, broken, lumpy, freezing, dingy, mouldy, draughty
bad: dilapidated, claustrophobic, squalid
good: clean, spacious, comfortable, bright, quiet, spotless, soft, airy, well kept, luxurious
good: immaculate, restful, snug, pristine
sinks: smell/smelled of smoke, keep/kept us awake, need/needed a good scrub, make/made my skin crawl
lifts: look/looked brand new, feel/felt like home, exceed/exceeded the photographs

things: receptionist, porter, night clerk, concierge, cleaner | cleaners, hosts, attendants, porters
bad: unhelpful, rude, indifferent, dishonest, grumpy, useless, evasive, haughty, half asleep
good: helpful, kind, discreet, efficient, obliging, courteous, tireless, full of good advice
sinks: lose/lost our booking, shrug/shrugged at every complaint, charge/charged us twice
lifts: solve/solved every problem, greet/greeted us like old friends, find/found us a better room
""")

GADGET = _domain("""
whole: phone, laptop, blender, headset, vacuum, printer, smart watch, camera, kettle, router
occasions: buy/bought it for my office, charge/charged it overnight, take/took it on a hiking trip
occasions: use/used it every day in March, get/got it as a birthday present
again: buy/bought a second one, choose/chose the same brand, give/gave it as a gift
never again: return/returned it, throw/threw it out the window, go/went back to my old one
when: straight out of the box | in the hour it was unwrapped | when you take/took it out of the box
when: under heavy load | under a heavy burden | if you push/pushed it hard
when: after the latest update | after the latest mending thereof | since the latest update landed
when: on long journeys | upon long journeys | whenever you carry/carried it on long journeys
when: for everyday chores | in the labours of every day | when you use/used it for chores

things: battery, screen, keyboard, motor, charger, microphone | buttons, speakers, sensors, cables
bad: weak, sluggish, unreliable, flimsy, noisy, dim, faulty, fragile, erratic, temperamental, feeble
bad: defective, unpredictable, prone to overheating
good: powerful, fast, reliable, sturdy, silent, bright, responsive, durable, precise, robust, nimble
sinks: die/died within a month, overheat/overheated, break/broke after a week, stop/stopped working
lifts: last/lasted all day, work/worked flawlessly, start/started at once

things: software, setup, manual, interface, update | instructions, settings, updates, notifications
bad: buggy, confusing, clunky, intrusive, convoluted, cryptic, bloated, maddening, a minefield
good: intuitive, smooth, simple, clear, polished, painless, logical, slick, foolproof
sinks: crash/crashed constantly, waste/wasted a whole afternoon, lose/lost every preference
lifts: save/saved a great deal of time, explain/explained everything, make/made sense at once
""")

DOMAINS = (FILM, RESTAURANT, BOOK, HOTEL, GADGET)

# Opinions of the whole, in any domain. Faint praise, faint blame and irony are hard on purpose.
ANYTHING = _aspect("""
things: thing | things
bad: disappointing, terrible, awful, mediocre, poor, forgettable, frustrating, dreadful, lame
bad: nothing special, second-rate, abysmal, unremarkable, worse than expected, merely adequate
bad: bearable at best, lamentable, atrocious, hopeless, woeful, a shade too pleased with itself
good: great, wonderful, excellent, good, impressive, lovely, brilliant, decent enough, terrific
good: better than expected, outstanding, likeable, well worth having, splendid, second to none
good: criminally underrated, fantastic, hard to fault, stellar, nigh on perfect, admirable
sinks: be/was a letdown, be/was a waste of money, be/was a mess, be/was a chore, be/was a bore
sinks: be/was a lovely way to lose an evening, miss/missed the mark, waste/wasted a good idea
sinks: be/was a perfect cure for insomnia, leave/left me cold, be/was a triumph of marketing
sinks: be/was all hat and no cattle, promise/promised the moon, be/was a masterclass in tedium
sinks: be/was money down the drain, deserve/deserved to be ignored, be/was an endurance test
lifts: be/was a delight, be/was a triumph, be/was a gem, be/was a treat, be/was a guilty pleasure
lifts: be/was a pleasant surprise, deserve/deserved all the praise, be/was money well spent
lifts: be/was no small feat, silence/silenced my doubts, be/was a breath of fresh air
lifts: put/put a grin on my face, punch/punched above its weight, be/was just what I needed
lifts: be/was a cure for a bad week, make/made ten hours feel like one
""")

# What people feel about {np}, and what they came with.
FEELINGS = _verb_pair("""
bad: be/was disappointed by {np}, hate/hated {np}, regret/regretted choosing {np}
bad: dislike/disliked {np}, be/was bored by {np}, resent/resented {np}
good: love/loved {np}, enjoy/enjoyed {np}, adore/adored {np}, be/was impressed by {np}
good: admire/admired {np}, be/was delighted with {np}, marvel/marvelled at {np}, warm/warmed to {np}
""")
HOPES = _verb_pair("""
bad: expect/expected a disaster, fear/feared the worst, brace/braced for a slog
bad: come/came with low hopes, dread/dreaded every minute, know/knew the scathing reviews
good: expect/expected a treat, hope/hoped for something special, come/came with high hopes
good: look/looked forward to it, long/longed to love it, believe/believed the glowing reviews
""")

# Rows `as said today | as said of old`, for hedges also `| as the head of a clause`.
COPULA_NEGATORS = pairs(
    "not|not, never|never, hardly|scarcely, far from|far from, by no means|by no means,"
    "not exactly|not altogether, anything but|not at all"
)
NEGATORS = pairs("never|never, not|not, hardly|scarcely, rarely|seldom, not exactly|not altogether")
FRONTED = ("never", "scarcely", "seldom")  # "never was the soup cold"
PRONOUNS = ({"you": "you", "your": "your"}, {"you": "thee", "your": "thy"})
DEGREES = pairs(
    "very|exceedingly, really|truly, quite|right, rather|somewhat, utterly|wholly, so|so,"
    "surprisingly|passing, a little|a little"
)
HEDGES = pairs(
    "I suppose|as it seemeth unto me|I suppose, more or less|after a fashion|I would say,"
    "or so it seems|or so it seemeth|it seems, at least to me|in mine own sight|I find,"
    "I must admit|this I confess|I must admit, it turns out|as it is made known|it turns out"
)
SETTINGS = tuple(
    _setting(line)
    for line in """
to be honest | to speak the truth thereof | if I am honest
on closer inspection | unto him that looketh closely | when you look/looked closely
in the long run | in the fulness of days | as the weeks go/went by
at first glance | at the first sight thereof | when you first see/saw it
after a while | after a season | once a little time goes/went by
for what it costs | at the silver it demandeth | if you consider/considered what it costs
by any measure | by every measure of men | however you measure/measured it
compared with its rivals | set beside its rivals | if you compare/compared it with its rivals
from start to finish | from the beginning even unto the end | wherever you look/looked
on reflection | upon the musing of the heart | when I think/thought it over
""".strip().splitlines()
)
OPENERS = phrases(
    "verily, | behold, | lo, | yea, | of a truth, | truly I tell thee, | and it came to pass that |"
    "hearken, for | verily I say unto thee that | know thou that | let it be known unto thee that |"
    "give ear, for | hear ye, for | it is written that | and I say unto you all that |"
    "mark thou well that | it hath been told unto me that | O stranger, hearken:"
)
CLOSERS = phrases(
    "saith thy servant | as thou shalt see | and thus it was in those days | yea, verily |"
    "as it is told | and this I tell thee | as mine eyes beheld | and I hid it not from thee |"
    "even so, selah | and the elders nodded thereat | as all the people bear witness unto thee"
)
