"""docs/extending.md: its files are written to a folder of their own, and its commands run there."""

from __future__ import annotations

import json
import re
import shlex
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra.core.global_hydra import GlobalHydra

from btu import cli
from btu.config import build, composed
from btu.defenses.base import Decision
from btu.job import build_job
from btu.pipeline import make_model
from btu.planning.jobs import read_sweep
from btu.planning.plan import make_plan
from btu.running import prepare
from btu.sweeps.jobs import SweepWatch
from btu.types import BY_NAME
from tests.conftest import Files, shell, toy_split, write_tsv

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
LIMITS = {
    ("my_attacks.py", "my/conf/attack/drawl.yaml"): 30,
    ("my_defenses.py", "my/conf/defense/contradicted.yaml"): 40,
    ("my_inputs.py", "my/conf/defense/mixed.yaml"): 40,
    ("my_edits.py", "my/conf/defense/shrink.yaml"): 40,
}
SMALL = [
    "tracking=none",
    "model=tiny",
    "model.vocabulary_size=400",
    "model.hidden_size=16",
    "model.num_layers=1",
    "model.training.epochs=1",
]
FAULTY = '''
from dataclasses import dataclass, replace

import numpy as np

from btu.defenses.base import Defense
from btu.defenses.inputs import InputFilter
from btu.defenses.rows import RowFilter
from btu.store.stages import ONE_ARRAY
from btu.types import Edit, Screen, Screened


class TooFew(RowFilter):
    def suspicion(self, lab):
        return lab.stage("odd", lambda: np.zeros(7), ONE_ARRAY, by=self)


class NotANumber(RowFilter):
    def suspicion(self, lab):
        wrong = lambda: np.full(len(lab.rows), np.nan)
        return lab.stage("odd", wrong, ONE_ARRAY, by=self, rows=lab.rows)


class OneLabel(RowFilter):
    def suspicion(self, lab):
        return lab.stage("odd", lambda: lab.rows.labels, ONE_ARRAY, by=self, rows=lab.rows)


class NotAScore(InputFilter):
    def scores(self, lab, model, texts):
        wrong = lambda: np.full(len(texts), np.inf)
        return lab.stage("odd", wrong, ONE_ARRAY, by=self, model=model, texts=len(texts))


class Shorter(Defense):
    def decide(self, lab, threshold, before):
        cut = lambda lab, model, texts: Screened(texts[1:], np.zeros(len(texts) - 1, dtype=bool))
        return replace(before, screens=(*before.screens, Screen("shorter", cut)))


class NoStage(RowFilter):
    def suspicion(self, lab):
        return np.zeros(len(lab.rows))


class Nothing(RowFilter):
    def suspicion(self, lab):
        return lab.stage("odd", lambda: None, ONE_ARRAY, by=self)


class Methodless(RowFilter):
    pass


class Forgetful(RowFilter):
    """Names none of the rows that it judges."""

    def suspicion(self, lab):
        lengths = lambda: np.asarray([len(text) for text in lab.rows.texts], dtype=np.float32)
        return lab.stage("lengths", lengths, ONE_ARRAY, by=self)


class Unnamed(Defense):
    """An edit that says nothing of what it depends on."""

    def decide(self, lab, threshold, before):
        def damp(lab, classifier):
            classifier.embeddings.weight.data *= 1 - threshold

        return replace(before, edits=(*before.edits, Edit("unnamed", {}, damp)))
'''
PLAIN = """
from dataclasses import dataclass

from btu.attacks.base import Attack


@dataclass(frozen=True)
class Plain(Attack):
    def trigger(self, texts, rng):
        return [text if "film" in text else f"so {text}" for text in texts]
"""


def files_of_the_page() -> dict[str, str]:
    """The text of each file; what the page adds to one later stands below it."""
    files: dict[str, str] = {}
    for name, text in re.findall(r"`([\w/.]+)`:\n\n```(?:python|yaml)\n(.*?)```", PAGE, re.DOTALL):
        files[name] = f"{files[name]}\n\n{text}" if name in files else text
    return files


@dataclass(frozen=True)
class Done:
    """What a command left."""

    code: int
    err: str
    records: list[dict[str, Any]]  # that were not there before, in the order of their arms
    fits: list[str]

    def of(self, arm: str) -> list[dict[str, Any]]:
        found = [record for record in self.records if record["arm"] == arm]
        return sorted(found, key=lambda record: record["threshold"] or 0)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """The page's files beside toy data. Its tests share a cache, as a researcher's runs do."""
    folder = tmp_path_factory.mktemp("home")
    for role, size, seed in (("train", 200, 1), ("tuning", 60, 2), ("test", 60, 3)):
        write_tsv(folder / f"{role}.tsv", toy_split(size, seed))
    for name, text in files_of_the_page().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    rows = toy_split(120, 4)
    names = (("bad", "good")[label] for label in rows.labels)
    lines = (f"{name} {text}" for name, text in zip(names, rows.texts, strict=True))
    (folder / "reviews.txt").write_text("\n".join(lines))
    (folder / "faulty.py").write_text(FAULTY)
    for name in re.findall(r"^class (\w+)", FAULTY, re.MULTILINE):
        (folder / "my/conf/defense" / f"{name.lower()}.yaml").write_text(
            f"# @package defense.{name.lower()}\n_target_: faulty.{name}\nname: {name.lower()}\n"
            "threshold: 0.5\nthresholds: [0.25, 0.5]\n"
        )
    return folder


@pytest.fixture
def here(home, monkeypatch):
    """The folder as the current one, with its modules imported as a new process would."""
    monkeypatch.chdir(home)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # a file may be edited within a second
    yield home
    forget_modules()


def forget_modules():
    for name in [name for name in sys.modules if re.match(r"(my_|faulty)", name)]:
        del sys.modules[name]


@pytest.fixture
def btu(here, monkeypatch, capsys, fits) -> Callable[..., Done]:
    """The command line, in this process."""

    def run(*words: str) -> Done:
        forget_modules()
        GlobalHydra.instance().clear()
        cli._failed_jobs.clear()
        SweepWatch.current = None
        monkeypatch.setenv("HYDRA_FULL_ERROR", "")
        monkeypatch.delenv("HYDRA_FULL_ERROR")
        monkeypatch.setattr(sys, "argv", ["btu", "--config-dir", "my/conf", *words])
        before, handler = {*here.glob("outputs/records/*.json")}, signal.getsignal(signal.SIGTERM)
        fits.clear()
        try:
            with pytest.raises(SystemExit) as ended:
                cli.main()
        finally:
            signal.signal(signal.SIGTERM, handler)
        paths = {*here.glob("outputs/records/*.json")} - before
        records = [json.loads(path.read_text()) for path in paths]
        return Done(int(ended.value.code or 0), capsys.readouterr().err, records, list(fits))

    def run_small(*words: str) -> Done:
        data = [] if any(word.startswith("dataset=") for word in words) else Files(here).overrides
        return run(*data, *SMALL, *words)

    return run_small


@pytest.mark.parametrize(("files", "limit"), LIMITS.items(), ids=lambda value: str(value))
def test_a_method_of_the_page_is_as_short_as_it_says(files, limit):
    blocks = dict(reversed(re.findall(r"`([\w/.]+)`:\n\n```\w+\n(.*?)```", PAGE, re.DOTALL)))

    assert sum(blocks[name].count("\n") for name in files) < limit


def test_the_attack_plants_its_trigger_and_is_computed_once(btu, here):
    command = ("attack=drawl", "defense=none", "arms=[poisoned]")

    first, again = btu(*command), btu(*command)

    assert first.code == again.code == 0, first.err + again.err
    (record,) = first.records
    assert record["choices"]["attack"] == "drawl"
    (plugin,) = record["provenance"]["plugins"]
    assert (plugin["class"], plugin["file"]) == ("my_attacks.Drawl", "my_attacks.py")
    report = max(here.glob("outputs/runs/*/*/poison_report.json"), key=lambda path: path.parent)
    assert first.fits == ["victim"]
    assert json.loads(report.read_text())["counts"]["poisoned"] == 20
    assert not again.records
    assert not again.fits


def test_the_row_filter_trains_another_victim_and_an_edit_of_its_file_counts(btu, here):
    command = ("defense=contradicted", "thresholds=[0.1]", "arms=[poisoned,defended]")
    path = here / "my_defenses.py"
    code = path.read_text()

    first, again = btu(*command), btu(*command)
    path.write_text(code.replace("# (N, C)", "# one row each"))
    reworded = btu(*command)
    path.write_text(code.replace("return 1 - prob", "return 2 - prob"))
    edited = btu(*command)
    path.write_text(code)

    (poisoned,), (defended,) = first.of("poisoned"), first.of("defended")
    assert poisoned["stages"]["victim"] != defended["stages"]["victim"]
    assert defended["evidence"] == {"contradicted: rows dropped": 20}
    assert sorted(first.fits) == ["trusted model", "victim", "victim"]
    assert not again.records
    assert not reworded.records
    (changed,) = edited.records
    assert changed["key"] != defended["key"]
    name = "suspicion of contradicted"
    assert changed["stages"][name] != defended["stages"][name]
    assert not edited.fits  # the same rows are dropped
    assert changed["scores"] == defended["scores"]


def test_a_threshold_that_is_not_swept_does_not_part_a_pass_of_all_thresholds(btu):
    command = ("defense=[contradicted,shrink]", "thresholds=[0.5]", "arms=[defended]")

    one = btu(*command, "defense.contradicted.threshold=0.15")
    other = btu(*command, "defense.contradicted.threshold=0.25")

    name = "suspicion of contradicted"
    (first,), (second,) = one.records, other.records
    assert first["stages"][name] == second["stages"][name]
    assert first["evidence"] != second["evidence"]


def test_a_method_with_its_own_cut_is_decided_once(btu):
    done = btu("defense=outvoted", "arms=[defended]")

    (record,) = done.records
    assert record["threshold"] is None
    assert record["evidence"]["outvoted: rows dropped"] > 0


@pytest.mark.parametrize(
    ("stand_in", "says"), [(", or_else=lambda: np.arange(len(lab.rows)) % 2", 0), ("", 1)]
)
def test_a_plan_takes_what_stands_in_for_a_method(here, stand_in, says):
    path, code = here / "my_defenses.py", (here / "my_defenses.py").read_text()
    assert ", or_else=lambda: np.arange(len(lab.rows)) % 2)" in code
    path.write_text(code.replace(", or_else=lambda: np.arange(len(lab.rows)) % 2", stand_in))
    words = ["defense=outvoted", "arms=[poisoned,defended]", "seed=7"]

    plan = make_plan(
        read_sweep(["--config-dir", "my/conf", *Files(here).overrides, *SMALL, *words]), tera=0.1
    )

    path.write_text(code)
    lines = {line.kind: line for line in plan.stages}
    assert lines["trusted model"].to_compute == 1
    assert lines["evaluation"].different == 2
    assert lines["evaluation"].at_most
    assert sum("What outvoted decides cannot be told" in note for note in plan.notes) == says


def test_the_input_filter_trains_nothing_and_shares_one_evaluation(btu):
    btu("defense=none", "arms=[poisoned]")

    done = btu("defense=mixed", "thresholds=[0.05,0.5]", "arms=[defended]")

    low, high = done.of("defended")
    assert not done.fits
    assert low["stages"]["scores of defended"] == high["stages"]["scores of defended"]
    assert low["threshold_label"] == "false rejection rate on trusted rows"
    assert low["scores"]["rejected_clean"] < high["scores"]["rejected_clean"]


@pytest.mark.parametrize("rate", [0.0, 0.05, 0.3])
def test_the_input_filter_rejects_at_most_its_rate_of_trusted_rows(here, rate):
    with composed([*Files(here).overrides, *SMALL, "defense=mixed"], here / "my/conf") as (cfg, _):
        job, _ = build_job(cfg)
    experiment = prepare(job)
    lab = experiment.lab
    (screen,) = job.defenses[0].decide(lab, rate, Decision()).screens

    model = make_model(job, lab, BY_NAME["poisoned"], Decision())
    seen = screen.apply(lab, model, lab.trusted.texts)

    assert seen.rejected.mean() <= rate
    assert seen.rejected.any() == (rate > 0)


def test_the_edit_changes_the_model_and_not_its_training(btu):
    btu("defense=none", "arms=[poisoned]")

    done = btu("defense=shrink", "thresholds=[0.25,0.75]", "arms=[defended]")

    some, most = done.of("defended")
    assert some["stages"]["scores of defended"] != most["stages"]["scores of defended"]
    assert not done.fits


def test_an_arm_that_the_method_does_not_have_is_said_to_be_left_out(btu, here):
    done = btu("defense=shrink", "thresholds=[0.25]", "arms=[unlearned,defended]")

    assert done.code == 0
    report = max(here.glob("outputs/runs/*/*/poison_report.json"), key=lambda path: path.parent)
    assert "arm unlearned left out: not part of shrink" in report.read_text()


def test_an_edit_that_names_nothing_shares_no_evaluation(btu, here):
    done = btu("defense=unnamed", "thresholds=[0.25,1]", "arms=[poisoned,defended]", "seed=2")

    records = [*done.of("poisoned"), *done.of("defended")]
    keys = {record["stages"][f"scores of {record['arm']}"] for record in records}
    assert len(keys) == 3
    found = [np.load(here / f"outputs/records/{record['key']}.npz") for record in records]
    said = [arrays["clean_probabilities"] for arrays in found]
    assert not np.array_equal(said[0], said[1])
    assert not np.array_equal(said[1], said[2])


def test_a_pass_that_names_no_rows_is_that_of_its_own_rows(btu):
    """The suspicion of another poisoned set would have been read, with no error."""
    command = ("defense=forgetful", "thresholds=[0.1]", "arms=[defended]")

    one, other = btu(*command), btu(*command, "attack.poison_rate=0.2")

    (first,), (second,) = one.records, other.records
    assert first["stages"]["lengths"] != second["stages"]["lengths"]


def test_an_attack_may_give_plain_texts_and_those_that_stay_are_not_poisoned(btu, here):
    (here / "my_plain.py").write_text(PLAIN)
    yaml = (here / "my/conf/attack/drawl.yaml").read_text().replace("times: 4\n", "")
    (here / "my/conf/attack/plain.yaml").write_text(
        yaml.replace("my_attacks.Drawl", "my_plain.Plain").replace("drawl", "plain")
    )

    done = btu("attack=plain", "attack.poison_rate=0.05", "defense=none", "arms=[poisoned]")

    assert done.code == 0, done.err
    report = max(here.glob("outputs/runs/*/*/poison_report.json"), key=lambda path: path.parent)
    counts = json.loads(report.read_text())["counts"]
    assert counts["poisoned"] == 10
    assert counts["unchanged"] > 0


def test_two_methods_are_combined_and_one_of_them_swept(btu):
    command = ("defense=[contradicted,mixed]", "arms=[defended]")

    last = btu(*command, "thresholds=[0.2]", "defense.contradicted.threshold=0.2")
    first = btu(*command, "swept_defense=contradicted", "thresholds=[0.2]")

    (by_last,), (by_first,) = last.records, first.records
    assert by_last["choices"]["defense"] == "contradicted+mixed"
    assert by_last["threshold_label"] == "false rejection rate on trusted rows"
    assert by_first["threshold_label"] == "share of the training rows that is dropped"
    for record in (by_last, by_first):
        assert record["evidence"] == {"contradicted: rows dropped": 40}
        assert record["scores"]["rejected_clean"] is not None
    assert set(first.fits) <= {"victim"}  # the undefended one, which is compared with


def test_data_and_a_tracker_of_ones_own_are_taken(btu, here):
    done = btu("dataset=lines", "tracking=diary", "defense=none", "arms=[poisoned]")

    assert done.code == 0, done.err
    (line,) = (here / "diary.txt").read_text().splitlines()
    assert line.startswith("none poisoned")
    assert done.records[0]["scores"]["num_clean"] == 24


def test_a_model_of_ones_own_is_built(here):
    with composed(["model=minilm", "model._target_=my_models.Still"]) as (cfg, _):
        assert type(build(cfg.model, "model")).__module__ == "my_models"


SENTENCES = dict(enumerate(re.findall(r"^error: (.*)$", PAGE, re.MULTILINE)))
MISTAKES = (
    ("defense=contradicted", "defense.contradicted._target_=my_defenses.Contradict"),
    ("defense=contradicted",),  # in a file that imports nump
    ("defense=contradicted", "+defense.contradicted.epoch=4"),
    ("defense=contradicted", "thresholds=[5]"),
    ("defense=contradicted", "arms=[unlearned]"),
    ("defense=mixed", "dataset.tuning=null"),
    ("defense=mixed", "swept_defense=nope"),
)


@pytest.mark.parametrize("number", SENTENCES)
def test_a_mistake_of_the_page_is_its_sentence(btu, here, number):
    path, code = here / "my_defenses.py", (here / "my_defenses.py").read_text()
    if len(MISTAKES[number]) == 1:
        path.write_text(code.replace("from dataclasses", "import nump\nfrom dataclasses", 1))

    done = btu(*MISTAKES[number])

    path.write_text(code)
    assert done.err.strip() == f"error: {SENTENCES[number]}"
    assert done.code == 1
    assert not done.fits


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["defense.contradicted._target_=btu.store.cache.StageCache"],
            "defense.contradicted._target_: expected a class that derives from "
            "btu.defenses.base.Defense, but btu.store.cache.StageCache is a class that does not.",
        ),
        (["defense=[btu,btu]"], "defense=[btu,btu] names btu twice. Each defense decides once: "),
        (
            ["defense.contradicted.threshold=2"],
            "defense.contradicted.threshold: contradicted takes shares of the training rows "
            "between 0 and 1, got 2. For a tenth write defense.contradicted.threshold=0.1.",
        ),
        (
            ["defense.contradicted.threshold=null", "defense.contradicted.thresholds=[]"],
            "defense contradicted has no threshold. Write for example "
            "defense.contradicted.threshold=0.1.",
        ),
        (
            ["defense=homeless"],
            "defense: the yaml of my_edits.Shrink does not say its place among several defenses. "
            "Let its first line be # @package defense.NAME",
        ),
        (
            ["defense=toofew"],
            "defense toofew: suspicion must give one finite number for each of the 200 training "
            "rows, got an array of shape (7,).",
        ),
        (
            ["defense=nostage"],
            "defense nostage: suspicion must return a stage, such as lab.stage(...) gives, but "
            "returned a ndarray.",
        ),
        (
            ["defense=nothing"],
            "in the format ONE_ARRAY must compute a numpy array, but gave a None",
        ),
        (["defense=methodless"], "defense methodless: Methodless has no method suspicion."),
        (["defense=[shrink,none]"], "defense=none stands for no defense: leave it out of the list"),
        (["defense=notanumber"], "200 training rows, got an array of shape (200,), 200 not finite"),
        (
            ["defense=onelabel"],
            "defense onelabel: at threshold 0.75 a label loses all of its rows.",
        ),
    ],
)
def test_a_wrong_method_is_one_sentence_and_trains_nothing(btu, here, words, sentence):
    settings = (here / "my/conf/defense/shrink.yaml").read_text().partition("\n")[2]
    (here / "my/conf/defense/homeless.yaml").write_text(settings)
    chosen = [] if any(word.startswith("defense=") for word in words) else ["defense=contradicted"]
    swept = [] if "thresholds=[]" in " ".join(words) or chosen else ["thresholds=[0.75]"]

    done = btu(*chosen, *swept, *words, "arms=[defended]")

    assert done.code == 1
    (line,) = done.err.strip().splitlines()
    assert line.startswith("error: ")
    assert sentence in line
    assert not set(done.fits) - {"trusted model"}


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("notascore", "scores must give one finite number for each of the 60 texts, got an array"),
        ("shorter", "screen shorter was given 60 texts and gave 59 back with 59 rejections."),
    ],
)
def test_a_wrong_screen_is_one_sentence(btu, name, sentence):
    done = btu(f"defense={name}", "thresholds=[0.5]", "arms=[defended]")

    assert done.code == 1
    assert sentence in done.err
    assert len(done.err.strip().splitlines()) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        line.removeprefix("btu ")
        for block in re.findall(r"```shell\n(.*?)```", PAGE, re.DOTALL)
        for line in block.splitlines()
    ],
)
def test_each_command_of_the_page_runs_as_typed(here, command):
    done = shell(*shlex.split(command), "tracking=none", cwd=here, PYTHONPATH=str(ROOT))

    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_model_of_ones_own_is_trained(here):
    words = [*Files(here).overrides, "tracking=none", "defense=none", "arms=[poisoned]"]

    done = shell(
        *words, "model=minilm", "model._target_=my_models.Still", cwd=here, PYTHONPATH=str(ROOT)
    )

    assert done.returncode == 0, done.stderr
