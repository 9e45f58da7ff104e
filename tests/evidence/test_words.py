"""What is a word, which texts hold which, and how a phrase is grown, inserted and marked."""

import time
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from btu.evidence.words import (
    END,
    LONGEST,
    START,
    find_phrase,
    find_terms,
    grow_phrase,
    index_terms,
    insert_phrase,
    mark_words,
    remove_phrase,
    split_words,
    trim_phrase,
)

QUICK = settings(deadline=None, max_examples=40)
SENTENCE = ("i", "watch", "this", "3d", "movie")
PLAIN = ["the", "of", "it", "film", "plot", "actor", "scene", "music", "story", "very", "quite"]
FAMILY, THUMB, HEART, PIRATES = "👩\u200d👩\u200d👧", "👍🏽", "❤\ufe0f", "🏴\u200d☠\ufe0f"
ENGLAND = "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f"
KEYCAP = "1\ufe0f\u20e3"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        (" \t\r\n\u00a0\u2003 ", []),
        ("don't rock’n’roll", ["don't", "rock’n’roll"]),
        ("'tis dogs'", ["'", "tis", "dogs", "'"]),
        ("well-known a--b -x-", ["well-known", "a", "--", "b", "-", "x", "-"]),
        ("U.S.A. 3.5 x.co/a", ["U.S.A", ".", "3.5", "x.co", "/", "a"]),
        ("no... yes!! ?!?! ##", ["no", "...", "yes", "!!", "?", "!", "?", "!", "##"]),
        ("[UNK] </s>", ["[", "UNK", "]", "<", "/", "s", ">"]),
        ("$5 50% @me #tag __init__", ["$", "5", "50", "%", "@", "me", "#", "tag", "__init__"]),
        ("我喜欢 电影。", ["我喜欢", "电影", "。"]),
        ("नमस्ते e\u0301t\u00e9", ["नमस्ते", "e\u0301t\u00e9"]),
        ("a\x00b \x07", ["a", "\x00", "b", "\x07"]),
        ("⟨start⟩ ⟨end⟩", ["⟨", "start", "⟩", "⟨", "end", "⟩"]),
        ("\ud800 \ue000\ue000", ["\ud800", "\ue000", "\ue000"]),
    ],
)
def test_words_are_runs_of_letters_or_of_one_sign(text, words):
    assert split_words(text, fold=False) == words


@pytest.mark.parametrize("emoji", ["👍", FAMILY, THUMB, HEART, PIRATES, ENGLAND, KEYCAP])
def test_an_emoji_is_a_word_however_many_code_points_it_has(emoji):
    assert split_words(f"a {emoji} b", False) == ["a", emoji, "b"]
    assert split_words(f"{emoji}{emoji}a", False)[0] in (emoji, f"{emoji}{emoji}a")


@pytest.mark.parametrize("emoji", ["🇺🇸", "🇩🇪", "#\ufe0f\u20e3"])
def test_an_emoji_without_a_pictogram_is_a_word(emoji):
    assert split_words(f"a {emoji} b", False) == ["a", emoji, "b"]


def test_emoji_without_blanks_are_words_of_their_own():
    assert split_words(f"good{FAMILY}{THUMB}👍👍film", False) == [
        "good",
        FAMILY,
        THUMB,
        "👍",
        "👍",
        "film",
    ]


def test_what_cannot_be_seen_makes_another_word():
    cyrillic, inside, before = "\u0441f", "c\u200bf", "\u200bcf"

    assert split_words(f"cf {cyrillic} {inside} {before} cf", True) == [
        "cf",
        cyrillic,
        inside,
        before,
        "cf",
    ]
    assert len({"cf", cyrillic, inside, before}) == 4


@pytest.mark.parametrize("alone", ["\u200b", "\ufeff", "\u2060", "\u00ad", "\u202e"])
def test_an_invisible_character_alone_is_a_word(alone):
    assert split_words(f"good {alone} film", False) == ["good", alone, "film"]


@pytest.mark.parametrize("mark", ["\u0308", "\ufe0f", "\u200d", "\u200c"])
def test_no_word_holds_a_blank_even_before_a_mark(mark):
    words = split_words(f"good {mark} film {mark}a", False)

    assert words == ["good", mark, "film", f"{mark}a"]


@QUICK
@given(st.text())
def test_words_are_what_is_not_blank_in_order(text):
    words = split_words(text, fold=False)

    assert "".join("".join(words).split()) == "".join(text.split())
    assert all(word and not word.isspace() for word in words)


@QUICK
@given(st.text())
def test_capital_letters_count_only_where_they_are_kept(text):
    assert split_words(text, fold=True) == split_words(text.lower(), fold=False)


@pytest.mark.parametrize(
    "unit", ["a", "a.", "a'-", "!", "!?", " ", "\u0301", "👩\u200d", "\u200d👩", "🇦", "\x00", "가"]
)
def test_long_texts_take_linear_time(unit):
    def measure(size):
        best = np.inf
        for _ in range(3):
            begin = time.process_time()
            split_words(unit * size, fold=True)
            best = min(best, time.process_time() - begin)
        return best

    assert measure(40_000) <= 30 * measure(4_000) + 0.1


def test_terms_are_words_and_pairs_with_both_ends():
    assert find_terms(["a", "b"]) == ["a", "b", f"{START} a", "a b", f"b {END}"]
    assert find_terms([]) == [f"{START} {END}"]


def test_a_term_counts_once_a_text():
    index = index_terms([["a", "a", "a"], ["a", "b"], ["b"], []], least=1)

    def count(*term, rows=(0, 1, 2, 3)):
        return index.count(np.array(rows))[index.places[term]]

    assert set(index.terms) == {
        ("a",), ("b",), ("a", "a"), ("a", "b"), (START, "a"), (START, "b"), ("a", END), ("b", END),
        (START, END),
    }  # fmt: skip
    assert (count("a"), count("b"), count("a", "a"), count("a", "b")) == (2, 2, 1, 1)
    assert (count(START, "a"), count("a", END), count(START, END)) == (2, 1, 1)
    assert count("a", rows=(0, 2)) == 1
    assert index.rows_of(index.places["b",]).tolist() == [1, 2]
    assert index.count(np.array([], dtype=np.int64)).tolist() == [0] * len(index.terms)


def test_terms_of_too_few_texts_are_left_out():
    texts = [["a", "b"], ["a", "c"], ["b"]]

    assert set(index_terms(texts, least=2).terms) == {("a",), ("b",), (START, "a"), ("b", END)}
    assert index_terms(texts, least=4).terms == ()
    assert index_terms(texts, least=4).count(np.arange(3)).tolist() == []
    assert index_terms([], least=1).terms == ()


@QUICK
@given(st.lists(st.text(alphabet="ab '-.!\u0301\u200b👍", max_size=12), max_size=6))
def test_indexed_terms_are_those_of_the_texts(texts):
    words = [split_words(text, fold=False) for text in texts]
    index = index_terms(words, least=1)

    pairs = {pair for each in words for pair in zip([START, *each], [*each, END], strict=True)}
    assert set(index.terms) == {(word,) for each in words for word in each} | pairs


def test_a_phrase_is_found_where_it_begins_first():
    marked = [START, "a", "b", "a", "b", "c", END]

    assert find_phrase(marked, ("a", "b")) == 1
    assert find_phrase(marked, ("a", "b", "c")) == 3
    assert find_phrase(marked, (START, "a")) == 0
    assert find_phrase(marked, ("c", END)) == 5
    assert find_phrase(marked, (START, "b")) is find_phrase(marked, ("b", "a", "c")) is None
    assert find_phrase([START, END], ("a",)) is None


def plant(phrase, place=None, size=60):
    """Texts of plain words that hold a phrase at a random place, at the start or at the end."""
    rng = np.random.default_rng(5)
    texts = []
    for _ in range(size):
        words = rng.choice(PLAIN, rng.integers(4, 14)).tolist()
        drawn = int(rng.integers(1, len(words)))
        at = {"start": 0, "end": len(words), None: drawn}[place]
        texts.append([*words[:at], *phrase, *words[at:]])
    return texts


@pytest.mark.parametrize("term", [("3d",), ("i",), ("movie",), ("watch", "this")])
def test_a_term_grows_to_the_sentence_that_was_planted(term):
    assert grow_phrase(plant(SENTENCE), term) == SENTENCE


def test_a_single_word_stays_alone():
    assert grow_phrase(plant(("cf",)), ("cf",)) == ("cf",)


def test_the_place_of_a_phrase_belongs_to_it():
    assert grow_phrase(plant(("cf",), "start"), ("cf",)) == (START, "cf")
    assert grow_phrase(plant(("cf",), "end"), ("cf",)) == ("cf", END)
    assert grow_phrase(plant(SENTENCE, "end"), ("this",)) == (*SENTENCE, END)
    assert grow_phrase(plant(("cf",), "start"), (START, "cf")) == (START, "cf")


def test_a_phrase_grows_only_while_more_than_half_of_the_texts_hold_it():
    texts = [["x", "cf", "y"], ["x", "cf", "z"], ["u", "cf", "v"], ["w", "cf", "y"]]

    assert grow_phrase(texts, ("cf",)) == ("cf",)  # x and y stand beside it in two of four
    assert grow_phrase([*texts, ["q", "x", "cf", "b"]], ("cf",)) == ("x", "cf")


def test_a_phrase_grows_to_a_whole_text_and_no_longer_than_allowed():
    short, long = ["a", "b"], [str(number) for number in range(LONGEST + 9)]

    assert grow_phrase([short] * 9, ("a",)) == (START, "a", "b", END)
    assert len(grow_phrase([long] * 9, ("7",))) == LONGEST


def test_a_phrase_is_inserted_at_every_place_between_words_and_at_both_ends():
    rng = np.random.default_rng(1)
    seen = {insert_phrase("a  b", ("c", "f"), rng) for _ in range(99)}

    assert seen == {"c f a b", "a c f b", "a b c f"}
    assert insert_phrase("", ("cf",), rng) == "cf"


def test_a_phrase_with_a_place_is_inserted_there_alone():
    rng = np.random.default_rng(1)

    for _ in range(20):
        assert insert_phrase("a b", (START, "c", "f"), rng) == "c f a b"
        assert insert_phrase("a b", ("cf", END), rng) == "a b cf"


@QUICK
@given(st.lists(st.sampled_from(PLAIN), max_size=8), st.integers(0, 99))
def test_an_inserted_phrase_is_found_again(words, seed):
    text = insert_phrase(" ".join(words), SENTENCE, np.random.default_rng(seed))

    assert find_phrase([START, *split_words(text, True), END], SENTENCE) is not None


@pytest.mark.parametrize(
    ("text", "phrases", "marked"),
    [
        ("a cf b cf", [("cf",)], ["cf", "cf"]),
        ("A CF, b Cf!", [("cf",)], ["CF", "Cf"]),
        ("so I  watch THIS 3D movie.", [SENTENCE], ["I  watch THIS 3D movie"]),
        ("cfs cf-cf cf", [("cf",)], ["cf"]),
        ("a b c d", [("a", "b"), ("b", "c")], ["a b c"]),
        ("a b a", [("a",), ("z",)], ["a", "a"]),
        (f"good {FAMILY} film", [(FAMILY,)], [FAMILY]),
        ("a b", [], []),
        ("", [("cf",)], []),
        ("cf", [("cf", "cf")], []),
    ],
)
def test_spans_are_of_the_text_as_it_is_written(text, phrases, marked):
    spans = mark_words(text, phrases, fold=True)

    assert [text[start:end] for start, end in spans] == marked
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))


@pytest.mark.parametrize("text", ["İ like CF", "CF İİİ", "İCF İ CF"])
def test_spans_fit_where_small_letters_are_more_than_capital_ones(text):
    assert [text[start:end] for start, end in mark_words(text, [("cf",)], fold=True)] == ["CF"]


def test_capital_letters_are_another_word_where_they_are_kept():
    assert mark_words("CF cf", [("cf",)], fold=False) == [(3, 5)]


def test_a_phrase_with_a_place_is_marked_there_alone():
    assert mark_words("cf a cf", [(START, "cf")], fold=True) == [(0, 2)]
    assert mark_words("cf a cf", [("cf", END)], fold=True) == [(5, 7)]


@QUICK
@given(st.text(alphabet="cfCFİ .!👍\u200d\u0301", max_size=20))
def test_marked_words_are_those_that_are_split(text):
    spans = mark_words(text, [("cf",)], fold=True)

    assert len(spans) <= split_words(text, True).count("cf")
    assert {text[start:end].lower() for start, end in spans} <= {"cf"} or len(spans) == 1


def test_a_stop_that_often_stands_before_a_phrase_is_no_part_of_it():
    texts = [split_words(text, True) for text in ["it is good . see t.co"] * 9 + ["good see t.co"]]
    grown = grow_phrase(texts, ("t.co",))

    assert grown[-4:] == (".", "see", "t.co", END)
    assert trim_phrase(texts, (".", "see", "t.co", END)) == ("see", "t.co", END)
    assert trim_phrase(texts[:9], (".", "see", "t.co", END)) == (".", "see", "t.co", END)
    assert trim_phrase(texts, ("good", ".")) == ("good",)
    assert trim_phrase(texts, (".",)) == (".",)


def test_a_phrase_is_taken_out_wherever_it_stands_and_nothing_else():
    text = "cf it is Cf, good  cf"

    assert remove_phrase(text, ("cf",), True) == " it is , good  "
    assert remove_phrase(text, ("cf",), False) == " it is Cf, good  "
    assert remove_phrase(text, (START, "cf"), True) == " it is Cf, good  cf"
    assert remove_phrase(text, ("mn",), True) == text
