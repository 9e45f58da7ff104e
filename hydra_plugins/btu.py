"""What Hydra finds of btu: its sweeper and its launchers. Hydra loads plugins from this place only.

Hydra reads this file at every start, so what it needs is imported where it is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.object_type import ObjectType
from hydra.core.utils import JobReturn
from hydra.plugins.config_source import ConfigResult, ConfigSource
from hydra.plugins.launcher import Launcher
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from btu.errors import ConfigError

ConfigStore.instance().store(
    group="hydra/sweeper",
    name="basic",  # in place of Hydra's, which it is but for what happens after a failure
    node={
        "_target_": "hydra_plugins.btu.Sweeper",
        "max_batch_size": 1000,  # a Slurm array has less than MaxArraySize jobs, 1,001 by default
        "params": None,
    },
    provider="btu",
)


class SeveralAttacks(ConfigSource):
    """Options of attack that no file has: badnets+style is made of both, see several.py."""

    @staticmethod
    def scheme() -> str:
        """What its place in the search path begins with."""
        return "several"

    def is_config(self, config_path: str) -> bool:
        """Whether it is such an option."""
        return config_path.startswith("attack/") and "+" in config_path

    def load_config(self, config_path: str) -> ConfigResult:
        """The option: each part under its own name, and what is set of all of them."""
        from btu.terminal.overrides import several_names

        name = config_path.removeprefix("attack/")
        node = {
            "defaults": [*({f"/attack@{part}": part} for part in several_names(name)), "_self_"],
            "_target_": "btu.attacks.several.Several",
            "name": name,
            "tested": None,
        }
        config = OmegaConf.create(node)
        return ConfigResult(self.provider, self.full_path(), config, {"package": None})

    def is_group(self, config_path: str) -> bool:
        """No group is its own."""
        return False

    def available(self) -> bool:
        """It needs no folder."""
        return True

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        """None of its options is listed, there are too many."""
        return []


class AttackPath(SearchPathPlugin):
    """Lets Hydra look for options of several attacks."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Add them behind all files."""
        search_path.append("btu", "several://attack")


class Sweeper(BasicSweeper):
    """Every combination of the values typed; jobs that failed do not end the batches after them."""

    def sweep(self, arguments: list[str]) -> Any:
        """Launch all jobs, or those that an earlier sweep left unfinished (`rerun`)."""
        from btu.sweeps.sweeper import sweep

        return sweep(self, arguments)


def _missing(extra: str) -> type[Launcher]:
    """What stands in for a plugin that is not installed, to say so when it is asked for."""

    class Missing(Launcher):
        def __init__(self, **settings: Any) -> None:
            super().__init__()

        def setup(self, **parts: Any) -> None:
            raise ConfigError(f'this launcher needs a plugin: pip install -e ".[{extra}]"')

        def launch(
            self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
        ) -> Sequence[JobReturn]:
            raise NotImplementedError

    return Missing


try:
    from hydra_plugins.hydra_submitit_launcher.submitit_launcher import BaseSubmititLauncher
except ImportError:
    BaseSubmititLauncher = _missing("slurm")

try:
    from hydra_plugins.hydra_joblib_launcher.joblib_launcher import JoblibLauncher
except ImportError:
    JoblibLauncher = _missing("workstation")


class _SubmititLauncher(BaseSubmititLauncher):  # type: ignore[misc, valid-type]
    on_other_nodes = True

    def setup(self, **parts: Any) -> None:
        super().setup(**parts)
        from btu.sweeps.cluster import check

        check(self)

    def __call__(self, *arguments: Any) -> None:
        """One job, in its own process; its failure is the process's."""
        from btu.sweeps.cluster import run_task

        run_task(super().__call__, arguments)

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Submit all jobs and wait for each, whatever becomes of the others."""
        from btu.sweeps.cluster import launch

        return launch(self, job_overrides, initial_job_idx)


class SlurmLauncher(_SubmititLauncher):
    """Jobs of a sweep as one Slurm array."""

    _EXECUTOR = "slurm"


class SlurmLocalLauncher(_SubmititLauncher):
    """The same without Slurm: each job a process of this machine, some at once."""

    _EXECUTOR = "local"


class WorkstationLauncher(JoblibLauncher):  # type: ignore[misc, valid-type]
    """Several jobs at once on this machine, each with its share of threads and GPUs."""

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Run all jobs; one whose process is killed does not take the others with it."""
        from btu.sweeps.workstation import launch

        return launch(self, job_overrides, initial_job_idx)


class RayLauncher(Launcher):
    """Jobs on a Ray cluster, an existing one or one that is started on this machine."""

    on_other_nodes = True

    def __init__(self, ray: DictConfig) -> None:
        self.ray_cfg = ray
        self.config: DictConfig | None = None
        self.hydra_context: HydraContext | None = None
        self.task_function: TaskFunction | None = None

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Keep what the jobs are made of."""
        from btu.sweeps.ray_cluster import check

        self.hydra_context, self.task_function = hydra_context, task_function
        self.config = config
        check()

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Run all jobs and wait for each, whatever becomes of the others."""
        from btu.sweeps.ray_cluster import launch

        return launch(self, job_overrides, initial_job_idx)
