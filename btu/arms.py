"""The arms: what each needs, which a data set allows, and which repaired one is chosen."""

from __future__ import annotations

from collections.abc import Sequence

from btu.errors import ConfigError
from btu.store.records import Record
from btu.types import PoisonedDataset

WITH_SUSPECTS = ("unlearned", "defended")
WITH_TUNING = ("tuned", "defended")
WITH_DEFENSE = ("tuned", *WITH_SUSPECTS)
CACC_MARGIN = 0.02  # what a repair may cost where no trigger is known


def possible_arms(
    wanted: Sequence[str], data: PoisonedDataset
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The wanted arms that the data allow, and a sentence for each that they do not.

    Raises:
        ConfigError: none is left.
    """
    arms, notes = list(wanted), []
    if data.target_label is None and "clean" in arms and len(arms) > 1:
        arms.remove("clean")
        notes.append("arm clean left out: without an attack it is the arm poisoned")
    if data.clean.tuning is None and (missing := [arm for arm in arms if arm in WITH_TUNING]):
        arms = [arm for arm in arms if arm not in WITH_TUNING]
        notes.append(f"arms {', '.join(missing)} left out: they need dataset.tuning, clean rows")
    if wanted and not arms:
        raise ConfigError(
            "arms: tuned and defended need clean labelled rows. Write dataset.tuning=PATH, or add "
            "poisoned or unlearned to arms."
        )
    return tuple(arms), tuple(notes)


def choose(records: list[Record]) -> Record | None:
    """The repaired record at the threshold that is marked as chosen.

    With an attack: the best CACC minus excess ASR, the smaller threshold of equals. That takes
    knowledge of the trigger: it is the best that a defender could have picked. Without one: the
    most repair that costs little, the largest threshold within `CACC_MARGIN` of the best CACC.
    """
    for arm in ("defended", "unlearned"):
        rows = [r for r in records if r.arm == arm]
        if rows and rows[0].scores.asr is not None:
            return max(rows, key=lambda r: (r.scores.cacc - r.excess_asr, -(r.threshold or 0)))
        if rows:
            enough = max(r.scores.cacc for r in rows) - CACC_MARGIN
            return max((r for r in rows if r.scores.cacc >= enough), key=lambda r: r.threshold or 0)
    return None
