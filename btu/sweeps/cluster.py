"""Jobs through submitit: as one Slurm array, or the same without Slurm on this machine."""

from __future__ import annotations

import io
import logging
import os
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn
from omegaconf import OmegaConf

from btu.errors import ConfigError
from btu.processes import LAUNCHED
from btu.sweeps.machine import environment, errors_into, num_cores
from btu.sweeps.outcomes import mark_stopped, settle

POLL_SECONDS = 0.2
ABOVE_0 = {"at_once": "jobs", "array_parallelism": "jobs", "timeout_min": "minutes"}
LOCAL_SETTINGS = ("submitit_folder", "timeout_min", "gpus_per_node", "tasks_per_node")
ADVICE = {  # by Slurm's word for how a job ended
    "CANCELLED": "it was cancelled",
    "TIMEOUT": "it ran out of time; give it more with hydra.launcher.timeout_min",
    "OUT_OF_MEMORY": "it ran out of memory; give it more with hydra.launcher.mem_gb",
    "NODE_FAIL": "its node failed",
    "PREEMPTED": "it was preempted and not started again",
    "LOST": "Slurm no longer knows of it",
}
log = logging.getLogger(__name__)


def check(launcher: Any) -> None:
    """Raise before anything is composed if this machine cannot submit.

    Raises:
        ConfigError: Slurm's commands are missing, or a number of jobs or minutes is below 1.
    """
    if launcher._EXECUTOR == "slurm" and not (shutil.which("sbatch") and shutil.which("srun")):
        raise ConfigError(
            "hydra/launcher=slurm needs Slurm's sbatch, which this machine does not have. Type the "
            "command on a login node of the cluster, or choose hydra/launcher=slurm_local (the "
            "same without Slurm) or hydra/launcher=workstation (several jobs at once)."
        )
    for setting, unit in ABOVE_0.items():
        value = launcher.params.get(setting)
        if value is not None and value < 1:
            raise ConfigError(
                f"hydra.launcher.{setting} is a number of {unit} above 0, got {value}."
            )


def run_task(run: Callable[..., JobReturn], arguments: Sequence[Any]) -> None:
    """One job in its own process.

    Hydra catches what a job raises, and submitit would log a success; so it is raised again and
    the process, and with it the Slurm task, fails.

    Raises:
        JobFailed: the job's sentence.
    """
    from submitit import JobEnvironment
    from submitit.helpers import TorchDistributedEnvironment

    if JobEnvironment().num_tasks > 1:  # tasks_per_node: the processes of one job
        TorchDistributedEnvironment().export(set_cuda_visible_devices=False, overwrite=True)
        os.environ[LAUNCHED] = "1"
    cores = os.environ.get("SLURM_CPUS_PER_TASK")
    if cores:  # a cluster need not bind a task to its cores, and torch would take all
        os.environ.setdefault("OMP_NUM_THREADS", cores)
    _ = run(*arguments).return_value


def launch(launcher: Any, job_overrides: Sequence[Sequence[str]], first: int) -> list[JobReturn]:
    """Submit all jobs, wait for each, and say what became of it.

    Raises:
        ConfigError: the scheduler refuses the jobs; its message.
    """
    import submitit

    calls = [
        (list(overrides), "hydra.sweep.dir", number, f"job_id_for_{number}", Singleton.get_state())
        for number, overrides in enumerate(job_overrides, first)
    ]
    folder = Path(str(launcher.config.hydra.sweep.dir))
    executor = _executor(launcher)
    try:
        if launcher._EXECUTOR == "slurm":
            jobs = _run_array(executor, launcher, calls, folder)
        else:
            jobs = _run_some_at_once(executor, launcher, calls, folder)
    except submitit.core.utils.FailedJobError as error:
        raise ConfigError(_refusal(error)) from error
    return settle(folder, first, job_overrides, lambda number: _ending(jobs[number - first]))


def _executor(launcher: Any) -> Any:
    """A submitit executor with the launcher's settings."""
    import submitit

    kind = launcher._EXECUTOR
    settings = dict(launcher.params)
    if kind == "local":  # takes the same settings, and ignores most of them
        settings = {name: settings[name] for name in LOCAL_SETTINGS}
    init = {"folder": settings.pop("submitit_folder")}
    if "max_num_timeout" in settings:
        init[f"{kind}_max_num_timeout"] = settings.pop("max_num_timeout")
    if kind == "slurm":
        from btu.sweeps.queue import QueueWatcher

        submitit.SlurmJob.watcher = QueueWatcher()
    from hydra_plugins.hydra_submitit_launcher.config import BaseQueueConf

    shared = set(OmegaConf.structured(BaseQueueConf).keys())
    executor = submitit.AutoExecutor(cluster=kind, **init)
    executor.update_parameters(
        **{name if name in shared else f"{kind}_{name}": v for name, v in settings.items()}
    )
    return executor


def _run_array(executor: Any, launcher: Any, calls: Sequence[Any], folder: Path) -> list[Any]:
    """Submit the jobs as one array and wait until Slurm has ended them all."""
    with redirect_stderr(io.StringIO()):  # where submitit repeats what sbatch refuses
        jobs: list[Any] = executor.map_array(launcher, *zip(*calls, strict=True))
    slurm_id = jobs[0].job_id.split("_")[0]
    log.info(f"Slurm job {slurm_id}: {len(jobs)} jobs, logs in {folder / '.submitit'}")
    log.info(f"to see their progress: python scripts/sweep.py show {folder}")
    try:
        for job in jobs:
            job.wait()
    except KeyboardInterrupt:
        log.warning(f"the jobs keep running in Slurm; to end them: scancel {slurm_id}")
        raise
    return jobs


def _run_some_at_once(
    executor: Any, launcher: Any, calls: Sequence[Any], folder: Path
) -> list[Any]:
    """Start each job as a process of its own when one of those before it has ended."""
    at_once = launcher.params.get("at_once") or max(1, num_cores() // 2)
    threads = launcher.params.get("cpus_per_task") or max(1, num_cores() // at_once)
    log.info(f"{len(calls)} jobs as processes on this machine, {at_once} at once")
    log_file = folder / "controllers.log"  # what submitit's own processes say of Ctrl-C
    jobs: list[Any] = []
    running: list[Any] = []
    try:
        for call in calls:
            while len(running) >= at_once:
                time.sleep(POLL_SECONDS)
                running = [job for job in running if not job.done()]
            threads_per_job = os.environ.get("OMP_NUM_THREADS", str(threads))
            with environment(OMP_NUM_THREADS=threads_per_job), errors_into(log_file):
                running.append(executor.submit(launcher, *call))
            jobs.append(running[-1])
        for job in running:
            job.wait()
    except BaseException:
        for job in running:
            job.cancel(check=False)
            job.wait()
        mark_stopped(folder, [call[2] for call in calls])
        raise
    return jobs


def _ending(job: Any) -> str:
    """What the scheduler says of a job that could not say it itself."""
    state = str(job.state).split()[0].rstrip("+")
    said = ADVICE.get(state, f"its process ended without saying why ({state})")
    log_file = next((path for path in (job.paths.stderr, job.paths.stdout) if path.is_file()), None)
    if log_file is None and state == "CANCELLED":
        return said
    if log_file is None:
        return f"{said}; it left no log: can its node see {job.paths.folder}?"
    lines = log_file.read_text(encoding="utf-8", errors="replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "nothing")
    return f"{said}; the last line of {log_file}: {last}"


def _refusal(error: Exception) -> str:
    """The scheduler's message, without the command that submitit adds."""
    lines = [line.strip() for line in str(error).split("\n")]
    told = [line.removeprefix("sbatch: error: ") for line in lines if line.startswith("sbatch:")]
    message = "; ".join(told or lines[:1])
    return (
        f"Slurm refuses the jobs: {message}. The settings are hydra.launcher.partition, account, "
        "gpus_per_node, mem_gb and others; `sinfo` lists the partitions."
    )
