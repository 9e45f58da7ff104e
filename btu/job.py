"""One job: everything that a run was asked to do, built and checked before any work begins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any, cast

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from btu.attacks.base import Attack
from btu.attacks.several import Several, Together
from btu.config import Config, build, build_run, check_arms, fill
from btu.data.base import DatasetSource
from btu.defenses.base import Defense, NoDefense
from btu.errors import ConfigError, did_you_mean
from btu.models.base import ModelSource, Tuning
from btu.stealth.settings import Stealth
from btu.store.cache import CacheConfig
from btu.store.files import check_writable
from btu.terminal.paths import name_paths
from btu.types import BEFOREHAND, Arm

FIXED_NEED = 50_000_000  # bytes for records, logs, plots and W&B files
BYTES_PER_WEIGHT = 4
Thresholds = tuple[float | None, ...]


@dataclass(frozen=True)
class Job:
    """Everything one run was asked to do, built and checked."""

    dataset: DatasetSource
    attack: Attack
    model: ModelSource
    defenses: tuple[Defense, ...]  # in the order in which they decide
    swept: Defense | None  # whose thresholds are swept
    tuning: Tuning
    seed: int
    thresholds: Thresholds
    arms: tuple[str, ...]
    device: str
    outputs: Path
    cache: CacheConfig
    force: bool
    save_model: bool
    config: Mapping[str, Any]
    export_poisoned: Path | None = None
    stealth: Stealth | None = None  # None where the attack's is not to be measured
    without_arms: tuple[str, ...] = ()  # wanted, but none of its defenses has them

    @property
    def defense_name(self) -> str:
        """Its defenses as one word: `btu`, `cube+btu`."""
        return "+".join(defense.name for defense in self.defenses)

    @property
    def tunes(self) -> bool:
        """Whether the arm `defended` ends with tuning on the trusted rows."""
        return any(defense.tunes for defense in self.defenses)

    @property
    def threshold_label(self) -> str | None:
        """What the thresholds are, for an axis."""
        return self.swept.knob.label if self.swept and self.swept.knob else None

    @property
    def rule(self) -> str:
        """How a defender sets the threshold: by accuracy, if no model has learned trusted rows."""
        learns = any(defense.learns_trusted_rows for defense in self.defenses) or self.tunes
        return BEFOREHAND if learns or self.swept is None else self.swept.rule

    @property
    def components(self) -> tuple[Any, ...]:
        """What it was built from."""
        return (self.dataset, *self.attack.parts.values(), self.model, *self.defenses)

    def choices(self, arm: Arm) -> dict[str, str]:
        """The names of its choices, as far as they matter to an arm."""
        return {
            "dataset": self.dataset.name,
            "attack": self.attack.name,
            "model": self.model.name,
            "defense": self.defense_name if arm.defended else "none",
        }

    def check_disk(self, num_weights: int) -> None:
        """Raise a ConfigError if what the job keeps would fill the disk."""
        kept = len({"clean", "trusted_only"} & set(self.arms)) + 1
        check_writable(self.outputs, FIXED_NEED)
        weights = kept * num_weights * BYTES_PER_WEIGHT
        check_writable(Path(self.cache.folder), FIXED_NEED + weights, "cache.folder")


def build_job(cfg: DictConfig) -> tuple[Job, Any]:
    """Build and check every component before any work begins.

    Returns:
        The job, and the tracker that mirrors its results.
    """
    run = build_run(cfg)
    dataset, model, tracking = (
        build(cfg[group], group) for group in ("dataset", "model", "tracking")
    )
    if HydraConfig.initialized():
        check_named_once(HydraConfig.get().overrides.task)
        check_one_option(HydraConfig.get().runtime.choices)
    attack = build_attack(cfg.attack)
    defenses = build_defenses(cfg.defense)
    export = None if run.export_poisoned is None else Path(run.export_poisoned).expanduser()
    check_order(defenses)
    swept = find_swept(defenses, run.swept_defense)
    arms = check_arms(run.arms, available_arms(defenses), only_export=export is not None)
    thresholds = choose_thresholds(swept, run.thresholds)
    if arms:
        model.check()
    if attack.stealth:
        run.stealth.check()
    if run.rerun is not None:
        raise ConfigError(f"rerun={run.rerun} runs several jobs: type btu -m rerun={run.rerun}")
    check_writable(Path(run.outputs), FIXED_NEED)
    check_writable(Path(run.cache.folder), FIXED_NEED, "cache.folder")
    job = Job(
        dataset=dataset,
        attack=attack,
        model=model,
        defenses=defenses,
        swept=swept,
        tuning=run.tuning,
        seed=run.seed,
        thresholds=thresholds,
        arms=arms,
        device=run.device,
        outputs=Path(run.outputs),
        cache=run.cache,
        force=run.force,
        save_model=run.save_model,
        config=keyed_config(cfg, attack, defenses),
        export_poisoned=export,
        stealth=run.stealth if attack.stealth else None,
        without_arms=tuple(arm for arm in run.arms if arm not in arms),
    )
    return job, tracking


def build_attack(node: Any) -> Attack:
    """The attack, or several as one: then each is a mapping within the group.

    Raises:
        ConfigError: one is wrong, or they do not go together.
    """
    several = f"{Several.__module__}.{Several.__name__}"
    if not isinstance(node, DictConfig) or node.get("_target_") != several:
        return cast(Attack, build(node, "attack"))
    nodes = {str(name): part for name, part in node.items() if isinstance(part, DictConfig)}
    own = {str(name): value for name, value in node.items() if name not in {*nodes, "_target_"}}
    together = fill(Together, own, "attack")
    return Several.of(together, {name: build(nodes[name], f"attack.{name}") for name in nodes})


def check_one_option(choices: Mapping[str, Any]) -> None:
    """Raise if the group attack has a list of options, whose files Hydra lays over each other.

    Args:
        choices: the option of each group; a list is not among them.

    Raises:
        ConfigError: there is no option of the group attack.
    """
    if "attack" not in choices:
        raise ConfigError(
            "attack is one option and no list. Write attack=badnets for one, for several "
            "attack=[badnets,style], and in a file attack: badnets+style."
        )


def build_defenses(nodes: DictConfig) -> tuple[Defense, ...]:
    """The defenses in the order in which they were named.

    Raises:
        ConfigError: one is wrong, or its yaml does not say where it stands or says another name.
    """
    if not isinstance(nodes, DictConfig) or not nodes:
        raise ConfigError("defense must name one or more. For no defense write defense=none.")
    if not all(isinstance(node, DictConfig) for node in nodes.values()):
        target = nodes.get("_target_")
        raise ConfigError(
            f"defense: the yaml of {target} does not say its place among several defenses. Let its "
            "first line be # @package defense.NAME"
        )
    defenses = tuple(build(node, f"defense.{name!s}") for name, node in nodes.items())
    for name, defense in zip(nodes, defenses, strict=True):
        if defense.name != name:
            raise ConfigError(
                f"defense.{name!s}.name is {defense.name}. Give both one name: in its yaml, "
                f"name: {defense.name} and the first line # @package defense.{defense.name}"
            )
    return defenses


def available_arms(defenses: tuple[Defense, ...]) -> tuple[str, ...]:
    """The arms that a combination can evaluate: those of any of its defenses."""
    return tuple(dict.fromkeys(arm for defense in defenses for arm in defense.arms()))


def check_named_once(overrides: Sequence[str]) -> None:
    """Raise if the command line names a defense twice, which Hydra would take for once."""
    for override in overrides:
        key, _, value = override.partition("=")
        names = [name.strip() for name in value.strip("[]").split(",")]
        is_list = key.lstrip("+") == "defense" and value.startswith("[")
        if is_list and len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ConfigError(
                f"{override} names {twice} twice. Each defense decides once: leave one out."
            )


def find_swept(defenses: tuple[Defense, ...], name: str | None) -> Defense | None:
    """The defense whose thresholds are swept: the named one, else the last.

    Raises:
        ConfigError: none of them has this name, or two have the same.
    """
    names = [defense.name for defense in defenses]
    if len(set(names)) < len(names):
        raise ConfigError(
            f"defense: two have the name {max(names, key=names.count)!s}. Rename one."
        )
    if len(defenses) > 1 and (idle := [d.name for d in defenses if isinstance(d, NoDefense)]):
        raise ConfigError(f"defense={idle[0]} stands for no defense: leave it out of the list.")
    fed = [d for at, d in enumerate(defenses) if is_fed(d, defenses[:at])]
    if name is None:
        return next((d for d in reversed(defenses) if d not in fed), None)
    if given := next((d for d in fed if d.name == name), None):
        raise ConfigError(
            f"swept_defense: {given.name} forgets the rows that a filter before it drops, so that "
            "its own threshold decides nothing. Sweep the filter, or leave it out."
        )
    if name not in names:
        raise ConfigError(
            f"swept_defense: {name} is not one of the defenses; {did_you_mean(name, names)}"
        )
    return defenses[names.index(name)]


def is_fed(defense: Defense, before: Sequence[Defense]) -> bool:
    """Whether filters before a method give it the rows that it forgets."""
    return defense.takes_rows and any(other.drops_rows for other in before)


def check_order(defenses: Sequence[Defense]) -> None:
    """Raise a ConfigError if a method means nothing between the others."""
    for place, defense in enumerate(defenses):
        defense.check_place(defenses[:place], defenses[place + 1 :])
    tuners = [defense.name for defense in defenses if defense.sets_tuning]
    if len(tuners) > 1:
        raise ConfigError(
            f"defense: {' and '.join(tuners)} each say how the model is tuned at the end. Leave "
            "all but one out."
        )


def choose_thresholds(swept: Defense | None, wanted: list[float] | None) -> Thresholds:
    """The thresholds that are typed, else the defense's own; (None,) for one that has none.

    Raises:
        ConfigError: an empty list, or a threshold outside the defense's range.
    """
    if wanted is not None and not wanted:
        raise ConfigError("thresholds is empty. Write for example thresholds=[0.0005].")
    if swept is None or swept.knob is None:
        return (None,)
    if wanted is None:
        return tuple(dict.fromkeys(swept.thresholds)) or (None,)
    swept.check_thresholds(wanted, "thresholds")
    return tuple(dict.fromkeys(wanted))


def keyed_config(cfg: DictConfig, attack: Attack, defenses: tuple[Defense, ...]) -> dict[str, Any]:
    """The config as a record keeps it: without what changes no number (`UNKEYED`), paths short."""
    config = OmegaConf.to_container(cfg, resolve=True)
    if not isinstance(config, dict):
        raise ConfigError("the config is not a mapping.")
    _drop_unkeyed(config, Config())
    for key, part in attack.parts.items():
        _drop_unkeyed(reduce(getitem, key.split("."), config), part)
    for name, defense in zip(config["defense"], defenses, strict=True):
        _drop_unkeyed(config["defense"][name], defense)
    return {str(key): name_paths(value) for key, value in config.items()}


def _drop_unkeyed(config: dict[Any, Any], component: Any) -> None:
    for name, declared in getattr(component, "__dataclass_fields__", {}).items():
        if not declared.metadata.get("keyed", True):
            config.pop(name, None)
        elif isinstance(config.get(name), dict):
            _drop_unkeyed(config[name], getattr(component, name))
