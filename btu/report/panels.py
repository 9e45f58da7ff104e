"""What is drawn of several rows of a table at once: all attacks, or the values of one setting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from btu.report.groups import Group, Spread
from btu.report.palette import (
    INK,
    LINE,
    MUTED,
    PAPER,
    Look,
    series_look,
    set_legend,
    set_title,
    short,
    wrapped,
)
from btu.report.titles import CONTROLS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DECADE = 10  # an axis whose values span more is logarithmic
MOST_TICKS = 9
CONTROL_LOOKS = dict(
    zip(
        CONTROLS.values(),
        (
            Look(INK, "--", "X", "full"),
            Look(MUTED, "-.", "D", "full"),
            Look(MUTED, ":", "s", "none"),
        ),
        strict=True,
    )
)


@dataclass(frozen=True)
class Axis:
    """The values of a setting along an axis: where they stand, and what is written there."""

    label: str
    places: Mapping[str, float]  # by the value as it is typed
    scale: str  # linear, log, symlog; categories: without lines between them


def axis_of(setting: str, values: Sequence[str]) -> Axis:
    """Numbers by size, on a logarithm where they span a decade; anything else side by side."""
    try:
        places = {value: float(value) for value in values}
    except ValueError:
        return Axis(setting, {value: float(at) for at, value in enumerate(values)}, "categories")
    positive = [place for place in places.values() if place > 0]
    spans = bool(positive) and max(positive) >= DECADE * min(positive)
    if not spans or min(places.values()) < 0:
        return Axis(setting, places, "linear")
    return Axis(setting, places, "log" if len(positive) == len(places) else "symlog")


def looks_of(names: Sequence[str]) -> dict[str, Look]:
    """A look for each series; that of a control is always the same."""
    defenses = [name for name in names if name not in CONTROL_LOOKS]
    looks = {name: series_look(at) for at, name in enumerate(defenses)}
    return {name: CONTROL_LOOKS.get(name) or looks[name] for name in names}


def draw_overview(
    figure: Figure, title: str, attacks: Sequence[tuple[str, Mapping[str, Group]]]
) -> None:
    """A row per attack and model: from its base rate to its ASR, and its CACC.

    Args:
        figure: an empty one.
        title: above all panels.
        attacks: of each attack its name and its rows by the name of their series.
    """
    looks = looks_of(list(dict.fromkeys(name for _, rows in attacks for name in rows)))
    attacked = any(group.asr for _, rows in attacks for group in rows.values())
    scores = ("asr", "cacc") if attacked else ("cacc",)
    panels = figure.subplots(1, len(scores), sharey=True, squeeze=False)[0]
    ticks, y = [], 0.0
    for name, rows in attacks:
        ticks.append((y + (len(rows) - 1) / 2, wrapped(name, 18)))
        for series, group in rows.items():
            for panel, score in zip(panels, scores, strict=True):
                _draw_row(panel, y, group, score, looks[series])
            y += 1
        for panel in panels:
            panel.axhline(y - 0.1, color=LINE, lw=0.6)
        y += 0.8
    for panel, score in zip(panels, scores, strict=True):
        panel.set_xlabel("ASR, % (from the base rate)" if score == "asr" else "CACC, %")
        panel.grid(axis="x")
        panel.set_yticks([at for at, _ in ticks], [name for _, name in ticks], color=INK)
        panel.tick_params(axis="y", length=0)
    panels[0].set_ylim(y - 0.8, -0.8)
    panels[-1].locator_params(axis="x", nbins=3)
    if attacked:
        panels[0].set_xlim(-4, 104)
    for name, look in looks.items():
        plot_series(panels[0], [], [], look, label=short(name))
    set_title(figure, title)
    set_legend(figure)


def _draw_row(axes: Axes, y: float, group: Group, score: str, look: Look) -> None:
    spread: Spread | None = getattr(group, score)
    if spread is None:
        return
    if score == "asr" and group.base_rate:
        base = 100 * group.base_rate.mean
        axes.hlines(y, base, 100 * spread.mean, color=look.color, lw=2.6, alpha=0.4)
        axes.plot([base], [y], "|", color=look.color, ms=7, mew=1.4)
    axes.errorbar(
        100 * spread.mean,
        y,
        xerr=100 * (spread.std or 0),
        fmt="none",
        ecolor=look.color,
        elinewidth=0.7,
    )
    plot_series(axes, [100 * spread.mean], [y], look)


def plot_series(
    axes: Axes,
    xs: Sequence[float],
    ys: Sequence[float],
    look: Look,
    line: str = "",
    label: str | None = None,
) -> None:
    """The marks of one series, joined if a line is given."""
    axes.plot(
        xs,
        ys,
        line,
        marker=look.marker,
        color=look.color,
        fillstyle=look.fill,
        ms=5.5,
        lw=1.3,
        markeredgecolor=PAPER if look.fill == "full" else look.color,
        markeredgewidth=0.4 if look.fill == "full" else 1.2,
        label=label,
    )


def draw_ablation(
    figure: Figure, title: str, axis: Axis, lines: Mapping[str, Mapping[str, Group]]
) -> None:
    """ASR and CACC against the values of a setting, a line per series.

    Args:
        figure: an empty one.
        title: above all panels.
        axis: the setting.
        lines: of each series its rows by value; a row of the value "" holds at every value.
    """
    attacked = any(group.asr for rows in lines.values() for group in rows.values())
    scores = ("asr", "cacc") if attacked else ("cacc",)
    panels = figure.subplots(len(scores), 1, sharex=True, squeeze=False)[:, 0]
    looks = looks_of(list(lines))
    for panel, score in zip(panels, scores, strict=True):
        for name, rows in lines.items():
            _draw_line(panel, axis, rows, score, looks[name])
        panel.set_ylabel("ASR, %\n(thin: base rate)" if score == "asr" else "CACC, %")
        panel.grid(axis="y")
    _set_axis(panels[-1], axis)
    if attacked:
        panels[0].set_ylim(-4, 104)
    for name, look in looks.items():
        level = set(lines[name]) == {""}
        line = "" if axis.scale == "categories" and not level else look.line
        marker = Look(look.color, look.line, "" if level else look.marker, look.fill)
        plot_series(panels[0], [], [], marker, line, short(name))
    set_title(figure, title)
    set_legend(figure)


def _draw_line(axes: Axes, axis: Axis, rows: Mapping[str, Group], score: str, look: Look) -> None:
    if "" in rows:
        spread: Spread | None = getattr(rows[""], score)
        if spread:
            axes.axhline(100 * spread.mean, ls=look.line, color=look.color, lw=1.1, alpha=0.8)
        return
    points = sorted(
        ((axis.places[value], group) for value, group in rows.items()), key=lambda point: point[0]
    )
    known = [(x, getattr(group, score)) for x, group in points if getattr(group, score)]
    for x, spread in known:
        if spread.std:
            axes.errorbar(
                x,
                100 * spread.mean,
                yerr=100 * spread.std,
                fmt="none",
                ecolor=look.color,
                elinewidth=0.7,
            )
    line = "" if axis.scale == "categories" else look.line
    plot_series(axes, [x for x, _ in known], [100 * s.mean for _, s in known], look, line)
    base = [(x, 100 * group.base_rate.mean) for x, group in points if group.base_rate]
    if score == "asr" and base:
        shape = "_" if axis.scale == "categories" else "-"
        axes.plot(
            [x for x, _ in base], [y for _, y in base], shape, color=look.color, lw=0.8, alpha=0.6
        )


def _set_axis(axes: Axes, axis: Axis) -> None:
    axes.set_xlabel(wrapped(axis.label))
    if axis.scale == "symlog":
        smallest = min(place for place in axis.places.values() if place > 0)
        axes.set_xscale("symlog", linthresh=smallest)
    elif axis.scale == "log":
        axes.set_xscale("log")
    axes.minorticks_off()
    if axis.scale == "categories" or len(axis.places) <= MOST_TICKS:
        axes.set_xticks(list(axis.places.values()), [wrapped(v, 12) for v in axis.places])
    if axis.scale == "categories":
        axes.set_xlim(-0.5, len(axis.places) - 0.5)
