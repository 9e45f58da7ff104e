"""The entry point: compose, build, run the pipeline, show the result (`btu`, `python -m btu`)."""

from __future__ import annotations

import errno
import logging
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from btu.config import GROUPS, Config, build, check_run, explain
from btu.errors import BtuError, ConfigError

if TYPE_CHECKING:
    from btu.pipeline import Job

log = logging.getLogger("btu")
HERE = Path(__file__).resolve().parent
CONF = HERE / "conf" if (HERE / "conf").is_dir() else HERE.parent / "conf"  # wheel, or checkout
BASIC_LAUNCHER = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"

ConfigStore.instance().store(name="btu_schema", node=Config)
_failed_jobs: list[str] = []  # sentences of the jobs that failed in this process


def build_job(cfg: DictConfig) -> tuple[Job, Any]:
    """Build and check every component before any work begins.

    Returns:
        The job, and the tracker that mirrors its results.
    """
    dataset, attack, model, defense, tracking = (build(cfg[group], group) for group in GROUPS)
    arms = check_run(cfg.thresholds, cfg.arms, defense.arms())
    model.check()
    from btu.files import check_writable
    from btu.pipeline import FIXED_NEED, Job

    check_writable(Path(cfg.outputs), FIXED_NEED)
    config = OmegaConf.to_container(cfg, resolve=True)
    if not isinstance(config, dict):
        raise ConfigError("the config is not a mapping.")
    config.pop("tracking")
    job = Job(
        dataset=dataset,
        attack=attack,
        model=model,
        defense=defense,
        seed=cfg.seed,
        thresholds=tuple(dict.fromkeys(cfg.thresholds)),
        arms=arms,
        device=cfg.device,
        outputs=Path(cfg.outputs),
        force=cfg.force,
        save_model=cfg.save_model,
        config={str(k): v for k, v in config.items()},
    )
    return job, tracking


def run_job(cfg: DictConfig, run_dir: Path) -> float | None:
    """Run one job, write its folder, mirror it and print its tables; gives its objective."""
    job, tracking = build_job(cfg)
    objective: Any = OmegaConf.to_object(cfg.objective)
    from rich.console import Console

    from btu.arms import possible_arms
    from btu.outputs import write_outputs
    from btu.pipeline import prepare, run, save_repaired
    from btu.report.tables import print_result

    data = prepare(job)
    objective.check_search(possible_arms(job.arms, data)[0])
    with tracking.job(job, run_dir):
        result = run(job, data)
        write_outputs(job, result, run_dir)
        if job.save_model:
            log.info(save_repaired(job, result, run_dir / "model"))
        value: float | None = objective.value(result.records)
        tracking.log_result(result, run_dir, value)
    print_result(result, Console())
    print(f"results: {run_dir}")
    return value


@hydra.main(config_path=str(CONF), config_name="config", version_base="1.3")
def _hydra_main(cfg: DictConfig) -> float | None:
    """One job of a run or a multirun; a failure is one sentence, and later jobs go on.

    Returns:
        The objective for a search, None of a failed job: Optuna's sweeper then marks the trial as
        failed and goes on, where NaN would end the search.
    """
    run_dir = Path(HydraConfig.get().runtime.output_dir)
    try:
        return run_job(cfg, run_dir)
    except (BtuError, OSError) as error:
        sentence = in_one_sentence(error)
        with suppress(OSError), (run_dir / "btu.log").open("a", encoding="utf-8") as file:
            file.write(f"error: {sentence}\n")
        if HydraConfig.get().launcher._target_ != BASIC_LAUNCHER:
            raise RuntimeError(sentence) from error  # the launcher must see that its job failed
        print(f"error: {sentence}", file=sys.stderr)
        _failed_jobs.append(sentence)
        return None


def in_one_sentence(error: BaseException) -> str:
    """What to print of an error that the user can mend."""
    if isinstance(error, OmegaConfBaseException):
        return explain(error)
    cause = error.__cause__
    told = isinstance(error, BtuError)
    if not told and isinstance(cause, OmegaConfBaseException) and cause.parent_node is not None:
        return explain(cause)
    if isinstance(error, OSError) and error.errno is not None:
        where = f" ({error.filename})" if error.filename else ""
        advice = ""
        if error.errno in (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT, errno.ENOTDIR):
            advice = " Make room or write outputs=PATH for a folder that can be written."
        return f"{os.strerror(error.errno)}{where}.{advice}"
    return " ".join(str(error).split("Config search path:")[0].split())


def main() -> None:
    """Run the command line; exit code 0 only if every job finished."""
    full_trace = "HYDRA_FULL_ERROR" in os.environ
    os.environ["HYDRA_FULL_ERROR"] = "1"  # let errors out of Hydra, to be told in one sentence
    # A thread that waits for its partner must not spin: with one other process on two cores an
    # epoch took more than six times as long. Read once, when torch loads its OpenMP.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        _hydra_main()
    except BrokenPipeError:  # `btu --help | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (BtuError, HydraException, OmegaConfBaseException, OSError) as error:
        if full_trace:
            raise
        sys.exit(f"error: {in_one_sentence(error)}")
    except ValueError as error:
        if full_trace or "No trials are completed" not in str(error):  # Optuna's words
            raise
        sys.exit("error: every trial of the search failed, for the reasons above.")
    except KeyboardInterrupt:
        print("stopped; what was finished is kept, type the same command again", file=sys.stderr)
        sys.exit(130)
    if _failed_jobs:
        sys.exit(1)


if __name__ == "__main__":
    main()
