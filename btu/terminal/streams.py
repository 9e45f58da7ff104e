"""Output that may be lost, but never ends a run: closed, full, broken or of few characters."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from typing import Any


class LossyStream:
    """A text stream whose failure to write is remembered, not raised.

    From then on it, and whatever else writes to its file descriptor, goes nowhere.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.error: OSError | None = None
        if isinstance(stream, TextIOWrapper):  # latin-1 and ascii have few characters
            stream.reconfigure(errors="backslashreplace")

    def write(self, text: str) -> int:
        """Write, or drop, the text."""
        try:
            self._stream.write(text)
        except OSError as error:
            self._give_up(error)
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write, or drop, the lines."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Write, or drop, what is buffered."""
        try:
            self._stream.flush()
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        self.error = self.error or error
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def lasting_output() -> Iterator[None]:
    """Inside the block standard output and error can be written to, whatever becomes of them.

    What went wrong with standard output is said at the end on standard error; a reader that has
    seen enough (`btu --help | head`) is not an error.
    """
    _open_closed_descriptors()
    before = sys.stdout, sys.stderr
    out, err = LossyStream(sys.stdout), LossyStream(sys.stderr)
    sys.stdout, sys.stderr = out, err
    try:
        yield
    finally:
        out.flush()
        if out.error is not None and out.error.errno != errno.EPIPE:
            reason = os.strerror(out.error.errno or 0)
            print(f"note: standard output could not be written: {reason}", file=sys.stderr)
        err.flush()
        sys.stdout, sys.stderr = before


def _open_closed_descriptors() -> None:
    """Send what a shell has closed (`>&-`) nowhere: else the next file opened would get it all."""
    for number, name in ((0, "stdin"), (1, "stdout"), (2, "stderr")):
        try:
            os.fstat(number)
        except OSError:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != number:
                os.dup2(nowhere, number)
                os.close(nowhere)
            mode = "r" if number == 0 else "w"
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115
