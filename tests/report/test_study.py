"""What a report reads, what it leaves out, and what it refuses."""

import shutil
from dataclasses import asdict

import pytest

from btu.errors import DataError
from btu.report.study import read_study
from tests.report.factory import DRIFT, alter, record, small_study, suspect, write, write_job

CHANGED = "or changed after it was written (the checksum does not match)"
DRIFT_JSON, SUSPECT_JSON = asdict(DRIFT[0]), asdict(suspect("cf"))


def reasons(study):
    return {item.name: item.reason for item in study.left_out}


def test_files_that_are_no_record_are_counted_and_named(tmp_path):
    folder = write(tmp_path / "records", record("poisoned"), record("clean"))
    whole = (folder / "0000.json").read_text()
    shutil.copy(folder / "0000.npz", folder / "half.npz")
    (folder / "half.json").write_text(whole[: len(whole) // 2])
    (folder / "old.json").write_text(whole.replace('"format": 5', '"format": 4'))
    (folder / "other.json").write_text("[1, 2]")
    (folder / "changed.json").write_text(whole.replace('"cacc": 0.9', '"cacc": 0.8'))
    (folder / "nan.json").write_text(whole)
    alter(folder / "nan.json", scores={**asdict(record("clean").scores), "cacc": float("nan")})
    (folder / "lone.json").write_text(whole)
    (folder / "orphan.npz").write_bytes(b"")
    (folder / "notes.txt").write_text("hello")

    study = read_study([folder])

    assert len(study.records) == 2
    assert reasons(study) == {
        "half.json": f"was cut {CHANGED}",
        "changed.json": f"was cut {CHANGED}",
        "old.json": "has format 4, but this version reads format 5",
        "other.json": "is not a record",
        "nan.json": "is not a record of format 5 (scores.cacc: Input should be a finite number)",
        "lone.json": "incomplete: its predictions (.npz) are missing",
        "orphan.npz": "incomplete: predictions without their record (.json)",
        "notes.txt": "is not a record",
    }
    assert len(study.warnings) == 8


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"arm": "attacked"}, "there is no arm attacked"),
        ({"choices": {"dataset": "d"}}, "choices must name dataset"),
        ({"seed": "one"}, "seed: Input should be a valid integer"),
        ({"threshold": "low"}, "threshold: Input should be a valid number"),
        ({"threshold": float("inf")}, "threshold: Input should be a finite number"),
        ({"threshold_label": 7}, "threshold_label: Input should be a valid string"),
        ({"evidence": []}, "evidence: Input should be"),
        ({"seconds": "long"}, "seconds: Input should be a valid number"),
        ({"drift": [{**DRIFT_JSON, "counts": [1]}]}, "one more edge than it has counts"),
        (
            {"drift": [{**DRIFT_JSON, "edges": [1, "x"], "counts": [1]}]},
            "drift.0.edges.1: Input should be a valid number",
        ),
        (
            {"suspects": [{**SUSPECT_JSON, "token": 7}]},
            "suspects.0.token: Input should be a valid string",
        ),
    ],
)
def test_a_record_with_values_that_mean_nothing_is_left_out(tmp_path, change, told):
    folder = write(tmp_path, record("poisoned"), record("clean"))
    alter(folder / "0001.json", **change)

    assert told in reasons(read_study([folder]))["0001.json"]


def test_one_key_with_the_same_scores_counts_once(tmp_path):
    one = write(tmp_path / "one", record("poisoned"))
    two = write(tmp_path / "two", record("poisoned", seconds=9.0), record("clean"))

    assert len(read_study([one, two]).records) == 2
    assert len(read_study([one, one / "0000.json"]).records) == 1


def test_one_key_with_other_scores_is_an_error_that_names_both_files(tmp_path):
    one = write(tmp_path / "one", record("poisoned", cacc=0.9))
    two = write(tmp_path / "two", record("poisoned", cacc=0.8))

    with pytest.raises(DataError, match=r"two records claim one key: .*one.0000.* and .*two.0000"):
        read_study([one, two])


def test_a_multirun_gives_the_records_of_its_jobs_and_the_sentences_of_the_failed(tmp_path):
    records = write(tmp_path / "records", *small_study())
    sweep = tmp_path / "sweep"
    write_job(sweep / "0", records=[records / "0000.json", "../../records/0001.json"])
    write_job(sweep / "1", "failed", error="attack.poison_rate is a fraction, got 10.")
    write_job(sweep / "2", "running", format=9)

    study = read_study([sweep])

    assert len(study.records) == 2
    assert [(job.name, job.status) for job in study.unfinished] == [("1", "failed")]
    assert "job 1 failed: attack.poison_rate is a fraction, got 10." in study.warnings
    assert "not a job report of format 1" in reasons(study)["2/job.json"]


def test_a_single_run_and_its_job_file_are_sources_too(tmp_path):
    records = write(tmp_path / "records", record("poisoned"))
    run = write_job(tmp_path / "run", records=[records / "0000.json", "gone.json"])

    for source in (run, run / "job.json"):
        study = read_study([source])
        assert len(study.records) == 1
        assert "cannot be read" in reasons(study)["gone.json"]


def test_sources_without_anything_to_read_are_errors(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "x.json").write_text("{")
    write_job(tmp_path / "run", "failed", error="no file")

    with pytest.raises(DataError, match=r"nowhere does not exist"):
        read_study([tmp_path / "nowhere"])
    with pytest.raises(DataError, match=r"empty holds neither records .* nor a run"):
        read_study([tmp_path / "empty"])
    with pytest.raises(DataError, match=r"no records in .*1 files left out: x.json is not"):
        read_study([tmp_path / "half"])
    with pytest.raises(DataError, match=r"no records in .*1 jobs not finished"):
        read_study([tmp_path / "run"])
