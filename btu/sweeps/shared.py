"""Whether a job sees the cache that the launching machine sees: nodes share some disks only."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from btu.errors import ConfigError
from btu.processes import appears
from btu.sweeps.jobs import load_job_list


@contextmanager
def marked(cache: Path, wanted: bool) -> Iterator[str | None]:
    """A file in the cache folder, for the jobs to look for; its absolute path.

    It stays where the block is interrupted, since jobs on other nodes may still begin.
    """
    if not wanted:
        yield None
        return
    cache.mkdir(parents=True, exist_ok=True)
    mark = Path(os.path.abspath(cache)) / f".seen.{uuid4().hex[:12]}"
    mark.touch()
    try:
        yield str(mark)
    except KeyboardInterrupt:
        raise
    except BaseException:
        mark.unlink(missing_ok=True)
        raise
    mark.unlink(missing_ok=True)


def check_mark(sweep: Path, cache: Path) -> None:
    """Raise unless this process sees in the cache what was written where the sweep began.

    Otherwise each node would quietly make its own cache and compute what another has.

    Raises:
        ConfigError: it does not.
    """
    listed = load_job_list(sweep)
    if listed is None or listed.cache_mark is None:
        return
    mark = Path(listed.cache_mark)
    if mark.parent != Path(os.path.abspath(cache)):
        return  # a job with a cache of its own
    if not appears(mark):
        raise ConfigError(
            f"cache.folder={cache}: {socket.gethostname()} cannot see what was written there "
            "when the sweep was launched. Write cache.folder=PATH for a folder on a disk that all "
            "nodes share."
        )
