"""Pictures that compare: all attacks and defenses at once, and the values of a setting."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from btu.report import panels
from btu.report.best import best_of, best_repairs, blocks, studies
from btu.report.drawn import Picture
from btu.report.grids import percent
from btu.report.groups import Group, natural
from btu.report.palette import legend_height, short
from btu.report.titles import (
    CONTROLS,
    attack_of,
    controls_of,
    settings_of,
    study_of,
    subject_of,
    variant_of,
)
from btu.store.records import CHOICES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_ROWS = 80  # of an overview
MOST_LINES = 12  # of an ablation
Lines = dict[str, dict[str, Group]]  # of each series its rows by the value of a setting


def overviews(groups: Sequence[Group]) -> list[Picture]:
    """A picture per dataset and model: every attack, without defense and with each at its best."""
    pictures = []
    for name, rows in studies(groups).items():
        attacks = [(attack_of(block[0]), _compared(block)) for block in blocks(rows)]
        if any(len(compared) > 1 for _, compared in attacks):
            pictures.append(_overview(name, rows, attacks))
    return pictures


def _compared(block: Sequence[Group]) -> dict[str, Group]:
    return {**controls_of(block), **{variant_of(g): g for g in best_repairs(block)}}


def _overview(
    name: tuple[str, str],
    rows: Sequence[Group],
    attacks: Sequence[tuple[str, Mapping[str, Group]]],
) -> Picture:
    shown: list[tuple[str, Mapping[str, Group]]] = []
    num_rows = 0
    for attack, compared in attacks:
        if num_rows + len(compared) <= MOST_ROWS or not shown:
            shown.append((attack, compared))
            num_rows += len(compared)
    title = f"What each defense leaves of the backdoor on {study_of(rows[0])}"
    if len(shown) < len(attacks):
        title += f" ({len(shown)} of {len(attacks)} attacks and settings)"
    told = "; ".join(
        f"{' '.join(attack.split())}, {series}: CACC {percent(g.cacc)}, ASR {percent(g.asr)}, "
        f"base rate {percent(g.base_rate)}"
        for attack, compared in shown
        for series, g in compared.items()
    )
    names = [short(series) for _, compared in shown for series in compared]
    size = (4.8, 1.2 + 0.17 * num_rows + 0.14 * len(shown) + legend_height(names, title))
    paint = partial(_paint_overview, title, shown)
    return Picture("overview", title, name, f"{title}. {told}", labels_in(rows), size, paint)


def _paint_overview(
    title: str, attacks: Sequence[tuple[str, Mapping[str, Group]]], figure: Figure
) -> None:
    panels.draw_overview(figure, title, attacks)


def ablations(groups: Sequence[Group]) -> list[Picture]:
    """A picture per setting that differs, the setting on the x axis, and all else equal.

    Where a record was computed is not a setting, and one that only moves together with another has
    nothing to be plotted against.
    """
    pictures = []
    for key in (key for key in (groups[0].settings if groups else ()) if "." in key):
        alike: dict[tuple[Any, ...], list[Group]] = defaultdict(list)
        for group in groups:
            alike[_but_for(key, group)].append(group)
        for rows in alike.values():
            lines = _lines(key, rows)
            values = {value for line in lines.values() for value in line} - {""}
            if len(values) > 1 and lines:
                pictures.append(_ablation(key, sorted(values, key=natural), rows[0], lines))
    return pictures


def _but_for(key: str, group: Group) -> tuple[Any, ...]:
    """What the rows of one ablation share: their block without the setting."""
    *names, shared = group.block
    return (*names, tuple((k, v) for k, v in shared if k != key))


def _lines(key: str, rows: Sequence[Group]) -> Lines:
    """The series that have several values, and the levels that the setting does not touch."""
    points: dict[str, dict[str, list[Group]]] = defaultdict(lambda: defaultdict(list))
    for group in rows:
        if group.arm in CONTROLS or group.arm.defended:
            points[_series(key, group)][group.settings[key]].append(group)
    lines = {
        name: {v: best_of(g, rows) if g[0].arm.defended else g[0] for v, g in by.items()}
        for name, by in points.items()
        if len(by) > 1 or "" in by
    }
    return lines if any(len(line) > 1 for line in lines.values()) else {}


def _series(key: str, group: Group) -> str:
    """The control, or the defense, with the other settings of its method."""
    if group.arm not in CONTROLS:
        return variant_of(group, without=key) + " (unlearned)" * (group.arm.name == "unlearned")
    return " ".join([CONTROLS[group.arm], *settings_of(group, without=key)])


def _ablation(key: str, values: Sequence[str], first: Group, lines: Lines) -> Picture:
    shown = dict(list(lines.items())[:MOST_LINES])
    subject = subject_of(first, without=key)
    title = f"Effect of {key}: {subject}"
    if len(shown) < len(lines):
        title += f" ({len(shown)} of {len(lines)} series)"
    told = "; ".join(
        f"{name}{f' at {value}' * bool(value)}: CACC {percent(g.cacc)}, ASR {percent(g.asr)}"
        for name, line in shown.items()
        for value, g in line.items()
    )
    rows = [group for line in lines.values() for group in line.values()]
    paint = partial(_paint_ablation, title, panels.axis_of(key, values), shown)
    names = [short(name) for name in shown]
    size = (4.8, 3.9 + legend_height(names, title))
    return Picture(
        "ablations", title, (key, subject), f"{title}. {told}", labels_in(rows), size, paint
    )


def _paint_ablation(title: str, axis: panels.Axis, lines: Lines, figure: Figure) -> None:
    panels.draw_ablation(figure, title, axis, lines)


def labels_in(rows: Sequence[Group]) -> dict[str, tuple[str, ...]]:
    """The data sets, attacks, models and defenses of rows, which filters look at."""
    distinct = {name: dict.fromkeys(getattr(g, name) for g in rows) for name in CHOICES}
    return {name: tuple(values) for name, values in distinct.items()}
