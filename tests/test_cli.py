"""The command line in a process of its own: exit codes, sentences, speed."""

import subprocess
import sys
import time

import pytest

from tests.conftest import TINY, shell


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
