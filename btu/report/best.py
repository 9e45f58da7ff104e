"""Which rows of a table are marked as best, and the rule in words."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from btu.metrics import CACC_MARGIN
from btu.report.groups import Group, Share
from btu.types import REPAIRED

RULE = (
    "Bold, among the unlearned and defended rows shown of one dataset, attack and model: the "
    "highest score, the lowest ASR and the highest CACC. The score is CACC - max(0, ASR - base "
    "rate), the mean over seeds, the smaller threshold of equals. It needs knowledge of the "
    "trigger: it is the best that a defender could have picked, not what one would have picked."
)
RULE_BLIND = (
    "Where no trigger is known there is no score: the best threshold is the largest whose CACC is "
    f"within {100 * CACC_MARGIN:.0f} points of the best of its arm."
)
ABOUT_SPREAD = (
    "Per cent, mean over seeds ± sample standard deviation (n - 1), from two seeds on. CACC is "
    "measured on the clean test rows; ASR, base rate and PACC on the attacked rows. Excess is "
    "ASR - base rate, in points."
)


@dataclass(frozen=True)
class Marked:
    """A row of a table and which of its values are the best of its block."""

    group: Group
    best: bool = False
    lowest_asr: bool = False
    highest_cacc: bool = False


def all_rows(groups: Sequence[Group]) -> tuple[Marked, ...]:
    """Every row with its marks."""
    return tuple(row for block in blocks(groups) for row in _marked(block))


def main_rows(groups: Sequence[Group]) -> tuple[Marked, ...]:
    """The undefended rows, and of each defense and arm the row at its best threshold."""
    return tuple(row for block in blocks(groups) for row in _marked(_at_best(block)))


def best_repairs(groups: Sequence[Group]) -> tuple[Group, ...]:
    """Of each defense in each block the best row: `defended`, else `unlearned`."""
    found = []
    for block in blocks(groups):
        for rows in _split(block, lambda g: g.variant):
            arms = [best for arm in REPAIRED if (best := best_of(rows, arm))]
            found.extend(arms[:1])
    return tuple(found)


def best_of(groups: Iterable[Group], arm: str) -> Group | None:
    """The row of an arm at the threshold that `btu.arms.choose` would take, on means over seeds."""
    rows = [g for g in groups if g.arm == arm]
    if not rows:
        return None
    if any(g.score for g in rows):
        return max(rows, key=_weight)
    enough = max(_mean(g.cacc) for g in rows) - CACC_MARGIN
    return max((g for g in rows if _mean(g.cacc) >= enough), key=lambda g: g.threshold or 0)


def blocks(groups: Sequence[Group]) -> list[list[Group]]:
    """The rows of each dataset, attack and model (and settings they share), in order."""
    return _split(groups, lambda g: g.block)


def _at_best(block: Sequence[Group]) -> list[Group]:
    kept: list[Group] = []
    for rows in _split(block, lambda g: (g.variant, g.arm)):
        best = best_of(rows, rows[0].arm) if rows[0].arm in REPAIRED else None
        kept.extend([best] if best else rows)
    return kept


def _marked(block: Sequence[Group]) -> list[Marked]:
    repaired = [g for g in block if g.arm in REPAIRED]
    score = max((g.score.mean for g in repaired if g.score), default=None)
    asr = min((g.asr.mean for g in repaired if g.asr), default=None)
    cacc = max((g.cacc.mean for g in repaired if g.cacc), default=None)
    return [
        Marked(
            group=g,
            best=g.arm in REPAIRED and g.score is not None and g.score.mean == score,
            lowest_asr=g.arm in REPAIRED and g.asr is not None and g.asr.mean == asr,
            highest_cacc=g.arm in REPAIRED and g.cacc is not None and g.cacc.mean == cacc,
        )
        for g in block
    ]


def _weight(group: Group) -> tuple[float, float]:
    return (_mean(group.score), -(group.threshold or 0))


def _mean(share: Share | None) -> float:
    return share.mean if share else -1.0


def _split(groups: Sequence[Group], by: Callable[[Group], Any]) -> list[list[Group]]:
    found: dict[Any, list[Group]] = defaultdict(list)
    for group in groups:
        found[by(group)].append(group)
    return list(found.values())
