"""Which jobs a sweep has, and which of them a rerun takes."""

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from btu.errors import ConfigError
from btu.sweeps.jobs import FINISHED, JobList, JobReport, jobs_of, load_job_list
from btu.sweeps.sweeper import covering, sweep_jobs
from btu.terminal.overrides import written
from tests.sweeps.test_jobs import SMALL

PARSER = OverridesParser.create()


def swept(folder, *statuses):
    """A sweep's folder whose jobs ended so; None: no report."""
    jobs = [["attack=badnets", f"seed={number}"] for number in range(len(statuses))]
    JobList("sweep-1234", jobs).write(folder)
    for number, status in enumerate(statuses):
        if status is not None:
            JobReport(status, overrides=jobs[number]).write(folder / str(number))
    return folder


def test_a_sweep_is_every_combination_with_an_experiments_own():
    jobs, name = sweep_jobs(PARSER, {"seed": "1,2"}, ["attack=badnets,style", "force=true"])

    assert jobs == [
        [f"seed={seed}", f"attack={attack}", "force=True"]
        for seed in (1, 2)
        for attack in ("badnets", "style")
    ]
    assert name.startswith("sweep-")


def test_a_rerun_takes_what_did_not_finish_and_adds_what_is_typed(tmp_path):
    folder = swept(tmp_path, FINISHED, "failed", "died", None)

    jobs, name = sweep_jobs(PARSER, {"x": "1,2"}, [f"rerun={folder}", "seed=9", "device=cpu"])

    assert jobs == [["attack=badnets", "seed=9", "device=cpu"]]  # three, which are the same now
    assert name == "sweep-1234"  # one group of W&B runs


def test_a_rerun_keeps_the_jobs_as_they_were(tmp_path):
    jobs, _ = sweep_jobs(PARSER, {}, [f"rerun={swept(tmp_path, 'stopped', FINISHED, None)}"])

    assert jobs == [["attack=badnets", "seed=0"], ["attack=badnets", "seed=2"]]


def test_a_rerun_takes_a_folder_in_quotes_as_the_closing_table_writes_it(tmp_path):
    folder = swept(tmp_path / "a=b,c", "stopped")

    jobs, _ = sweep_jobs(PARSER, {}, [f"rerun={written(str(folder))}"])

    assert jobs == [["attack=badnets", "seed=0"]]


def test_a_rerun_of_a_finished_sweep_says_so(tmp_path):
    with pytest.raises(ConfigError, match="all 2 jobs of that sweep finished"):
        sweep_jobs(PARSER, {}, [f"rerun={swept(tmp_path, FINISHED, FINISHED)}"])


def test_a_rerun_of_no_sweep_says_what_it_looks_for(tmp_path):
    with pytest.raises(ConfigError, match=r"is not the folder of a sweep: it has no jobs\.json"):
        sweep_jobs(PARSER, {}, [f"rerun={tmp_path}"])


@pytest.mark.parametrize(
    "word", ["attack._target_=mine.Mine", "+attack={_target_:mine.Mine}", "hydra.searchpath=[a]"]
)
def test_a_rerun_takes_no_code_from_a_folder_of_results(tmp_path, word):
    JobList("sweep-1234", [["seed=1"], ["seed=2", word]]).write(tmp_path)

    with pytest.raises(ConfigError, match="names code, which is not taken from a folder of res"):
        sweep_jobs(PARSER, {}, [f"rerun={tmp_path}"])


def test_every_value_is_composed_once_before_the_first_job():
    jobs, _ = sweep_jobs(PARSER, {}, ["a=1,2,3", "b=1,2,3,4", "c=5"])

    some = covering(jobs)

    assert {word for job in some for word in job} == {word for job in jobs for word in job}
    assert len(some) == 3 + 4 - 1


def test_a_long_range_is_not_composed_whole():
    jobs, _ = sweep_jobs(PARSER, {}, ["seed=range(1000)", "attack=badnets,style"])

    some = covering(jobs)

    assert {word for job in some for word in job if "attack" in word} == {
        "attack=badnets",
        "attack=style",
    }
    assert len(some) < 30


def test_jobs_that_left_no_report_are_not_begun(tmp_path):
    jobs = jobs_of(swept(tmp_path, FINISHED, None))

    assert [job.status for job in jobs.values()] == ["finished", "not begun"]
    assert jobs[1].overrides == ["attack=badnets", "seed=1"]


@pytest.mark.parametrize("text", ["", "[]", '{"format": 1}', '{"format": 99, "jobs": []}'])
def test_a_damaged_list_of_jobs_is_none(tmp_path, text):
    (tmp_path / "jobs.json").write_text(text)

    assert load_job_list(tmp_path) is None


def test_a_failed_sweep_is_run_again_by_its_own_command(files, multirun):
    small = [*files.overrides, *SMALL, "arms=[poisoned]", "objective.arm=poisoned"]
    first = multirun(*small, "attack.poison_rate=0.1,7", "seed=1,2")
    command = first.out.split("(append what must change):\n")[1].split("\n")[0]

    again = multirun(*command.split()[2:], "attack.poison_rate=0.2")

    assert first.code == 1
    assert "2 of 4 jobs finished, 2 failed" in first.out
    assert "jobs that did not finish: 2." in first.out
    assert again.code == 0
    assert "2 of 2 jobs finished" in again.out
    assert [job["status"] for job in again.jobs] == ["finished"] * 2
    assert all("attack.poison_rate=0.2" in job["overrides"] for job in again.jobs)


def test_a_batch_with_a_failed_job_does_not_end_those_after_it(files, multirun):
    small = [*files.overrides, *SMALL, "arms=[poisoned]", "objective.arm=poisoned"]

    done = multirun(*small, "attack.poison_rate=7,0.1", "hydra.sweeper.max_batch_size=1")

    assert [job["status"] for job in done.jobs] == ["failed", "finished"]


def test_rerun_without_m_is_a_sentence(run_btu, tmp_path):
    with pytest.raises(ConfigError, match="rerun=somewhere runs several jobs: type btu -m"):
        run_btu("rerun=somewhere")
