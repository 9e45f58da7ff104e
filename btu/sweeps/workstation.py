"""Several jobs at once on one machine through joblib, each with its own threads and GPU."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn

from btu.errors import ConfigError
from btu.sweeps.jobs import NOT_BEGUN, RUNNING, jobs_of
from btu.sweeps.machine import num_cores, slot_of_this_process
from btu.sweeps.outcomes import mark_stopped, settle

OWN_SETTINGS = ("threads_per_job", "gpus", "jobs_per_gpu")  # not of joblib
KILLED = (
    "its process was killed, even when it ran alone; the usual cause is too little memory: lower "
    "model.training.batch_size"
)
log = logging.getLogger(__name__)


def launch(launcher: Any, job_overrides: Sequence[Sequence[str]], first: int) -> list[JobReturn]:
    """Run all jobs; those that ran while a process was killed are run again, one by one.

    joblib ends all of its processes when one is killed and does not say which job that was.

    Raises:
        ConfigError: there are more jobs at once than places on the GPUs.
    """
    places = _places(launcher)
    at_once = min(jobs_at_once(launcher.joblib["n_jobs"]), len(job_overrides))
    threads = launcher.joblib["threads_per_job"] or max(1, num_cores() // at_once)
    _tell(len(job_overrides), at_once, threads, places)
    folder = Path(str(launcher.config.hydra.sweep.dir))
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="btu-slots-") as slots:
        pool = _Pool(launcher, threads, places, Path(slots))
        waiting = dict(enumerate(job_overrides, first))
        hit: dict[int, Sequence[str]] = {}
        while waiting and not pool.run(waiting, at_once):
            reports = jobs_of(folder)
            states = {n: reports[n].status if n in reports else NOT_BEGUN for n in waiting}
            ran = [n for n in waiting if states[n] == RUNNING]
            told = ", ".join(map(str, ran))
            log.warning(
                f"a process was killed; the jobs that were running run again, one by one: {told}"
            )
            hit |= {n: waiting[n] for n in ran or waiting}
            waiting = {n: waiting[n] for n in waiting if states[n] == NOT_BEGUN and n not in hit}
        for number, overrides in hit.items():
            pool.run({number: overrides}, 1)
    return settle(folder, first, job_overrides, lambda number: KILLED, patience=0.0)


class _Pool:
    """joblib's processes, with what each job gets."""

    def __init__(self, launcher: Any, threads: int, places: Sequence[str], slots: Path) -> None:
        self.launcher, self.threads, self.places, self.slots = launcher, threads, places, slots
        own = (*OWN_SETTINGS, "n_jobs", "backend")
        self.settings = {k: v for k, v in launcher.joblib.items() if k not in own}

    def run(self, jobs: Mapping[int, Sequence[str]], at_once: int) -> bool:
        """Run the jobs; False if a process was killed meanwhile."""
        from joblib import Parallel, delayed, parallel_config
        from joblib.externals.loky.process_executor import BrokenProcessPool

        if at_once == 1:  # joblib would run a single worker's jobs in this process
            return all(self._run_alone(number, jobs[number]) for number in jobs)
        state = Singleton.get_state()
        try:
            with parallel_config(backend="loky", inner_max_num_threads=self.threads):
                Parallel(n_jobs=at_once, **self.settings)(
                    delayed(_work)(self.launcher, number, overrides, state, self.places, self.slots)
                    for number, overrides in jobs.items()
                )
        except BrokenProcessPool:
            return False
        except KeyboardInterrupt:
            mark_stopped(Path(str(self.launcher.config.hydra.sweep.dir)), jobs)
            raise
        return True

    def _run_alone(self, number: int, overrides: Sequence[str]) -> bool:
        return self.run({number: overrides}, 2)


def _work(
    launcher: Any,
    number: int,
    overrides: Sequence[str],
    singletons: Mapping[Any, Any],
    places: Sequence[str],
    slots: Path,
) -> None:
    """One job in a process of joblib's, which keeps its GPU from job to job."""
    from hydra_plugins.hydra_joblib_launcher._core import execute_job

    if places:
        os.environ["CUDA_VISIBLE_DEVICES"] = places[slot_of_this_process(slots, len(places))]
    execute_job(
        number,
        overrides,
        launcher.hydra_context,
        launcher.config,
        launcher.task_function,
        dict(singletons),
    )


def jobs_at_once(n_jobs: Any) -> int:
    """`n_jobs`, where -1 stands for one per core, as in joblib.

    Raises:
        ConfigError: it is not a number of jobs.
    """
    if not isinstance(n_jobs, int) or n_jobs == 0 or n_jobs < -num_cores():
        raise ConfigError(f"hydra.launcher.n_jobs is how many jobs run at once, got {n_jobs}.")
    return n_jobs if n_jobs > 0 else num_cores() + 1 + n_jobs


def _places(launcher: Any) -> list[str]:
    """The GPU of each job that may run at once, all GPUs in turn; empty for a machine without.

    Raises:
        ConfigError: there are more jobs at once than that.
    """
    wanted, per_gpu = launcher.joblib["gpus"], launcher.joblib["jobs_per_gpu"]
    if per_gpu < 1:
        raise ConfigError(
            f"hydra.launcher.jobs_per_gpu is a number of jobs above 0, got {per_gpu}."
        )
    on_gpu = str(launcher.config.device).split(":")[0] in ("auto", "cuda")
    gpus = [str(gpu) for gpu in wanted] if wanted is not None else _visible_gpus()
    if not on_gpu or not gpus:
        return []
    at_once = jobs_at_once(launcher.joblib["n_jobs"])
    if at_once > len(gpus) * per_gpu:
        raise ConfigError(
            f"hydra.launcher.n_jobs: {at_once} jobs at once do not fit on {len(gpus)} GPUs with "
            f"{per_gpu} each. Write hydra.launcher.n_jobs={len(gpus) * per_gpu}, or "
            "hydra.launcher.jobs_per_gpu= for more jobs on each, or device=cpu."
        )
    return [gpu for _ in range(per_gpu) for gpu in gpus]


def _visible_gpus() -> list[str]:
    """The numbers of this machine's GPUs, or those that CUDA_VISIBLE_DEVICES leaves."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [gpu for gpu in visible.split(",") if gpu.strip()]
    if shutil.which("nvidia-smi") is None:
        return []
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True)
    return [str(number) for number, line in enumerate(listed.stdout.splitlines()) if line.strip()]


def _tell(num_jobs: int, at_once: int, threads: int, places: Sequence[str]) -> None:
    gpus = f", on GPU {', '.join(dict.fromkeys(places))}" if places else ""
    log.info(f"{num_jobs} jobs, {at_once} at once with {threads} threads each{gpus}")
    if at_once * threads > num_cores():
        log.warning(
            f"{at_once} x {threads} threads on {num_cores()} cores are much slower than one job "
            "after another: lower hydra.launcher.n_jobs or threads_per_job"
        )
