"""The plan of a multirun: what its jobs share, what is left to compute, how long, how large."""

from __future__ import annotations

import heapq
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path

from btu.cache import entries
from btu.errors import BtuError
from btu.pipeline import BYTES_PER_WEIGHT
from btu.planning.estimates import Estimator
from btu.planning.jobs import Launcher, Sweep
from btu.planning.stages import (
    CLEAN_MODEL,
    EVALUATION,
    POISONED_SET,
    TUNING,
    VICTIM,
    Asked,
    Planner,
    Stage,
)
from btu.records import KEY_LENGTH

# Measured on the demo with two cores: from the command to the first job's first line, and what a
# job takes beside its stages (W&B offline, predictions, plots).
PROCESS_SECONDS, JOB_SECONDS = 6.0, 1.3
# Bytes, from the same runs: a record and each suspect in it, a job's folder, an offline W&B run.
RECORD_BYTES, SUSPECT_BYTES, FOLDER_BYTES, WANDB_BYTES = 10_000, 1_000, 75_000, 95_000
MANY_JOBS = 1000
LAST = (TUNING, EVALUATION)  # of the stages in a table, after the rounds
Slot = tuple[str, str, int]  # stage, key, and the job where jobs share nothing (force=true)


@dataclass
class Line:
    """One kind of stage, or the records."""

    kind: str
    asked_for: int = 0  # by all jobs in sum
    different: int = 0
    to_compute: int = 0
    seconds: float | None = 0.0  # of those to compute; None where they are unknown
    estimated_from: list[str] = field(default_factory=list)
    at_most: bool = False  # some may turn out to be the same, or to be there


@dataclass
class Size:
    """One kind of file that the sweep writes."""

    what: str
    number: int
    bytes_together: float | None
    bytes_more: float | None  # than there is now


@dataclass
class Plan:
    """What running a sweep would mean."""

    num_jobs: int
    launcher: str
    at_once: int
    search: str = ""
    failing: dict[str, list[int]] = field(default_factory=dict)  # sentence -> jobs
    stages: list[Line] = field(default_factory=list)
    records: Line | None = None
    start_seconds: float = 0.0  # of all processes and jobs, beside their stages
    work_seconds: float | None = None
    wall_seconds: float | None = None
    longest_job_seconds: float | None = None
    given_rate: float | None = None  # TFLOP/s of another machine
    rates: dict[str, float] = field(default_factory=dict)  # TFLOP/s as measured for this plan
    disk: list[Size] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


class Finished:
    """What is in caches and among records, by name."""

    def __init__(self) -> None:
        self._names: dict[Path, frozenset[str]] = {}

    def has(self, folder: Path, name: str) -> bool:
        """Whether the folder holds something of this name."""
        if folder not in self._names:
            found = folder.iterdir() if folder.is_dir() else ()
            self._names[folder] = frozenset(path.name for path in found)
        return name in self._names[folder]

    def has_stage(self, asked: Asked, stage: Stage) -> bool:
        """Whether a stage is in the job's cache."""
        return self.has(Path(asked.job.cache.folder) / stage.folder, stage.key)

    def has_record(self, asked: Asked, identity: str) -> bool:
        """Whether a record is among those of the job's outputs."""
        return self.has(asked.job.outputs / "records", f"{identity[:KEY_LENGTH]}.json")


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
    missing = [_missing(number, asked, finished) for number, asked in enumerate(jobs)]
    folders = {Path(asked.job.cache.folder) for asked in jobs}
    estimator = Estimator(sorted(folders), planner.data.rows, tera)
    plan.stages = _lines(jobs, missing, estimator)
    plan.records = _records(jobs, finished)
    _add_hours(plan, launcher, missing, estimator)
    plan.disk = _sizes(sweep, jobs, missing, finished)
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


def _slot(number: int, asked: Asked, stage: Stage) -> Slot:
    return stage.folder or stage.kind, stage.key, number if asked.job.force else -1


def _stages_of(number: int, asked: Asked) -> dict[Slot, Stage]:
    """Every stage that a job asks for, once."""
    stages = [asked.poisoned_set] if asked.poisoned_set else []
    stages += [stage for point in asked.points for stage in point.stages]
    return {_slot(number, asked, stage): stage for stage in stages}


def _missing(number: int, asked: Asked, finished: Finished) -> dict[Slot, Stage]:
    """What a job would have to compute if it ran now, alone, in the order of its run."""
    force = asked.job.force
    found: dict[Slot, Stage] = {}

    def need(stage: Stage) -> None:
        if force or stage.kind == TUNING or not finished.has_stage(asked, stage):
            found.setdefault(_slot(number, asked, stage), stage)

    if asked.poisoned_set:
        need(asked.poisoned_set)
    for point in asked.points:
        if not force and finished.has_record(asked, point.record):
            continue
        evaluation = point.stages[-1]
        is_evaluated = not force and finished.has_stage(asked, evaluation)
        for stage in point.stages:
            if not is_evaluated or stage.kind.startswith("round"):
                need(stage)
    return found


def _lines(
    jobs: Sequence[Asked], missing: Sequence[Mapping[Slot, Stage]], estimator: Estimator
) -> list[Line]:
    """Kind by kind: how many stages are asked for, are different and are left to compute."""
    asked_for: Counter[Slot] = Counter()
    different: dict[Slot, Stage] = {}
    for number, asked in enumerate(jobs):
        for slot, stage in _stages_of(number, asked).items():
            asked_for[slot] += 1
            # What one job calls its victim, without an attack, may be the clean model of others.
            if slot not in different or stage.kind == CLEAN_MODEL:
                different[slot] = stage
    left = {slot for stages in missing for slot in stages}
    lines: dict[str, Line] = {}
    for slot, stage in different.items():
        line = lines.setdefault(stage.kind, Line(stage.kind))
        line.asked_for += asked_for[slot]
        line.different += 1
        line.at_most |= not stage.is_known
        if slot in left:
            line.to_compute += 1
            _add_seconds(line, estimator, stage)
    return sorted(lines.values(), key=_place)


def _add_seconds(line: Line, estimator: Estimator, stage: Stage) -> None:
    seconds, source = estimator.seconds(stage.work)
    if source not in line.estimated_from:
        line.estimated_from.append(source)
    line.seconds = None if seconds is None or line.seconds is None else line.seconds + seconds


def _place(line: Line) -> tuple[int, str]:
    first = (POISONED_SET, VICTIM, CLEAN_MODEL)
    if line.kind in first:
        return first.index(line.kind), ""
    return (8 + LAST.index(line.kind), "") if line.kind in LAST else (7, line.kind)


def _records(jobs: Sequence[Asked], finished: Finished) -> Line:
    line = Line("record", sum(len(asked.points) for asked in jobs))
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
    missing: Sequence[Mapping[Slot, Stage]],
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


def _sizes(
    sweep: Sweep,
    jobs: Sequence[Asked],
    missing: Sequence[Mapping[Slot, Stage]],
    finished: Finished,
) -> list[Size]:
    """What the sweep keeps on disk."""
    stages: dict[tuple[str, str], float | None] = {}
    records: dict[tuple[Path, str], float] = {}
    folders = new_records = 0.0
    for asked in jobs:
        for slot, stage in _stages_of(0, asked).items():
            stages.setdefault(slot[:2], _stage_bytes(asked, stage))
        for point in asked.points:
            size = RECORD_BYTES + SUSPECT_BYTES * point.num_suspects
            size += 8 * point.stages[-1].work.rows
            if (asked.job.outputs, point.record) not in records:
                records[asked.job.outputs, point.record] = size
                new_records += 0 if finished.has_record(asked, point.record) else size
        folders += _folder_bytes(asked)
    new = {slot[:2] for found in missing for slot in found}
    num_runs = sum(planned.tracked for planned in sweep.jobs)
    new_runs = min(num_runs, sum(map(bool, missing)))  # finished jobs get no second one
    lines = [
        _size_of("victims and clean models", stages, new, "victim"),
        _size_of("drift tables", stages, new, "detection"),
        _size_of("poisoned sets", stages, new, "poison"),
        _size_of("predictions", stages, new, "evaluation"),
        Size("records", len(records), sum(records.values()), new_records),
        Size("job folders", len(jobs), folders, folders),
        Size("offline W&B runs", num_runs, num_runs * WANDB_BYTES, new_runs * WANDB_BYTES),
    ]
    return [line for line in lines if line.number]


def _stage_bytes(asked: Asked, stage: Stage) -> float | None:
    """Bytes of a cache entry; None where they are unknown."""
    shape = stage.work.shape
    if stage.kind == POISONED_SET:
        return asked.poisoned_bytes or None
    if stage.kind == EVALUATION:
        return 1_500 + 8 * stage.work.rows if stage.work.rows else None
    if stage.kind == TUNING:
        return 0.0
    if shape is None:
        return None
    per_entry = shape.weights if stage.kind in (VICTIM, CLEAN_MODEL) else shape.vocabulary
    return float(BYTES_PER_WEIGHT * per_entry)


def _folder_bytes(asked: Asked) -> float:
    shape = asked.points[0].stages[-1].work.shape
    tables = len({s.key for p in asked.points for s in p.stages if s.kind.startswith("round")})
    size = FOLDER_BYTES + SUSPECT_BYTES * sum(point.num_suspects for point in asked.points) / 2
    if shape is not None:
        size += BYTES_PER_WEIGHT * shape.vocabulary * tables
        size += BYTES_PER_WEIGHT * shape.weights if asked.job.save_model else 0
    return size


def _size_of(
    what: str,
    stages: Mapping[tuple[str, str], float | None],
    new: Set[tuple[str, str]],
    folder: str,
) -> Size:
    mine = {name: size for name, size in stages.items() if name[0] == folder}
    together = [size for size in mine.values() if size is not None]
    if len(together) < len(mine):
        return Size(what, len(mine), None, None)
    more = sum(size or 0.0 for name, size in mine.items() if name in new)
    return Size(what, len(mine), sum(together), more)


def _notes(planner: Planner, plan: Plan, launcher: Launcher) -> list[str]:
    """What a reader has to know to take the figures right."""
    notes = list(dict.fromkeys([*planner.data.missing, *planner.models.missing]))
    notes = [f"Hours and disk are unknown in part: {reason}" for reason in notes]
    notes += planner.notes
    if not planner.data.all_exact and not planner.data.missing:
        notes.append(
            "There are too many poisoned sets to make them all here. Those that were not made are "
            "told apart by their settings, and what is finished of them is counted as to compute."
        )
    on_gpu = [device for device in plan.rates if not device.startswith("cpu")]
    if on_gpu or plan.given_rate:
        notes.append(
            "Six tenths of the rate is what stages reach on a CPU. Small models leave a GPU idle "
            "most of the time and may take several times as long as said here."
        )
    if launcher.name == "submitit":
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
    sweep: Sweep, plan: Plan, jobs: Sequence[Asked], folders: Iterable[Path]
) -> list[str]:
    found = _cache_warnings(plan, jobs, folders) + _disk_warnings(plan, jobs)
    if plan.num_jobs > MANY_JOBS and plan.launcher == "submitit":
        found.append(
            f"{plan.num_jobs:,} jobs: many clusters refuse an array of more than {MANY_JOBS:,}. "
            "docs/cluster.md says how a sweep is split."
        )
    elif plan.num_jobs > MANY_JOBS:
        found.append(
            f"{plan.num_jobs:,} jobs are a lot for one machine. docs/cluster.md says how a sweep "
            "is given to many."
        )
    composing = plan.num_jobs * sweep.compose_seconds
    if composing > 60 and plan.num_jobs > 1:
        found.append(
            f"Before its first job begins, btu checks the settings of all {plan.num_jobs:,}: "
            f"about {composing / 60:.0f} minutes, which are not in the hours."
        )
    minutes, longest = sweep.launcher.minutes_per_job, plan.longest_job_seconds
    if minutes is not None and longest is not None and longest > 60 * minutes:
        found.append(
            f"The longest job takes {longest / 3600:.1f} hours on this machine, but the launcher "
            f"stops a job after {minutes / 60:.1f}. Write hydra.launcher.timeout_min="
            f"{longest / 60 * 1.5:.0f} or more. (The same command again goes on where it stopped.)"
        )
    return found


def _cache_warnings(plan: Plan, jobs: Sequence[Asked], folders: Iterable[Path]) -> list[str]:
    limits = [asked.job.cache.limit_gb for asked in jobs]
    limit = min((gb for gb in limits if gb is not None), default=None)
    in_cache = ("victims and clean models", "drift tables", "poisoned sets", "predictions")
    sizes = [size for size in plan.disk if size.what in in_cache]
    total = sum(size.bytes_together or 0 for size in sizes)
    more = sum(size.bytes_more or 0 for size in sizes)
    models = sum(size.bytes_together or 0 for size in sizes if size.what == in_cache[0])
    if limit is None:
        return []
    advice = f"Write cache.limit_gb={1.1 * total / 1e9:.0f} or more if the disk has the room."
    if models > limit * 1e9:
        return [
            f"The cache will not hold the {models / 1e9:,.1f} GB of victims and clean models of "
            f"this sweep at once (cache.limit_gb={limit:g}): those used least recently are "
            f"removed, and trained again where a later job needs them. {advice}"
        ]
    now = sum(entry.size for folder in folders for entry in entries(folder))
    if now + more > limit * 1e9:
        return [
            f"The cache holds {now / 1e9:,.1f} GB, and the sweep adds {more / 1e9:,.1f}: more "
            f"than cache.limit_gb={limit:g}. What was used least recently will be removed, first "
            "what other sweeps left."
        ]
    return []


def _disk_warnings(plan: Plan, jobs: Sequence[Asked]) -> list[str]:
    more = sum(size.bytes_more or 0 for size in plan.disk)
    folder = jobs[0].job.outputs.resolve()
    while not folder.is_dir():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if more <= free:
        return []
    return [
        f"The sweep writes {more / 1e9:,.1f} GB, but the disk of {jobs[0].job.outputs} has "
        f"{free / 1e9:,.1f} GB free. Write outputs=PATH, or cache.folder=PATH, for another disk."
    ]
