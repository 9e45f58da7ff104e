"""Texts that others wrote are shown as they are, and cannot move the cursor or forge a line."""

import io
import logging

import pytest

from btu.report.sweep_table import sweep_table
from btu.report.tables import print_notes, score_table, suspect_table
from btu.sweeps.jobs import JobReport
from btu.terminal.console import MIN_WIDTH, LineFormatter, Terminal
from btu.terminal.text import plain
from tests.report.factory import record, suspect

HOSTILE = "[/] [bold]x[/bold] :smile: \x1b[31mred\x07 \u202eevil \ud800 tab\tline\nnext"
SHOWN = r"[/] [bold]x[/bold] :smile: \u001b[31mred\u0007 \u202eevil \ud800 tab\u0009line\u000anext"


def printed(*shown, width=400) -> str:
    terminal = Terminal(file=io.StringIO(), width=width)
    terminal.print(*shown)
    return terminal.file.getvalue()


def test_what_cannot_be_seen_is_spelled_out_on_one_line():
    assert plain(HOSTILE) == SHOWN
    assert plain("Ġcf 中 é 😀 ü") == "Ġcf 中 é 😀 ü"
    assert plain("\U000e0041") == r"\U000e0041"
    assert plain("a\nb\tc", keep="\n") == "a\nb\\u0009c"


def test_a_hostile_text_is_no_markup_in_a_table_of_scores():
    choices = {"dataset": HOSTILE, "attack": "a", "model": "m", "defense": "none"}

    text = printed(score_table([record("poisoned", choices=choices)], None))

    assert SHOWN in " ".join(text.split())


def test_a_hostile_token_label_and_text_are_shown_among_the_suspects():
    found = suspect(HOSTILE, leans_to=HOSTILE, examples=("[/]\x1b]0;title\x07",))

    text = printed(suspect_table(record("defended", 0.1, suspects=(found,))))

    assert text.count(SHOWN) == 2
    assert r"[/]\u001b]0;title\u0007" in text
    assert "\x1b" not in text


@pytest.mark.parametrize("width", [20, 400])
def test_a_job_file_writes_nothing_of_its_own_on_the_terminal(width):
    job = JobReport(status=HOSTILE, error=HOSTILE, name=HOSTILE, overrides=[f"dataset.x={HOSTILE}"])

    text = printed(sweep_table({0: job, 1: JobReport(overrides=["dataset.x=y"])}), width=width)

    assert "\x1b" not in text
    assert "\u202e" not in text
    assert width == 20 or text.count(SHOWN) == 3  # setting, status and error


def test_a_note_is_one_line_whatever_stands_in_it():
    terminal = Terminal(file=io.StringIO(), width=400)

    print_notes([HOSTILE], terminal)
    terminal.say(f"results: {HOSTILE}")

    assert terminal.file.getvalue() == f"note: {SHOWN}\nresults: {SHOWN}\n"


def test_a_log_line_cannot_pass_for_two_and_a_trace_keeps_its_lines():
    formatter = LineFormatter("%(message)s")
    record_of = logging.makeLogRecord({"msg": "read %s", "args": ("a\n\x1b[2Jerror: no",)})

    assert formatter.format(record_of) == r"read a\u000a\u001b[2Jerror: no"

    try:
        raise ValueError("\x1b[2J")
    except ValueError as error:
        record_of.exc_info = (ValueError, error, error.__traceback__)
    trace = formatter.format(record_of)
    assert r"ValueError: \u001b[2J" in trace
    assert len(trace.splitlines()) > 3


def test_no_number_is_cut_on_a_narrow_terminal(monkeypatch):
    for columns in ("0", "20"):
        monkeypatch.setenv("COLUMNS", columns)
        assert Terminal().width == MIN_WIDTH

    assert "12.3 %" in printed(score_table([record("poisoned", asr=0.123)], None), width=20)


def test_a_way_of_writing_has_no_token_to_be_found():
    suspects = (suspect("cf", is_trigger=False),)
    found = {"precision": 0.0, "recall": 0.0, "best_rank": 7, "num_trigger_tokens": 1}

    style = record("defended", 0.1, suspects=suspects)
    words = record("defended", 0.1, suspects=suspects, detection=found)

    assert "1 suspect tokens at threshold 0.1; the trigger has no token" in printed(
        suspect_table(style)
    )
    assert "1 suspect tokens at threshold 0.1, 0 of the trigger" in printed(suspect_table(words))
