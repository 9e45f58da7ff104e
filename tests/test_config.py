"""Every yaml composes and builds, and every mistake is one sentence."""

import re
import shlex
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from btu.auditing.command import make_parser
from btu.cli import CONF
from btu.config import GROUPS, build, check_arms
from btu.errors import BtuError, ConfigError
from btu.job import build_attack, build_defenses, choose_thresholds
from btu.training.devices import resolve_device
from btu.types import ARM_NAMES
from tests.conftest import composed, sweep_of

ROOT = Path(__file__).resolve().parent.parent
FILL = {  # values that a file leaves to the user
    "dataset/local": ["dataset.train=train.tsv"],
    "dataset/openbackdoor": ["dataset.folder=folder"],
}
GROUP_FILES = sorted(path for group in GROUPS for path in (CONF / group).glob("*.yaml"))
EXPERIMENTS = sorted((CONF / "experiment").glob("*.yaml"))


def built(cfg, group):
    """What a part of the config describes; of several defenses the last."""
    if group == "tuning":
        return OmegaConf.to_object(cfg.tuning)
    if group == "attack":
        return build_attack(cfg.attack)
    return build_defenses(cfg.defense)[-1] if group == "defense" else build(cfg[group], group)


@pytest.mark.parametrize("path", GROUP_FILES, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_every_group_file_composes_and_builds(path):
    group, option = path.parent.name, path.stem

    cfg = composed([f"{group}={option}", *FILL.get(f"{group}/{option}", [])])

    assert built(cfg, group).name == option


@pytest.mark.parametrize("whole", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda p: p.stem)
def test_every_experiment_composes_and_builds_for_all_of_its_sweep(path, whole):
    """Each value of the sweep at least once, or every job of it."""
    seen = set()
    for combination in sweep_of(path.stem, "seed=1"):  # the seed enters no component
        if not whole and seen >= set(combination):
            continue
        seen |= set(combination)
        cfg = composed([f"experiment={path.stem}", *combination])
        for group in GROUPS:
            if "???" not in str(cfg[group]):
                built(cfg, group)


def test_a_sweep_on_the_command_line_replaces_the_experiments():
    assert len(sweep_of("label_policy_ablation")) == 3 * 3 * 3
    assert sweep_of("label_policy_ablation", "seed=4", "attack=style", "device=cpu") == [
        ["attack=style", f"attack.label_policy={policy}", "seed=4", "device=cpu"]
        for policy in ("mix", "dirty", "clean")
    ]


@pytest.mark.parametrize(
    "path", sorted((CONF / "hydra" / "launcher").glob("*.yaml")), ids=lambda p: p.stem
)
def test_every_launcher_composes(path):
    composed([f"hydra/launcher={path.stem}"])


@pytest.mark.parametrize("path", [*GROUP_FILES, *EXPERIMENTS], ids=lambda p: p.stem)
def test_every_file_opens_with_the_command_that_uses_it(path):
    text = path.read_text().partition("# @package")[2].partition("\n")[2] or path.read_text()
    assert text.startswith("# btu "), "expected a first line such as '# btu attack=...'"


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda p: p.stem)
def test_every_experiment_says_its_cost_and_what_to_expect(path):
    header = path.read_text().split("\ndefaults:")[0].split("\nhydra:")[0].replace("\n# ", " ")
    assert all(word in header for word in ("Cost", "two cores", "GPU", "Expect:"))


def commands_in(path: Path) -> list[str]:
    text = path.read_text().replace("\\\n", " ")
    if path.suffix == ".md":
        text = "\n".join(re.findall(r"```(?:bash|sh)\n(.*?)```", text, re.DOTALL))
    lines = (line.strip().lstrip("# ").strip() for line in text.split("\n"))
    return [line.split("   ")[0] for line in lines if re.match(r"btu(\s[^\[]|$)", line)]


DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), CONF / "config.yaml"]
COMMANDS = [
    (path.relative_to(ROOT), command)
    for path in [*DOCUMENTS, *GROUP_FILES, *EXPERIMENTS]
    for command in commands_in(path)
]


@pytest.mark.parametrize(("path", "command"), COMMANDS, ids=[f"{p}:{c}" for p, c in COMMANDS])
def test_every_documented_command_composes(path, command):
    words = shlex.split(command, comments=True)[1:]
    if {"--cfg", "--help", "--config-dir"} & set(words):  # those of test_extending.py are run
        return
    if words[:1] == ["audit"]:
        assert make_parser().parse_intermixed_args(words[1:]).file
        return
    words = [w for w in words if not re.search(r"=(tag|interval|choice)\(", w)]  # of a search
    overrides = [w for w in words if w not in ("-m", "--multirun", "...") and "hydra" not in w]
    swept = [re.sub(r"^((?![^=]*=\[)[^=]+=[^,\[\"]+),.*$", r"\1", word) for word in overrides]
    firsts = [re.sub(r"^([^=]+=\[[^\]]*\]),\[.*$", r"\1", word) for word in swept]  # of lists

    cfg = composed(firsts)

    assert cfg.seed >= 1


def test_the_readme_documents_commands():
    assert len(commands_in(ROOT / "README.md")) >= 6


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("+attack.triger=[cf]", r"attack\.triger: Insertion has no such field; did you mean"),
        ("attack.num_triggers=many", r"attack\.num_triggers: .*'many'.*Integer"),
        ("attack.triggers=cf", r"attack\.triggers: .*Write attack\.triggers=\[\.\.\.\]"),
        ("+defense.btu.rounds.0.kindd=x", r"defense\..*kindd"),
        ("defense.btu.cutoff=median", r"defense\.btu\.cutoff: there is no median"),
        ("defense.btu.rounds=[]", r"defense\.btu\.rounds is empty"),
        ("defense.btu.rounds.0.hide_suspects=true", r"is the first round\. Put a round before it"),
        ("defense.btu.replacement=zero", r"defense\.btu\.replacement: there is no zero"),
        (
            "defense.btu.use_rounds=[]",
            r"use_rounds is empty, but needs at least 1",
        ),
        ("defense.btu.use_rounds=[1,1]", r"use_rounds names 1 2 times"),
        ("defense.btu.use_rounds=[3,1]", r"each once and in order, got \[3, 1\]"),
        (
            "defense.btu.use_rounds=[0,1]",
            r"use_rounds\[0\] is at least 1, got 0",
        ),
        (
            "defense.btu.use_rounds=[1,4]",
            r"numbers from 1 to 3, .* write defense\.btu\.use_rounds=\[1\]",
        ),
        ("tuning.max_samples=0", r"max_samples is at least 1 or null, got 0"),
        ("tuning.share=10", r"between 0 and 1 or null, got 10\. For ten percent write"),
        ("model.training.learning_rate=2", r"learning_rate is above 0 and below 1, got 2"),
        ("model.training.epochs=0", r"epochs is at least 1, got 0"),
        (
            "model.training.precision=fp8",
            r"training\.precision: there is no fp8; .* auto, bf16",
        ),
        ("dataset.num_train=abc", r"dataset\.num_train: .*'abc'"),
        ("tracking.mode=never", r"tracking\.mode: there is no never"),
    ],
)
def test_a_wrong_setting_is_one_sentence(override, sentence):
    cfg = composed([override])
    group = re.match(r"\+?(\w+)", override)[1]

    with pytest.raises(ConfigError, match=sentence) as error:
        built(cfg, group)

    assert "\n" not in str(error.value)


def test_the_number_of_tuning_rows_is_said_once():
    both = ["tuning.share=0.1", "tuning.max_samples=20"]

    with pytest.raises(ConfigError, match=r"got 0\.1 and 20\. Set one of them to null"):
        built(composed(both), "tuning")


def test_a_value_that_is_left_out_is_named():
    with pytest.raises(ConfigError, match=r"dataset\.train has no value\. Write dataset\.train="):
        build(composed(["dataset=local"]).dataset, "dataset")


def check_both(thresholds, arms):
    check_arms(arms, ARM_NAMES)
    choose_thresholds(built(composed([]), "defense"), thresholds)


@pytest.mark.parametrize(
    ("thresholds", "arms", "sentence"),
    [
        ([], ["poisoned"], r"thresholds is empty"),
        ([-0.1], ["poisoned"], r"between 0 and 1, got -0\.1"),
        ([0.1, 1.5], ["poisoned"], r"between 0 and 1, got 1\.5"),
        ([0.1], [], r"arms is empty"),
    ],
)
def test_wrong_run_settings_are_one_sentence(thresholds, arms, sentence):
    with pytest.raises(ConfigError, match=sentence):
        check_both(thresholds, arms)


def test_a_defense_without_unlearning_cannot_evaluate_it():
    assert check_arms(list(ARM_NAMES), ("clean", "poisoned")) == ("clean", "poisoned")
    with pytest.raises(ConfigError, match="can evaluate clean, poisoned, got defended"):
        check_arms(["defended"], ("clean", "poisoned"))


def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(BtuError, match="device=cuda:9 cannot be used"):
        resolve_device("cuda:9")
