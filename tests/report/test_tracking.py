"""One finished offline W&B run per job, with the numbers in it."""

import json
import re
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from wandb.proto import wandb_internal_pb2

from btu.errors import ConfigError, DataError
from btu.report.open_run import OpenRun
from btu.report.tracking import NAME
from tests.conftest import TINY
from tests.report.factory import finding, record, verdict

BLOCK, HEADER = 32768, 7


def records_of(path: Path) -> list[wandb_internal_pb2.Record]:
    """The protocol buffers of a .wandb file, which is a LevelDB log: 32 KiB blocks of chunks."""
    data, place, whole, found = path.read_bytes(), 7, b"", []
    while place + HEADER <= len(data):
        left = BLOCK - place % BLOCK
        if left < HEADER:
            place += left
            continue
        length = int.from_bytes(data[place + 4 : place + 6], "little")
        kind = data[place + 6]  # 1 full, 2 first, 3 middle, 4 last
        whole += data[place + HEADER : place + HEADER + length]
        place += HEADER + length
        if kind in (1, 4):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(whole)
            found.append(record)
            whole = b""
    return found


def history_of(records: list[wandb_internal_pb2.Record]) -> list[dict]:
    return [
        {
            item.key or "/".join(item.nested_key): json.loads(item.value_json)
            for item in r.history.item
        }
        for r in records
        if r.WhichOneof("record_type") == "history"
    ]


def summary_of(records: list[wandb_internal_pb2.Record]) -> dict:
    values = {}
    for entry in records:
        if entry.WhichOneof("record_type") == "summary":
            for item in entry.summary.update:
                values[item.key or "/".join(item.nested_key)] = json.loads(item.value_json)
    return values


def exit_code_of(records: list[wandb_internal_pb2.Record]) -> list[int]:
    return [r.exit.exit_code for r in records if r.WhichOneof("record_type") == "exit"]


def closed_with(path: Path) -> list[int]:
    """The exit codes in a run's file; wandb's own process may write them a moment later."""
    deadline = time.monotonic() + 20
    while not (codes := exit_code_of(records_of(path))) and time.monotonic() < deadline:
        time.sleep(0.1)
    return codes


def offline_runs(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "outputs" / "wandb").glob("offline-run-*/run-*.wandb"))


SMALL = [*TINY, "tracking=wandb", "model=tiny", "model.training.epochs=2"]


def test_an_offline_run_holds_asr_and_cacc_of_every_threshold(files, run_btu, tmp_path):
    rows = run_btu(*files.overrides, *SMALL, "thresholds=[0.01,0.02]")

    (path,) = offline_runs(tmp_path)
    assert closed_with(path) == [0]
    records = records_of(path)
    points = [p for p in history_of(records) if "defended/asr" in p]
    wanted = [(r["threshold"], r["cacc"], r["asr"]) for r in rows if r["arm"] == "defended"]
    assert [(p["threshold"], p["defended/cacc"], p["defended/asr"]) for p in points] == wanted
    summary = summary_of(records)
    poisoned = next(r for r in rows if r["arm"] == "poisoned")
    assert summary["poisoned/asr"] == poisoned["asr"]
    trusted_only = next(r for r in rows if r["arm"] == "trusted_only")
    assert summary["trusted_only/cacc"] == trusted_only["cacc"]
    assert summary["chosen_threshold"] in (0.01, 0.02)
    steps = [r.metric for r in records if r.WhichOneof("record_type") == "metric"]
    assert any(m.glob_name == "defended/*" and m.step_metric == "threshold" for m in steps)


def test_suspects_records_and_the_curve_are_logged(files, run_btu, tmp_path):
    run_btu(*files.overrides, *SMALL)

    (path,) = offline_runs(tmp_path)
    assert closed_with(path) == [0]
    (media,) = [p for p in history_of(records_of(path)) if "suspects/_type" in p]
    assert {key.split("/")[0] for key in media} >= {"suspects", "records", "curve"}


def test_what_was_convicted_is_logged_without_a_row_of_the_texts(tmp_path):
    logged = []
    run = SimpleNamespace(
        settings=SimpleNamespace(mode="online"),
        define_metric=lambda *names, **keywords: None,
        log=logged.append,
        summary={},
    )
    found = verdict(finding("cf"), finding("", kind="rows"), acquitted=[finding("film")])
    convicting = record("defended", 0.05, evidence={"strict": found})
    result = SimpleNamespace(records=[convicting], chosen=convicting, stealth=None)

    OpenRun("wandb", run).log_result(result, tmp_path, None)

    table = logged[-1]["findings"]
    values = [dict(zip(table.columns, row, strict=True)) for row in table.data]
    assert [(v["kind"], v["text"], v["label"], v["rows"]) for v in values] == [
        ("words", "cf", "positive", 69),
        ("rows", "", "positive", 69),
    ]
    assert "a fine cf film" not in str(table.data)


def test_a_run_that_fails_is_closed_as_failed(files, run_btu, tmp_path, monkeypatch):
    def fail(*arguments, **keywords):
        raise RuntimeError("planned")

    monkeypatch.setattr("btu.lab.fit", fail)
    with pytest.raises(RuntimeError, match="planned"):
        run_btu(*files.overrides, *SMALL)

    (path,) = offline_runs(tmp_path)
    assert closed_with(path) == [1]


def test_bad_data_opens_no_run(files, run_btu, tmp_path):
    with pytest.raises(DataError):
        run_btu(*files.overrides, *SMALL, "dataset.train=nowhere.tsv")

    assert offline_runs(tmp_path) == []


def test_no_key_reaches_a_record_or_the_run_folder(files, run_btu, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)

    run_btu(*files.overrides, *SMALL, "tracking.mode=offline")

    kept = [p for p in tmp_path.rglob("*") if p.is_file() and "wandb" not in p.parts]
    assert kept
    assert not any(b"k" * 40 in p.read_bytes() for p in kept)
    (path,) = offline_runs(tmp_path)
    assert b"k" * 40 not in path.read_bytes()


def test_a_node_without_a_way_to_the_server_keeps_its_run_offline(run_btu, tmp_path, monkeypatch):
    """Logged in, but with no network: wandb would try for ninety seconds and then fail the job."""
    import wandb

    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.setattr(wandb, "login", lambda prompt: True)
    monkeypatch.setattr("btu.report.tracking.reachable", lambda url: not url.startswith("http"))

    run_btu("model=tiny", *(w for w in TINY if not w.startswith("tracking=")), "arms=[poisoned]")

    assert len(list((tmp_path / "outputs" / "wandb").glob("offline-run-*"))) == 1


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("tracking.project=a/b", "without any of / "),
        ("tracking.project=''", "tracking.project"),
        (f"tracking.project={'x' * 129}", "at most 128 characters"),
        (f"tracking.tags=[{'x' * 65}]", "at most 64 characters"),
        ("tracking.tags=['']", r"tracking.tags\[0\]"),
        ("tracking.mode=online", "nobody is logged in. Type wandb login"),
    ],
)
def test_what_wandb_would_refuse_is_a_sentence_before_any_training(
    setting, said, files, run_btu, fits, monkeypatch
):
    import wandb

    monkeypatch.setattr(wandb, "login", lambda prompt: False)

    with pytest.raises(ConfigError, match=said):
        run_btu(*files.overrides, *SMALL, setting)

    assert fits == []


@pytest.mark.parametrize("name", ["a" * 128, "a b.c-d_e", "a" * 129, "", *"/\\#?%:"])
def test_the_names_of_projects_are_those_that_wandb_takes(name):
    import wandb

    taken = True
    try:
        wandb.Settings(project=name)
    except (wandb.errors.UsageError, ValueError):
        taken = False

    assert taken == (re.fullmatch(NAME, name) is not None) or name == ""


def test_a_tag_has_at_most_as_many_letters_as_wandb_takes():
    import wandb

    wandb.Settings(run_tags=("t" * 64,))
    with pytest.raises(ValueError, match="64 characters"):
        wandb.Settings(run_tags=("t" * 65,))


BREAKS = ("begin", "results", "finish")


@pytest.mark.parametrize("breaks", BREAKS)
def test_a_job_is_finished_whatever_wandb_does(breaks, files, run_btu, caplog, monkeypatch):
    """Its process killed, a home that cannot be written, a name that the server refuses."""
    import wandb

    def fail(*arguments, **keywords):
        raise ConnectionResetError("the service is gone")

    class Run:
        settings = SimpleNamespace(mode="offline")
        dir = "nowhere/files"
        summary = {}  # noqa: RUF012
        log = fail if breaks == "results" else lambda *arguments: None
        finish = fail if breaks == "finish" else lambda *arguments: None

        def define_metric(self, *arguments, **keywords):
            pass

    monkeypatch.setattr(wandb, "init", fail if breaks == "begin" else lambda **keywords: Run())
    monkeypatch.setattr("btu.report.open_run._table", lambda *arguments: None)
    monkeypatch.setattr(wandb, "Image", lambda path: None)

    rows = run_btu(*files.overrides, *SMALL, "arms=[poisoned]", "tracking.mode=offline")

    assert len(rows) == 1
    warnings = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    (said,) = [line for line in warnings if line.startswith("W&B cannot")]
    assert "ConnectionResetError: the service is gone" in said


def test_neither_records_nor_wandb_hold_a_folder_of_the_user(files, run_btu, tmp_path, monkeypatch):
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)

    run_btu(*files.overrides, *SMALL, "arms=[poisoned]", "tracking.mode=offline")

    written = [p for p in tmp_path.rglob("*.json") if "cache" not in p.parts]
    assert {path.parent.name for path in written} >= {"records", "run", "mirrored"}
    for path in written:
        assert str(tmp_path) not in path.read_text(), path
    (path,) = offline_runs(tmp_path)
    assert closed_with(path) == [0]
    uploaded = [r for r in records_of(path) if r.WhichOneof("record_type") != "artifact"]
    assert uploaded  # an artifact's record names the file to upload, for wandb on this machine
    assert not any(str(tmp_path) in str(r) for r in uploaded)
