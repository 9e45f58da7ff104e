"""Every setting says what it may be, and no value whatever ends in a trace."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
import pytest
from omegaconf import DictConfig, OmegaConf

import btu
from btu.attacks.insertion import Insertion
from btu.components import find_class
from btu.config import GROUPS, Config, build, build_run
from btu.errors import BtuError, ConfigError
from btu.job import build_defenses
from btu.models.base import Training
from btu.settings.base import Kind, Settings, check_settings, check_words, walk
from btu.settings.ranges import Choice, Items, Range, Share, Text, Word
from btu.terminal.sentences import MAX_SENTENCE, in_one_sentence, is_of_composing
from btu.terminal.text import plain
from tests.conftest import composed
from tests.test_config import FILL, GROUP_FILES

NUMBERS: list[Any] = [-1, 0, 2**70, 10**400, -0.5, 1.5, math.nan, math.inf, -math.inf, 1e308]
WORDS: list[Any] = ["", " ", "None", "nan", "a\x1bb", "a\0b", "\ud800", "a" * 5000, "[/]", "../.."]
OTHERS: list[Any] = [None, True, False, "???", "${nope}", [], [[]], [None], [True], ["a", "a"], {}]
HOSTILE = [*NUMBERS, *WORDS, *OTHERS, {"a": 1}, {1: [2]}, [[1]], [math.nan], "1", "9" * 5000]
CHEAP = {  # of what takes long: the most that a run is tried with
    "epochs": 2,
    "trusted_only_epochs": 2,
    "num_layers": 2,
    "hidden_size": 64,
    "max_length": 512,
    "vocabulary_size": 5000,
    "num_train": 400,
    "num_tuning": 100,
    "num_test": 200,
    "num_triggers": 20,
}


@dataclass(frozen=True)
class Setting:
    """One key of a composed config, and what its field says of it."""

    cfg: DictConfig  # with nothing but its group, or with no group
    key: str
    kind: Kind
    field: str  # the class and the field, the same under every option

    def outcome(self, value: Any) -> str | None:
        """The sentence that refuses a value; None if it is taken."""
        cfg = self.cfg.copy()
        try:
            OmegaConf.update(cfg, self.key, value)
            build_all(cfg)
        except BtuError as error:
            return in_one_sentence(error)
        except Exception as error:
            if not is_of_composing(error):
                raise AssertionError(f"{self.key}={value!r:.80} ends in a trace") from error
            return in_one_sentence(error)
        return None


def build_all(cfg: DictConfig) -> None:
    """Build whatever groups a config has, and its run-level settings."""
    for group in GROUPS:
        if cfg.get(group) is not None:
            build_defenses(cfg.defense) if group == "defense" else build(cfg[group], group)
    if "seed" in cfg:
        build_run(cfg)


def settings_in(cfg: DictConfig, place: str) -> list[Setting]:
    """Every key of a group of a config, such as `attack` or `defense.btu`; of the run for ""."""
    if not place:
        run = OmegaConf.merge(cfg, dict.fromkeys(GROUPS))
        values = OmegaConf.to_container(run, resolve=True)
        return [Setting(run, key, kind, key) for key, kind, _ in walk(Config, values, "")]
    values = OmegaConf.to_container(OmegaConf.select(cfg, place), resolve=True)
    alone = OmegaConf.create()
    OmegaConf.update(alone, place, values)
    cls = find_class(values.pop("_target_"), place)
    return [
        Setting(alone, key, kind, f"{cls.__name__}{key.removeprefix(place)}")
        for key, kind, _ in walk(cls, values, place)
    ]


def places_of(cfg: DictConfig) -> list[str]:
    """The groups of a config, each defense by itself, and the run."""
    plain = [group for group in GROUPS if group != "defense"]
    return ["", *plain, *(f"defense.{name}" for name in cfg.defense)]


@pytest.fixture(scope="module")
def configs() -> list[DictConfig]:
    """Composed configs that between them have every option of every group."""
    options: dict[str, list[str]] = {group: [] for group in GROUPS}
    for path in GROUP_FILES:
        options[path.parent.name].append(path.stem)
    rounds = []
    for number in range(max(map(len, options.values()))):
        chosen = {group: names[number % len(names)] for group, names in options.items()}
        fill = [word for group, name in chosen.items() for word in FILL.get(f"{group}/{name}", [])]
        rounds.append(composed([*(f"{group}={name}" for group, name in chosen.items()), *fill]))
    return rounds


@pytest.fixture(scope="module")
def settings(configs: list[DictConfig]) -> list[Setting]:
    """Every key of the composed config for every option of every group."""
    return [one for cfg in configs for place in places_of(cfg) for one in settings_in(cfg, place)]


@pytest.fixture(scope="module")
def fields(settings: list[Setting]) -> list[Setting]:
    """One key for each field."""
    return list({setting.field: setting for setting in settings}.values())


def test_every_number_and_text_says_what_it_may_be(settings):
    silent = {
        setting.field
        for setting in settings
        if not setting.kind.rules
        and not setting.kind.either
        and {int, float, str} & set(setting.kind.types)
    }

    assert silent == set(), "declare a range: Annotated[int, Range(1, 100)]"


def test_no_key_of_a_config_is_left_out(configs):
    for cfg in configs:
        for place in places_of(cfg):
            node = OmegaConf.select(cfg, place) if place else cfg
            known = {setting.key.removeprefix(f"{place}.") for setting in settings_in(cfg, place)}
            assert {str(key) for key in node} - {"_target_"} <= known


def is_one_sentence(said: str) -> bool:
    """As a terminal shows it."""
    return plain(said).isprintable() and len(said) <= MAX_SENTENCE


@pytest.mark.parametrize("num_values", [3, pytest.param(len(HOSTILE), marks=pytest.mark.slow)])
def test_a_hostile_value_of_any_setting_is_a_sentence_or_taken(fields, num_values):
    rng = np.random.default_rng(5)
    for setting in fields:
        for number in rng.permutation(len(HOSTILE))[:num_values]:
            value = HOSTILE[number]
            said = setting.outcome(value)
            if said is not None:
                name = setting.key.partition("[")[0].rpartition(".")[2]
                assert name in said or "'nope'" in said, (setting.key, value, said)
                assert is_one_sentence(said), (setting.key, value, said)


def test_a_number_outside_of_its_range_is_refused_and_one_inside_is_not(fields):
    for setting in fields:
        for rule in setting.kind.rules:
            if isinstance(rule, Range):
                for value in (math.nan, math.inf, -math.inf, rule.low - 1, rule.high + 1):
                    assert setting.outcome(value) is not None, (setting.key, value)
                said = " ".join(filter(None, (setting.outcome(v) for v in inside(rule, setting))))
                assert f"{setting.key} is " not in said


def inside(rule: Range, setting: Setting, seed: int = 0) -> list[float]:
    """Some numbers of a range, its closed ends among them."""
    rng = np.random.default_rng(seed)
    low, high = max(rule.low, -1e9), min(rule.high, 1e9)
    if int in setting.kind.types:
        return [int(low), int(high), int(rng.integers(int(low), int(high), endpoint=True))]
    ends = [low] * (not rule.open_low) + [high] * (not rule.open_high)
    return [*ends, low + (high - low) * float(rng.uniform(0.01, 0.99))]


def test_a_word_that_is_no_choice_is_refused_and_each_choice_is_known(fields):
    for setting in fields:
        for rule in setting.kind.rules:
            if isinstance(rule, Choice):
                assert "there is no nonesuch" in str(setting.outcome("nonesuch"))
                for name in rule.names:
                    assert "there is no" not in (setting.outcome(name) or "")


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("dataset.test_holdout=-0.5", r"dataset\.test_holdout is .* between 0 and 0\.9, got -0\.5"),
        ("dataset.tuning_holdout=nan", r"dataset\.tuning_holdout is .*, got nan"),
        ("model.num_layers=-1", r"model\.num_layers is at least 1, got -1"),
        ("model.eval_batch_size=0", r"model\.eval_batch_size is at least 1, got 0"),
        ("model.max_length=4", r"model\.max_length is a number of tokens, at least 8, got 4"),
        ("model.training.weight_decay=nan", r"weight_decay is between 0 and 1, got nan"),
        ("model.training.epochs=1000000000", r"epochs is at most 1,000,000, got 1,000,000,000"),
        ("model.hidden_size=63", r"model\.hidden_size=63 cannot be cut into model\.num_heads=2"),
        ("dataset.label_names=[a,a]", r"dataset\.label_names names 'a' 2 times"),
        ("attack.target_label=True", r"attack\.target_label is text or a number, got true, which"),
        ("attack.triggers=[true]", r"attack\.triggers\[0\] is text, got true.*Quote the word"),
        ("attack.triggers=[null]", r"attack\.triggers\[0\] is text, got null"),
        ("attack.triggers=[2024]", r"got the number 2,024.*Quote it"),
        ("attack.triggers=[[cf]]", r"attack\.triggers\[0\] is text, got a list: \['cf'\]"),
        ("defense.btu.rounds.1.max_length=3", r"defense\.btu\.rounds\[1\]\.max_length is"),
        ("defense.btu.name=mine", r"defense\.btu\.name is mine\. Give both one name"),
        ("tracking.project=a/b", r"tracking\.project is at most 128 characters without any of"),
        ("device=meta", "device is auto, cpu, mps, cuda or one such as cuda:1, got 'meta'"),
        ("seed=-1", "seed is at least 0, got -1"),
        ("seed=1180591620717411303424", "seed is at most .* more than 20 digits"),
        ("outputs=true", r"outputs is text, and True is hardly meant.*outputs=\./True"),
        ("export_poisoned=None", "for none write export_poisoned=null"),
        ("arms=[clean,clean]", "arms names 'clean' 2 times"),
        ("arms=[defendet]", r"arms\[0\]: there is no defendet; did you mean defended"),
        ("thresholds=[nan]", r"thresholds\[0\] is a finite number, got nan"),
        ("cache.limit_gb=nan", r"cache\.limit_gb is a size in gigabytes, .* or null, got nan"),
        ("on_failure=x", "on_failure: there is no x; it knows: continue, stop"),
    ],
)
def test_what_was_taken_is_refused(override, sentence):
    cfg = composed(["model=tiny", override])

    with pytest.raises(ConfigError, match=sentence):
        build_all(cfg)


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("attack=null", "^an option of a group is chosen by its name"),
        ("attack=[true]", "^an option of a group is chosen by its name"),
        ("dataset='a\0b'", "^an option of a group is chosen by its name"),
        ("model='\ud800'", "^an option of a group is chosen by its name"),
        (f"tuning.learning_rate={'9' * 400}", r"^tuning\.learning_rate: the number is too large"),
        (f"attack.poison_rate={'9' * 400}", r"^attack\.poison_rate is a fraction .* 20 digits"),
        (f"seed={'9' * 5000}", "^a number that was typed has more than 4,300 digits"),
    ],
)
def test_what_hydra_stumbles_over_is_a_sentence(override, sentence):
    with pytest.raises(ConfigError, match=sentence):
        btu.run(override)


def test_a_list_of_no_defense_says_what_to_type():
    with pytest.raises(ConfigError, match="For no defense write defense=none"):
        build_defenses(composed(["defense=[]"]).defense)


@pytest.mark.parametrize(
    ("yaml", "word"),
    [
        ("[no, yes]", "dataset.label_names[0] is text, got false, which YAML makes of false, no"),
        ("[on, b]", "dataset.label_names[0] is text, got true, which YAML makes of true, yes"),
        ("[a, ~]", "dataset.label_names[1] is text, got null"),
        ("[1.10, 2]", "dataset.label_names[0] is text, got the number 1.1"),
    ],
)
def test_a_word_that_yaml_takes_for_something_else_is_to_be_quoted(yaml, word):
    node = composed([]).dataset
    node.label_names = OmegaConf.create(f"x: {yaml}").x

    with pytest.raises(ConfigError, match=r"Quote") as error:
        build(node, "dataset")

    assert str(error.value).startswith(word)


@pytest.mark.parametrize(
    ("yaml", "names"),
    [("['no', \"yes\"]", ["no", "yes"]), ("['True', 'False']", ["True", "False"]),
     ("[0, 1]", ["0", "1"]), ("[2024-01-01, x]", ["2024-01-01", "x"])],
)  # fmt: skip
def test_quoted_words_and_whole_numbers_are_text(yaml, names):
    node = composed([]).dataset
    node.label_names = OmegaConf.create(f"x: {yaml}").x

    assert build(node, "dataset").label_names == names


def test_a_component_made_in_python_is_checked_too():
    with pytest.raises(ConfigError, match=r"model\.training\.epochs is at least 1, got 0"):
        Training(epochs=0, learning_rate=1e-3, batch_size=1, weight_decay=0.0, precision="fp32")
    with pytest.raises(ConfigError, match=r"epochs is at least 1, got true"):
        Training(epochs=True, learning_rate=1e-3, batch_size=1, weight_decay=0.0, precision="fp32")


@dataclass(frozen=True)
class Loud(Insertion):
    """As a user would write one: fields with and without a range, and no check of its own."""

    loudness: Annotated[float, Range(0, 11, advice="Louder is {key}=11.")]
    free: float
    echoes: Annotated[list[Share], Items(1)]

    place: ClassVar[str] = "attack"


LOUD = {
    **{"loudness": 3.0, "free": 1e9, "echoes": [0.1], "name": "loud"},
    **{"poison_rate": 0.1, "target_label": 1, "label_policy": "mix", "normalize_format": False},
    **{
        "stealth": False,
        "decoy_rate": 0.0,
        "triggers": ["a"],
        "triggers_file": None,
        "num_triggers": 1,
    },
    "position": "end",
}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"loudness": 12},
            r"attack\.loudness is between 0 and 11, got 12\. Louder is attack\.loudn",
        ),
        ({"free": math.nan}, r"attack\.free is a finite number, got nan"),
        ({"echoes": []}, r"attack\.echoes is empty, but needs at least 1"),
        ({"echoes": [0.1, 0.1]}, r"attack\.echoes names 0\.1 2 times"),
        ({"echoes": [2]}, r"attack\.echoes\[0\] is a fraction between 0 and 1, got 2"),
    ],
)
def test_a_component_of_ones_own_says_its_ranges_likewise(change, sentence):
    Loud(**LOUD)
    with pytest.raises(ConfigError, match=sentence):
        Loud(**{**LOUD, **change})
    with pytest.raises(ConfigError, match=sentence):
        build(OmegaConf.create({"_target_": f"{__name__}.Loud", **LOUD, **change}), "attack")


@dataclass
class Kinds(Settings):
    """One field of each kind."""

    either: int | Word
    named: dict[str, Word | None]
    lines: Annotated[str, Text(several_lines=True)]
    plain: str


def test_unions_mappings_and_undeclared_text_are_told_apart():
    fine = {"either": 1, "named": {"a": None, "b": "x"}, "lines": "a\nb", "plain": ""}

    check_words(Kinds, fine, "")
    check_settings(Kinds, fine, "")

    for change, key in (
        ({"either": "\x1b"}, "either"),
        ({"named": {"b": " "}}, r"named\.b"),
        ({"lines": "\0"}, "lines"),
    ):
        with pytest.raises(ConfigError, match=rf"^place\.{key} "):
            check_settings(Kinds, {**fine, **change}, "place")


def drawn(setting: Setting, rng: np.random.Generator) -> Any:
    """A value for a setting: one that its field allows, as often one that nobody foresaw."""
    allowed: list[Any] = [True, False] if bool in setting.kind.types else []
    for rule in setting.kind.rules:
        if isinstance(rule, Range):
            most = CHEAP.get(setting.key.rpartition(".")[2], math.inf)
            seed = int(rng.integers(2**31))
            allowed += [min(value, most) for value in inside(rule, setting, seed)]
        if isinstance(rule, Choice):
            allowed += rule.names
    pool = allowed if allowed and rng.random() < 0.5 else HOSTILE
    return pool[int(rng.integers(len(pool)))]


NUM_RANDOM = 1500
SMALL = [
    *("dataset.num_train=60", "dataset.num_tuning=20", "dataset.num_test=30", "seed=1"),
    *("model=tiny", "model.vocabulary_size=300", "model.hidden_size=16", "model.num_layers=1"),
    *("model.training.epochs=1", "thresholds=[0.01]", "arms=[poisoned,defended]"),
    *("tracking=none", "device=cpu", "report=false"),
]


@pytest.mark.slow
def test_1500_random_settings_end_in_a_sentence_or_in_sound_scores(tmp_path, monkeypatch):
    (tmp_path / "a" / "b" / "c").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "a" / "b" / "c")  # folders such as ../.. are taken from here
    rng = np.random.default_rng(17)
    bases = [[*SMALL, f"attack={name}"] for name in ("badnets", "style", "syntax")]
    known = [
        [one for place in places_of(cfg) for one in settings_in(cfg, place)]
        for cfg in map(composed, bases)
    ]
    wrong = []
    for number in range(NUM_RANDOM):
        base = int(rng.integers(len(bases)))
        setting = known[base][int(rng.integers(len(known[base])))]
        value = drawn(setting, rng)
        key = re.sub(r"\[(\d+)\]", r".\1", setting.key)
        try:
            run = btu.run(*bases[base], folder=tmp_path / f"run{number}", **{key: value})
            scores = run.records.reindex(columns=["cacc", "asr", "base_rate"]).to_numpy().ravel()
            sound = all(0 <= score <= 1 for score in scores)
            fault = None if sound else f"gives the scores {scores}"
        except BtuError as error:
            said = in_one_sentence(error)
            fault = None if is_one_sentence(said) else f"says {said!r}"
        except Exception as error:
            fault = f"raises {type(error).__name__}: {error}"
        if fault:
            wrong.append(f"{key}={value!r:.100} {fault}")

    assert not wrong, "\n".join(wrong)
