"""From overrides to a config, from a group of it to a checked component, and errors in a sentence.

Groups are plain yaml; the class named by `_target_` is a dataclass without defaults, and the yaml
must fill exactly its fields with values of their types.
"""

from __future__ import annotations

import errno
import os
import re
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from hydra import compose, version
from hydra._internal import defaults_list
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import ConfigSearchPath, SearchPathQuery
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobRuntime
from hydra.errors import HydraException, MissingConfigException
from hydra.version import VersionBase
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from btu.components import BASES, find_class
from btu.errors import BtuError, ConfigError, did_you_mean, first_line, shorten, shown
from btu.models.base import Tuning
from btu.settings.base import Settings, check_settings, check_words, kinds, walk
from btu.settings.ranges import Choice, Device, Items, Number, Place, Seed, Word
from btu.stealth.settings import Stealth
from btu.store.cache import CacheConfig
from btu.store.stages import UNKEYED
from btu.sweeps.jobs import ON_FAILURE
from btu.sweeps.search import Objective
from btu.terminal.overrides import explain_override
from btu.types import ARM_NAMES

HERE = Path(__file__).resolve().parent
CONF = HERE / "conf" if (HERE / "conf").is_dir() else HERE.parent / "conf"  # wheel, or checkout
GROUPS = tuple(BASES)
PLUGINS = {  # Hydra's name of what an extra of pyproject.toml brings
    "hydra/sweeper/optuna": "search",
    "hydra/launcher/joblib": "workstation",
    "hydra/launcher/submitit": "slurm",
}
THRESHOLDS = "Write for example {key}=[0.0005]."
MAX_REASON, MAX_SENTENCE = 300, 1500  # characters; a value may have any number of them
LONG_NUMBER = "Exceeds the limit"  # Python's words for one of more than 4,300 digits
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
    cls: Any = find_class(values.pop("_target_", None), group)
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


def explain(error: OmegaConfBaseException, group: str = "") -> str:
    """An OmegaConf error as one sentence that names the key from the root of the config."""
    reason = shorten((error.msg or str(error)).split("\n")[0], MAX_REASON)
    key = _root_key(error.full_key or str(error.key or ""), group)
    if isinstance(error, MissingMandatoryValue):
        return f"{key} has no value. Write {key}=..."
    if re.search(r"is not in struct|not in '", reason):
        parent = error.parent_node
        known = [str(name) for name in parent] if isinstance(parent, DictConfig) else []
        owner = key.rpartition(".")[0] or "the run"
        at = "" if owner == "the run" else f"{owner}."
        deeper = _deeper_keys(parent, str(error.key), at)
        near = f"did you mean {' or '.join(deeper)}?" if deeper else None
        near = near or did_you_mean(str(error.key), [name for name in known if name != "_target_"])
        return f"{key}: {owner} has no such field; {near}"
    if "is not a ListConfig" in reason:
        return f"{key}: expected a list. Write {key}=[...], with brackets."
    return f"{key}: {reason.rstrip('.')}." if key else f"{reason.rstrip('.')}."


def _deeper_keys(node: Any, name: str, at: str = "") -> list[str]:
    """Where in a config a key of this name stands: `epochs` is `model.training.epochs`."""
    if not isinstance(node, DictConfig):
        return []
    paths = {str(key): f"{at}{key!s}" for key in node}
    here = [paths[name]] if at and name in paths else []
    children = ((node._get_node(key), f"{path}.") for key, path in paths.items())
    return here + [found for child, path in children for found in _deeper_keys(child, name, path)]


def _root_key(key: str, group: str) -> str:
    return f"{group}.{key}" if group and not key.startswith(f"{group}.") else key


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
        cfg = compose("config", list(overrides), return_hydra_config=True)
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


def is_of_composing(error: BaseException) -> bool:
    """Whether composing a config raises it of something that was typed, by Hydra or OmegaConf."""
    if isinstance(error, (HydraException, OmegaConfBaseException)):
        return True
    said = str(error)
    return _is_of_choosing(error) or said.startswith(LONG_NUMBER) or "\n    full_key: " in said


def _is_of_choosing(error: BaseException) -> bool:
    """Whether Hydra stumbled over the option of a group, such as null, [true] or a NUL."""
    frames = (frame for frame, _ in traceback.walk_tb(error.__traceback__))
    inside = any(frame.f_globals["__name__"] == defaults_list.__name__ for frame in frames)
    return inside and isinstance(error, (TypeError, ValueError))


def in_one_sentence(error: BaseException) -> str:
    """What to print of an error that the user can mend; none is longer than `MAX_SENTENCE`."""
    return shorten(_sentence_of(error), MAX_SENTENCE)


def _sentence_of(error: BaseException) -> str:
    if isinstance(error, OmegaConfBaseException):
        return explain(error)
    cause = error.__cause__
    told = isinstance(error, BtuError)
    if not told and isinstance(cause, OmegaConfBaseException) and cause.parent_node is not None:
        return explain(cause)
    if isinstance(error, HydraException) and (unreadable := explain_override(error)):
        return unreadable
    if isinstance(error, OSError) and error.errno is not None:
        where = f" ({error.filename})" if error.filename else ""
        advice = ""
        if error.errno in (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT, errno.ENOTDIR):
            advice = " Make room or write outputs=PATH for a folder that can be written."
        return f"{os.strerror(error.errno)}{where}.{advice}"
    if _is_of_choosing(error):
        return (
            "an option of a group is chosen by its name, and something else was typed. Write for "
            "example attack=badnets; for none attack=none."
        )
    if str(error).startswith(LONG_NUMBER):
        return "a number that was typed has more than 4,300 digits."
    if isinstance(error, OverflowError) and (key := re.search(r"full_key: (\S+)", str(error))):
        return f"{key[1]}: the number is too large."
    sentence = " ".join(str(error).split("Config search path:")[0].split())
    if "is not a ListConfig" in sentence and (key := re.search(r"full_key: (\S+)", sentence)):
        return f"{key[1]}: expected a list. Write {key[1]}: [...], with brackets."
    if "Key 'experiment' not in 'Config'" in sentence:
        return f"{sentence.split(':')[0]}: its first line must be # @package _global_"
    missing = next((extra for name, extra in PLUGINS.items() if f"'{name}" in sentence), None)
    if isinstance(error, MissingConfigException) and missing:
        return f'{sentence} Install the plugin: pip install -e ".[{missing}]"'
    if isinstance(error, MissingConfigException):
        found = re.sub(r"(Could not find '[^']*') ", r"\1. ", sentence)
        return f"{found}. A file of your own needs --config-dir FOLDER, before all other words."
    return sentence
