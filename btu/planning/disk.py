"""What a sweep keeps on disk, and whether there is room for it."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from btu.job import BYTES_PER_WEIGHT
from btu.planning.jobs import Sweep
from btu.planning.missing import Finished, Slot, stages_of
from btu.planning.stages import POISONED_SET, Asked, PlannedStage
from btu.store.cache import entries

# Measured on the demo: a record and each suspect in it, a job's folder, an offline W&B run.
RECORD_BYTES, SUSPECT_BYTES, FOLDER_BYTES, WANDB_BYTES = 10_000, 1_000, 75_000, 95_000
ROW_BYTES = 20  # of a scored row: its label and two probabilities
MODELS = "trained models"
IN_CACHE = (MODELS, "drift tables", "poisoned sets", "predictions")


@dataclass
class Size:
    """One kind of file that the sweep writes."""

    what: str
    number: int
    bytes_together: float | None
    bytes_more: float | None  # than there is now


def sizes(
    sweep: Sweep,
    jobs: Sequence[Asked],
    missing: Sequence[Mapping[Slot, PlannedStage]],
    finished: Finished,
) -> list[Size]:
    """What the sweep keeps on disk."""
    stages: dict[Slot, float | None] = {}
    new: set[Slot] = set()
    records: dict[tuple[Path, str], float] = {}
    folders = new_records = 0.0
    for asked, found in zip(jobs, missing, strict=True):
        place = asked.job.cache.folder
        for (kind, key, _), stage in stages_of(0, asked).items():
            if stage.in_cache:
                stages.setdefault((kind, key, place), _stage_bytes(asked, stage))
        new |= {(kind, key, place) for kind, key, _ in found}
        for point in asked.points:
            size = RECORD_BYTES + SUSPECT_BYTES * point.num_suspects
            size += ROW_BYTES * point.stages[-1].work.rows
            if (asked.job.outputs, point.record) not in records:
                records[asked.job.outputs, point.record] = size
                new_records += 0 if finished.has_record(asked, point.record) else size
        folders += _folder_bytes(asked)
    num_runs = min(len(jobs), sum(planned.tracked for planned in sweep.jobs))
    new_runs = min(num_runs, sum(map(bool, missing)))  # finished jobs get no second one
    lines = [
        _size_of(MODELS, stages, new, "victim"),
        _size_of("drift tables", stages, new, "detection"),
        _size_of("poisoned sets", stages, new, "poison"),
        _size_of("predictions", stages, new, "evaluation"),
        Size("records", len(records), sum(records.values()), new_records),
        Size("job folders", len(jobs), folders, folders),
        Size("offline W&B runs", num_runs, num_runs * WANDB_BYTES, new_runs * WANDB_BYTES),
    ]
    return [line for line in lines if line.number]


def _stage_bytes(asked: Asked, stage: PlannedStage) -> float | None:
    """Bytes of a cache entry; None where they are unknown."""
    shape = stage.work.shape
    if stage.kind == POISONED_SET:
        return asked.poisoned_bytes or None
    if not stage.in_cache:
        return 0.0
    if stage.name in ("victim", "detection"):
        if shape is None:
            return None
        per_entry = shape.weights if stage.name == "victim" else shape.vocabulary
        return float(BYTES_PER_WEIGHT * per_entry)
    return 1_500 + ROW_BYTES * stage.work.rows if stage.work.rows else None


def _folder_bytes(asked: Asked) -> float:
    shape = asked.points[0].stages[-1].work.shape if asked.points else None
    tables = len({s.key for p in asked.points for s in p.stages if s.name == "detection"})
    size = FOLDER_BYTES + SUSPECT_BYTES * sum(point.num_suspects for point in asked.points) / 2
    if shape is not None:
        size += BYTES_PER_WEIGHT * shape.vocabulary * tables
        size += BYTES_PER_WEIGHT * shape.weights if asked.job.save_model else 0
    return size


def _size_of(
    what: str,
    stages: Mapping[Slot, float | None],
    new: Set[Slot],
    folder: str,
) -> Size:
    mine = {name: size for name, size in stages.items() if name[0] == folder}
    together = [size for size in mine.values() if size is not None]
    if len(together) < len(mine):
        return Size(what, len(mine), None, None)
    more = sum(size or 0.0 for name, size in mine.items() if name in new)
    return Size(what, len(mine), sum(together), more)


def cache_warnings(
    disk: Sequence[Size], jobs: Sequence[Asked], folders: Iterable[Path]
) -> list[str]:
    """What the limit of the cache would do to the sweep."""
    limit = _limit(jobs)
    kept = [size for size in disk if size.what in IN_CACHE]
    total = sum(size.bytes_together or 0 for size in kept)
    more = sum(size.bytes_more or 0 for size in kept)
    models = sum(size.bytes_together or 0 for size in kept if size.what == MODELS)
    if limit is None:
        return []
    advice = f"Write cache.limit_gb={1.1 * total / 1e9:.0f} or more if the disk has the room."
    if models > limit * 1e9:
        return [
            f"The cache will not hold the {models / 1e9:,.1f} GB of trained models of "
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


def _limit(jobs: Sequence[Asked]) -> float | None:
    limits = [asked.job.cache.limit_gb for asked in jobs]
    return min((gb for gb in limits if gb is not None), default=None)


def disk_warnings(disk: Sequence[Size], jobs: Sequence[Asked]) -> list[str]:
    """Whether the disk of the outputs is too small."""
    limit = _limit(jobs)
    in_cache = sum(size.bytes_more or 0 for size in disk if size.what in IN_CACHE)
    more = min(in_cache, float("inf") if limit is None else limit * 1e9)
    more += sum(size.bytes_more or 0 for size in disk if size.what not in IN_CACHE)
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
