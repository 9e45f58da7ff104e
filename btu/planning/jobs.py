"""The jobs of a command line, each composed from parts that many jobs have in common.

Hydra takes a tenth of a second to compose a job. Here only the different choices of options
(`attack=style`) are composed by Hydra; values (`attack.poison_rate=0.1`) are put into the part of
the config that they name, and each different part is built once.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra import version
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.hydra import Hydra
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from btu.config import GROUPS, Config, build, check_arms, search_path
from btu.errors import BtuError, ConfigError
from btu.job import (
    Job,
    available_arms,
    build_attack,
    build_defenses,
    check_named_once,
    choose_thresholds,
    find_swept,
)
from btu.settings.base import check_settings
from btu.sweeps.jobs import PLAIN_SWEEPER
from btu.sweeps.machine import num_cores
from btu.sweeps.sweeper import sweep_jobs
from btu.sweeps.workstation import jobs_at_once
from btu.terminal.overrides import join_attacks

PLACES = ("outputs", "cache")  # one names the other
OTHERS = (
    *("seed", "thresholds", "swept_defense", "arms", "device"),
    *("on_failure", "force", "save_model"),
)
EXPORT = "export_poisoned"


@dataclass(frozen=True)
class Launcher:
    """Where the jobs run."""

    name: str  # basic, workstation, slurm, slurm_local, ray, or the class of another
    at_once: int  # jobs
    every_job_starts: bool  # each job is a process of its own
    minutes_per_job: float | None = None  # after which it is stopped

    @property
    def shares_machine(self) -> bool:
        """Whether jobs at once take each other's cores."""
        return self.name in ("workstation", "slurm_local", "ray")


@dataclass(frozen=True)
class PlannedJob:
    """One job of a sweep: what it was asked to do, or why it cannot begin."""

    overrides: tuple[str, ...]
    job: Job | None
    tracked: bool = False  # has a W&B run
    error: str = ""


@dataclass
class Sweep:
    """What a command line asks for."""

    launcher: Launcher
    jobs: list[PlannedJob] = field(default_factory=list)
    search: str = ""  # the class of a sweeper that draws its values as it goes
    num_trials: int = 0  # of a search


def read_sweep(arguments: Sequence[str]) -> Sweep:
    """The jobs that `btu` would run with these arguments.

    Raises:
        BtuError, HydraException, OmegaConfBaseException: what `btu` would say at once; a job that
            cannot begin while others can is kept with its sentence.
    """
    options = get_args_parser().parse_args(list(arguments))
    with _hydra(options.config_dir) as hydra:
        name, overrides = options.config_name or "config", join_attacks(options.overrides)
        mode = hydra.get_mode(config_name=name, overrides=overrides)
        multirun = options.multirun or mode == RunMode.MULTIRUN
        run_mode = RunMode.MULTIRUN if multirun else RunMode.RUN
        root = hydra.compose_config(name, overrides, run_mode)
        sweep = Sweep(_launcher(root.hydra.launcher) if multirun else Launcher("basic", 1, False))
        wanted = _as_typed(root.hydra.overrides.task)
        if multirun:
            sweeper = root.hydra.sweeper
            if sweeper._target_ != PLAIN_SWEEPER:
                sweep.search = sweeper._target_.rpartition(".")[2]
                sweep.num_trials = int(sweeper.get("n_trials") or 0)
                return sweep
        parser = OverridesParser.create(config_loader=hydra.config_loader)
        params = root.hydra.sweeper.params if multirun else None
        jobs, _ = sweep_jobs(parser, params or {}, wanted)
        if not jobs:
            raise ConfigError("the sweep has no jobs: a list of values is empty.")
        composer = Composer(hydra, name, parser)
        sweep.jobs = [composer.job(overrides) for overrides in jobs]
    return sweep


@contextmanager
def _hydra(config_dir: str | None) -> Iterator[Hydra]:
    """Hydra as `btu` sets it up, with no logging and no output folder."""
    version.setbase("1.3")
    path = search_path(None if config_dir is None else Path(config_dir), "--config-dir")
    GlobalHydra.instance().clear()
    try:
        yield Hydra.create_main_hydra2(task_name="btu", config_search_path=path)
    finally:
        GlobalHydra.instance().clear()


def _as_typed(overrides: Any) -> list[str]:
    """The overrides with their references, such as ${seed}, which each job resolves for itself."""
    found = OmegaConf.to_container(overrides, resolve=False)
    assert isinstance(found, list)
    return [str(override) for override in found]


def _launcher(settings: DictConfig) -> Launcher:
    kind = str(settings._target_).rpartition(".")[2].removesuffix("Launcher")
    if kind == "Basic":
        return Launcher("basic", 1, every_job_starts=False)
    if kind == "Workstation":
        return Launcher("workstation", jobs_at_once(settings.n_jobs), every_job_starts=False)
    if kind == "Slurm":
        at_once = int(settings.array_parallelism or 1)
        return Launcher("slurm", at_once, True, float(settings.timeout_min))
    if kind == "SlurmLocal":
        at_once = settings.at_once or max(1, num_cores() // 2)
        return Launcher("slurm_local", at_once, True, float(settings.timeout_min))
    if kind == "Ray":
        cores = settings.ray.init.num_cpus or num_cores()
        return Launcher("ray", max(1, int(cores / settings.ray.remote.num_cpus)), True)
    return Launcher(kind, 1, every_job_starts=True)


class Composer:
    """Builds jobs from their overrides; equal parts are built once and are one object."""

    def __init__(self, hydra: Hydra, config_name: str, parser: OverridesParser) -> None:
        self.hydra, self.config_name, self.parser = hydra, config_name, parser
        self._parsed: dict[str, Override] = {}
        self._groups: dict[str, bool] = {}
        self._bases: dict[tuple[str, ...], Base] = {}
        self._parts: dict[Any, Any] = {}
        self._same: dict[str, Any] = {}

    def job(self, overrides: Sequence[str]) -> PlannedJob:
        """The job of one combination of overrides."""
        parsed = [self._parse(override) for override in overrides]
        choices = [o for o in parsed if self._chooses(o)]
        values = [o for o in parsed if not self._chooses(o)]
        base = self._base(choices)
        try:
            check_named_once(overrides)
            parts = {name: self._part(base, values, name, _builder(name)) for name in GROUPS}
            run = {name: self._part(base, values, name, _plain(name)) for name in OTHERS}
            outputs, cache = self._part(base, values, PLACES, _places)
            self._check_keys(base, values)
            export = self._part(base, values, EXPORT, _plain(EXPORT))
            check_settings(Config, {**run, "outputs": outputs, EXPORT: export}, "")
            tuning = self._part(base, values, "tuning", lambda cfg: OmegaConf.to_object(cfg.tuning))
            defenses = parts["defense"]
            arms = check_arms(run["arms"], available_arms(defenses), export is not None)
            swept = find_swept(defenses, run["swept_defense"])
            thresholds = choose_thresholds(swept, run["thresholds"])
        except BtuError as error:
            return PlannedJob(tuple(overrides), None, error=str(error))
        job = Job(
            dataset=parts["dataset"],
            attack=parts["attack"],
            model=parts["model"],
            defenses=defenses,
            swept=swept,
            tuning=tuning,
            seed=run["seed"],
            thresholds=thresholds,
            arms=arms,
            device=run["device"],
            outputs=Path(outputs),
            cache=cache,
            force=run["force"],
            save_model=run["save_model"],
            config={},
        )
        return PlannedJob(tuple(overrides), job, tracked=parts["tracking"].name == "wandb")

    def _parse(self, override: str) -> Override:
        if override not in self._parsed:
            self._parsed[override] = self.parser.parse_override(override)
        return self._parsed[override]

    def _chooses(self, override: Override) -> bool:
        """Whether it picks a file of a group, which may set anything, or is Hydra's own."""
        name = override.key_or_group
        if name.partition(".")[0] == "hydra":
            return True
        if name not in self._groups:
            repository = self.hydra.config_loader.repository  # type: ignore[attr-defined]
            self._groups[name] = bool(repository.group_exists(name))
        return self._groups[name] and not isinstance(override.value(), dict)

    def _base(self, choices: Sequence[Override]) -> Base:
        lines = tuple(str(choice.input_line) for choice in choices)
        if lines not in self._bases:
            cfg = self.hydra.compose_config(self.config_name, list(lines), RunMode.RUN)
            with_hydra = OmegaConf.to_container(cfg, resolve=False)
            assert isinstance(with_hydra, dict)
            OmegaConf.set_struct(cfg, False)
            del cfg["hydra"]
            OmegaConf.set_struct(cfg, True)
            texts = {str(k): json.dumps(v) for k, v in with_hydra.items() if k != "hydra"}
            self._bases[lines] = Base(cfg, texts)
        return self._bases[lines]

    def _part(
        self,
        base: Base,
        values: Sequence[Override],
        names: str | tuple[str, ...],
        make: Callable[[DictConfig], Any],
    ) -> Any:
        """A part of the config, built from its own keys and from those that it refers to."""
        roots = (names,) if isinstance(names, str) else names
        needed = self._needed(base, values, roots)
        own = [o for o in values if _root(o) in needed]
        key: Any = (roots, *(base.texts.get(n, "") for n in needed), *(o.input_line for o in own))
        if key not in self._parts:
            self._parts[key] = self._made(base, own, make)
        made = self._parts[key]
        if isinstance(made, BtuError):
            raise made
        return made

    def _needed(
        self, base: Base, values: Sequence[Override], roots: Sequence[str]
    ) -> tuple[str, ...]:
        """The root keys that decide a part: its own, and what is referred to from there on."""
        needed = dict.fromkeys(roots)
        while True:
            texts = [base.texts.get(name, "") for name in needed]
            texts += [str(o.value()) for o in values if _root(o) in needed]
            more = {name for text in texts for name in _referred_to(text)} - needed.keys()
            if not more <= base.texts.keys():
                return (*base.texts, *map(_root, values))  # a resolver, which may look anywhere
            if not more:
                return tuple(needed)
            needed |= dict.fromkeys(sorted(more))

    def _made(self, base: Base, own: Sequence[Override], make: Callable[[DictConfig], Any]) -> Any:
        cfg = copy.deepcopy(base.config)
        ConfigLoaderImpl._apply_overrides_to_config(list(own), cfg)
        try:
            made = make(cfg)
        except BtuError as error:
            return error
        return self._same.setdefault(repr(made), made)

    def _check_keys(self, base: Base, values: Sequence[Override]) -> None:
        """Let Hydra refuse a value whose key no part has looked at."""
        known = {*GROUPS, *OTHERS, *PLACES, EXPORT, "tuning"}
        for root in {_root(o) for o in values} - known:
            self._part(base, values, root, lambda cfg: None)


@dataclass(frozen=True)
class Base:
    """The config that one choice of options gives, before any value is set."""

    config: DictConfig
    texts: dict[str, str]  # each root key with what it holds, unresolved


def _root(override: Override) -> str:
    return re.split(r"[.\[]", override.key_or_group, maxsplit=1)[0]


def _referred_to(text: str) -> set[str]:
    """The root keys that a text refers to, as `device` in ${device}."""
    return {re.split(r"[.\[]", name)[0] for name in re.findall(r"\$\{([^}]*)", text)}


def _builder(group: str) -> Callable[[DictConfig], Any]:
    if group == "defense":
        return lambda cfg: build_defenses(cfg.defense)
    if group == "attack":
        return lambda cfg: build_attack(cfg.attack)
    return lambda cfg: build(cfg[group], group)


def _plain(name: str) -> Callable[[DictConfig], Any]:
    def value(cfg: DictConfig) -> Any:
        found = cfg[name]
        return tuple(found) if OmegaConf.is_list(found) else found

    return value


def _places(cfg: DictConfig) -> Any:
    return cfg.outputs, OmegaConf.to_object(cfg.cache)
