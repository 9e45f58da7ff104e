"""Jobs on Ray: an existing cluster, or one that is started on this machine."""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn
from omegaconf import OmegaConf, open_dict

from btu.errors import ConfigError
from btu.sweeps.outcomes import settle

log = logging.getLogger(__name__)


def check() -> None:
    """Raise before anything is composed if Ray is not installed."""
    if importlib.util.find_spec("ray") is None:
        raise ConfigError(
            'hydra/launcher=ray needs Ray. Install the plugin: pip install -e ".[ray]"'
        )


def launch(launcher: Any, job_overrides: Sequence[Sequence[str]], first: int) -> list[JobReturn]:
    """Run all jobs and wait for each; Ray starts a job again whose process or node died.

    Raises:
        ConfigError: there is no cluster at the address.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray
    from hydra_plugins.hydra_ray_launcher._launcher_util import _run_job

    settings: Any = OmegaConf.to_container(launcher.ray_cfg, resolve=True)
    if not ray.is_initialized():
        try:
            ray.init(
                **{name: value for name, value in settings["init"].items() if value is not None}
            )
        except (ConnectionError, ValueError) as error:
            raise ConfigError(
                f"no Ray cluster to join: {str(error).splitlines()[0]} Start one with `ray start "
                "--head`, or write hydra.launcher.ray.init.address=null for one on this machine."
            ) from error
    remote = ray.remote(**settings["remote"])(_in_folder)
    folder = Path(str(launcher.config.hydra.sweep.dir))
    singletons = Singleton.get_state()
    tasks = {}
    for number, overrides in enumerate(job_overrides, first):
        config = launcher.hydra_context.config_loader.load_sweep_config(
            launcher.config, list(overrides)
        )
        with open_dict(config):
            config.hydra.job.id, config.hydra.job.num = f"ray_{number}", number
        arguments = (launcher.hydra_context, config, launcher.task_function, singletons)
        tasks[number] = remote.remote(os.getcwd(), _run_job, arguments)
    log.info(f"{len(tasks)} jobs on Ray")
    endings: dict[int, str] = {}
    for number, task in tasks.items():
        try:
            ray.get(task)
        except ray.exceptions.RayError as error:
            first_line = next(iter(str(error).strip().splitlines()), "no message")
            endings[number] = f"Ray ended it: {type(error).__name__}: {first_line}"
    silent = "its process ended without saying why"
    return settle(folder, first, job_overrides, lambda number: endings.get(number, silent))


def _in_folder(folder: str, run: Any, arguments: Sequence[Any]) -> None:
    """One job, from the folder that the command was typed in, which other nodes must see."""
    os.chdir(folder)
    run(*arguments)
