"""Submitting jobs, without Slurm; tests/slurm has a real one."""

import pytest

from btu.errors import ConfigError
from btu.sweeps import cluster
from tests.conftest import shell
from tests.sweeps.test_jobs import SMALL


def test_a_machine_without_slurm_says_what_to_use_instead(multirun, monkeypatch, fits):
    monkeypatch.setattr(cluster.shutil, "which", lambda name: None)

    done = multirun(*SMALL, "seed=1,2", "hydra/launcher=slurm")

    assert done.code == 1
    assert done.err.startswith("error: hydra/launcher=slurm needs Slurm's sbatch, which this ")
    assert "hydra/launcher=slurm_local" in done.err
    assert "Traceback" not in done.err
    assert fits == []


def test_a_number_of_jobs_at_once_that_is_none_is_a_sentence(multirun):
    done = multirun(*SMALL, "hydra/launcher=slurm_local", "hydra.launcher.at_once=0", "seed=1,2")

    assert "hydra.launcher.at_once is a number of jobs above 0, got 0." in done.err


def test_a_launcher_without_a_sweep_is_a_sentence(tmp_path):
    ended = shell("hydra/launcher=workstation", cwd=tmp_path)

    assert ended.returncode == 1
    assert (
        "hydra/launcher=workstation is for the jobs of a sweep, but this is one job. Add -m."
        in (ended.stderr)
    )


@pytest.mark.slow
def test_the_dry_run_starts_each_job_as_slurm_does(files, tmp_path):
    ended = shell(
        *("-m", *files.overrides, *SMALL, "attack=badnets", "arms=[poisoned]"),
        *("objective.arm=poisoned", "attack.poison_rate=0.1,7"),
        *("hydra/launcher=slurm_local", "hydra.launcher.at_once=2"),
        cwd=tmp_path,
    )

    assert ended.returncode == 1
    assert "1 of 2 jobs finished, 1 failed" in ended.stdout, ended.stderr
    assert "job 1: attack.poison_rate is a fraction between 0 and 1, got 7" in ended.stdout
    assert "Traceback" not in ended.stdout + ended.stderr
    logs = [path.read_text() for path in tmp_path.glob("outputs/runs/*/*/.submitit/*/*_log.err")]
    assert sum("got 7" in log for log in logs) == 1
    assert len(list(tmp_path.glob("outputs/records/*.json"))) == 1


def test_a_plugin_that_is_not_installed_is_named_with_its_extra():
    from hydra_plugins.btu import _missing

    with pytest.raises(ConfigError, match=r'needs a plugin: pip install -e "\.\[slurm\]"'):
        _missing("slurm")(n_jobs=1).setup(config=None)
