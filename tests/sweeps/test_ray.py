"""Jobs on a Ray cluster that is started for them, where the extra `ray` is installed."""

import json

import pytest

from tests.conftest import shell
from tests.sweeps.test_jobs import SMALL

ray = pytest.importorskip("ray", reason='pip install -c constraints.txt -e ".[ray]"')
pytestmark = pytest.mark.ray


def test_jobs_run_on_ray_and_one_that_fails_is_in_the_table(files, tmp_path):
    ended = shell(
        *("-m", *files.overrides, *SMALL, "attack=badnets", "arms=[poisoned]"),
        *("objective.arm=poisoned", "attack.poison_rate=0.1,7", "hydra/launcher=ray"),
        "hydra.launcher.ray.init.num_cpus=2",
        cwd=tmp_path,
    )

    assert ended.returncode == 1
    assert "1 of 2 jobs finished, 1 failed" in ended.stdout, ended.stderr
    assert "between 0 and 1, got 7" in ended.stdout
    assert "UserWarning" not in ended.stderr
    paths = sorted(tmp_path.glob("outputs/runs/*/*/?/job.json"))
    assert [json.loads(p.read_text())["status"] for p in paths] == ["finished", "failed"]


def test_a_cluster_that_is_not_there_is_a_sentence(files, tmp_path):
    ended = shell(
        *("-m", *files.overrides, *SMALL, "seed=1,2", "hydra/launcher=ray"),
        "hydra.launcher.ray.init.address=auto",
        cwd=tmp_path,
    )

    assert ended.returncode == 1
    assert "error: no Ray cluster to join: " in ended.stderr
    assert "Traceback" not in ended.stderr
