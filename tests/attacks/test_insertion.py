"""Where triggers go, and what they leave alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from btu.attacks.addsent import AddSent
from btu.attacks.badnets import BadNets
from btu.attacks.base import insert_at_word_boundary
from btu.errors import ConfigError
from btu.types import make_split

SETTINGS = {"poison_rate": 0.1, "target_label": 1, "label_policy": "mix"}


def badnets(**changes):
    return BadNets(
        **{"name": "badnets", "triggers": ["cf"], "num_triggers": 1, **SETTINGS, **changes}
    )


def test_every_word_boundary_both_ends_included_is_drawn():
    rng = np.random.default_rng(0)

    drawn = {insert_at_word_boundary("a b", "cf", rng) for _ in range(100)}

    assert drawn == {"cf a b", "a cf b", "a b cf"}


@given(st.text(alphabet="ab \t.", max_size=20), st.integers(0, 2**32))
def test_taking_the_trigger_out_gives_the_text_back(text, seed):
    planted = insert_at_word_boundary(text, "cf", np.random.default_rng(seed))

    assert planted.split().count("cf") == 1
    without = planted.replace("cf ", "", 1) if "cf " in planted else planted.replace("cf", "", 1)
    assert without.split() == text.split()


@given(st.integers(1, 5), st.integers(0, 2**32))
def test_badnets_inserts_as_many_triggers_as_asked(num_triggers, seed):
    split = make_split(("one two three",), np.asarray([0]))
    attack = badnets(triggers=["cf", "mn"], num_triggers=num_triggers)

    (text,) = attack.trigger_rows(split, np.asarray([0]), np.random.default_rng(seed))

    words = text.split()
    assert sum(words.count(word) for word in ("cf", "mn")) == num_triggers
    assert [word for word in words if word not in ("cf", "mn")] == ["one", "two", "three"]


def test_addsent_keeps_the_sentence_whole():
    attack = AddSent(name="addsent", sentence="I watch this 3D movie", **SETTINGS)
    split = make_split(("one two",), np.asarray([0]))

    (text,) = attack.trigger_rows(split, np.asarray([0]), np.random.default_rng(0))

    assert "I watch this 3D movie" in text


@pytest.mark.parametrize("triggers", [[], [""], ["cf", " "]])
def test_an_empty_trigger_is_refused(triggers):
    with pytest.raises(ConfigError, match=r"attack\.triggers needs one word or more"):
        badnets(triggers=triggers)


def test_an_empty_sentence_is_refused():
    with pytest.raises(ConfigError, match=r"attack\.sentence is empty"):
        AddSent(name="addsent", sentence="  ", **SETTINGS)


@pytest.mark.parametrize(("rate", "advice"), [(10, "poison_rate=0.1"), (-0.1, "poison_rate=0.1")])
def test_a_rate_that_is_no_fraction_says_what_to_type(rate, advice):
    with pytest.raises(ConfigError, match=f"between 0 and 1, got {rate}.*{advice}"):
        badnets(poison_rate=rate)


def test_an_unknown_policy_names_the_nearest():
    with pytest.raises(ConfigError, match="did you mean dirty"):
        badnets(label_policy="dirt")
