"""scripts/report.py as users call it."""

import os
import subprocess
import sys
from pathlib import Path

from tests.report.factory import record, write, write_job

ROOT = Path(__file__).resolve().parents[2]


def report(*arguments) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "report.py"), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def test_a_report_names_its_page_and_warns_a_line_for_each_thing_left_out(tmp_path):
    folder = write(tmp_path / "records", record("poisoned"))
    (folder / "half.json").write_text("{")
    job = write_job(tmp_path / "job", "failed", error="no room.")

    done = report(folder, job, "--out", tmp_path / "out")

    assert done.returncode == 0
    assert done.stdout.startswith(str(tmp_path / "out" / "report.html"))
    assert done.stderr.splitlines() == [
        f"left out: {folder / 'half.json'}: is not a record",
        "job job failed: no room.",
    ]


def test_an_error_is_one_sentence_and_exit_code_1(tmp_path):
    done = report(tmp_path, "--out", tmp_path / "out")

    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "holds neither records" in done.stderr
    assert not (tmp_path / "out").exists()


def test_an_out_that_cannot_be_written_is_a_sentence_too(tmp_path):
    folder = write(tmp_path / "records", record("poisoned"))
    (tmp_path / "out").write_text("a file")

    done = report(folder, "--out", tmp_path / "out")

    assert done.returncode == 1
    assert "the report cannot be written" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_help_shows_a_command_to_copy():
    done = report("--help")

    assert done.returncode == 0
    assert "python scripts/report.py outputs/records --out" in done.stdout


def test_a_report_needs_no_torch():
    code = (
        "import sys, btu.report.write, btu.report.tables, btu.report.pictures, btu.report.tracking;"
        "sys.exit('torch' in sys.modules)"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=60
    )

    assert done.returncode == 0
