"""What Hydra cannot read of a command line is answered with what to type."""

import shlex

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import OverrideParseException

from btu.terminal.overrides import join_attacks, quoted, written
from btu.terminal.sentences import in_one_sentence
from tests.conftest import composed

NAMES = [
    "a=b.csv",
    "a (1).csv",
    "it's.csv",
    "a#b",
    "é.csv",
    'a"=b',
    "a\n=b",
    "a[1].csv",
    "a\\\\=b=",
    "{a}=",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_path_that_hydra_cannot_read_is_answered_with_its_quotes(name):
    with pytest.raises(OverrideParseException) as refused:
        OverridesParser.create().parse_overrides([f"dataset.train={name}"])

    sentence = in_one_sentence(refused.value)

    if name.startswith("{"):
        assert "needs quotes" in sentence
        return
    advised = shlex.split(sentence[sentence.index("Quote it: ") + 10 :].removesuffix("."))
    (override,) = OverridesParser.create().parse_overrides(advised)
    assert override.value() == name


def test_a_comma_in_a_path_of_one_job_is_answered_with_its_quotes():
    with pytest.raises(Exception, match="Ambiguous") as refused:
        composed(["dataset=local", "dataset.train=a,b.csv"])

    assert in_one_sentence(refused.value).endswith(
        """Quote it: 'dataset.train="a,b.csv"'. For several values of a sweep add -m."""
    )


def test_a_word_without_a_value_is_named():
    with pytest.raises(OverrideParseException) as refused:
        OverridesParser.create().parse_overrides(["demo"])

    assert in_one_sentence(refused.value).startswith("'demo' is not KEY=VALUE.")


@pytest.mark.parametrize("text", [*NAMES, "a,b", "plain/path-1.tsv", "end\\", 'a\\"b', ""])
def test_a_written_value_is_read_as_itself(text):
    for value in (written(text), quoted(text)):
        assert OverridesParser.create().parse_override(f"outputs={value}").value() == text


@pytest.mark.parametrize(
    ("word", "joined"),
    [
        ("attack=[badnets,style]", "attack=badnets+style"),
        ("attack=['badnets', \"style\"]", "attack=badnets+style"),
        ("attack=none,[badnets,style],[a,b,c]", "attack=none,badnets+style,a+b+c"),
        ("attack=[badnets]", "attack=badnets"),
        ("attack=[]", "attack=[]"),
        ("attack.triggers=[cf,mn]", "attack.triggers=[cf,mn]"),
        ("defense=[cube,btu]", "defense=[cube,btu]"),
    ],
)
def test_a_list_of_attacks_is_one_option(word, joined):
    assert join_attacks([word]) == [joined]
    assert join_attacks([joined]) == [joined]
