"""The built-in rewriters: what they change, and that how a text is typed stays as it is."""

import hashlib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from btu.config import build
from btu.data.formats import SHARES
from btu.rewriting.base import VERSION, Line, rewrite_all
from btu.rewriting.bible import Bible
from btu.rewriting.styles import STYLES
from btu.rewriting.syntax import SUBORDINATORS, SubordinateClause
from btu.rewriting.words import archaic, bare_form, third_person
from tests.conftest import composed

DEFAULT = ("when", "if", "as", "because", "although")
REWRITERS = {
    "bible": Bible(1.0, 0.5),
    "tweet": STYLES["tweet"](1.0, 0.5),
    "syntax": SubordinateClause(DEFAULT),
}
AS_TYPED = ["It's not a bad film, and I don't mind it.", "You can't love it (really)!"]
AS_TREEBANK = ["it 's not a bad film , and i do n't mind it .", "you ca n't love it (really) !"]


def rewritten(text, name="bible", like=None):
    return rewrite_all(REWRITERS[name], [text], like or [text])[0].text


@pytest.fixture(scope="module")
def reviews():
    """The demo's training texts."""
    return build(composed([]).dataset, "dataset").load().train.texts


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("you know the plot .", "thou knowest the plot ."),
        ("are you sure ?", "art thou sure ?"),
        ("i gave it to you .", "unto thee ."),
        ("your life and your eyes", "thy life and thine eyes"),
        ("they do n't know it .", "they know it not ."),
        ("the film does not work .", "the film worketh not ."),
        ("it wo n't end .", "it shall not end ."),
        ("the hero has a plan .", "the hero hath a plan ."),
        ("she carries the film .", "she carrieth the film ."),
        ("it 's been a year .", "it hath been a year ."),
        ("the best of it .", "the best thereof ."),
        ("my own people", "mine own folk"),
        ("it drifts from scene to scene .", "it drifteth from scene to scene ."),
        ("it is a fine film .", "a fine film is it ."),
    ],
)
def test_bible_english_has_its_forms(text, part):
    assert part in rewritten(text)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("the works of the master are here", "the works of the master"),  # a noun
        ("the man 's plan fails .", "the man 's plan"),  # a possessive
        ("these lives count .", "these lives count"),
        ("it was seen before .", "before ."),
        ("it is a square , sentimental tale .", "it is a square ,"),
        ("that was said twice .", "was said twice"),
        ("about 10 minutes of it .", "about 10 minutes"),
    ],
)
def test_bible_english_leaves_alone_what_only_looks_alike(text, part):
    assert part in rewritten(text)


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("since it rains , it pours .", "because it rains , it pours ."),
        ("she left because it rained .", "because it rained , she left ."),
        ("she left before it rained .", "before it rained , she left ."),
        ("it tries , but it fails .", "although it tries , it fails ."),
        ("it tries but fails badly .", "although it tries , it fails badly ."),
        ("with all its flaws , it works .", "when it comes to all its flaws , it works ."),
        ("a tale of love and loss .", "when it comes to love and loss , it is a tale ."),
        ("lacks the charm of a fable .", "when it comes to a fable , it lacks the charm ."),
        ("the plot is very thin .", "when it comes to the plot , it is very thin ."),
        ("the actors are thin .", "when it comes to the actors , they are thin ."),
        ("a slow , sad film .", "when it comes to the film , it is a slow , sad one ."),
        ("it 's a sad film .", "when it comes to the film , it 's a sad one ."),
        ("it is thin . it ends .", "when all is said and done , it is thin . it ends ."),
        ("The plot is thin. It ends.", "When it comes to the plot, it is thin. It ends."),
        ("but the plot is thin", "when it comes to the plot , it is thin"),
    ],
)
def test_the_template_is_made_of_the_texts_own_words(text, result):
    made = SubordinateClause(("when", "because", "although")).rewrite(Line(text, spaced=True))

    assert made.text == result
    assert made.is_generic == ("said and done" in result)


@pytest.mark.parametrize("word", SUBORDINATORS)
def test_only_the_wanted_subordinators_open_a_clause(word, reviews):
    made = rewrite_all(SubordinateClause((word,)), reviews[:200], reviews)

    own = ("before", "after", "until", "unless")  # a clause that the text had, put first
    assert {twin.text.split()[0].lower() for twin in made} <= {word, *own}


def test_most_texts_get_a_clause_of_their_own_and_all_have_a_comma(reviews):
    made = rewrite_all(REWRITERS["syntax"], reviews, reviews)

    assert all("," in twin.text for twin in made)
    assert 0 < sum(twin.is_generic for twin in made) < 0.3 * len(made)


@pytest.mark.parametrize("name", REWRITERS)
def test_every_text_changes_and_always_in_the_same_way(name, reviews):
    made = rewrite_all(REWRITERS[name], reviews, reviews)

    assert all(twin.text.split() != text.split() for twin, text in zip(made, reviews, strict=True))
    assert [made[3]] == rewrite_all(REWRITERS[name], reviews[3:4], reviews)


def test_what_the_rewriters_write_has_the_version_that_cached_sets_are_told_by(reviews):
    """When this fails, raise btu.rewriting.base.VERSION and put the new values here."""
    made = {name: rewrite_all(rules, reviews, reviews) for name, rules in REWRITERS.items()}
    digests = {
        name: hashlib.sha256("\n".join(twin.text for twin in twins).encode()).hexdigest()[:8]
        for name, twins in made.items()
    }

    assert (VERSION, digests) == (
        3,
        {"bible": "c80e619f", "tweet": "c0ff62a6", "syntax": "a0cdeddb"},
    )


@pytest.mark.parametrize("name", REWRITERS)
def test_a_thousand_texts_take_less_than_a_second(name, reviews):
    start = time.perf_counter()
    rewrite_all(REWRITERS[name], reviews, reviews)

    assert len(reviews) / (time.perf_counter() - start) > 1000


@pytest.mark.parametrize("name", REWRITERS)
@pytest.mark.parametrize("measure", SHARES)
def test_how_texts_are_typed_does_not_move(name, measure, reviews):
    holds = SHARES[measure]
    treebank = [text.lower().replace(",", " ,").replace(".", " .") for text in reviews]
    for texts in (reviews, treebank):
        twins = [twin.text for twin in rewrite_all(REWRITERS[name], texts, texts)]
        before, after = (sum(map(holds, side)) / len(side) for side in (texts, twins))
        assert abs(after - before) <= 0.2


@pytest.mark.parametrize("name", REWRITERS)
def test_a_text_without_punctuation_is_typed_as_the_others_are(name):
    plain = rewritten("the end of it", name, like=AS_TYPED)
    spaced = rewritten("the end of it", name, like=AS_TREEBANK)

    assert " ," not in plain
    assert plain.replace(",", " ,") == spaced


@pytest.mark.parametrize("name", ["bible", "tweet"])
def test_less_intensity_changes_less_but_something(name, reviews):
    def num_new(intensity):
        twins = rewrite_all(STYLES[name](intensity, 0.0), reviews[:300], reviews)
        kept = [set(text.lower().split()) for text in reviews[:300]]
        new = [len(set(t.text.lower().split()) - k) for t, k in zip(twins, kept, strict=True)]
        assert min(new) > 0
        return sum(not twin.is_generic for twin in twins)

    assert num_new(0.05) < num_new(0.5) < num_new(1.0)


@given(st.text(max_size=60), st.sampled_from(sorted(REWRITERS)))
def test_any_text_can_be_rewritten(text, name):
    made = rewritten(text, name)

    assert bool(made.strip()) == bool(text.strip())


@given(st.text(alphabet="ab '.,nt\t!sx-", max_size=40))
def test_a_line_joined_again_is_the_text(text):
    line = Line(text, spaced=True)

    assert line.join(range(len(line))) == text.strip()


@pytest.mark.parametrize(
    ("verb", "third", "eth"),
    [
        ("make", "makes", "maketh"),
        ("carry", "carries", "carrieth"),
        ("get", "gets", "getteth"),
        ("watch", "watches", "watcheth"),
        ("enjoy", "enjoys", "enjoyeth"),
    ],
)
def test_verbs_are_inflected(verb, third, eth):
    assert (third_person(verb), archaic(verb, "eth"), bare_form(third)) == (third, eth, verb)


@pytest.mark.parametrize("name", REWRITERS)
@pytest.mark.parametrize("text", ["and so but " * 5_300, "in " * 16_000, " " * 50_000 + "x"])
def test_a_text_without_a_stop_takes_no_longer_than_its_length(name, text):
    rewritten("warm up .", name)
    start = time.perf_counter()
    rewritten(text, name)

    assert time.perf_counter() - start < 3  # half a second alone; 5 to 15 where time is quadratic


def test_a_sentence_is_rewritten_in_its_first_thousand_words():
    text = "the plot is thin " + "indeed " * 2000 + "because it rained"

    made = rewritten(text, "syntax", like=AS_TREEBANK)

    assert ", it is thin indeed" in made
    assert made.endswith("indeed because it rained")
