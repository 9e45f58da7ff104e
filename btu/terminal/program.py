"""What every command does with an error: one sentence on standard error, and the exit code 1."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import NoReturn

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from btu.errors import BtuError
from btu.terminal.console import say_error, trace_of
from btu.terminal.sentences import in_one_sentence, is_of_composing
from btu.terminal.streams import lasting_output

FULL_ERROR = "HYDRA_FULL_ERROR"  # environment variable: print the trace of an error, too
FORESEEN = (BtuError, HydraException, OmegaConfBaseException, OSError, YAMLError)


def run_program(main: Callable[[], int]) -> NoReturn:
    """Run a command and exit with the code that it gives; an error is a sentence and code 1."""
    with lasting_output():
        try:
            status = main()
        except KeyboardInterrupt:
            status = 130
        except Exception as error:
            tell(error, with_trace=FULL_ERROR in os.environ)
            status = 1
    sys.exit(status)


def tell(error: Exception, with_trace: bool) -> None:
    """Print an error in one sentence, and its trace where that is wanted."""
    if with_trace:
        print(trace_of(error), end="", file=sys.stderr)
    say_error(sentence_of(error, f"to see its trace, set {FULL_ERROR}=1"))


def sentence_of(error: Exception, where_trace: str) -> str:
    """What to say of an error, foreseen or not.

    Args:
        error: what was raised.
        where_trace: where the trace of one that nobody foresaw is to be found.
    """
    if isinstance(error, FORESEEN) or is_of_composing(error):
        return in_one_sentence(error)
    first_line = (str(error).strip() or "no message").split("\n")[0]
    return f"unexpected {type(error).__name__}: {first_line} ({where_trace})"
