"""How far a long stage is: a bar on a terminal, elsewhere a line each minute in the log."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from btu.terminal.text import plain

EVERY_S = 60.0  # seconds between two lines
log = logging.getLogger(__name__)


@contextmanager
def progress(title: str, total: int) -> Iterator[Callable[[], None]]:
    """Show how far the block is; it yields what to call per step."""
    from rich.console import Console

    console = Console(stderr=True)
    if not sys.stderr.isatty() or console.is_dumb_terminal:
        yield _MinuteLines(title, total)
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    name = TextColumn("{task.description}", markup=False)
    columns = (name, BarColumn(), MofNCompleteColumn(), Remaining())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(plain(title), total=total)
        yield lambda: bar.advance(task)


class _MinuteLines:
    """Counts steps, and logs how many are done when a minute has passed."""

    def __init__(self, title: str, total: int) -> None:
        self._title, self._total, self._done = title, total, 0
        self._start = self._told = time.monotonic()

    def __call__(self) -> None:
        self._done += 1
        now = time.monotonic()
        if now - self._told < EVERY_S or self._done >= self._total:
            return
        self._told = now
        left = (now - self._start) * (self._total - self._done) / self._done
        log.info(
            "%s: %d of %d steps (%.0f %%), about %.0f min left",
            self._title,
            self._done,
            self._total,
            100 * self._done / self._total,
            left / 60,
        )
