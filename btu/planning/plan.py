"""The plan of a sweep: what its jobs share, what is left to compute, how long it takes."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from btu.errors import BtuError
from btu.planning.disk import Size, cache_warnings, disk_warnings, sizes
from btu.planning.estimates import Estimator
from btu.planning.jobs import Launcher, Sweep
from btu.planning.missing import Finished, Slot, missing_stages, stages_of
from btu.planning.stages import CLEAN_MODEL, POISONED_SET, Asked, PlannedStage, Planner

# Measured on the demo with two cores: from the command to the first job's first line, and what a
# job takes beside its stages (W&B offline, predictions, plots).
PROCESS_SECONDS, JOB_SECONDS = 6.0, 1.3
MANY_JOBS = 1000
FIRST = (POISONED_SET, "victim", CLEAN_MODEL, "trusted only")  # of the stages in a table
LAST = ("tuning", "evaluation")


@dataclass
class StageCounts:
    """One kind of stage, or the records."""

    kind: str
    asked_for: int = 0  # by all jobs in sum
    different: int = 0
    to_compute: int = 0
    seconds: float | None = 0.0  # of those to compute; None where they are unknown
    estimated_from: list[str] = field(default_factory=list)
    at_most: bool = False  # some may turn out to be the same, or to be there


@dataclass
class Plan:
    """What running a sweep would mean."""

    num_jobs: int
    launcher: str
    at_once: int
    search: str = ""
    failing: dict[str, list[int]] = field(default_factory=dict)  # sentence -> jobs
    stages: list[StageCounts] = field(default_factory=list)
    records: StageCounts | None = None
    start_seconds: float = 0.0  # of all processes and jobs, beside their stages
    work_seconds: float | None = None
    wall_seconds: float | None = None
    longest_job_seconds: float | None = None
    given_rate: float | None = None  # TFLOP/s of another machine
    rates: dict[str, float] = field(default_factory=dict)  # TFLOP/s as measured for this plan
    disk: list[Size] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def make_plan(sweep: Sweep, at_once: int | None = None, tera: float | None = None) -> Plan:
    """The plan of a sweep.

    Args:
        sweep: its jobs.
        at_once: jobs at once, in place of the launcher's own number.
        tera: TFLOP/s of another machine, in place of what this one does.

    Raises:
        BtuError: no job could begin; the sentence of the first.
    """
    launcher = sweep.launcher
    plan = Plan(len(sweep.jobs), launcher.name, at_once or launcher.at_once, sweep.search)
    plan.given_rate = tera
    if sweep.search:
        plan.num_jobs = sweep.num_trials
        return plan
    planner = Planner()
    jobs = _ask(sweep, planner, plan)
    finished = Finished()
    missing = [missing_stages(number, asked, finished) for number, asked in enumerate(jobs)]
    folders = sorted({Path(asked.job.cache.folder) for asked in jobs})
    estimator = Estimator(folders, tera)
    plan.stages = _lines(jobs, missing, estimator)
    plan.records = _records(jobs, finished)
    _add_hours(plan, launcher, missing, estimator)
    plan.disk = sizes(sweep, jobs, missing, finished)
    plan.notes += _notes(planner, plan, launcher)
    plan.warnings += _warnings(sweep, plan, jobs, folders)
    return plan


def _ask(sweep: Sweep, planner: Planner, plan: Plan) -> list[Asked]:
    """What the jobs ask for that can begin; the sentences of the others go into the plan."""
    jobs = []
    for number, planned in enumerate(sweep.jobs):
        try:
            if planned.job is None:
                raise BtuError(planned.error)
            jobs.append(planner.ask(planned.job))
        except BtuError as error:
            plan.failing.setdefault(str(error), []).append(number)
    if not jobs:
        raise BtuError(next(iter(plan.failing)))
    return jobs


def _lines(
    jobs: Sequence[Asked], missing: Sequence[Mapping[Slot, PlannedStage]], estimator: Estimator
) -> list[StageCounts]:
    """Kind by kind: how many stages are asked for, are different and are left to compute."""
    asked_for: Counter[Slot] = Counter()
    different: dict[Slot, PlannedStage] = {}
    for number, asked in enumerate(jobs):
        for slot, stage in stages_of(number, asked).items():
            asked_for[slot] += 1
            # What one job calls its victim, without an attack, may be the clean model of others.
            if slot not in different or stage.kind == CLEAN_MODEL:
                different[slot] = stage
    left = {slot for stages in missing for slot in stages}
    lines: dict[str, StageCounts] = {}
    for slot, stage in different.items():
        line = lines.setdefault(stage.kind, StageCounts(stage.kind))
        line.asked_for += asked_for[slot]
        line.different += 1
        line.at_most |= not stage.is_known
        if slot in left:
            line.to_compute += 1
            _add_seconds(line, estimator, stage)
    return sorted(lines.values(), key=_place)


def _add_seconds(line: StageCounts, estimator: Estimator, stage: PlannedStage) -> None:
    seconds, source = estimator.seconds(stage.work)
    if source not in line.estimated_from:
        line.estimated_from.append(source)
    line.seconds = None if seconds is None or line.seconds is None else line.seconds + seconds


def _place(line: StageCounts) -> tuple[int, str]:
    if line.kind in FIRST:
        return FIRST.index(line.kind), ""
    return (8 + LAST.index(line.kind), "") if line.kind in LAST else (7, line.kind)


def _records(jobs: Sequence[Asked], finished: Finished) -> StageCounts:
    line = StageCounts("record", sum(len(asked.points) for asked in jobs))
    places = {
        (asked.job.outputs, point.record): asked.job.force
        or not finished.has_record(asked, point.record)
        for asked in jobs
        for point in asked.points
    }
    line.different, line.to_compute = len(places), sum(places.values())
    return line


def _add_hours(
    plan: Plan,
    launcher: Launcher,
    missing: Sequence[Mapping[Slot, PlannedStage]],
    estimator: Estimator,
) -> None:
    num_processes = len(missing) if launcher.every_job_starts else plan.at_once
    plan.start_seconds = PROCESS_SECONDS * num_processes + JOB_SECONDS * len(missing)
    plan.rates = {
        f"{device} {precision}": rate / 1e12
        for (device, precision), rate in estimator.rates.items()
        if rate is not None
    }
    parts = [line.seconds for line in plan.stages]
    known = [seconds for seconds in parts if seconds is not None]
    if len(known) < len(parts):
        return
    plan.work_seconds = sum(known)
    seconds = [
        {slot: estimator.seconds(stage.work)[0] or 0.0 for slot, stage in stages.items()}
        for stages in missing
    ]
    plan.longest_job_seconds = max(sum(job.values()) for job in seconds)
    plan.longest_job_seconds += PROCESS_SECONDS + JOB_SECONDS
    plan.wall_seconds = wall_clock(seconds, plan.at_once, launcher)


def wall_clock(jobs: Sequence[Mapping[Slot, float]], at_once: int, launcher: Launcher) -> float:
    """Seconds from the first job's start to the last one's end.

    Jobs begin in order, each when a place is free. Who comes first to a stage computes it, the
    others wait. Jobs that share a machine take `at_once` times as long each.
    """
    slower = at_once if launcher.shares_machine else 1
    start = JOB_SECONDS + (PROCESS_SECONDS if launcher.every_job_starts else 0.0)
    free = [0.0 if launcher.every_job_starts else PROCESS_SECONDS] * min(at_once, len(jobs))
    done: dict[Slot, float] = {}
    end = 0.0
    for job in jobs:
        now = heapq.heappop(free) + start
        for slot, seconds in job.items():
            if slot in done:
                now = max(now, done[slot])
            else:
                now += seconds * slower
                done[slot] = now
        heapq.heappush(free, now)
        end = max(end, now)
    return end


def _notes(planner: Planner, plan: Plan, launcher: Launcher) -> list[str]:
    """What a reader has to know to take the figures right."""
    notes = list(dict.fromkeys([*planner.data.missing, *planner.models.missing]))
    notes = [f"Hours and disk are unknown in part: {reason}" for reason in notes]
    notes += planner.notes
    notes += planner.data.notes
    on_gpu = [device for device in plan.rates if not device.startswith("cpu")]
    if on_gpu or plan.given_rate:
        notes.append(
            "Which share of the rate stages reach was measured on a CPU. Small models leave a GPU "
            "idle most of the time and may take several times as long as said here."
        )
    if launcher.name == "slurm":
        if not plan.given_rate:
            notes.append(
                "Hours are those of this machine, the cluster's may be faster: write --rate, its "
                "nodes' TFLOP/s."
            )
        notes.append(
            "What is done already was looked up for this machine's kind of device and arithmetic; "
            "jobs on another kind share none of it. Time in the queue is not counted."
        )
    if launcher.shares_machine and plan.at_once > 1:
        notes.append(
            f"Jobs of this launcher share one machine: with {plan.at_once} at once each is taken "
            f"to be {plan.at_once} times as slow, so little is won."
        )
    return notes


def _warnings(
    sweep: Sweep, plan: Plan, jobs: Sequence[Asked], folders: Sequence[Path]
) -> list[str]:
    found = cache_warnings(plan.disk, jobs, folders) + disk_warnings(plan.disk, jobs)
    if plan.num_jobs > MANY_JOBS and plan.launcher == "slurm":
        found.append(
            f"{plan.num_jobs:,} jobs are submitted as arrays of {MANY_JOBS:,}, one after the other "
            "(docs/cluster.md)."
        )
    elif plan.num_jobs > MANY_JOBS:
        found.append(
            f"{plan.num_jobs:,} jobs are a lot for one machine. docs/cluster.md says how a sweep "
            "is given to many."
        )
    minutes, longest = sweep.launcher.minutes_per_job, plan.longest_job_seconds
    if minutes is not None and longest is not None and longest > 60 * minutes:
        found.append(
            f"The longest job takes {longest / 3600:.1f} hours on this machine, but the launcher "
            f"stops a job after {minutes / 60:.1f}. Write hydra.launcher.timeout_min="
            f"{longest / 60 * 1.5:.0f} or more. (The same command again goes on where it stopped.)"
        )
    return found
