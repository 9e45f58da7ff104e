"""From overrides to a config, from a group of it to a checked component, and errors in a sentence.

Groups are plain yaml; the class named by `_target_` is a dataclass without defaults, and the yaml
must fill exactly its fields with values of their types.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from hydra import compose, version
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import ConfigSearchPath, SearchPathQuery
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobRuntime
from hydra.version import VersionBase
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from btu.components import BASES, find_class
from btu.errors import ConfigError, first_line, shown
from btu.models.base import Tuning
from btu.settings.base import Settings, check_settings, check_words, kinds, walk
from btu.settings.ranges import Choice, Device, Items, Number, Place, Seed, Word
from btu.stealth.settings import Stealth
from btu.store.cache import CacheConfig
from btu.store.stages import UNKEYED
from btu.sweeps.jobs import ON_FAILURE
from btu.sweeps.search import Objective
from btu.terminal.overrides import join_attacks
from btu.terminal.sentences import explain
from btu.types import ARM_NAMES

HERE = Path(__file__).resolve().parent
CONF = HERE / "conf" if (HERE / "conf").is_dir() else HERE.parent / "conf"  # wheel, or checkout
GROUPS = tuple(BASES)
THRESHOLDS = "Write for example {key}=[0.0005]."
_OWN = (GlobalHydra, HydraConfig, JobRuntime, VersionBase)  # what Hydra keeps of one application


@dataclass
class Config(Settings):
    """Run-level settings; each group is checked by its own class when it is built."""

    dataset: Any = None
    attack: Any = None
    model: Any = None
    defense: Any = None
    tracking: Any = field(default=None, metadata=UNKEYED)
    seed: Seed = 1
    tuning: Tuning = field(default_factory=Tuning)
    swept_defense: Word | None = None
    thresholds: Annotated[list[Number], Items(1, THRESHOLDS)] | None = None
    arms: Annotated[list[Annotated[str, Choice(ARM_NAMES)]], Items()] = field(default_factory=list)
    device: Device = "auto"
    outputs: Place = field(default="outputs", metadata=UNKEYED)
    cache: CacheConfig = field(default_factory=CacheConfig, metadata=UNKEYED)
    on_failure: Annotated[str, Choice(ON_FAILURE)] = field(default="continue", metadata=UNKEYED)
    report: bool = field(default=True, metadata=UNKEYED)
    force: bool = field(default=False, metadata=UNKEYED)
    save_model: bool = field(default=False, metadata=UNKEYED)
    rerun: Place | None = field(default=None, metadata=UNKEYED)
    export_poisoned: Place | None = field(default=None, metadata=UNKEYED)
    stealth: Stealth = field(default_factory=Stealth, metadata=UNKEYED)
    objective: Objective = field(default_factory=Objective, metadata=UNKEYED)


ConfigStore.instance().store(name="btu_schema", node=Config)


def build(node: DictConfig, group: str) -> Any:
    """The component that a config group describes.

    Args:
        node: its settings.
        group: where they stand, such as `attack` or `defense.btu`; the first part says what the
            component must be.

    Raises:
        ConfigError: a key that the class does not have, a missing one, a value of another type,
            or a `_target_` that is not a class of the group's kind or cannot be imported.
    """
    if not isinstance(node, DictConfig):
        raise ConfigError(f"{group}: expected a mapping of settings, got {shown(node)}.")
    values: Any = OmegaConf.to_container(node, resolve=True)
    return fill(find_class(values.pop("_target_", None), group), values, group)


def fill(cls: Any, values: dict[str, Any], group: str) -> Any:
    """A dataclass with the values of a yaml, checked.

    Args:
        cls: the dataclass.
        values: of exactly its fields.
        group: where they stand.

    Raises:
        ConfigError: as `build`.
    """
    try:
        kinds(cls)
    except ConfigError as error:
        raise ConfigError(f"{group}._target_: {error}") from error
    check_words(cls, values, group)
    try:
        merged = _merged(cls, values, group)
        typed: Any = OmegaConf.to_container(merged, throw_on_missing=True)
        check_settings(cls, typed, group)
        return OmegaConf.to_object(merged)
    except OmegaConfBaseException as error:
        raise ConfigError(explain(error, group)) from error
    except ValueError as error:  # a class from outside may raise it where btu's raise ConfigError
        raise ConfigError(
            f"{group}: {cls.__name__} refuses its settings: {first_line(error)}"
        ) from error


def _merged(cls: type[Any], values: dict[str, Any], group: str) -> DictConfig:
    """The values with their fields' types; OmegaConf forgets in which item of a list one stood."""
    for key, kind, value in walk(cls, values, group):
        if kind.settings and isinstance(value, dict):
            _merged(kind.settings, value, key)
    try:
        return OmegaConf.merge(_schema(cls), values)  # type: ignore[return-value]
    except OmegaConfBaseException as error:
        raise ConfigError(explain(error, group)) from error


def _schema(cls: type[Any]) -> DictConfig:
    """The class as a schema that values can be merged into."""
    schema: DictConfig = OmegaConf.structured(cls)
    # OmegaConf makes frozen dataclasses read-only, nested ones even while they are being filled.
    for node in (schema, *(schema._get_node(name) for name in schema)):
        if isinstance(node, DictConfig):
            OmegaConf.set_readonly(node, False)
    return schema


def build_run(cfg: DictConfig) -> Config:
    """The run-level settings, checked; the groups in it stay plain.

    Raises:
        ConfigError: a setting is not what its field says, or a value is left out.
    """
    try:
        values: Any = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
        check_words(Config, values, "")
        check_settings(Config, values, "")
        built: Config = OmegaConf.to_object(cfg)  # type: ignore[assignment]
        return built
    except OmegaConfBaseException as error:
        raise ConfigError(explain(error)) from error


def check_arms(
    wanted: Sequence[str], available: Sequence[str], only_export: bool = False
) -> tuple[str, ...]:
    """The arms to evaluate, in their canonical order.

    Without an arm nothing is trained, which is of use `only_export`.

    Raises:
        ConfigError: no arm, or none that the defenses can evaluate.
    """
    if not wanted and not only_export:
        raise ConfigError(
            f"arms is empty. Name some of {', '.join(ARM_NAMES)}; only with export_poisoned=PATH "
            "there may be none."
        )
    arms = tuple(arm for arm in ARM_NAMES if arm in wanted and arm in available)
    if wanted and not arms:
        raise ConfigError(
            f"arms: this defense can evaluate {', '.join(available)}, got {', '.join(wanted)}."
        )
    return arms


def search_path(config_dir: Path | None, setting: str) -> ConfigSearchPath:
    """Where Hydra looks for config files: btu's own folder, before it one of the user's.

    Raises:
        ConfigError: there is no such folder.
    """
    path = create_config_search_path(str(CONF))
    if config_dir is not None:
        folder = config_dir.expanduser().resolve()
        if not folder.is_dir():
            raise ConfigError(f"{setting}: there is no folder {folder}.")
        schema = SearchPathQuery(provider="schema", path=None)
        path.prepend(provider="command-line", path=f"file://{folder}", anchor=schema)
    return path


@contextmanager
def composed(
    overrides: Sequence[str], config_dir: Path | None = None
) -> Iterator[tuple[DictConfig, Path]]:
    """One job's config and run folder as `btu OVERRIDES` has them, without running Hydra.

    Inside the block `HydraConfig` is that of this job; afterwards all that Hydra keeps is as it
    was, also in a process that is a Hydra application itself.

    Raises:
        ConfigError: there is no folder `config_dir`.
        HydraException, OmegaConfBaseException: what `in_one_sentence` turns into a sentence.
    """
    path = search_path(config_dir, "config_dir")
    kept = {kind: Singleton._instances.pop(kind, None) for kind in _OWN}
    try:
        version.setbase("1.3")
        Hydra.create_main_hydra2("btu", path)
        cfg = compose("config", join_attacks(overrides), return_hydra_config=True)
        HydraConfig.instance().set_config(cfg)
        run_dir = Path(cfg.hydra.run.dir)
        with open_dict(cfg):
            del cfg["hydra"]
        OmegaConf.set_struct(cfg, True)
        yield cfg, run_dir
    finally:
        for kind, instance in kept.items():
            Singleton._instances.pop(kind, None)
            if instance is not None:
                Singleton._instances[kind] = instance
