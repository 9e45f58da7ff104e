"""How attacked texts are typed, before and after: what a model could learn besides the trigger."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean

from btu.data.formats import WARN_POINTS
from btu.report.grids import Cell, Grid, Line, identity_columns
from btu.report.groups import Group, is_of_method
from btu.types import FormatShift

ABOUT_FORMAT = (
    "How the rows that get the trigger are typed, before and after; bold where a share moves by "
    f"more than {WARN_POINTS} points. A model may learn that in place of the trigger: "
    "attack.normalize_format=true is the control."
)
Shifts = dict[str, list[FormatShift]]  # by measure


def format_grid(groups: Sequence[Group]) -> Grid:
    """A row per attack and split, means over the records; no rows where nothing was planted."""
    columns = [
        column
        for column in identity_columns(groups)
        if column.title not in ("model", "defense") and not is_of_method(column.title)
    ]
    shifts_of: dict[tuple[tuple[str, ...], str], Shifts] = {}
    labels = {}
    for group in groups:
        names = tuple(column.text(group) for column in columns)
        for shift in (shift for record in group.records for shift in record.format_shifts):
            key = names, shift.split
            shifts_of.setdefault(key, defaultdict(list))[shift.measure].append(shift)
            labels[key] = {"dataset": group.dataset, "attack": group.attack}
    measures = list(dict.fromkeys(m for shifts in shifts_of.values() for m in shifts))
    lines = (
        Line(
            (*map(Cell, (*names, split)), *(_moved(shifts.get(m, [])) for m in measures)),
            labels[names, split],
            names,
        )
        for (names, split), shifts in shifts_of.items()
    )
    titles = (*(column.title for column in columns), "rows", *measures)
    numeric = (*(column.numeric for column in columns), False, *(True for _ in measures))
    return Grid(titles, numeric, tuple(lines))


def _moved(shifts: Sequence[FormatShift]) -> Cell:
    if not shifts:
        return Cell("")
    before = fmean(shift.original for shift in shifts)
    after = fmean(shift.triggered for shift in shifts)
    if not shifts[0].is_share:
        return Cell(f"{before:.1f} to {after:.1f}")
    text = f"{100 * before:.0f} to {100 * after:.0f} %"
    return Cell(text, bold=100 * abs(after - before) > WARN_POINTS)
