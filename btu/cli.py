"""The entry point: compose, build, run the pipeline, show the result (`btu`, `python -m btu`)."""

from __future__ import annotations

import gc
import os
import signal
import sys
import time
import warnings
from contextlib import suppress
from pathlib import Path

import hydra
from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from btu.config import CONF
from btu.errors import ConfigError
from btu.processes import started
from btu.running import name_job, run_job
from btu.sweeps.followers import end_follower, quiet_follower, refuse_multirun, run_folder
from btu.sweeps.jobs import (
    FAILED,
    FINISHED,
    NOT_RUN,
    STOPPED,
    JobReport,
    NotRun,
    SweepWatch,
    check_may_start,
    check_own_folder,
    in_multirun,
    report_folder,
    sweep_folder,
)
from btu.sweeps.outcomes import JobFailed
from btu.sweeps.shared import check_mark
from btu.terminal.console import say_error, trace_of
from btu.terminal.overrides import join_attacks
from btu.terminal.paths import hide_home
from btu.terminal.program import FORESEEN, FULL_ERROR, sentence_of, tell
from btu.terminal.streams import lasting_output
from btu.terminal.text import plain
from btu.training.memory import give_memory_back

BASIC_LAUNCHER = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"

AUDIT = "audit"  # the one word that is a command of its own
LOG = "btu.log"  # in the folder of a job; conf/hydra/job_logging/btu.yaml names it, too

_failed_jobs: list[str] = []  # sentences of the jobs that failed in this process
_full_trace = False  # whether traces are wanted on the terminal


@hydra.main(config_path=str(CONF), config_name="config", version_base="1.3")
def _hydra_main(cfg: DictConfig) -> float | None:
    """One job of a run or a sweep; a failure is one sentence, and later jobs go on.

    Returns:
        The objective for a search, None of a failed job: Optuna's sweeper then marks the trial as
        failed and goes on, where NaN would end the search.
    """
    settings = HydraConfig.get()
    in_sweep = in_multirun()
    if in_sweep:
        refuse_multirun()
    run_dir = run_folder(Path(settings.runtime.output_dir))
    report = JobReport(name=name_job(cfg), overrides=list(settings.overrides.task))
    start = time.perf_counter()
    place = report_folder(run_dir)
    report.folder = os.path.relpath(run_dir, place)
    report.write(place)
    try:
        _check_hydra(settings, in_sweep)
        if in_sweep:
            check_own_folder(run_dir, place)
            check_may_start(cfg.on_failure)
            check_mark(sweep_folder(), Path(cfg.cache.folder))
        objective = run_job(cfg, run_dir, report)
        report.status = FINISHED
        return objective
    except NotRun as error:
        report.status, report.error = NOT_RUN, str(error)
    except Exception as error:
        report.status, report.error = FAILED, _explain(error, run_dir)
    except BaseException:
        report.status = STOPPED
        raise
    finally:
        give_memory_back()
        report.seconds = round(time.perf_counter() - start, 3)
        with suppress(OSError):
            report.write(place)
    if report.error is not None:
        _tell_failure(report.error, run_dir, settings.launcher._target_ == BASIC_LAUNCHER)
    return None


def _check_hydra(settings: HydraConf, in_sweep: bool) -> None:
    """Raise where Hydra's own settings are of no use to this job."""
    typed = next((o for o in settings.overrides.hydra if o.startswith("hydra/launcher=")), None)
    if typed and not in_sweep:
        raise ConfigError(f"{typed} is for the jobs of a sweep, but this is one job. Add -m.")
    if settings.job.chdir:
        raise ConfigError(
            "hydra.job.chdir=true would look for data, cache and records in the folder of each "
            "job. Leave it out; the files of a job lie in its folder anyway."
        )


def _tell_failure(sentence: str, run_dir: Path, in_this_process: bool) -> None:
    _write_log(run_dir, f"error: {plain(sentence)}\n")
    if not in_this_process:
        raise JobFailed(sentence)  # the launcher must see that its job failed
    say_error(sentence)
    _failed_jobs.append(sentence)


def _explain(error: Exception, run_dir: Path) -> str:
    """The sentence of a job's error; the trace of one that nobody foresaw goes to its log."""
    if type(error).__name__ == "UncompletedJobError":  # submitit's, at the end of a job's time
        return (
            "it ran out of time more often than hydra.launcher.max_num_timeout allows. Give it "
            "more with hydra.launcher.timeout_min; what it has finished is kept"
        )
    if not isinstance(error, FORESEEN):
        _write_log(run_dir, trace_of(error))
    if _full_trace:
        print(trace_of(error), end="", file=sys.stderr)
    return hide_home(sentence_of(error, f"its trace is in {run_dir / LOG}"))


def _write_log(run_dir: Path, text: str) -> None:
    with suppress(OSError), (run_dir / LOG).open("a", encoding="utf-8") as file:
        file.write(text)


@quiet_follower()
@lasting_output()
def main() -> None:
    """Run the command line; exit code 0 only if every job finished."""
    global _full_trace
    _full_trace = FULL_ERROR in os.environ
    # A thread that waits for its partner must not spin: with one other process on two cores an
    # epoch took more than six times as long. Read once, when torch loads its OpenMP.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # oneDNN keeps a kernel for every shape of matrix it has met, 1,024 of them; a sweep meets more.
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "256")
    if sys.argv[1:2] == [AUDIT]:
        from btu.auditing.command import main as audit

        audit(sys.argv[2:])
    os.environ[FULL_ERROR] = "1"  # let errors out of Hydra, to be told in one sentence
    # hydra/launcher=ray is ours; Hydra finds that the plugin has one of the same name.
    warnings.filterwarnings("ignore", "(?s).*validated against ConfigStore schema", UserWarning)
    gc.set_threshold(100_000, 20, 20)  # libraries make millions of objects that stay: 0.7 s
    signal.signal(signal.SIGTERM, end_follower if started().rank else _terminate)
    for flag in {"-m", "--multirun"} & set(sys.argv):  # Hydra wants it before the settings
        sys.argv[1:] = [flag, *(word for word in sys.argv[1:] if word != flag)]
    status = _exit_code()
    sweep = SweepWatch.current
    if sweep is not None and not started().rank:
        from btu.report.closing import close_sweep

        try:
            num_unfinished = close_sweep(sweep, complete=status in (0, 1))
            status = status or int(num_unfinished > 0)
        except Exception as error:
            tell(error, _full_trace)
            status = status or 1
    gc.freeze()  # or the interpreter goes through all of them at the end: 1.1 s
    sys.exit(status)


def _exit_code() -> int:
    """Run Hydra; 0 if every job of this process finished."""
    try:
        if {"-m", "--multirun"} & set(sys.argv):
            refuse_multirun()  # before Hydra makes a folder; an experiment may want -m, too
        sys.argv[1:] = join_attacks(sys.argv[1:])
        _hydra_main()
    except KeyboardInterrupt as stopped:
        print(
            "stopped; what was finished is kept. To go on, type the same command again",
            file=sys.stderr,
        )
        return 143 if isinstance(stopped, Terminated) else 130
    except Exception as error:
        if "No trials are completed" in str(error):  # Optuna's words
            say_error("every trial of the search failed, for the reasons above.")
            return 1
        if not isinstance(error, JobFailed):  # the table of jobs says it
            SweepWatch.current = None
        tell(error, _full_trace)
        return 1
    return int(bool(_failed_jobs))


class Terminated(KeyboardInterrupt):
    """SIGTERM, which ends a run as Ctrl-C does."""


def _terminate(number: int, frame: object) -> None:
    raise Terminated


if __name__ == "__main__":
    main()
