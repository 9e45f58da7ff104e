"""What is said of jobs that could not say it themselves."""

import threading
from types import SimpleNamespace

import pytest
from hydra.core.utils import JobStatus

from btu import processes
from btu.errors import ConfigError
from btu.sweeps import shared
from btu.sweeps.cluster import _ending, _refusal
from btu.sweeps.jobs import JobList, JobReport, load_job
from btu.sweeps.outcomes import settle
from btu.sweeps.queue import QueueWatcher


def test_a_jobs_own_report_counts(tmp_path):
    JobReport("finished", objective=0.3).write(tmp_path / "4")
    JobReport("failed", error="no such file").write(tmp_path / "5")

    done, failed = settle(tmp_path, 4, [["seed=1"], ["seed=2"]], lambda number: "killed", 0.0)

    assert (done.status, done.return_value) == (JobStatus.COMPLETED, 0.3)
    assert failed.status == JobStatus.FAILED
    assert str(failed._return_value) == "no such file"
    assert load_job(tmp_path / "5" / "job.json").error == "no such file"


@pytest.mark.parametrize("left", [None, "running", "stopped"])
def test_a_job_that_ended_without_a_word_gets_the_engines(tmp_path, left):
    if left:
        JobReport(left, name="toy", overrides=["seed=1"]).write(tmp_path / "0")

    (returned,) = settle(tmp_path, 0, [["seed=1"]], lambda number: f"killed {number}", 0.0)

    report = load_job(tmp_path / "0" / "job.json")
    assert (report.status, report.error, report.overrides) == ("died", "killed 0", ["seed=1"])
    assert returned.status == JobStatus.FAILED


def test_a_report_that_a_network_disk_shows_late_is_waited_for(tmp_path):
    JobReport("running").write(tmp_path / "0")
    late = threading.Timer(0.3, lambda: JobReport("finished").write(tmp_path / "0"))
    late.start()

    (returned,) = settle(tmp_path, 0, [[]], lambda number: "killed", 10.0)

    late.join()
    assert returned.status == JobStatus.COMPLETED


def ended(tmp_path, state, log=None):
    paths = SimpleNamespace(
        stderr=tmp_path / "log.err", stdout=tmp_path / "log.out", folder=tmp_path
    )
    if log is not None:
        paths.stderr.write_text(log)
    return _ending(SimpleNamespace(state=state, paths=paths))


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("CANCELLED by 1000", "it was cancelled; the last line of "),
        ("OUT_OF_MEMORY", "hydra.launcher.mem_gb; the last line"),
        ("TIMEOUT", "hydra.launcher.timeout_min; the last line"),
        ("FAILED", r"without saying why \(FAILED\); the last line of .*log.err: Killed$"),
    ],
)
def test_what_the_scheduler_saw_comes_with_advice_and_the_logs_last_line(tmp_path, state, said):
    import re

    assert re.search(said, ended(tmp_path, state, "began\nKilled\n\n"))


def test_a_job_without_a_log_asks_whether_its_node_sees_the_folder(tmp_path):
    assert ended(tmp_path, "FAILED").endswith(f"it left no log: can its node see {tmp_path}?")


def test_a_refusal_is_the_schedulers_message():
    error = RuntimeError(
        "During handling of the above:\nsbatch: error: invalid partition specified: x\n"
        "sbatch: error: Batch job submission failed: Invalid partition name specified"
    )

    assert _refusal(error).startswith(
        "Slurm refuses the jobs: invalid partition specified: x; Batch job submission failed: "
        "Invalid partition name specified. The settings are hydra.launcher.partition"
    )


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """Stand-ins for Slurm's commands: what each prints, and its exit code."""

    def place(**answers):
        for name, (code, text) in answers.items():
            path = tmp_path / name
            where = 2 if code else 1
            path.write_text(f"#!/bin/sh\ncat <<'END' >&{where}\n{text}\nEND\nexit {code}\n")
            path.chmod(0o755)

    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return place


NO_ACCOUNTS = (1, "Slurm accounting storage is disabled")


def states(watcher, *job_ids):
    watcher.update()
    return [watcher.get_state(job_id, mode="cache") for job_id in job_ids]


def watching(*job_ids):
    watcher = QueueWatcher()
    for job_id in job_ids:
        watcher.register_job(job_id)
    return watcher


def test_without_accounts_the_queue_is_asked(commands):
    commands(
        sacct=NO_ACCOUNTS,
        squeue=(0, "JOBID|STATE|NODELIST\n7_0|COMPLETED|n1\n7_1|CANCELLED|\n7_2|PENDING|"),
    )
    watcher = watching("7_0", "7_1", "7_2")

    assert states(watcher, "7_0", "7_1", "7_2") == ["COMPLETED", "CANCELLED", "PENDING"]
    assert watcher._finished == {"7_0", "7_1"}


def test_the_tasks_of_an_array_that_never_began_end_with_it(commands):
    commands(sacct=NO_ACCOUNTS, squeue=(0, "JOBID|STATE|NODELIST\n7|CANCELLED|\n7_0|RUNNING|n"))

    assert states(watching("7_0", "7_1"), "7_0", "7_1") == ["RUNNING", "CANCELLED"]


def test_accounts_are_asked_first(commands):
    commands(sacct=(0, "JobID|State|NodeList\n7|OUT_OF_MEMORY|n1"), squeue=(9, "not asked"))

    assert states(watching("7"), "7") == ["OUT_OF_MEMORY"]


def test_a_job_that_slurm_has_forgotten_is_lost_after_a_while(commands, monkeypatch):
    commands(sacct=NO_ACCOUNTS, squeue=(1, "slurm_load_jobs error: Invalid job id specified"))
    watcher = watching("7")
    assert states(watcher, "7") == ["UNKNOWN"]

    monkeypatch.setattr("btu.sweeps.queue.UNKNOWN_SECONDS", 0.0)

    assert states(watcher, "7") == ["LOST"]
    assert watcher.is_done("7", mode="cache")


def test_a_scheduler_that_does_not_answer_loses_no_job(commands, monkeypatch):
    monkeypatch.setattr("btu.sweeps.queue.UNKNOWN_SECONDS", 0.0)
    commands(sacct=NO_ACCOUNTS, squeue=(1, "Unable to contact slurm controller"))
    watcher = watching("7")

    assert states(watcher, "7") == states(watcher, "7") == ["UNKNOWN"]


def test_a_node_that_does_not_see_the_cache_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "VISIBLE_SECONDS", 0.3)
    cache, sweep = tmp_path / "cache", tmp_path / "sweep"
    sweep.mkdir()
    with shared.marked(cache, wanted=True) as mark:
        JobList("sweep-1", [[]], mark).write(sweep)
        shared.check_mark(sweep, cache)  # seen
        shared.check_mark(sweep, tmp_path / "own")  # a job with a cache of its own
        (other,) = cache.iterdir()
        other.rename(tmp_path / "elsewhere")

        with pytest.raises(ConfigError, match=r"cannot see what was written there .* all nodes"):
            shared.check_mark(sweep, cache)
    assert list(cache.iterdir()) == []


def test_the_mark_stays_for_jobs_that_go_on_without_the_launcher(tmp_path):
    with pytest.raises(KeyboardInterrupt), shared.marked(tmp_path, wanted=True):
        raise KeyboardInterrupt

    assert len(list(tmp_path.iterdir())) == 1
