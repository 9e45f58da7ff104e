"""How rows are called in figures, tables for papers and sentences."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from btu.report.groups import Group
from btu.store.records import CHOICES
from btu.terminal.text import plain
from btu.types import BY_NAME, TRUSTED_ONLY, VICTIM, Arm

NOTHING = "none"  # the option of a group that plants, or defends with, nothing
CONTROLS = {VICTIM: "undefended", BY_NAME["tuned"]: "tuned", TRUSTED_ONLY: "trusted rows only"}


def title_of(choices: Mapping[str, str], defense: str = "") -> str:
    """`btu against badnets on sst2 (minilm)`."""
    attack = "" if choices["attack"] == NOTHING else choices["attack"]
    what = f"{defense} against {attack}" if defense and attack else defense or attack
    where = f"{choices['dataset']} ({choices['model']})"
    return plain(f"{what} on {where}" if what else where)


def subject_of(group: Group, defense: str = "", without: str = "") -> str:
    """The title of a row's block, with the settings that its block differs in, but for one."""
    shared = _settings({key: value for key, value in group.block[3] if key != without})
    return ", ".join([title_of(labels_of(group), defense), *shared])


def study_of(group: Group) -> str:
    """`sst2 (minilm)`."""
    return plain(f"{group.dataset} ({group.model})")


def attack_of(group: Group) -> str:
    """The attack, and on further lines the settings that its block differs in."""
    return "\n".join([plain(group.attack), *_settings(dict(group.block[3]))])


def variant_of(group: Group, without: str = "") -> str:
    """The defense with those of its settings that differ, but for one."""
    return " ".join([plain(group.defense), *settings_of(group, without)])


def settings_of(group: Group, without: str = "") -> list[str]:
    """Those settings of its method that differ, but for one: `cutoff=mean`."""
    return _settings({key: value for key, value in group.method.items() if key != without})


def labels_of(group: Group) -> dict[str, str]:
    """Its data set, attack, model and defense."""
    return {name: getattr(group, name) for name in CHOICES}


def control_of(block: Sequence[Group], arm: Arm, row: Group | None = None) -> Group | None:
    """The first row of a control, trained and tuned like the given row."""
    rows = (g for g in block if g.arm == arm and (row is None or g.may_control(row)))
    return next(rows, None)


def controls_of(block: Sequence[Group]) -> dict[str, Group]:
    """The controls of a block by name: undefended, tuned, trusted rows only."""
    found = {name: control_of(block, arm) for arm, name in CONTROLS.items()}
    return {name: group for name, group in found.items() if group}


def listed(names: Iterable[str]) -> str:
    """`a, b and c`."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def _settings(values: Mapping[str, str]) -> list[str]:
    return [plain(f"{key.split('.')[-1]}={value}") for key, value in values.items() if value]
