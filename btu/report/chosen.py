"""What a defender, who knows no trigger, could have chosen, beside what was the best."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from btu.metrics import PICK_RULES, pick
from btu.report.best import best_of, blocks, repairs
from btu.report.grids import (
    Cell,
    Column,
    Grid,
    Line,
    identity_columns,
    labels,
    percent,
    rejected_columns,
    score_columns,
    threshold_text,
)
from btu.report.groups import Group, Spread, average
from btu.report.plots import DECIDED_ONCE
from btu.report.published import find_figures, tell_published
from btu.store.records import Record
from btu.types import ACCURACY, BEFOREHAND

WAYS = {BEFOREHAND: "beforehand", ACCURACY: "trusted rows"}  # in a cell
ABOUT_CHOSEN = (
    "A defender knows no trigger and has no test rows, so each seed takes its threshold by one of "
    f"two rules that need neither. {WAYS[BEFOREHAND].capitalize()}: {PICK_RULES[BEFOREHAND]}; "
    f"{WAYS[ACCURACY]}: {PICK_RULES[ACCURACY]}. The columns marked best are of the threshold that "
    "the results show, which takes knowledge of the trigger; the rows without a defense are what "
    "every choice is to be compared with."
)
ABOUT_COST = (
    "Seconds and passes are means over seeds of all that a model was made from, whenever it was "
    "made. A pass is one forward pass over the training rows; each epoch of training is three, and "
    "the passes of every model count its own training. Seconds of entries that were made on "
    "different machines cannot be compared."
)


@dataclass(frozen=True)
class Chosen:
    """A defense in one block as a defender could have chosen it, or a model without a defense."""

    picked: Group  # of each seed the record picked; its own threshold means nothing
    best: Group | None = None  # what knowledge of the trigger would have chosen; None of a control

    @property
    def thresholds(self) -> tuple[float, ...]:
        """The distinct thresholds that the seeds picked, in order."""
        found = (record.threshold for record in self.picked.records)
        return tuple(sorted({threshold for threshold in found if threshold is not None}))

    @property
    def way(self) -> str:
        """How the threshold was set, in a few words; empty of a control."""
        if self.best is None:
            return ""
        choice = self.best.records[0].choice
        return WAYS.get(choice.rule, choice.rule) if choice else DECIDED_ONCE

    @property
    def seconds(self) -> Spread | None:
        """What its models took in all."""
        return average(record.work.seconds for record in self.picked.records)

    @property
    def passes(self) -> Spread | None:
        """The same in forward passes over the training rows."""
        return average(record.work.passes for record in self.picked.records)


def chosen_rows(groups: Sequence[Group]) -> tuple[Chosen, ...]:
    """Of each block the models without a defense, and every defense as it could be chosen."""
    return tuple(row for block in blocks(groups) for row in (*_controls(block), *choices(block)))


def _controls(block: Sequence[Group]) -> list[Chosen]:
    return [Chosen(group) for group in block if not group.arm.defended]


def choices(block: Sequence[Group]) -> list[Chosen]:
    """Every defense of a block: `defended`, else `unlearned`, each seed at its own threshold."""
    return [Chosen(_pick_each(rows), best_of(rows, block)) for rows in repairs(block)]


def _pick_each(rows: Sequence[Group]) -> Group:
    """The records that the seeds pick among the rows of one defense and arm, as one row."""
    by_seed: dict[int, list[Record]] = defaultdict(list)
    for record in (record for group in rows for record in group.records):
        by_seed[record.seed].append(record)
    picked = (pick(by_seed[seed]) for seed in sorted(by_seed))
    return replace(rows[0], threshold=None, records=tuple(r for r in picked if r is not None))


def chosen_grid(rows: Sequence[Chosen], without: Iterable[str] = ()) -> Grid:
    """The table of what could have been chosen; empty where nothing defends.

    Args:
        rows: those of whole blocks.
        without: columns to leave out.
    """
    if not any(row.best for row in rows):
        return Grid((), (), ())
    columns = [c for c in _columns(rows) if c.title not in set(without)]
    lines = (
        Line(
            tuple(Cell(column.text(row)) for column in columns),
            labels(row.picked),
            row.picked.block,
        )
        for row in rows
    )
    return Grid(tuple(c.title for c in columns), tuple(c.numeric for c in columns), tuple(lines))


def _columns(rows: Sequence[Chosen]) -> list[Column[Chosen]]:
    groups = [row.picked for row in rows]
    columns = [
        *map(_of_picked, identity_columns(groups)),
        Column[Chosen]("arm", lambda row: row.picked.arm.name, numeric=False),
        Column[Chosen]("chosen by", lambda row: row.way, numeric=False),
        Column[Chosen]("threshold", _threshold),
        Column[Chosen]("seeds", lambda row: str(len(row.picked.seeds))),
        *map(_of_picked, (*score_columns(), *rejected_columns(groups))),
        *_detection_columns(rows),
        Column[Chosen]("threshold, best", _of_best(threshold_text)),
        Column[Chosen]("CACC, best", _of_best(lambda best: percent(best.cacc))),
        Column[Chosen]("excess, best", _of_best(lambda best: percent(best.excess))),
        Column[Chosen]("seconds", lambda row: f"{row.seconds.mean:,.0f}" if row.seconds else ""),
        Column[Chosen]("passes", lambda row: f"{row.passes.mean:,.1f}" if row.passes else ""),
    ]
    if has_published(rows):
        published = Column[Chosen](
            "published", lambda row: tell_published(row.picked), numeric=False
        )
        columns.append(published)
    return columns


def _detection_columns(rows: Sequence[Chosen]) -> list[Column[Chosen]]:
    """How well training rows or inputs were told apart, where a defense of these rows does that."""
    columns = [
        Column[Chosen](f"{name}, rows or inputs", partial(_detected, name))
        for name in ("precision", "recall", "AUROC")
    ]
    return columns if any(column.text(row) for column in columns for row in rows) else []


def _detected(name: str, row: Chosen) -> str:
    """Of the training rows that were found, else of the inputs that were rejected."""
    key, found = name.lower(), [record.detection or {} for record in row.picked.records]
    return percent(average(each.get(f"row_{key}", each.get(f"input_{key}")) for each in found))


def has_published(rows: Sequence[Chosen]) -> bool:
    """Whether published figures are of interest: there are some, or several defenses."""
    defenses = {row.picked.defense for row in rows if row.best}
    return len(defenses) > 1 or any(find_figures(row.picked) for row in rows)


def _of_picked(column: Column[Group]) -> Column[Chosen]:
    return Column(column.title, lambda row: column.text(row.picked), numeric=column.numeric)


def _of_best(text: Callable[[Group], str]) -> Callable[[Chosen], str]:
    return lambda row: text(row.best) if row.best else ""


def _threshold(row: Chosen) -> str:
    """The thresholds picked, or why none was."""
    if row.best is None or row.picked.records:
        return ", ".join(f"{threshold:g}" for threshold in row.thresholds)
    choice = row.best.records[0].choice
    if choice and choice.rule == BEFOREHAND and choice.beforehand is not None:
        return f"{choice.beforehand:g} was not tried"
    return "none was set"
