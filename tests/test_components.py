"""A component may be the user's own; what is none is refused in one sentence, before any work."""

import json
import sys

import pytest
from omegaconf import OmegaConf

from btu.cli import CONF
from btu.components import BASES
from btu.config import build
from btu.errors import ConfigError
from btu.store.files import checksum
from tests.conftest import TINY, shell

# As it would be found from the console script, which does not have the current directory first.
CONSOLE = {"PYTHONSAFEPATH": "1"}
ATTACK = '''
from __future__ import annotations

from dataclasses import dataclass

from btu.attacks.insertion import Insertion


@dataclass(frozen=True)
class Mine(Insertion):
    """Its trigger is shouted."""

    words: list[str]
    loudness: int | None

    def trigger_rows(self, split, rows, rng):
        return [text.upper() for text in super().trigger_rows(split, rows, rng)]


@dataclass(frozen=True)
class Alone:
    name: str


class Forgotten(Mine):
    pitch: float


class OnlyMethods(Mine):
    def trigger_rows(self, split, rows, rng):
        return super().trigger_rows(split, rows, rng)


@dataclass(frozen=True)
class Picky(Mine):
    def __post_init__(self):
        raise ValueError("loudness is at most 11")


@dataclass(frozen=True)
class Odd(Mine):
    when: Later


def make():
    pass
'''
BADNETS = (CONF / "attack" / "badnets.yaml").read_text()
SETTINGS = BADNETS.replace("btu.attacks.insertion.Insertion", "my_package.Mine").replace(
    "name: badnets", "name: mine\nwords: [a]\nloudness: null"
)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The current directory, with a module and a config folder of the user's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "my_package.py").write_text(ATTACK)
    folder = tmp_path / "my" / "conf" / "attack"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text(SETTINGS)
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] in ("my_package", "bad")]:
        del sys.modules[name]


def node(**changes):
    return OmegaConf.merge(OmegaConf.create(SETTINGS), changes)


def refusal(group="attack", **changes):
    with pytest.raises(ConfigError) as error:
        build(node(**changes), group)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_class_of_the_current_directory_is_built(here):
    mine = build(node(loudness=3), "attack")

    assert type(mine).__module__ == "my_package"
    assert (mine.name, mine.words, mine.loudness) == ("mine", ["a"], 3)


def test_a_class_that_only_overrides_methods_needs_no_decorator(here):
    assert build(node(_target_="my_package.OnlyMethods"), "attack").name == "mine"


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        (None, "names a class with its module, such as btu.attacks.base.Attack, got None."),
        ("Mine", "such as btu.attacks.base.Attack, got 'Mine'."),
        (
            "os.system",
            "expected a class that derives from btu.attacks.base.Attack, but os.system is a "
            "builtin_function_or_method.",
        ),
        (
            "btu.store.cache.StageCache",
            "but btu.store.cache.StageCache is a class that does not.",
        ),
        ("btu.data.local.LocalDataset", "derives from btu.attacks.base.Attack, but"),
        ("my_package.Alone", "my_package.Alone is a class that does not."),
        ("my_package.make", "my_package.make is a function."),
        (
            "my_package.Forgotten",
            "the fields of Forgotten are not read, because it is not a dataclass. Write "
            "@dataclass(frozen=True) above it.",
        ),
        ("my_package.Mien", "there is no class Mien in my_package; did you mean Mine?"),
        (
            "btu.attacks.insertion.Insert",
            "no class Insert in btu.attacks.insertion; did you mean Insertion?",
        ),
        (
            "json.Mine",
            "no class Mine in json; it has no class that derives from btu.attacks.base.Attack.",
        ),
        (
            "my_pakage.Mine",
            "there is no module my_pakage. Install it, or put the folder that it lies in in "
            "PYTHONPATH.",
        ),
        (
            "btu.attacks.insertions.Insertion",
            "there is no module insertions in btu.attacks; did you mean insertion?",
        ),
        ("my_package.attacks.Mine", "there is no module attacks in my_package; it has no module."),
        (
            "my_package.Odd",
            "the types of Odd's fields cannot be read: name 'Later' is not defined. Import what "
            "they name outside of TYPE_CHECKING.",
        ),
    ],
)
def test_what_is_no_component_is_refused_with_the_reason(here, target, sentence):
    said = refusal(_target_=target)

    assert said.startswith("attack._target_")
    assert sentence in said


@pytest.mark.parametrize("group", BASES)
def test_each_group_wants_its_own_kind(here, group):
    base = BASES[group]

    said = refusal(f"{group}.one", _target_="my_package.Alone")

    assert said.startswith(f"{group}.one._target_: ")
    assert f"{base.__module__}.{base.__name__}" in said


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("import os\n\nraise ValueError('boom')", "bad.py line 3 raises ValueError: boom"),
        ("x = 1\ndef f(:\n", "bad.py line 2 raises SyntaxError: invalid syntax"),
        ("import not_there", "bad.py line 1 raises ModuleNotFoundError: No module named 'not_th"),
        ("import json\njson.loads('{')", "bad.py line 2 raises JSONDecodeError: Expecting"),
        ("import sys\nsys.exit(3)", "bad.py line 2 raises SystemExit: 3"),
        (
            f"{ATTACK}\n@dataclass\nclass Thawed(Mine):\n    pass",
            "raises TypeError: cannot inherit non-frozen dataclass from a frozen one",
        ),
    ],
)
def test_a_module_that_cannot_be_imported_is_named_with_file_and_line(here, text, sentence):
    (here / "bad.py").write_text(text)

    said = refusal(_target_="bad.Mine")

    assert said.startswith("attack._target_: bad cannot be imported: bad.py line ")
    assert sentence in said


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"loudnes": 1}, "attack.loudnes: Mine has no such field; did you mean loudness?"),
        ({"loudness": "very"}, "attack.loudness: Value 'very'"),
        ({"_target_": "my_package.Picky"}, "attack: Picky refuses its settings: loudness is at"),
        ({"words": "a"}, "attack.words: expected a list. Write attack.words=[...]"),
        ({"poison_rate": 7}, "attack.poison_rate is a fraction between 0 and 1, got 7."),
    ],
)
def test_settings_of_an_outside_class_are_checked_like_btus(here, changes, sentence):
    assert refusal(**changes).startswith(sentence)


def test_a_field_that_the_yaml_lacks_is_named(here):
    settings = node()
    del settings["words"]

    with pytest.raises(ConfigError, match=r"attack\.words has no value\. Write attack\.words="):
        build(settings, "attack")


def test_an_installed_module_goes_before_one_in_the_current_directory(here):
    (here / "colorsys.py").write_text("raise ValueError")

    assert "no class Mine in colorsys" in refusal(_target_="colorsys.Mine")


@pytest.mark.slow
def test_the_command_line_takes_an_attack_from_beside_it(here, files):
    small = [*files.overrides, "model=tiny", *TINY[:2], *TINY[3:], "model.training.epochs=1"]

    done = shell(
        "--config-dir=my/conf",
        "attack=mine",
        "arms=[poisoned]",
        *small,
        cwd=here,
        **CONSOLE,
    )

    assert done.returncode == 0, done.stderr
    (path,) = (here / "outputs" / "records").glob("*.json")
    record = json.loads(path.read_text())
    assert record["choices"]["attack"] == "mine"
    (plugin,) = record["provenance"]["plugins"]
    assert (plugin["class"], plugin["file"]) == ("my_package.Mine", "my_package.py")
    assert plugin["sha256"] == checksum(here / "my_package.py")


def test_the_command_line_refuses_it_in_one_sentence(here):
    (here / "my_package.py").write_text("\n\nraise ValueError('boom')")

    done = shell("--config-dir=my/conf", "attack=mine", "tracking=none", cwd=here, **CONSOLE)

    assert done.returncode == 1
    assert done.stderr.strip() == (
        "error: attack._target_: my_package cannot be imported: my_package.py line 3 raises "
        "ValueError: boom"
    )
