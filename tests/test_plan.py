"""The plan of a sweep: its numbers are those of the run, and it does nothing itself."""

import io
import json
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from btu.attacks.poisoning import poison
from btu.config import build
from btu.data.hub import HubDataset
from btu.errors import BtuError, DataError, ModelError
from btu.planning import sources
from btu.planning.estimates import MEASURED, Estimator
from btu.planning.jobs import Launcher, read_sweep
from btu.planning.plan import JOB_SECONDS, PROCESS_SECONDS, make_plan, wall_clock
from btu.planning.shapes import Shape
from btu.planning.stages import Planner, Work
from btu.planning.tables import tables
from btu.store.cache import entries
from tests.conftest import TINY, composed

SCRIPT = Path(__file__).resolve().parent.parent / "scripts" / "plan.py"
SMALL = [
    *(word for word in TINY if not word.startswith("attack.")),
    "model=tiny",
    "model.training.epochs=1",
    "report=false",
]
SWEEPS = {
    "attacks and seeds": ["attack=badnets,addsent", "seed=1,2"],
    "cutoffs": ["defense.btu.cutoff=mean,row_mean", "attack=badnets,addsent"],
    "lists of thresholds": ["thresholds=[0.01],[0.01,0.02],[0.0101],[0]"],
    "rounds": ["defense.btu.use_rounds=[1],[2],[1,3],[1,2,3]", "arms=[poisoned,unlearned]"],
    "arms": ["arms=[clean],[poisoned,tuned],[defended]"],
    "poison rates": ["attack.poison_rate=0,0.1,0.2", "arms=[clean,poisoned]"],
    "an attack and none": ["attack=none,badnets", "arms=[clean,poisoned,unlearned]"],
    "models": ["model=tiny,tiny_roberta", "seed=1,2", "arms=[clean,poisoned]"],
    "epochs": ["model.training.epochs=1,2", "arms=[clean,poisoned,unlearned]"],
    "shares of trusted rows": ["tuning.share=0,0.05,0.1"],
    "defenses": ["defense=none,btu,btu_reference", "seed=1,2"],
}
FAST = ("arms",)
TRAININGS = {"victim": "victim", "clean model": "clean model", "clean tuning": "tuning"}


@pytest.fixture
def small(files, tmp_path, monkeypatch):
    """What every sweep of these tests has in common."""
    monkeypatch.chdir(tmp_path)
    return [*files.overrides, *SMALL]


def plan_of(*arguments, **options):
    return make_plan(read_sweep(arguments), tera=0.1, **options)


def counts(plan, column):
    """What the plan says of each kind of stage and of the records."""
    lines = {line.kind: line for line in [*plan.stages, plan.records]}
    return Counter({kind: getattr(line, column) for kind, line in lines.items()})


def made(folder, fits):
    """What a run left, and the trainings that left nothing."""
    names = (TRAININGS.get(title, title.removeprefix("detection ")) for title in fits)
    found = Counter(names)
    stages = Counter(entry.stage for entry in entries(folder / "cache"))
    found["poisoned set"], found["evaluation"] = stages["poison"], stages["evaluation"]
    found["record"] = len(list(folder.glob("records/*.json")))
    return found


@pytest.mark.parametrize(
    "sweep",
    [pytest.param(SWEEPS[n], id=n, marks=[pytest.mark.slow] * (n not in FAST)) for n in SWEEPS],
)
def test_the_numbers_are_those_of_the_run(sweep, small, multirun, fits, tmp_path):
    plan = plan_of("-m", *small, *sweep)
    at_most = {line.kind for line in plan.stages if line.at_most}

    done = multirun(*small, *sweep)

    assert done.code == 0
    foretold, found = counts(plan, "to_compute"), made(tmp_path / "outputs", fits)
    for numbers in (foretold, found):  # a run names a model of unplanted rows as its first job does
        numbers["model"] = numbers.pop("victim", 0) + numbers.pop("clean model", 0)
    assert plan.num_jobs == len(done.jobs)
    for kind in foretold | found:
        if kind in at_most:
            assert 0 < found[kind] <= foretold[kind], kind
        else:
            assert found[kind] == foretold[kind], kind
    assert +counts(plan_of("-m", *small, *sweep), "to_compute") == Counter()
    disk = {size.what: size for size in plan.disk}
    models = [e.size for e in entries(tmp_path / "outputs/cache") if e.stage == "victim"]
    assert sum(models) == pytest.approx(disk["trained models"].bytes_together, rel=0.1)


@pytest.mark.slow
def test_what_suspects_decide_is_exact_where_they_differ(small, multirun, fits, tmp_path):
    sweep = [*small, "thresholds=[0.01,0.03]", "attack=badnets,addsent", "seed=1,2"]
    plan = plan_of("-m", *sweep)

    multirun(*sweep)

    found, foretold = made(tmp_path / "outputs", fits), counts(plan, "to_compute")
    assert {kind: found[kind] for kind in foretold} == foretold
    assert foretold["round 2"] == 2 * 4
    assert foretold["tuning"] == 4 * (1 + 2)


@pytest.mark.slow
def test_with_force_every_job_computes_its_own(small, multirun, fits, tmp_path):
    sweep = [*small, "force=true", "defense.btu.cutoff=mean,row_mean", "arms=[clean,poisoned]"]
    multirun(*sweep)
    fits.clear()

    plan = plan_of("-m", *sweep)
    multirun(*sweep)

    assert counts(plan, "to_compute")["victim"] == fits.count("victim") == 2
    assert counts(plan, "to_compute")["clean model"] == fits.count("clean model") == 2


@pytest.mark.slow
def test_what_is_there_is_found_for_a_larger_sweep(small, multirun, fits):
    multirun(*small, "attack=badnets,addsent", "arms=[clean,poisoned]")
    fits.clear()
    larger = [*small, "attack=badnets,addsent", "seed=1,2", "arms=[clean,poisoned,tuned]"]
    plan = plan_of("-m", *larger)

    multirun(*larger)

    assert counts(plan, "different")["victim"] == 4
    assert counts(plan, "to_compute")["victim"] == fits.count("victim") == 2
    assert counts(plan, "to_compute")["clean model"] == fits.count("clean model") == 1
    assert counts(plan, "to_compute")["tuning"] == fits.count("clean tuning") == 4
    assert counts(plan, "to_compute")["record"] == 2 * 3 + 2 * 1


def test_jobs_with_folders_of_their_own_share_nothing(small):
    one = plan_of("-m", *small, "defense.btu.cutoff=mean,row_mean")
    two = plan_of("-m", *small, "defense.btu.cutoff=mean,row_mean", "outputs=${defense.btu.cutoff}")

    assert counts(one, "different")["victim"] == 1
    assert counts(two, "different")["victim"] == 2
    models = [plan.disk[0].bytes_more for plan in (one, two)]
    assert models[1] == 2 * models[0] > 0


@pytest.mark.slow
def test_records_need_no_cache(small, multirun, tmp_path):
    import shutil

    multirun(*small, "attack=badnets,addsent", "arms=[clean,poisoned]")
    shutil.rmtree(tmp_path / "outputs" / "cache")

    plan = plan_of("-m", *small, "attack=badnets,addsent", "arms=[clean,poisoned]")

    assert +counts(plan, "to_compute") == Counter({"poisoned set": 2})


def test_sets_that_are_not_made_are_told_apart_by_their_settings(small, monkeypatch):
    sweep = ["-m", *small, "attack=badnets,addsent", "seed=1,2", "attack.poison_rate=0,0.1"]
    exact = plan_of(*sweep)
    monkeypatch.setattr(sources, "PLANTING_SECONDS", -1.0)

    plan = plan_of(*sweep)

    assert counts(plan, "different") == counts(exact, "different")
    assert any("too many poisoned sets" in note for note in plan.notes)
    assert not any("too many poisoned sets" in note for note in exact.notes)


@pytest.mark.slow
@pytest.mark.parametrize("num_seeds", [63, 625])
def test_ten_thousand_jobs_take_seconds(small, num_seeds):
    sweep = [
        f"seed=range(1,{num_seeds + 1})",
        "attack=badnets,addsent",
        "arms=[clean,poisoned,defended]",
    ]
    sweep += ["defense.btu.cutoff=mean,row_mean,frobenius,whole_row"]
    sweep += ["tuning.epochs=1,2", "hydra/launcher=slurm"]
    plan_of(*small)  # imports what a plan needs, which takes seconds of its own
    start = time.process_time()  # whatever else the machine does

    plan = plan_of("-m", *small, *sweep)

    num_jobs = 16 * num_seeds
    assert time.process_time() - start < 60 * num_jobs / 10_000 + 3
    assert plan.num_jobs == num_jobs
    assert counts(plan, "different")["victim"] == 2 * num_seeds
    assert counts(plan, "different")["clean model"] == num_seeds
    assert any("docs/cluster.md" in warning for warning in plan.warnings)


def test_a_plan_writes_nothing(small, tmp_path):
    before = sorted(tmp_path.rglob("*"))

    plan_of("-m", *small, "attack=badnets,addsent")

    assert sorted(tmp_path.rglob("*")) == before


def test_a_sweep_that_only_exports_trains_nothing(small):
    plan = plan_of("-m", *small, "seed=1,2", "arms=[]", "export_poisoned='sets/${seed}'")

    assert counts(plan, "to_compute") == {"poisoned set": 2, "record": 0}


def test_an_experiment_sweeps_without_m():
    assert len(read_sweep(["experiment=cutoff_ablation"]).jobs) == 48
    assert len(read_sweep(["experiment=cutoff_ablation", "attack=badnets"]).jobs) == 24
    assert len(read_sweep(["attack=style"]).jobs) == 1


def test_a_job_is_what_hydra_composes(files):
    from btu.job import build_job
    from tests.conftest import composed

    names = [
        "dataset",
        "attack",
        "model",
        "defenses",
        "swept",
        "tuning",
        "seed",
        "thresholds",
        "arms",
        "cache",
    ]
    names += ["outputs", "force", "device", "save_model"]
    sweep = ["attack=badnets,style", "dataset=demo,demo_more_tuning", "seed=1,2"]
    sweep += ["model.training.epochs=3,4", "outputs=one,two_${seed}", "cache.limit_gb=7"]
    for planned in read_sweep(["-m", "experiment=cutoff_ablation", *sweep]).jobs[::37]:
        job, _ = build_job(composed([*planned.overrides, f"outputs={files.folder}"]))
        expected = {name: getattr(job, name) for name in names}
        found = {name: getattr(planned.job, name) for name in names}
        assert str(found.pop("outputs")) in ("one", f"two_{job.seed}")
        assert found.pop("cache").limit_gb == expected.pop("cache").limit_gb == 7
        del expected["outputs"]
        if job.attack.name == "style":  # whose paraphrases lie in the cache, and that in outputs
            assert found["attack"].rewriter.folder.startswith(str(planned.job.outputs))
            rewriter = replace(found["attack"].rewriter, folder=job.attack.rewriter.folder)
            found["attack"] = replace(found["attack"], rewriter=rewriter)
        assert found == expected


def test_launchers_say_how_many_jobs_run_at_once(small):
    sweep = ["-m", *small, "seed=1,2,3,4"]

    assert plan_of(*sweep).at_once == 1
    assert plan_of(*sweep, "hydra/launcher=workstation").at_once == 2
    assert plan_of(*sweep, "hydra/launcher=slurm").at_once == 32
    assert plan_of(*sweep, "hydra/launcher=slurm", at_once=3).at_once == 3
    assert plan_of(*sweep, "hydra/launcher=slurm_local", "hydra.launcher.at_once=3").at_once == 3
    assert plan_of(*sweep, "hydra/launcher=ray", "hydra.launcher.ray.init.num_cpus=4").at_once == 4


def test_others_wait_for_what_one_computes():
    shared, own = ("victim", "a", ""), [("evaluation", str(n), "") for n in range(2)]
    jobs = [{shared: 100.0, own[0]: 10.0}, {shared: 100.0, own[1]: 10.0}]

    def seconds(at_once, launcher):
        return wall_clock(jobs, at_once, launcher)

    here = Launcher("basic", 1, every_job_starts=False)
    cluster = Launcher("slurm", 2, every_job_starts=True)
    assert seconds(1, here) == pytest.approx(PROCESS_SECONDS + 2 * JOB_SECONDS + 120)
    assert seconds(1, cluster) == pytest.approx(2 * PROCESS_SECONDS + 2 * JOB_SECONDS + 120)
    assert seconds(2, cluster) == pytest.approx(PROCESS_SECONDS + JOB_SECONDS + 110)
    assert seconds(2, replace(cluster, name="workstation")) > 200  # they share the cores


@pytest.mark.slow
def test_finished_stages_give_the_hours(small, multirun, tmp_path):
    multirun(*small, "attack=badnets,addsent")

    plan = make_plan(read_sweep(["-m", *small, "attack=badnets", "seed=2", "thresholds=[0.02]"]))

    assert {line.kind: line.estimated_from for line in plan.stages if line.to_compute} == {
        line.kind: [""] if line.kind == "poisoned set" else [MEASURED] for line in plan.stages
    }
    assert 0 < plan.work_seconds < 60


def test_hours_grow_with_rows_and_epochs(small, multirun, tmp_path):
    multirun(*small, "arms=[poisoned]")
    more = ["attack=addsent", "arms=[poisoned]", "model.training.epochs=8"]

    one, eight = (
        make_plan(read_sweep(["-m", *small, *more[:2], *epochs])) for epochs in ([], more[2:])
    )

    victims = [next(x for x in plan.stages if x.kind == "victim") for plan in (one, eight)]
    assert victims[1].seconds == pytest.approx(8 * victims[0].seconds)


@pytest.mark.parametrize(
    ("passes", "rows", "tokens", "batch_size", "measured"),
    [
        pytest.param(3, 6_917, 173_336, 64, 36.3, id="victim"),  # docs/performance.md, as the
        pytest.param(2, 6_917, 173_336, 64, 25.2, id="round 3"),  # next two
        pytest.param(3, 1_821, 45_700, 64, 9.9, id="tuning"),
        pytest.param(1, 1_300, 33_060, 64, 2.2, id="evaluation"),
        pytest.param(3, 3_200, 63_062, 32, 18.4, id="victim of the demo"),
    ],
)
def test_operations_over_the_rate_give_the_hours(passes, rows, tokens, batch_size, measured):
    shape = Shape(weights=22_713_986, multiplied=9_167_232, vocabulary=30_522, width=384)
    work = Work("", "", "", "cpu", "bf16", shape, rows, tokens, passes, batch_size, "")

    seconds, _ = Estimator([], tera=0.44).seconds(work)

    assert seconds == pytest.approx(measured, rel=0.1)


def test_a_hub_that_is_not_there_leaves_hours_unknown(monkeypatch):
    def unreachable(self):
        raise DataError("dataset sst2: SetFit/sst2 cannot be fetched.")

    def no_model(self, texts):
        raise ModelError("model bert_base: bert-base-uncased cannot be loaded.")

    monkeypatch.setattr(HubDataset, "read", unreachable)
    monkeypatch.setattr("btu.models.pretrained.Pretrained.identity", no_model)
    sweep = read_sweep(["-m", "dataset=sst2", "model=bert_base", "attack=badnets,none", "seed=1,2"])

    plan = make_plan(sweep)

    assert counts(plan, "different")["victim"] + counts(plan, "different")["clean model"] == 6 - 2
    assert counts(plan, "different")["round 1"] == 4
    assert plan.work_seconds is None
    shown = text_of(plan, sweep)
    assert "unknown" in shown
    assert "SetFit/sst2 cannot be fetched" in shown
    assert "bert-base-uncased cannot be loaded" in shown


def text_of(plan, sweep):
    console = Console(width=118, file=io.StringIO())
    console.print(tables(plan, sweep.launcher))
    return console.file.getvalue()


def test_a_search_says_what_it_cannot_tell():
    sweep = read_sweep(["-m", "experiment=search", "hydra.sweeper.n_trials=40"])

    shown = text_of(make_plan(sweep), sweep)

    assert "a search of 40 trials" in shown
    assert "cannot be told before" in " ".join(shown.split())


def test_jobs_that_cannot_begin_are_named_and_the_others_planned(small):
    sweep = read_sweep(["-m", *small, "tuning.share=0.1,0.9", "seed=1,2"])

    plan = make_plan(sweep, tera=0.1)

    (sentence,) = plan.failing
    assert plan.failing[sentence] == [2, 3]
    assert "tuning.share=0.9" in sentence
    assert counts(plan, "different")["victim"] == 2
    assert "2 of them cannot begin" in text_of(plan, sweep)


def test_a_sweep_of_which_no_job_can_begin_is_an_error(small):
    with pytest.raises(BtuError, match=r"attack\.poison_rate is a fraction"):
        plan_of("-m", *small, "attack.poison_rate=10,20")


def test_a_cache_that_is_too_small_is_said(small):
    plan = plan_of("-m", *small, "attack=badnets,addsent", "cache.limit_gb=0.0001")

    assert any("will not hold" in warning for warning in plan.warnings)
    assert not plan_of("-m", *small, "attack=badnets,addsent").warnings


def test_a_full_disk_is_said(small, monkeypatch):
    from types import SimpleNamespace

    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=1000))

    plan = plan_of("-m", *small, "attack=badnets,addsent")

    assert any("GB free" in warning for warning in plan.warnings)


def test_a_cluster_that_stops_jobs_too_early_is_said(small):
    slurm = ["hydra/launcher=slurm", "hydra.launcher.timeout_min=1", "model.training.epochs=900000"]

    plan = plan_of("-m", *small, "seed=1,2", *slurm)

    assert any("timeout_min=" in warning for warning in plan.warnings)


def test_stages_have_the_keys_of_a_run(small, multirun, tmp_path):
    multirun(*small, "arms=[clean,poisoned,tuned,unlearned]")

    (planned,) = read_sweep([*small, "arms=[clean,poisoned,tuned,unlearned]"]).jobs
    asked = Planner().ask(planned.job)

    keys = {entry.key for entry in entries(tmp_path / "outputs" / "cache")}
    stages = [asked.poisoned_set, *(stage for point in asked.points for stage in point.stages)]
    assert {stage.key for stage in stages if stage.is_known and stage.in_cache} <= keys
    records = {path.stem for path in (tmp_path / "outputs" / "records").glob("*.json")}
    assert {point.record[:16] for point in asked.points} == records


def script(*arguments, cwd):
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.slow
def test_the_script_prints_tables_and_writes_json(small, tmp_path):
    out = tmp_path / "plan.json"

    done = script("--json", str(out), "--rate", "0.1", "-m", *small, "seed=1,2", cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    assert "2 jobs, 1 at once" in done.stdout
    plan = json.loads(out.read_text())
    assert {line["kind"]: line["different"] for line in plan["stages"]}["victim"] == 2
    assert plan["wall_seconds"] > 0


@pytest.mark.parametrize("attack", ["none", "badnets"])
def test_a_plan_names_normalized_texts_as_a_run_does(attack, files):
    cfg = composed([*files.overrides, f"attack={attack}", "attack.normalize_format=true"])
    source, adversary = build(cfg.dataset, "dataset"), build(cfg.attack, "attack")
    planner = sources.DataPlanner()

    planned = planner.plant(source, adversary, 1).data

    real = poison(source.load(), adversary, 1)
    for one, other in (
        (planned.train, real.train),
        (planned.clean.train, real.clean.train),
        (planned.clean.tuning, real.clean.tuning),
        (planned.clean.test, real.clean.test),
    ):
        assert one.fingerprint == other.fingerprint


def test_a_plan_tells_unread_data_that_are_normalized_from_others(monkeypatch):
    def absent(self):
        raise DataError("not here")

    monkeypatch.setattr(HubDataset, "load", absent)
    planner, names = sources.DataPlanner(), {"false": set(), "true": set()}
    source = build(composed(["dataset=sst2"]).dataset, "dataset")
    nodes = {n: composed([f"attack.normalize_format={n}"]).attack for n in names}
    for normalized in [*names] * 10:  # an attack that is forgotten gives its place to the next
        planned = planner.plant(source, build(nodes[normalized], "attack"), 1).data
        names[normalized].add((planned.train.fingerprint, planned.clean.tuning.fingerprint))

    assert [len(each) for each in names.values()] == [1, 1]
    assert len({name for each in names.values() for pair in each for name in pair}) == 4


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["-m", "attack=badnet"], "badnet"),
        (["-m", "sed=1,2"], "sed"),
        (["--at-once", "0", "-m", "seed=1,2"], "--at-once is a number above 0"),
        (["-m", "dataset=local", "dataset.train=nowhere.tsv"], "nowhere.tsv"),
    ],
)
def test_a_mistake_is_one_sentence(arguments, sentence, tmp_path):
    done = script(*arguments, cwd=tmp_path)

    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert sentence in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
