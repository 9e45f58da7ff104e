"""Work that does not depend on other work, shared out to helper processes on the CPU.

A training step of a small model is hundreds of short operations, and many of them gain nothing
from a second thread: two trainings with one thread each finish long before the same two one after
the other with two threads. A helper leaves its results where the caller finds them, in the stage
cache, and tells through a pipe what it made.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from typing import Any

log = logging.getLogger(__name__)


def can_have_helpers() -> bool:
    """Whether this process may start others; a launcher's own worker may not."""
    return not multiprocessing.current_process().daemon


def share(
    tasks: Sequence[str],
    work: Callable[[str], object],
    make_helper: Callable[[], Callable[[str], Iterable[Any]]],
    processes: int,
) -> list[Any]:
    """Do every task once, here or in a helper process; whoever is free takes the next.

    A helper that fails is only a warning: what it has not done is missing afterwards, and the
    caller does it, or meets the same error, in its own process.

    Args:
        tasks: their names, the longest first.
        work: does one task in this process.
        make_helper: called in each helper, gives what does a task there and tells what it made;
            pickled to get there.
        processes: this one and its helpers.

    Returns:
        What the helpers made.
    """
    context = multiprocessing.get_context("spawn")
    turn = context.Value("i", 0)
    helpers: list[tuple[Any, Connection]] = []
    made: list[Any] = []
    try:
        for _ in range(processes - 1):
            receiver, sender = context.Pipe(duplex=False)
            helper = context.Process(
                target=_help, args=(make_helper, tuple(tasks), turn, sender), daemon=True
            )
            with _deaf_to_interrupts():
                helper.start()
            sender.close()  # the helper's copy is the last one: its end is the end of the pipe
            helpers.append((helper, receiver))
        num_done = 0
        for task in _turns(tasks, turn):
            work(task)
            num_done += 1
        if num_done == len(tasks):
            return []  # before any helper was ready
        log.info("waiting for the helper process")
        for helper, receiver in helpers:
            made += _received(receiver)
            helper.join()
            if helper.exitcode:
                log.warning("a helper process ended early (exit code %s)", helper.exitcode)
    finally:
        for helper, _ in helpers:
            helper.terminate()
            helper.join()
    return made


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """What is started inside never hears Ctrl-C, which reaches every process of a terminal."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _turns(tasks: Sequence[str], turn: Any) -> Iterator[str]:
    """The tasks that nobody else has taken."""
    while True:
        with turn.get_lock():
            number = turn.value
            turn.value += 1
        if number >= len(tasks):
            return
        yield tasks[number]


def _received(receiver: Connection) -> Iterator[Any]:
    while True:
        try:
            yield receiver.recv()
        except EOFError:
            return


def _help(
    make_helper: Callable[[], Callable[[str], Iterable[Any]]],
    tasks: Sequence[str],
    turn: Any,
    sender: Connection,
) -> None:
    """A helper's life: it ends with its tasks, or with the process that started it."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # leaves no half entry behind
    threading.Thread(target=_end_with_parent, daemon=True).start()
    logging.disable(logging.CRITICAL)  # the parent says everything once
    try:
        helper = make_helper()
        for task in _turns(tasks, turn):
            for made in helper(task):
                sender.send(made)
    except Exception:
        sys.exit(1)  # the parent does the task itself and reports what is wrong with it


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)
