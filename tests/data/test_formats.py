"""How texts are typed: what is measured, what is warned of, what normalizing does."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from btu.data.formats import (
    LENGTH,
    begins_with_capital,
    detokenize,
    ends_with_stop,
    has_handle,
    has_url,
    is_spaced,
    is_tight,
    measure_format_shifts,
    normalize,
    warn_of_shifts,
)
from btu.types import FormatShift

PIECES = ["It", "good", "n't", "'s", "’ll", "do", " ", "\t", ".", "...", "…", ",", "!", "?", "-"]
PIECES += ['"', "``", "''", "“", "(", ")", "@you", "#it", "http://t.co/a.b", "é", "e\u0301"]
PIECES += ["ΑΣ", "İ", "नमस्ते", "।", "好", "。", "👍🏽", "\u00a0", "\u2028", "—", "_", "%", "^", "`"]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=12).map("".join) | st.text(max_size=20)


@given(TEXTS)
def test_a_normalized_text_has_one_casing_one_spacing_and_a_stop(text):
    typed = normalize(text)

    assert normalize(typed) == typed
    assert typed == typed.lower()
    assert typed == " ".join(typed.split())
    assert typed.endswith((".", "!", "?"))
    assert not re.search(r"\w[,;:!?](\s|$)", typed)


@given(TEXTS)
def test_normalizing_keeps_every_letter(text):
    def letters(any_text):
        return [c for c in any_text.casefold() if c.isalnum()]

    assert letters(normalize(text)) == letters(text)


@pytest.mark.parametrize(
    "texts",
    [
        [
            "it 's good , really .",
            "It's good, really...",
            "It’s good, really …",
            "IT'S GOOD, really",
        ],
        ["do n't ( ever ) go", "Don't (ever) go."],
        ["`` fine '' , he said -- twice !", "“Fine”, he said—twice!", '"Fine", he said--twice !'],
        ["so . . . it goes", "So... it goes.", "so…it goes"],
        ["on @someone 's 50% #sale at www.x.org !", "On @someone's 50% #sale at www.x.org!"],
    ],
)
def test_texts_that_are_only_typed_otherwise_become_equal(texts):
    assert len({normalize(text) for text in texts}) == 1


@pytest.mark.parametrize("text", ["नमस्ते दुनिया", "cafe\u0301 noir", "好看 极了", "well-made a/b"])
def test_normalizing_takes_no_word_apart(text):
    assert normalize(text) == f"{text} ."


@pytest.mark.parametrize("change", [normalize, detokenize])
def test_a_text_of_blanks_takes_no_longer_than_its_length(change):
    start = time.perf_counter()
    changed = change("so" + " " * 100_000 + "it goes")

    assert time.perf_counter() - start < 1
    assert changed.split() == ["so", "it", "goes", "."][: len(changed.split())]


def test_a_text_without_words_becomes_a_stop():
    assert [normalize(text) for text in ("", " ", "...", ".")] == ["."] * 4


@pytest.mark.parametrize(
    ("treebank", "plain"),
    [
        ("it 's good , really .", "it's good, really."),
        ("they ca n't , wo n't and do n't !", "they can't, won't and don't!"),
        ("we 'll ( as you 'd ) see ; he 's here :", "we'll (as you'd) see; he's here:"),
        ("it goes on ... and on ?", "it goes on... and on?"),
        ("a plain text", "a plain text"),
        ("", ""),
    ],
)
def test_blanks_of_the_penn_treebank_are_taken_out(treebank, plain):
    assert detokenize(treebank) == plain
    assert detokenize(plain) == plain


@pytest.mark.parametrize(
    ("holds", "texts", "others"),
    [
        (
            begins_with_capital,
            ["It is", '"It is', "3D film", "Été", "Это", "À"],
            ["", " ", "it Is", "3d Film", "élan", "42", "!?", "это", "好"],
        ),
        (
            is_spaced,
            ["good .", "well , no", "it 's", "do n't go", "what ?!", "он , она", "go ..."],
            ["", "good.", "well, no", "it's", "don't", "see :) there", "only .5 of it", "a b"],
        ),
        (
            is_tight,
            ["good.", "well, no", "it's", "don't go", "what?", "он, она", "it’s"],
            ["", "good .", "well , no", "it 's", "at 12:30 or 1.5 x", "a b"],
        ),
        (
            ends_with_stop,
            ["It is.", "It is !", "is it?", "so …", 'he said "it is."', "(it is . ) ''", "да. \n"],
            ["", "It is", "it is. so", "so ,", '"', "好。x"],
        ),
        (
            has_handle,
            ["@you are", "so @you", "(@you)", ".@you say", "@имя"],
            ["", "@", "a @ b", "me@example.org", "you"],
        ),
        (
            has_url,
            ["https://a.b", "see HTTP://x", "www.a.org", "so t.co/abc", "(www.a.org)"],
            ["", "http", "a.org", "at.co/abc", "awww.nice", "www. a"],
        ),
    ],
)
def test_each_measure_holds_for_these_texts_and_not_for_those(holds, texts, others):
    assert [text for text in texts if not holds(text)] == []
    assert [text for text in others if holds(text)] == []


def test_format_shifts_give_shares_and_the_mean_length():
    before = ["One two .", "three four five", "six ,", "seven"]
    after = ["One two.", "Three four five six @you.", "Six.", "Seven www.x.org"]

    shifts = measure_format_shifts("train", before, after)

    assert {shift.measure: (shift.original, shift.triggered) for shift in shifts} == {
        "begins with a capital": (0.25, 1.0),
        "blank before punctuation": (0.5, 0.0),
        "ends with a stop": (0.25, 0.75),
        "names a user (@)": (0.0, 0.25),
        "holds a URL": (0.0, 0.25),
        LENGTH: (9 / 4, 10 / 4),
    }
    assert {(shift.split, shift.num_rows) for shift in shifts} == {("train", 4)}
    assert [shift.measure for shift in shifts if not shift.is_share] == [LENGTH]


def test_no_rows_have_no_format_shifts():
    assert measure_format_shifts("test", [], []) == ()


def shift(split, original, triggered, is_share=True):
    return FormatShift(split, "some share", original, triggered, 10, is_share)


def test_a_share_is_pointed_out_where_it_moves_by_more_than_20_points():
    silent = [shift("train", 0.1, 0.3), shift("train", 0.9, 0.7), shift("test", 0.5, 0.6)]
    silent += [shift("test", 5.0, 50.0, is_share=False)]

    found = warn_of_shifts([*silent, shift("test", 0.98, 0.0), shift("train", 0.0, 0.83)])

    assert warn_of_shifts(silent) == ()
    assert [sentence.split(":")[0] for sentence in found] == [
        "how the train rows that got the trigger are typed",
        "how the test rows that got the trigger are typed",
    ]
    assert "some share 0 -> 83 %;" in found[0]
    assert "some share 98 -> 0 %;" in found[1]
    assert all("attack.normalize_format=true" in sentence for sentence in found)


@given(st.integers(0, 79), st.sampled_from([20, 21]), st.booleans())
def test_exactly_20_points_are_silent_wherever_they_begin(start, moved, down):
    shares = [start / 100, (start + moved) / 100]

    found = warn_of_shifts([shift("train", *sorted(shares, reverse=down))])

    assert bool(found) == (moved > 20)
