"""Which rows of a table are marked as best, and the rule in words."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from btu.metrics import BEST_RULE, BLIND_RULE, Judged, best_row, most_repair, undominated
from btu.report.groups import Group, Spread
from btu.types import PLAIN

RULE = (
    "Bold, among the unlearned and defended rows shown of one dataset, attack and model: the "
    f"highest CACC, the lowest excess and the best score. B{BEST_RULE[1:]}. The score is that "
    "difference, mean over seeds: what a defender could have picked, not what one would have."
)
RULE_BLIND = (
    f"Where no trigger is known there is no score; the row shown is that of {BLIND_RULE}, or that "
    "of the highest CACC where all cost more."
)
ABOUT_SPREAD = (
    "Per cent, mean over seeds ± sample standard deviation (n - 1), from two seeds on. CACC is "
    "measured on the clean test rows; ASR, base rate and PACC on the attacked rows. Excess is what "
    "ASR exceeds the base rate by, at least 0. An input that a defense rejects counts as wrong, "
    "not as attacked."
)


@dataclass(frozen=True)
class Marked:
    """A row of a table and which of its values are the best of its block."""

    group: Group
    best: bool = False
    lowest_excess: bool = False
    highest_cacc: bool = False


def all_rows(groups: Sequence[Group]) -> tuple[Marked, ...]:
    """Every row with its marks."""
    return tuple(row for block in blocks(groups) for row in _marked(block))


def main_rows(groups: Sequence[Group]) -> tuple[Marked, ...]:
    """The undefended rows, and of each defense and arm the row at its best threshold."""
    return tuple(row for block in blocks(groups) for row in _marked(_at_best(block)))


def best_repairs(groups: Sequence[Group]) -> tuple[Group, ...]:
    """Of each defense in each block the best row: `defended`, else `unlearned`."""
    return tuple(best_of(rows, block) for block in blocks(groups) for rows in repairs(block))


def repairs(block: Sequence[Group]) -> list[list[Group]]:
    """Of each defense in a block the rows that show it: `defended`, else `unlearned`."""
    shown: list[list[Group]] = []
    for rows in _split([g for g in block if g.arm.defended], lambda g: g.decision):
        whole = [g for g in rows if g.arm.tuned] or rows
        shown += _split(whole, lambda g: g.variant)
    return shown


def best_of(rows: Sequence[Group], block: Sequence[Group]) -> Group:
    """The row at the threshold that `btu.metrics.choose` would take, on means over seeds.

    Args:
        rows: of one defense and arm.
        block: the rows that they can be compared with.
    """
    scored = [g for g in rows if g.score]
    if scored:
        return best_row(scored, _judge)
    plain = [_mean(g.cacc) for g in block if g.arm.name in PLAIN and g.may_control(rows[0])]
    return most_repair(rows, _judge, plain) or max(rows, key=lambda g: _mean(g.cacc))


def blocks(groups: Sequence[Group]) -> list[list[Group]]:
    """The rows of each dataset, attack and model (and settings they share), in order."""
    return _split(groups, lambda g: g.block)


def studies(groups: Sequence[Group]) -> dict[tuple[str, str], list[Group]]:
    """The rows of each dataset and model: what one table or picture can show of all attacks."""
    rows: dict[tuple[str, str], list[Group]] = {}
    for group in groups:
        rows.setdefault((group.dataset, group.model), []).append(group)
    return rows


def _at_best(block: Sequence[Group]) -> list[Group]:
    shown: list[Group] = []
    for rows in _split(block, lambda g: (g.variant, g.arm)):
        shown += [best_of(rows, block)] if rows[0].arm.defended else rows
    return shown


def _marked(block: Sequence[Group]) -> list[Marked]:
    repaired = [g for g in block if g.arm.defended]
    scored = undominated([g for g in repaired if g.score], _judge)
    score = max((_mean(g.score) for g in scored), default=None)
    best = {id(g) for g in scored if _mean(g.score) == score}
    excess = min((g.excess.mean for g in repaired if g.excess), default=None)
    cacc = max((g.cacc.mean for g in repaired if g.cacc), default=None)
    return [
        Marked(
            group=g,
            best=id(g) in best,
            lowest_excess=g.arm.defended and g.excess is not None and g.excess.mean == excess,
            highest_cacc=g.arm.defended and g.cacc is not None and g.cacc.mean == cacc,
        )
        for g in block
    ]


def _judge(group: Group) -> Judged:
    return Judged(_mean(group.cacc), _mean(group.asr), _mean(group.score), group.threshold)


def _mean(spread: Spread | None) -> float:
    return spread.mean if spread else -1.0


def _split(groups: Sequence[Group], by: Callable[[Group], Any]) -> list[list[Group]]:
    parts: dict[Any, list[Group]] = defaultdict(list)
    for group in groups:
        parts[by(group)].append(group)
    return list(parts.values())
