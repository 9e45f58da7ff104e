"""The root schema, and `build()`: from a config group to a checked component.

Groups are plain yaml; the class named by `_target_` is a dataclass without defaults, and the yaml
must fill exactly its fields with values of their types.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from btu.errors import ConfigError, check_choice, did_you_mean
from btu.models.base import Tuning
from btu.stealth.settings import Stealth
from btu.store.cache import CacheConfig
from btu.store.stages import UNKEYED
from btu.sweeps.search import Objective
from btu.types import ARM_NAMES

GROUPS = ("dataset", "attack", "model", "defense", "tracking")


@dataclass(frozen=True)
class Tracker:
    """Where results are mirrored to; this one mirrors nothing."""

    name: str

    @contextmanager
    def job(self, experiment: Any, run_dir: Path) -> Iterator[Tracker]:
        """Open a run for one job and close it whatever happens; yields what mirrors its result."""
        yield self

    def log_result(self, result: Any, run_dir: Path, objective: float | None) -> str | None:
        """Mirror a finished result; the folder of its run if that is to be uploaded later."""
        return None


@dataclass
class Config:
    """Run-level settings; each group is checked by its own class when it is built."""

    dataset: Any = None
    attack: Any = None
    model: Any = None
    defense: Any = None
    tracking: Any = field(default=None, metadata=UNKEYED)
    seed: int = 1
    tuning: Tuning = field(default_factory=Tuning)
    swept_defense: str | None = None
    thresholds: list[float] | None = None
    arms: list[str] = field(default_factory=list)
    device: str = "auto"
    outputs: str = field(default="outputs", metadata=UNKEYED)
    cache: CacheConfig = field(default_factory=CacheConfig, metadata=UNKEYED)
    on_failure: str = field(default="continue", metadata=UNKEYED)
    report: bool = field(default=True, metadata=UNKEYED)
    force: bool = field(default=False, metadata=UNKEYED)
    save_model: bool = field(default=False, metadata=UNKEYED)
    rerun: str | None = field(default=None, metadata=UNKEYED)
    export_poisoned: str | None = field(default=None, metadata=UNKEYED)
    stealth: Stealth = field(default_factory=Stealth, metadata=UNKEYED)
    objective: Objective = field(default_factory=Objective, metadata=UNKEYED)


def build(node: DictConfig, group: str) -> Any:
    """The component that a config group describes.

    Raises:
        ConfigError: a key that the class does not have, a missing one, a value of another type,
            or a `_target_` outside `btu`.
    """
    values = OmegaConf.to_container(node, resolve=True)
    if not isinstance(values, dict):
        raise ConfigError(f"{group}: expected a mapping of settings, got {values!r}.")
    cls = _target_class(values.pop("_target_", None), group)
    try:
        merged = OmegaConf.merge(_schema(cls), values)
        return OmegaConf.to_object(merged)
    except OmegaConfBaseException as error:
        raise ConfigError(explain(error, group, cls.__name__)) from error


def _schema(cls: type[Any]) -> DictConfig:
    """The class as a schema that values can be merged into."""
    schema: DictConfig = OmegaConf.structured(cls)
    # OmegaConf makes frozen dataclasses read-only, nested ones even while they are being filled.
    for node in (schema, *(schema._get_node(name) for name in schema)):
        if isinstance(node, DictConfig):
            OmegaConf.set_readonly(node, False)
    return schema


def _target_class(target: object, group: str) -> type[Any]:
    if not isinstance(target, str) or not target.startswith("btu."):
        raise ConfigError(
            f"{group}._target_ must name a class of btu, such as btu.attacks.insertion.Insertion, "
            f"got {target!r}."
        )
    module_name, _, class_name = target.rpartition(".")
    try:
        cls = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"{group}._target_: there is no class {target} ({error}).") from error
    if not (isinstance(cls, type) and is_dataclass(cls)):
        raise ConfigError(f"{group}._target_: {target} is not a component, but a {type(cls)}.")
    return cls


def explain(error: OmegaConfBaseException, group: str = "", class_name: str = "") -> str:
    """An OmegaConf error as one sentence that names the key from the root of the config."""
    reason = (error.msg or str(error)).split("\n")[0]
    key = _root_key(error.full_key or str(error.key or ""), group)
    if isinstance(error, MissingMandatoryValue):
        return f"{key} has no value. Write {key}=..."
    if re.search(r"is not in struct|not in '", reason):
        parent = error.parent_node
        known = (
            [str(k) for k in parent if k != "_target_"] if isinstance(parent, DictConfig) else []
        )
        if class_name and not known:
            known = [f.name for f in fields(error.object_type)] if error.object_type else []
        owner = class_name or key.rpartition(".")[0] or "the run"
        deeper = _deeper_keys(parent, str(error.key)) if owner == "the run" else []
        if deeper:
            return f"{key}: {owner} has no such field; did you mean {' or '.join(deeper)}?"
        return f"{key}: {owner} has no such field; {did_you_mean(str(error.key), known)}"
    if "is not a ListConfig" in reason:
        return f"{key}: expected a list. Write {key}=[...], with brackets."
    return f"{key}: {reason.rstrip('.')}."


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
        ConfigError: no arm, an unknown one, or none that the defenses can evaluate.
    """
    if not wanted and not only_export:
        raise ConfigError(
            f"arms is empty. Name some of {', '.join(ARM_NAMES)}; only with export_poisoned=PATH "
            "there may be none."
        )
    for arm in wanted:
        check_choice("arms", arm, ARM_NAMES)
    arms = tuple(arm for arm in ARM_NAMES if arm in wanted and arm in available)
    if wanted and not arms:
        raise ConfigError(
            f"arms: this defense can evaluate {', '.join(available)}, got {', '.join(wanted)}."
        )
    return arms
