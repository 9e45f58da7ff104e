"""A long stage shows that it lives, also where its output is a file."""

import io
import logging

from btu.terminal import progress as module
from btu.terminal.progress import progress


def test_output_in_a_file_gets_a_line_each_minute(caplog, monkeypatch):
    seconds = iter(range(0, 1000, 25))
    monkeypatch.setattr(module.time, "monotonic", lambda: next(seconds))
    caplog.set_level(logging.INFO)

    with progress("victim", 10) as advance:
        for _ in range(10):
            advance()

    assert [r.getMessage() for r in caplog.records] == [
        "victim: 3 of 10 steps (30 %), about 3 min left",
        "victim: 6 of 10 steps (60 %), about 2 min left",
        "victim: 9 of 10 steps (90 %), about 0 min left",
    ]


def test_a_terminal_gets_a_bar_and_no_lines(caplog, monkeypatch):
    class Screen(io.StringIO):
        def isatty(self):
            return True

    screen = Screen()
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(module, "EVERY_S", 0)
    caplog.set_level(logging.INFO)

    with progress("[/] victim", 3) as advance:
        advance()

    assert "[/] victim" in screen.getvalue()
    assert not caplog.records
