"""How a process that follows process 0 keeps quiet: no output, no file in a run's folder."""

from __future__ import annotations

import atexit
import io
import logging
import os
import shutil
import socket
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

from btu.errors import ConfigError
from btu.processes import ENDED, LAUNCHED, started

PATIENCE = 5.0  # seconds, in which process 0 tells of a mistake that all processes make
STOPPED = (130, ENDED)  # exit codes of a process that Ctrl-C or its launcher ended
_folders: list[Path] = []  # of this process, to be removed at its end


@contextmanager
def quiet_follower() -> Iterator[None]:
    """In process 0 nothing. In another: no output, and Hydra's files in a folder of its own.

    What it says of its failure is held back for a while, in which its launcher ends it if process 0
    failed too. What is printed is the failure of this process alone.
    """
    group = started()
    if group.rank == 0:
        yield
        return
    folder = _own_folder()
    tempfile.tempdir = str(folder)  # what is thrown away goes there, and with it
    nowhere = open(os.devnull, "w")  # noqa: SIM115  loggers write to it until the very end
    sys.argv += [f"hydra.run.dir={folder}", f"hydra.sweep.dir={folder}"]
    said, code = io.StringIO(), 0
    try:
        with redirect_stdout(nowhere), redirect_stderr(said):
            try:
                yield
            except Exception:
                traceback.print_exc()
                code = 1
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    try:
        if code not in (0, *STOPPED):
            time.sleep(PATIENCE)
            who = f"process {group.rank} of {group.size} on {socket.gethostname()}"
            print(f"{who}: {said.getvalue().strip()}", file=sys.stderr)
    except KeyboardInterrupt:
        code = ENDED
    sys.exit(code)


def run_folder(wanted: Path) -> Path:
    """The folder for the files of this job: in process 0 the one wanted, in others a temporary one.

    These log nothing: Hydra has opened the job's log for every process of a launcher.
    """
    if started().rank == 0:
        return wanted
    root = logging.getLogger()
    for handler in tuple(root.handlers):
        root.removeHandler(handler)
        handler.close()
    root.addHandler(logging.NullHandler())
    return _own_folder()


def refuse_multirun() -> None:
    """Raise where several processes were started, but for no job of a launcher.

    Raises:
        ConfigError: they would each run all jobs.
    """
    size = started().size
    if size == 1 or LAUNCHED in os.environ:
        return
    raise ConfigError(
        f"-m runs many jobs, but these {size} processes were started for one. Run torchrun once "
        "for each job, without -m; or, on a cluster, leave torchrun out and write "
        f"hydra/launcher=slurm hydra.launcher.tasks_per_node={size}."
    )


def end_follower(number: int, frame: object) -> None:
    """What SIGTERM does to a follower, which has nothing to finish.

    An exception, as process 0 raises it, would be lost where the signal meets a destructor.
    """
    _remove_folders()
    os._exit(ENDED)


def _own_folder() -> Path:
    _folders.append(Path(tempfile.mkdtemp(prefix="btu-process-")))
    return _folders[-1]


@atexit.register
def _remove_folders() -> None:
    while _folders:
        shutil.rmtree(_folders.pop(), ignore_errors=True)
