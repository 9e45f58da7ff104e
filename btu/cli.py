"""The entry point: compose, build, run the pipeline, show the result (`btu`, `python -m btu`)."""

from __future__ import annotations

import gc
import os
import signal
import sys
import time
import traceback
import warnings
from contextlib import suppress
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from btu.config import CONF, in_one_sentence
from btu.errors import BtuError, ConfigError
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
    in_multirun,
    report_folder,
    sweep_folder,
)
from btu.sweeps.outcomes import JobFailed
from btu.sweeps.shared import check_mark
from btu.training.memory import give_memory_back

BASIC_LAUNCHER = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"

_failed_jobs: list[str] = []  # sentences of the jobs that failed in this process


@hydra.main(config_path=str(CONF), config_name="config", version_base="1.3")
def _hydra_main(cfg: DictConfig) -> float | None:
    """One job of a run or a sweep; a failure is one sentence, and later jobs go on.

    Returns:
        The objective for a search, None of a failed job: Optuna's sweeper then marks the trial as
        failed and goes on, where NaN would end the search.
    """
    settings = HydraConfig.get()
    in_sweep = in_multirun()
    typed = next((o for o in settings.overrides.hydra if o.startswith("hydra/launcher=")), None)
    if typed and not in_sweep:
        raise ConfigError(f"{typed} is for the jobs of a sweep, but this is one job. Add -m.")
    if in_sweep:
        refuse_multirun()
    run_dir = run_folder(Path(settings.runtime.output_dir))
    report = JobReport(name=name_job(cfg), overrides=list(settings.overrides.task))
    start = time.perf_counter()
    place = report_folder(run_dir)
    report.write(place)
    try:
        if in_sweep:
            check_may_start(cfg.on_failure)
            check_mark(sweep_folder(), Path(cfg.cache.folder))
        objective = run_job(cfg, run_dir, report)
        report.status = FINISHED
        return objective
    except NotRun as error:
        report.status, report.error = NOT_RUN, str(error)
    except (BtuError, OSError) as error:
        report.status, report.error = FAILED, in_one_sentence(error)
    except Exception as error:
        report.status, report.error = FAILED, _unexpected(error, run_dir)
        if not in_sweep:
            raise
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


def _tell_failure(sentence: str, run_dir: Path, in_this_process: bool) -> None:
    with suppress(OSError), (run_dir / "btu.log").open("a", encoding="utf-8") as file:
        file.write(f"error: {sentence}\n")
    if not in_this_process:
        raise JobFailed(sentence)  # the launcher must see that its job failed
    print(f"error: {sentence}", file=sys.stderr)
    _failed_jobs.append(sentence)


def _unexpected(error: Exception, run_dir: Path) -> str:
    """A sentence for an error that nobody foresaw; its trace goes to the job's log."""
    if type(error).__name__ == "UncompletedJobError":  # submitit's, at the end of a job's time
        return (
            "it ran out of time more often than hydra.launcher.max_num_timeout allows. Give it "
            "more with hydra.launcher.timeout_min; what it has finished is kept"
        )
    trace = run_dir / "btu.log"
    with suppress(OSError), trace.open("a", encoding="utf-8") as file:
        traceback.print_exception(error, file=file)
    first_line = (str(error).strip() or "no message").split("\n")[0]
    return f"unexpected {type(error).__name__}: {first_line} (its trace is in {trace})"


@quiet_follower()
def main() -> None:
    """Run the command line; exit code 0 only if every job finished."""
    full_trace = "HYDRA_FULL_ERROR" in os.environ
    os.environ["HYDRA_FULL_ERROR"] = "1"  # let errors out of Hydra, to be told in one sentence
    # A thread that waits for its partner must not spin: with one other process on two cores an
    # epoch took more than six times as long. Read once, when torch loads its OpenMP.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # oneDNN keeps a kernel for every shape of matrix it has met, 1,024 of them; a sweep meets more.
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "256")
    # hydra/launcher=ray is ours; Hydra finds that the plugin has one of the same name.
    warnings.filterwarnings("ignore", "(?s).*validated against ConfigStore schema", UserWarning)
    gc.set_threshold(100_000, 20, 20)  # libraries make millions of objects that stay: 0.7 s
    signal.signal(signal.SIGTERM, end_follower if started().rank else _terminate)
    status = _exit_code(full_trace)
    sweep = SweepWatch.current
    if sweep is not None and not started().rank:
        from btu.report.closing import close_sweep

        try:
            num_unfinished = close_sweep(sweep, complete=status in (0, 1))
            status = status or int(num_unfinished > 0)
        except (BtuError, OSError) as error:
            print(f"error: {in_one_sentence(error)}", file=sys.stderr)
            status = status or 1
    gc.freeze()  # or the interpreter goes through all of them at the end: 1.1 s
    sys.exit(status)


def _exit_code(full_trace: bool) -> int:
    """Run Hydra; 0 if every job of this process finished."""
    try:
        if {"-m", "--multirun"} & set(sys.argv):
            refuse_multirun()  # before Hydra makes a folder; an experiment may want -m, too
        _hydra_main()
    except BrokenPipeError:  # `btu --help | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (BtuError, HydraException, OmegaConfBaseException, OSError, YAMLError) as error:
        if full_trace:
            raise
        if not isinstance(error, JobFailed):  # the table of jobs says it
            SweepWatch.current = None
        print(f"error: {in_one_sentence(error)}", file=sys.stderr)
        return 1
    except ValueError as error:
        if full_trace or "No trials are completed" not in str(error):  # Optuna's words
            raise
        print("error: every trial of the search failed, for the reasons above.", file=sys.stderr)
        return 1
    except KeyboardInterrupt as stopped:
        print(
            "stopped; what was finished is kept. To go on, type the same command again",
            file=sys.stderr,
        )
        return 143 if isinstance(stopped, Terminated) else 130
    return int(bool(_failed_jobs))


class Terminated(KeyboardInterrupt):
    """SIGTERM, which ends a run as Ctrl-C does."""


def _terminate(number: int, frame: object) -> None:
    raise Terminated


if __name__ == "__main__":
    main()
