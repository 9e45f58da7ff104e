"""`btu.run`: the command line's jobs, in Python."""

from __future__ import annotations

import json
import logging
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hypothesis import given
from hypothesis import strategies as st

import btu
from btu.api import Run, _written
from btu.config import composed
from btu.errors import BtuError, ConfigError
from tests.conftest import Files, shell, toy_split, write_tsv

TINY_KEYWORDS: dict[str, Any] = {
    "thresholds": [0.01, 0.05],
    "attack.triggers": ["cf"],
    "model.vocabulary_size": 600,
    "model.hidden_size": 32,
    "model.num_layers": 1,
    "model.training.epochs": 2,
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with toy files, in which the jobs of this module run."""
    folder = tmp_path_factory.mktemp("home")
    for role, size, seed in (("train", 300, 1), ("tuning", 60, 2), ("test", 100, 3)):
        write_tsv(folder / f"{role}.tsv", toy_split(size, seed))
    return folder


@pytest.fixture
def run_toy(home: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Run]:
    """Run the toy job, from its folder."""
    monkeypatch.chdir(home)

    def run(*overrides: str, **settings: Any) -> Run:
        words = ("model=tiny", *Files(home).overrides, *overrides)
        return btu.run(*words, **TINY_KEYWORDS | settings)

    return run


@pytest.fixture(scope="module")
def toy(home: Path) -> Run:
    """The toy job's result; later calls find its records."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        return btu.run("model=tiny", *Files(home).overrides, **TINY_KEYWORDS)


# Settings


TEXTS = [
    "",
    " ",
    "I watch this",
    "no",
    "null",
    "true",
    "1e-4",
    "a,b",
    "a=b",
    "[x]",
    "{x: 1}",
    "it's",
    'say "so"',
    "back\\slash",
    "ends with \\",
    "\\' both",
    "$HOME",
    "{}$",
    "new\nline",
    "\ttab ",
    "#comment",
    "~tilde",
    "naïve 電影",
    "choice(a,b)",
    "interval(0,1)",
    "%(x)s",
    "<b>bold</b>",
]
VALUES: list[Any] = [
    None,
    True,
    False,
    3,
    -1,
    1e-4,
    1e-05,
    5e-324,
    1.7976931348623157e308,
    0.1 + 0.2,
    float("inf"),
    [],
    [1, 2.5, None, True],
    ["I watch this", "no"],
    [["a, b"], ["c"]],
    [{"kind": "pooled", "batch_size": 4}],
]


def read_back(value: Any) -> Any:
    with composed([f"+written={_written(value, 'written')}"]) as (cfg, _):
        return hydra_free(cfg.written)


def hydra_free(value: Any) -> Any:
    from omegaconf import OmegaConf

    return OmegaConf.to_container(value) if OmegaConf.is_config(value) else value


def test_values_are_read_back_as_they_are():
    together = [*TEXTS, *VALUES, TEXTS]
    found = read_back(together)

    assert found == together
    assert [type(value) for value in found] == [type(value) for value in together]


@pytest.mark.parametrize("text", TEXTS, ids=repr)
def test_a_text_is_read_back_as_it_is(text: str):
    from hydra.core.override_parser.overrides_parser import OverridesParser

    (override,) = OverridesParser.create().parse_overrides([f"key={_written(text, 'key')}"])

    assert override.value() == text


@given(st.lists(st.one_of(st.text(), st.floats(allow_nan=False), st.integers(), st.booleans())))
def test_any_list_is_read_back_as_it_is(values: list[Any]):
    from hydra.core.override_parser.overrides_parser import OverridesParser

    (override,) = OverridesParser.create().parse_overrides([f"key={_written(values, 'key')}"])

    found = override.value()
    assert [getattr(value, "text", value) for value in found] == values


def test_arrays_and_paths_are_written_as_lists_and_text():
    assert _written(np.array([0.5, 0.25]), "key") == "[0.5,0.25]"
    assert _written(np.float64(1e-4), "key") == "0.0001"
    assert _written(Path("a b/c.csv"), "key") == "'a b/c.csv'"


@pytest.mark.parametrize(
    ("overrides", "settings", "sentence"),
    [
        (["-m", "seed=1,2"], {}, r"^-m runs many jobs, btu\.run runs one\. Write a loop: "),
        (["seed=1,2"], {}, r"^seed=1,2 is a sweep, btu\.run runs one job\. Write a loop: "),
        (["experiment=main_table"], {}, r"is a sweep, btu\.run runs one job\. Write a loop: "),
        (["--cfg=job"], {}, r"^--cfg=job is an option of the command line; btu\.run takes KEY="),
        (["hydra.run.dir=x"], {}, r"settings of hydra are for .* write folder=PATH"),
        ([], {"hydra/launcher": "ray"}, r"settings of hydra are for the command line"),
        ([], {"atack": "none"}, r"^atack: the run has no such field; did you mean attack\?"),
        ([], {"attack": "nonsense"}, r"Could not find 'attack/nonsense'"),
        ([], {"seed": "many"}, r"^seed: Value 'many' .* Integer"),
        ([], {"seed": {1, 2}}, r"^seed is text, a number, .* got a set\."),
        ([], {"attack.triggers": "cf"}, r"Write attack\.triggers=\[\.\.\.\]"),
        ([], {"attack.poison_rate": 10}, r"between 0 and 1, got 10\."),
        ([], {"a=b": 1}, r"^'a=b' is not the name of a setting"),
        ([3], {}, r"^3 is not text such as"),
        ([], {"config_dir": "nowhere"}, r"^config_dir: there is no folder .*nowhere\."),
        ([], {"rerun": "x"}, r"runs several jobs: type btu -m"),
        (
            [],
            {"dataset": "local", "dataset.train": "nowhere.csv"},
            r"there is no file nowhere\.csv",
        ),
    ],
)
def test_a_mistake_is_one_sentence(overrides, settings, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    with pytest.raises(BtuError, match=sentence) as error:
        btu.run(*overrides, **settings)

    assert "\n" not in str(error.value)
    assert not list(tmp_path.glob("outputs/runs/*/*"))


def test_a_launcher_of_several_processes_is_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")

    with pytest.raises(ConfigError, match=r"for one process.* write torchrun"):
        btu.run()


# The run


def test_import_is_light():
    code = "import sys, btu, btu.errors as e; print({'torch', 'hydra', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "set()"


def test_threads_are_told_to_wait_quietly_before_torch_loads():
    code = (
        "import os, sys, btu, btu.errors\n"
        "os.environ.pop('OMP_WAIT_POLICY', None)\n"
        "try: btu.run(seed='many')\n"
        "except btu.errors.BtuError: print('torch' in sys.modules, os.environ['OMP_WAIT_POLICY'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.split() == ["False", "PASSIVE"]


def test_records_are_those_of_the_command_line(home: Path, toy: Run):
    words = [f"{key}={_written(value, key)}" for key, value in TINY_KEYWORDS.items()]
    done = shell("model=tiny", "tracking=none", *Files(home).overrides, *words, cwd=home)

    folder = Path(re.search(r"results: (.*)", done.stdout)[1])
    rows = json.loads((home / folder / "summary.json").read_text())
    assert [row["record"] for row in rows] == list(toy.records["record"])
    assert "recorded before" in done.stdout + done.stderr
    files = {path.name for path in (home / folder).iterdir()} - {".hydra", "btu.log"}
    computed_only = {"distances.npz"}
    assert files == {path.name for path in toy.folder.iterdir()} - computed_only


def test_second_call_computes_nothing(run_toy, toy: Run, fits: list[str]):
    again = run_toy()

    assert not fits
    assert again.records.equals(toy.records)
    assert again.folder != toy.folder


def test_nothing_is_printed_and_the_log_tells(run_toy, toy: Run, capsys, caplog):
    with caplog.at_level(logging.INFO):
        run_toy()

    assert capsys.readouterr().out == ""
    assert any("recorded before" in message for message in caplog.messages)


def test_the_process_is_left_as_it_was(run_toy, toy: Run):
    import gc
    import os

    before = (signal.getsignal(signal.SIGTERM), gc.get_threshold(), dict(os.environ))
    run_toy()

    assert (signal.getsignal(signal.SIGTERM), gc.get_threshold(), dict(os.environ)) == before


@pytest.fixture
def application(tmp_path: Path) -> Iterator[tuple[Any, ...]]:
    """A process in which Hydra is initialised already; gives what Hydra keeps of it."""
    (tmp_path / "other.yaml").write_text("x: 1")
    with hydra.initialize_config_dir(str(tmp_path), version_base="1.2"):
        cfg = hydra.compose("other", ["x=2"], return_hydra_config=True)
        HydraConfig.instance().set_config(cfg)
        yield tuple(Singleton._instances.get(kind) for kind in (GlobalHydra, HydraConfig))
        assert hydra.compose("other").x == 1
    Singleton._instances.pop(HydraConfig, None)


def test_hydra_is_left_as_it_was(application, run_toy, toy: Run):
    run_toy()
    with pytest.raises(BtuError):
        run_toy(seed="many")

    now = tuple(Singleton._instances.get(kind) for kind in (GlobalHydra, HydraConfig))
    assert all(a is b for a, b in zip(now, application, strict=True))
    assert hydra.version.getbase().minor == 2


def test_options_of_ones_own(run_toy, toy: Run, tmp_path: Path, fits: list[str]):
    folder = tmp_path / "it's mine"
    (folder / "attack").mkdir(parents=True)
    (folder / "attack" / "mine.yaml").write_text(
        "defaults: [badnets]\nname: mine\npoison_rate: 0.2\n"
    )

    found = run_toy(config_dir=folder, attack="mine", arms=["poisoned"], folder=tmp_path / "here")

    assert set(found.records["attack"]) == {"mine"}
    assert found.data.counts.poisoned == 60
    assert found.folder == tmp_path / "here"
    assert json.loads((found.folder / "job.json").read_text())["status"] == "finished"


def test_only_the_poisoned_set(run_toy, toy: Run, tmp_path: Path):
    found = run_toy(arms=[], export_poisoned=tmp_path / "set", folder=tmp_path / "here")

    assert found.data.train.poisoned.any()
    assert found.records.empty
    assert found.suspects.empty
    assert found.chosen is None
    assert "0 records" in found._repr_html_()
    with pytest.raises(ConfigError, match="trained no model"):
        found.model("clean")


# What it gives


def test_records_have_a_row_for_each_arm_and_threshold(toy: Run):
    table = toy.records

    assert list(table["arm"].tail(4)) == ["unlearned", "unlearned", "defended", "defended"]
    assert list(table["threshold"].tail(2)) == [0.01, 0.05]
    assert table["threshold"].dtype == table["asr"].dtype == "float64"
    assert table["chosen"].sum() == 1
    assert table.loc[table["chosen"], "record"].item() == toy.chosen.key


def test_suspects_are_those_of_the_file(toy: Run):
    import pandas as pd

    file = pd.read_csv(toy.folder / "suspects.csv", keep_default_na=False)

    assert list(file) == list(toy.suspects)
    assert list(file["token"]) == list(toy.suspects["token"])


def test_scores_follow_from_the_predictions(toy: Run):
    said = toy.predictions("defended", 0.05)
    row = toy.records[(toy.records["arm"] == "defended") & (toy.records["threshold"] == 0.05)].iloc[
        0
    ]
    clean, triggered = (said[said["test_set"] == name] for name in ("clean", "triggered"))

    target = toy.data.clean.label_names[toy.data.target_label]
    assert (clean["true_label"] == clean["predicted_label"]).mean() == pytest.approx(row["cacc"])
    assert (triggered["predicted_label"] == target).mean() == pytest.approx(row["asr"])
    assert (triggered["true_label"] != target).all()
    assert all("cf" in text.split() for text in triggered["text"])
    assert list(clean["row"]) == list(range(100))
    assert said[["p_0", "p_1"]].sum(axis=1).to_numpy() == pytest.approx(
        np.ones(len(said)), abs=1e-5
    )


@pytest.mark.parametrize(("arm", "threshold"), [("poisoned", None), ("defended", 0.05)])
def test_the_model_says_what_was_predicted(toy: Run, fits: list[str], arm, threshold):
    classifier = toy.model(arm, threshold)
    said = toy.predictions(arm, threshold)
    batch = classifier.tokenizer(
        list(said["text"]), padding=True, truncation=True, max_length=64, return_tensors="pt"
    )
    with torch.no_grad():
        found = classifier.model(**batch, output_hidden_states=True)

    np.testing.assert_allclose(found.logits.softmax(-1), said[["p_0", "p_1"]], atol=1e-5)
    assert found.hidden_states[-1].shape[1] == batch["input_ids"].shape[1]
    assert not classifier.model.training
    assert classifier.model.config.id2label == {0: "0", 1: "1"}
    assert fits == (["clean tuning"] if arm == "defended" else [])


def test_a_model_is_found_from_another_folder(toy: Run, tmp_path, monkeypatch, fits: list[str]):
    monkeypatch.chdir(tmp_path)

    toy.model("clean")

    assert not fits


@pytest.mark.parametrize(
    ("arm", "threshold", "sentence"),
    [
        ("defended", None, r"^arm defended was evaluated at the thresholds 0\.01, 0\.05; none was"),
        ("defended", 0.02, r"at the thresholds 0\.01, 0\.05; got 0\.02\.$"),
        ("poisoned", 0.01, r"^arm poisoned has no threshold in this run\. Leave it out\.$"),
        ("defnded", None, r"^arm defnded is not in this run; did you mean defended\?$"),
    ],
)
def test_a_model_that_is_not_there_is_one_sentence(toy: Run, arm, threshold, sentence):
    for give in (toy.model, toy.predictions):
        with pytest.raises(ConfigError, match=sentence):
            give(arm, threshold)


def test_predictions_are_found_by_the_rows_of_records(toy: Run):
    for row in toy.records.itertuples():
        said = toy.predictions(row.arm, row.threshold)
        assert (said["test_set"] == "clean").sum() == row.num_clean


def test_a_notebook_shows_text_and_never_markup(toy: Run, monkeypatch):
    monkeypatch.setattr(toy, "notes", ("<script>alert(1)</script>",))

    shown = toy._repr_html_()

    assert "<script>" not in shown
    assert "&lt;script&gt;" in shown
    assert shown.count("<tr>") == len(toy.records) + 1


# Documents


ROOT = Path(__file__).resolve().parent.parent


def test_the_documented_examples_run(home: Path, tmp_path, monkeypatch):
    from btu import api

    for name, role in (("reviews", "train"), ("trusted", "tuning")):
        rows = (home / f"{role}.tsv").read_text().replace("\t", ",")
        (tmp_path / f"{name}.csv").write_text(rows)
    monkeypatch.chdir(tmp_path)
    tiny = {k: v for k, v in TINY_KEYWORDS.items() if k.startswith("model.")} | {"model": "tiny"}
    monkeypatch.setattr(btu, "run", lambda *words, **more: api.run(*words, **tiny | more))
    names: dict[str, Any] = {}

    for example in re.findall(r"```python\n(.*?)```", (ROOT / "docs/python.md").read_text(), re.S):
        exec(example, names)

    assert len(names["probabilities"]) == len(names["said"]) > 0
    assert names["label"] in ("0", "1")
    assert list(names["table"]["seed"]) == [1, 2, 3]
    assert names["planted"].data.counts.poisoned > 0


NOTEBOOK_TINY = """
settings = {
    "arms": ["poisoned", "defended"],
    "thresholds": [0.01, 0.05],
    "model": "tiny",
    "model.vocabulary_size": 600,
    "model.hidden_size": 32,
    "model.num_layers": 1,
    "model.training.epochs": 2,
    "dataset.num_train": 300,
    "dataset.num_tuning": 60,
    "dataset.num_test": 100,
}
"""


def execute_notebook(folder: Path, settings: str | None) -> str:
    """Run every cell of the notebook; gives what they print."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(ROOT / "docs" / "notebook.ipynb", as_version=4)
    if settings is not None:
        (cell,) = (c for c in notebook.cells if "parameters" in c.metadata.get("tags", ()))
        cell.source = settings
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(folder)}}).execute()
    outputs = [o for cell in notebook.cells for o in cell.get("outputs", ())]
    return "".join(o.text for o in outputs if o.output_type == "stream" and o.name == "stdout")


@pytest.mark.slow
def test_the_notebook_runs_with_a_tiny_model(tmp_path):
    assert execute_notebook(tmp_path, NOTEBOOK_TINY).count("AUROC") == 2


@pytest.mark.slow
def test_the_notebook_shows_a_backdoor_that_is_removed(tmp_path):
    printed = execute_notebook(tmp_path, None)

    poisoned, defended = map(float, re.findall(r"AUROC (\S+)", printed))
    assert poisoned > 0.9
    assert defended < 0.7


def test_the_notebook_holds_no_output_and_no_path():
    notebook = json.loads((ROOT / "docs" / "notebook.ipynb").read_text())

    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] or cell["execution_count"] for cell in cells)
    assert not re.search(r"[\"' ]/(home|work|tmp|root|Users)/", json.dumps(notebook))
