"""The command line in a process of its own: exit codes, sentences, speed."""

import json
import os
import subprocess
import sys
import time

import pytest

from tests.conftest import TINY, shell
from tests.test_config import ROOT


def test_bad_input_is_one_sentence_with_exit_code_1(files, tmp_path):
    """What a user sees of a mistake in a file, and that no training was begun."""
    done = shell(*files.overrides, "dataset.label_column=lable", "tracking=none", cwd=tmp_path)

    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.strip().split("\n")[-1].startswith("error: ")
    assert "did you mean label?" in done.stderr
    assert list((tmp_path / "outputs" / "cache").iterdir()) == []


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("sed=1", "seed"),
        ("seed=abc", "seed: Value 'abc'"),
        ("dataset.trian=x", "dataset.trian"),
        ("thresholds=0.1", "Write thresholds=[...]"),
        ("attack=badnet", "badnets"),
        ("+attack.triger=[cf]", "did you mean triggers?"),
        ("thresholds=[2]", "between 0 and 1"),
        ("epochs=5", "did you mean model.training.epochs or tuning.epochs?"),
        ("train=x.tsv", "did you mean dataset.train?"),
        ("defense.cutoff=mean", "did you mean defense.btu.cutoff?"),
        ("defense=[btu,btu]", "names btu twice. Each defense decides once"),
        ("dataset.train=???", "error: dataset.train has no value. Write dataset.train=..."),
    ],
)
def test_a_config_error_answers_in_three_seconds(tmp_path, override, said):
    start = time.perf_counter()

    done = shell("dataset=local", "dataset.train=x.tsv", override, cwd=tmp_path)

    assert time.perf_counter() - start < 3 + 3  # three seconds; as many again for a busy machine
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert said in done.stderr


def test_help_and_cfg_answer_without_loading_torch(tmp_path):
    for flag in (["--help"], ["--cfg", "job"]):
        start = time.perf_counter()
        done = shell(*flag, cwd=tmp_path, PYTHONPROFILEIMPORTTIME="1")
        assert time.perf_counter() - start < 3 + 3
        assert done.returncode == 0
        assert "| torch\n" not in done.stderr
        assert "badnets" in done.stdout


def test_an_output_folder_that_cannot_be_written_is_one_sentence(files, tmp_path):
    (tmp_path / "occupied").write_text("a file, not a folder")

    done = shell(*files.overrides, "outputs=occupied", *TINY, "model=tiny", cwd=tmp_path)

    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "outputs=PATH" in done.stderr


def test_a_multirun_goes_on_after_a_failed_job_and_its_exit_code_says_so(files, tmp_path):
    done = shell(
        "-m",
        *files.overrides,
        *TINY,
        "model=tiny",
        "model.training.epochs=1",
        "arms=[poisoned]",
        "attack.poison_rate=0.1,7,0.2",
        cwd=tmp_path,
    )

    assert done.returncode == 1
    assert "between 0 and 1, got 7" in done.stderr
    assert len(list((tmp_path / "outputs" / "records").glob("*.json"))) == 2


def test_a_plugin_that_is_not_installed_is_named_with_the_way_to_get_it(tmp_path):
    """Without hydra-optuna-sweeper, whose files are hidden from the search path here."""
    hide = "import sys, hydra_plugins; hydra_plugins.__path__ = []; "
    hide += "sys.argv = ['btu', '-m', 'hydra/sweeper=optuna']; import btu.cli; btu.cli.main()"

    done = subprocess.run(
        [sys.executable, "-c", hide], cwd=tmp_path, capture_output=True, text=True
    )

    assert done.returncode == 1
    assert 'pip install -e ".[search]"' in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_job_on_hostile_texts_is_finished_whatever_becomes_of_its_output(files, tmp_path):
    """Labels and texts that look like markup and escapes, and a full disk behind the output."""
    for role in ("train", "tuning", "test"):
        path = tmp_path / f"{role}.tsv"
        path.write_text(path.read_text().replace(" ", " [/] \x1b[31m [bold] \u4e2d ", 1))
    names = 'dataset.label_names=["[/]","\u202e[bold]"]'
    command = [*files.overrides, *TINY, names, "model=tiny", "model.training.epochs=1"]

    seen = shell(*command, cwd=tmp_path, PYTHONIOENCODING="ascii")
    with open("/dev/full", "w") as full:
        lost = subprocess.run(
            [sys.executable, "-m", "btu", *command, "hydra/job_logging=disabled"],
            cwd=tmp_path,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )

    assert (seen.returncode, lost.returncode) == (0, 0), seen.stderr + lost.stderr
    assert lost.stderr.startswith("note: standard output could not be written: No space left")
    assert "[/] (" in seen.stdout
    assert r"\u202e" in seen.stdout
    logs = [path.read_text() for path in (tmp_path / "outputs" / "runs").glob("*/*/btu.log")]
    assert len(logs) == 1
    assert not {"\x1b", "\u202e"} & {*seen.stdout, *seen.stderr, *logs[0]}
    jobs = [json.loads(p.read_text()) for p in (tmp_path / "outputs" / "runs").glob("*/*/job.json")]
    assert [job["status"] for job in jobs] == ["finished", "finished"]


BUG = """
import btu.lab
def fit(*arguments, **keywords):
    raise RuntimeError("out of memory\\n\\x1b[2Jand more")
btu.lab.fit = fit
from btu.cli import main
main()
"""


@pytest.mark.parametrize("full_trace", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_an_error_that_nobody_foresaw_is_one_sentence_with_its_trace_in_the_log(
    files, tmp_path, full_trace
):
    (tmp_path / "bug.py").write_text(BUG)
    command = [*files.overrides, *TINY, "model=tiny", "arms=[poisoned]"]
    wanted = {"HYDRA_FULL_ERROR": "1"} if full_trace else {}

    done = subprocess.run(
        [sys.executable, "bug.py", *command],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), **wanted},
    )

    (run,) = (tmp_path / "outputs" / "runs").glob("*/*")
    sentence = (
        f"unexpected RuntimeError: out of memory (its trace is in {run.relative_to(tmp_path)}"
        "/btu.log)"
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == f"error: {sentence}"
    assert ("Traceback" in done.stderr) == full_trace
    assert len(done.stderr.splitlines()) == 1 or full_trace
    assert json.loads((run / "job.json").read_text())["error"] == sentence
    log = (run / "btu.log").read_text()
    assert r"\u001b[2Jand more" in log
    assert "Traceback" in log
    assert "\x1b" not in log + done.stderr


def test_a_job_that_would_leave_the_working_folder_is_refused(files, tmp_path):
    done = shell(*files.overrides, *TINY, "model=tiny", "hydra.job.chdir=true", cwd=tmp_path)

    assert done.returncode == 1
    assert done.stderr.startswith("error: hydra.job.chdir=true would look for data")
    assert len(done.stderr.splitlines()) == 1
