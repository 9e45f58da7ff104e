"""What Slurm says of jobs, also on clusters that keep no accounts."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Mapping

from submitit.slurm.slurm import SlurmInfoWatcher

UNKNOWN_SECONDS = 60.0  # after this long without any news of a job it is taken for lost
LOST = "LOST"


class QueueWatcher(SlurmInfoWatcher):
    """Asks `sacct`, and `squeue` where that knows nothing.

    Without accounting `sacct` fails, and a job that ends without a result would be waited for for
    ever. `squeue` knows a job until a few minutes after its end; one that neither knows is lost.
    """

    def __init__(self, delay_s: int = 60) -> None:
        super().__init__(delay_s)
        self._last_news: dict[str, float] = {}

    def update(self) -> None:
        """Ask for the state of every job that has not ended."""
        waiting = self._registered - self._finished
        if not waiting:
            return
        self._num_calls += 1
        arrays = sorted({job_id.split("_")[0] for job_id in waiting})
        news = self.read_info(_ask(self._make_command() or []) or "")
        answer: str | None = None
        if waiting - news.keys():
            listed = ["squeue", "--array", "--states=all", "--format=%i|%T|%N", "--jobs"]
            answer = _ask([*listed, ",".join(arrays)])
            news |= self.read_info("JobID|State|NodeList\n" + (answer or "").partition("\n")[2])
        # Tasks of an array that were cancelled before they were split off are told of together.
        news |= {job: news[job.split("_")[0]] for job in waiting - news.keys() if _ended(news, job)}
        now = time.monotonic()
        for job_id in waiting:
            if job_id in news or answer is None:  # a scheduler that does not answer loses no job
                self._last_news[job_id] = now
            elif now - self._last_news.setdefault(job_id, now) > UNKNOWN_SECONDS:
                news[job_id] = {"JobID": job_id, "State": LOST}
        self._info_dict.update(news)
        self._last_status_check = time.time()
        self._finished |= {job_id for job_id in waiting if self.is_done(job_id, mode="cache")}


def _ended(news: Mapping[str, Mapping[str, str]], job_id: str) -> bool:
    """Whether the job's array, which is in the news without it, has ended as a whole."""
    state = news.get(job_id.split("_")[0], {}).get("State", "")
    return state.split(" ")[0] in ("CANCELLED", "COMPLETED", "FAILED", "TIMEOUT")


def _ask(command: list[str]) -> str | None:
    """The answer, which is empty where the jobs are unknown; None where there is none."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 or "Invalid job id" in done.stderr else None
