"""Two hundred jobs at once, and the report of them."""

import json
import time

import pytest

from btu.report.write import write_report
from tests.conftest import shell
from tests.sweeps.test_jobs import SMALL


@pytest.mark.slow
def test_two_hundred_jobs_leave_all_records_and_a_quick_report(files, tmp_path):
    """As on a cluster: a process per job, one cache, and stages that many of them want at once."""
    seeds = ",".join(map(str, range(50)))
    start = time.perf_counter()

    ended = shell(
        *("-m", *files.overrides, *SMALL, "arms=[poisoned]", "objective.arm=poisoned"),
        *(f"seed={seeds}", "attack=badnets,addsent", "attack.poison_rate=0.1,0.2"),
        *("hydra/launcher=slurm_local", "hydra.launcher.at_once=4"),
        cwd=tmp_path,
        timeout=1800,
        OMP_NUM_THREADS="1",
    )

    print(f"200 jobs: {time.perf_counter() - start:.0f} s")
    assert ended.returncode == 0, ended.stderr
    assert "200 of 200 jobs finished" in ended.stdout
    (sweep,) = tmp_path.glob("outputs/runs/*/*")
    jobs = [json.loads((sweep / str(number) / "job.json").read_text()) for number in range(200)]
    assert {job["status"] for job in jobs} == {"finished"}
    records = {path.name for path in (tmp_path / "outputs" / "records").glob("*.json")}
    assert len(records) == 200
    assert {record.rsplit("/")[-1] for job in jobs for record in job["records"]} == records
    start = time.perf_counter()
    write_report([sweep], tmp_path / "report")
    seconds = time.perf_counter() - start
    print(f"report: {seconds:.1f} s")
    assert seconds < 60
