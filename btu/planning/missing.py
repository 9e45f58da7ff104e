"""What a job would have to compute if it ran now: what neither records nor the cache hold."""

from __future__ import annotations

from pathlib import Path

from btu.planning.stages import Asked, PlannedStage
from btu.store.records import KEY_LENGTH

Slot = tuple[str, str, str]  # stage, key, and its cache; with force=true the job, too


class Finished:
    """What is in caches and among records, by name."""

    def __init__(self) -> None:
        self._names: dict[tuple[str, str], frozenset[str]] = {}

    def _has(self, place: str, folder: str, name: str) -> bool:
        if (place, folder) not in self._names:
            path = Path(place) / folder
            found = path.iterdir() if path.is_dir() else ()
            self._names[place, folder] = frozenset(each.name for each in found)
        return name in self._names[place, folder]

    def has_stage(self, asked: Asked, stage: PlannedStage) -> bool:
        """Whether a stage is in the job's cache."""
        return self._has(asked.job.cache.folder, stage.name, stage.key)

    def has_record(self, asked: Asked, identity: str) -> bool:
        """Whether a record is among those of the job's outputs."""
        return self._has(str(asked.job.outputs), "records", f"{identity[:KEY_LENGTH]}.json")


def slot_of(number: int, asked: Asked, stage: PlannedStage) -> Slot:
    """What a stage is computed once for."""
    place = asked.job.cache.folder
    return stage.name, stage.key, f"{place} {number}" if asked.job.force else place


def stages_of(number: int, asked: Asked) -> dict[Slot, PlannedStage]:
    """Every stage that a job asks for, once."""
    stages = [asked.poisoned_set] if asked.poisoned_set else []
    stages += [stage for point in asked.points for stage in point.stages]
    return {slot_of(number, asked, stage): stage for stage in stages}


def missing_stages(number: int, asked: Asked, finished: Finished) -> dict[Slot, PlannedStage]:
    """What a job would have to compute if it ran now, alone, in the order of its run."""
    force = asked.job.force
    found: dict[Slot, PlannedStage] = {}

    def need(stage: PlannedStage) -> None:
        if force or not stage.in_cache or not finished.has_stage(asked, stage):
            found.setdefault(slot_of(number, asked, stage), stage)

    if asked.poisoned_set:
        need(asked.poisoned_set)
    for point in asked.points:
        if not force and finished.has_record(asked, point.record):
            continue
        evaluation = point.stages[-1]
        is_evaluated = not force and finished.has_stage(asked, evaluation)
        for stage in point.stages:
            if not is_evaluated or stage.decides:
                need(stage)
    return found
