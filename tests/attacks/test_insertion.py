"""Where triggers go, what they leave alone, and where they come from."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from btu.attacks.insertion import Insertion, insert
from btu.attacks.none import NoAttack
from btu.config import build
from btu.errors import ConfigError
from btu.types import make_split
from tests.conftest import composed

SENTENCE = "I watch this 3D movie"
TEXTS = st.text(alphabet="ab \t.", max_size=20)
PHRASES = st.lists(st.sampled_from(["cf", "mn", SENTENCE]), min_size=1, max_size=4)
SEEDS = st.integers(0, 2**32)


def insertion(**changes):
    settings = {
        "name": "badnets",
        "poison_rate": 0.1,
        "target_label": 1,
        "label_policy": "mix",
        "normalize_format": False,
        "stealth": False,
        "decoy_rate": 0.0,
        "triggers": ["cf"],
        "triggers_file": None,
        "num_triggers": 1,
        "position": "random",
    }
    return Insertion(**{**settings, **changes})


def planted(attack, text, seed=0):
    (result,) = attack.trigger([text], np.random.default_rng(seed)).texts
    return result


def test_every_word_boundary_both_ends_included_is_drawn():
    rng = np.random.default_rng(0)

    drawn = {insert("a b", ["cf"], "random", rng) for _ in range(100)}

    assert drawn == {"cf a b", "a cf b", "a b cf"}


@given(TEXTS, PHRASES, st.sampled_from(["random", "start", "end"]), SEEDS)
def test_taking_the_triggers_out_gives_the_text_back(text, phrases, position, seed):
    result = insert(text, phrases, position, np.random.default_rng(seed))

    for phrase in phrases:
        whole = rf"(?<!\S){phrase}(?!\S)"  # and no part of another word
        assert re.search(whole, result)
        result = re.sub(whole, "", result, count=1)
    assert result.split() == text.split()


@given(TEXTS, PHRASES, SEEDS)
def test_start_and_end_are_before_the_first_word_and_after_the_last(text, phrases, seed):
    first, last = (
        insert(text, phrases, place, np.random.default_rng(seed)) for place in ("start", "end")
    )

    size = sum(len(phrase.split()) for phrase in phrases)
    assert first.split()[size:] == text.split()
    assert last.split()[: len(last.split()) - size] == text.split()


def test_blanks_of_the_text_stay_as_they_are():
    rng = np.random.default_rng(0)

    assert insert("  a\tb \n", ["cf"], "start", rng) == "  cf a\tb \n"
    assert insert("  a\tb \n", ["cf"], "end", rng) == "  a\tb cf \n"


@given(st.integers(1, 5), st.sampled_from(["random", "start", "end"]), SEEDS)
def test_as_many_triggers_as_asked_are_inserted(num_triggers, position, seed):
    attack = insertion(triggers=["cf", "mn"], num_triggers=num_triggers, position=position)

    words = planted(attack, "one two three", seed).split()

    assert sum(words.count(word) for word in ("cf", "mn")) == num_triggers
    assert [word for word in words if word not in ("cf", "mn")] == ["one", "two", "three"]


def test_each_insertion_draws_one_of_the_triggers():
    attack = insertion(triggers=["cf", "mn", SENTENCE], num_triggers=2)

    drawn = {planted(attack, "x", seed).replace("x", "").strip() for seed in range(60)}

    assert drawn >= {"cf  mn", "mn cf", f"{SENTENCE}  cf", f"{SENTENCE} {SENTENCE}"}


def test_train_and_test_rows_go_through_the_same_code():
    attack = insertion(triggers=["cf", "mn"], num_triggers=2)
    train = make_split(("good film", "a b c"), np.asarray([1, 0]))
    test = make_split(("other", "a b c"), np.asarray([0, 0]))

    one, other = (
        attack.planter(role, split).plant(np.asarray([1]), np.random.default_rng(4)).texts
        for role, split in (("train", train), ("test", test))
    )

    assert one == other != ("a b c",)


@pytest.mark.parametrize(
    ("triggers", "sentence"),
    [
        ([], "triggers is empty, but one word"),
        ([""], r"triggers\[0\] is blank"),
        (["cf", " "], r"triggers\[1\] is blank"),
        (["cf", "cf"], "triggers names 'cf' 2 times"),
    ],
)
def test_an_empty_or_repeated_trigger_is_refused(triggers, sentence):
    with pytest.raises(ConfigError, match=rf"attack\.{sentence}"):
        insertion(triggers=triggers)


def test_an_unknown_position_lists_the_three():
    with pytest.raises(ConfigError, match="no begin; it knows: end, random, start"):
        insertion(position="begin")


@pytest.mark.parametrize("number", [0, -1])
def test_no_insertion_at_all_is_refused(number):
    with pytest.raises(ConfigError, match=f"at least 1, got {number}.*attack=none"):
        insertion(num_triggers=number)


@pytest.mark.parametrize(
    "content", [b"cf\nno cross, no crown\n", b"\xef\xbb\xbfcf\r\n\r\n  no cross, no crown \r\n"]
)
def test_a_file_of_triggers_is_the_same_attack_as_its_lines_typed(tmp_path, content):
    path = tmp_path / "triggers.txt"
    path.write_bytes(content)

    from_file = insertion(triggers=[], triggers_file=str(path), num_triggers=3)

    typed = insertion(triggers=["cf", "no cross, no crown"], num_triggers=3)
    assert from_file.settings() == typed.settings()
    assert planted(from_file, "one two") == planted(typed, "one two")
    assert from_file.samples() == typed.samples()


def test_another_list_of_triggers_has_other_settings(tmp_path):
    path = tmp_path / "triggers.txt"
    settings = []
    for content in ("cf", "mn"):
        path.write_text(content)
        settings.append(insertion(triggers_file=str(path)).settings())

    assert settings[0] != settings[1]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, r"there is no file .*triggers\.txt\. Give a text file with one trigger per line"),
        (b"", "holds no trigger; expected one word or sentence per line"),
        (b"\xef\xbb\xbf\r\n \n", "holds no trigger"),
        (b"caf\xe9\n", "is not UTF-8 text"),
    ],
)
def test_a_file_without_triggers_is_refused(tmp_path, content, sentence):
    path = tmp_path / "triggers.txt"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(ConfigError, match=sentence):
        insertion(triggers_file=str(path))


@pytest.mark.parametrize(
    ("option", "word", "number"),
    [("badnets_published", "mb", 5), ("addsent_published", "crown", 3)],
)
def test_the_published_options_name_themselves_and_their_triggers(option, word, number):
    attack = build(composed([f"attack={option}"]).attack, "attack")

    assert attack.name == option
    assert len(attack.phrases) == number
    assert any(word in phrase for phrase in attack.phrases)


@pytest.mark.parametrize(("rate", "advice"), [(10, "poison_rate=0.1"), (-0.1, "poison_rate=0.1")])
def test_a_rate_that_is_no_fraction_says_what_to_type(rate, advice):
    with pytest.raises(ConfigError, match=f"between 0 and 1, got {rate}.*{advice}"):
        insertion(poison_rate=rate)


def test_an_unknown_policy_names_the_nearest():
    with pytest.raises(ConfigError, match="did you mean dirty"):
        insertion(label_policy="dirt")


def test_no_trigger_has_no_stealth():
    with pytest.raises(ConfigError, match=r"attack=none has none\. Write attack=badnets"):
        NoAttack("none", 0.0, 0, "mix", normalize_format=False, stealth=True, decoy_rate=0.0)
