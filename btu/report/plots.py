"""What is drawn: curves over thresholds, trade-offs, the heat map and the distances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from btu.metrics import by_size
from btu.report.groups import Spread, average
from btu.report.palette import (
    ASR_COLOR,
    BLUE,
    CACC_COLOR,
    INK,
    LINE,
    MARKERS,
    MUTED,
    PAPER,
    VERMILLION,
    Look,
    new_figure,
    series_look,
    set_legend,
    set_title,
    short,
    whisker,
    wrapped,
)
from btu.report.titles import title_of
from btu.store.records import Record, RoundDrift
from btu.types import REPAIRED, TRUSTED_ONLY, VICTIM

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

UNDEFENDED, TRUSTED, BASE_RATE = "--", ":", "-."  # line styles of what a curve is compared with
DECIDED_ONCE = "decided once"  # in place of a threshold


@dataclass(frozen=True)
class Level:
    """CACC and ASR of a model without a threshold, with which a curve is compared."""

    cacc: Spread | None = None
    asr: Spread | None = None


@dataclass(frozen=True)
class Curve:
    """Scores of one repaired model over thresholds, in their order."""

    title: str
    threshold_label: str  # of the axis
    thresholds: tuple[float | None, ...]  # None: decided once, a point and no part of a line
    cacc: tuple[Spread | None, ...]
    asr: tuple[Spread | None, ...]
    base_rate: tuple[Spread | None, ...]
    undefended: Level
    trusted_only: Level


@dataclass(frozen=True)
class Point:
    """One row in the plane of ASR and CACC."""

    arm: str
    series: str  # the defense
    asr: Spread
    cacc: Spread
    swept: bool = True  # joined with the other thresholds of its series


@dataclass(frozen=True)
class Heat:
    """Excess ASR by attack (rows) and defense (columns), or turned; None: nothing was measured."""

    title: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    excess: tuple[tuple[float | None, ...], ...]
    texts: tuple[tuple[str, ...], ...]

    def turned(self) -> Heat:
        """The same with the columns as rows."""
        excess, texts = (tuple(zip(*cells, strict=True)) for cells in (self.excess, self.texts))
        return Heat(self.title, self.columns, self.rows, excess, texts)


def plot_curve(records: Sequence[Record], path: Path) -> bool:
    """ASR and CACC of the repaired model against the threshold; False where nothing was repaired.

    Dash-dotted: the base rate. Dashed: the undefended model. Dotted: trusted rows only.
    """
    arm = next((a for a in REPAIRED if any(r.arm == a for r in records)), None)
    if arm is None:
        return False
    with new_figure(6.4, 4.0) as figure:
        draw_curve(figure.subplots(), _curve_of(records, arm))
        figure.savefig(path, dpi=150)
    return True


def _curve_of(records: Sequence[Record], arm: str) -> Curve:
    rows = sorted((r for r in records if r.arm == arm), key=lambda r: by_size(r.threshold))
    return Curve(
        title=title_of(rows[0].choices, rows[0].choices["defense"]),
        threshold_label=rows[0].threshold_label or "threshold",
        thresholds=tuple(r.threshold for r in rows),
        cacc=tuple(average([r.scores.cacc]) for r in rows),
        asr=tuple(average([r.scores.asr]) for r in rows),
        base_rate=tuple(average([r.scores.base_rate]) for r in rows),
        undefended=_level(records, VICTIM.name),
        trusted_only=_level(records, TRUSTED_ONLY.name),
    )


def _level(records: Sequence[Record], arm: str) -> Level:
    scores = [r.scores for r in records if r.arm == arm]
    return Level(average(s.cacc for s in scores), average(s.asr for s in scores))


def draw_curve(axes: Axes, curve: Curve) -> None:
    """ASR and CACC with bands of one standard deviation, their base rate, and the two controls."""
    _draw_panel(axes, curve)
    set_title(_figure(axes), curve.title)
    set_legend(_figure(axes))


def draw_curves(figure: Figure, title: str, panels: Mapping[str, Curve]) -> None:
    """A panel for each attack, on one scale and with one legend."""
    rows = -(-len(panels) // 2)
    axes = list(figure.subplots(rows, 2, sharey=True, squeeze=False).flat)
    for spare in axes[len(panels) :]:
        spare.set_axis_off()
    for panel, (name, curve) in zip(axes, panels.items(), strict=False):
        _draw_panel(panel, curve)
        panel.set_title(wrapped(name, 34), loc="left")
        panel.label_outer(remove_inner_ticks=False)
        panel.tick_params(labelbottom=True)
    set_title(figure, title)
    set_legend(figure, narrow=False)


def _figure(axes: Axes) -> Figure:
    return axes.figure  # type: ignore[return-value]  # never a subfigure here


def _draw_panel(axes: Axes, curve: Curve) -> None:
    _draw_scores(axes, curve, curve.cacc, CACC_COLOR, "CACC", "o-")
    _draw_scores(axes, curve, curve.asr, ASR_COLOR, "ASR", "s-")
    _draw_scores(axes, curve, curve.base_rate, ASR_COLOR, "base rate", f"_{BASE_RATE}")
    _draw_level(axes, curve.undefended, UNDEFENDED, "undefended")
    _draw_level(axes, curve.trusted_only, TRUSTED, "trusted rows only")
    names = [DECIDED_ONCE if t is None else f"{t:g}" for t in curve.thresholds]
    axes.set_xticks(range(len(names)), names)
    if any(t is not None for t in curve.thresholds):
        axes.set_xlabel(wrapped(curve.threshold_label))
    axes.set_ylabel("% of test rows")
    axes.set_ylim(-3, 103)
    axes.grid(axis="y")


def _draw_level(axes: Axes, level: Level, style: str, label: str) -> None:
    """A horizontal line for each score, and one entry of the legend for both."""
    for spread, color in ((level.cacc, CACC_COLOR), (level.asr, ASR_COLOR)):
        if spread is not None:
            axes.axhline(100 * spread.mean, ls=style, lw=1.1, color=color, alpha=0.75)
    if level.cacc or level.asr:
        axes.plot([], [], style, lw=1.1, color=MUTED, label=label)


def _draw_scores(
    axes: Axes, curve: Curve, spreads: Sequence[Spread | None], color: str, label: str, style: str
) -> None:
    """A line with a band over the thresholds; only a marker for what was decided once."""
    marker, line = style[0], style[1:]
    places = [
        (x, threshold, spread)
        for x, (threshold, spread) in enumerate(zip(curve.thresholds, spreads, strict=True))
        if spread is not None
    ]
    swept = [(x, s) for x, threshold, s in places if threshold is not None]
    once = [(x, s) for x, threshold, s in places if threshold is None]
    if line == BASE_RATE and len(swept) > 1:
        marker = ""
    for points, shape in ((swept, marker + line), (once, style[0])):
        if points:
            axes.plot(
                [x for x, _ in points],
                [100 * s.mean for _, s in points],
                shape,
                color=color,
                label=None if points is once and swept else label,
                ms=4.5,
            )
    if line != BASE_RATE:
        _draw_band(axes, swept, color)
        _draw_bars(axes, once, color)


def _draw_band(axes: Axes, points: Sequence[tuple[int, Spread]], color: str) -> None:
    """One standard deviation around a line, within 0 and 100 %."""
    if not any(s.std for _, s in points):
        return
    low, high = zip(*(whisker(s) for _, s in points), strict=True)
    axes.fill_between([x for x, _ in points], low, high, color=color, alpha=0.18, lw=0)


def _draw_bars(axes: Axes, points: Sequence[tuple[int, Spread]], color: str) -> None:
    """One standard deviation around each point."""
    for x, s in points:
        if s.std:
            axes.errorbar(x, 100 * s.mean, yerr=100 * s.std, color=color, elinewidth=0.7)


def draw_trade_off(axes: Axes, title: str, points: Sequence[Point]) -> None:
    """CACC against ASR: the upper left corner is what a defense wants."""
    series = dict.fromkeys(p.series for p in points if p.series)
    looks = {name: series_look(at) for at, name in enumerate(series)}
    for point in points:
        _draw_point(axes, point, looks.get(point.series, Look(INK, "-", "", "full")))
    for name, arm in dict.fromkeys((p.series, p.arm) for p in points if p.series):
        path = [p for p in points if (p.series, p.arm, p.swept) == (name, arm, True)]
        xs, ys = [100 * p.asr.mean for p in path], [100 * p.cacc.mean for p in path]
        look = looks[name]
        axes.plot(xs, ys, look.line, lw=0.9, color=look.color, alpha=0.6, zorder=1)
    for arm in dict.fromkeys(p.arm for p in points):
        axes.plot([], [], MARKERS[arm], color=MUTED, label=arm, ms=5)
    for name, look in looks.items():
        axes.plot([], [], look.line, color=look.color, lw=3, label=short(name))
    axes.set_xlabel("ASR, % of attacked rows")
    axes.set_ylabel("CACC, % of test rows")
    axes.set_xlim(-4, 104)
    axes.grid()
    set_title(_figure(axes), title)
    set_legend(_figure(axes))


def _draw_point(axes: Axes, point: Point, look: Look) -> None:
    _, _, bars = axes.errorbar(
        100 * point.asr.mean,
        100 * point.cacc.mean,
        xerr=100 * (point.asr.std or 0) or None,
        yerr=100 * (point.cacc.std or 0) or None,
        fmt=MARKERS[point.arm],
        color=look.color,
        fillstyle=look.fill,
        ms=6,
        elinewidth=0.7,
        markeredgecolor=PAPER if look.fill == "full" else look.color,
        markeredgewidth=0.5 if look.fill == "full" else 1.2,
    )
    for bar in bars:
        bar.set_alpha(0.4)


def draw_heat(axes: Axes, heat: Heat) -> None:
    """A cell per attack and defense, the darker the more ASR exceeds the base rate."""
    from matplotlib.patches import Rectangle

    for y, row in enumerate(heat.excess):
        for x, value in enumerate(row):
            if value is None:
                continue
            strength = 0.75 * min(1.0, max(0.0, value))
            axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, fc=(VERMILLION, strength), ec=LINE))
            axes.text(x, y, heat.texts[y][x], ha="center", va="center", fontsize=8.5)
    axes.set_xticks(range(len(heat.columns)), [wrapped(name, 18) for name in heat.columns])
    axes.set_yticks(range(len(heat.rows)), [wrapped(name, 18) for name in heat.rows])
    axes.set_xlim(-0.5, len(heat.columns) - 0.5)
    axes.set_ylim(len(heat.rows) - 0.5, -0.5)
    axes.tick_params(length=0, labeltop=True, labelbottom=False, labelcolor=INK)
    for spine in axes.spines.values():
        spine.set_visible(False)
    set_title(_figure(axes), heat.title)


def draw_distances(
    axes: Sequence[Axes], title: str, by_seed: Sequence[Sequence[RoundDrift]]
) -> None:
    """Tokens by distance in each round; one outline per seed, the first one filled."""
    for number, panel in enumerate(axes):
        for seed, rounds in enumerate(by_seed):
            if number < len(rounds):
                _draw_round(panel, rounds[number], first=seed == 0)
        panel.set_yscale("log")
        panel.set_xscale("log")
        panel.minorticks_off()
        panel.xaxis.set_major_formatter("{x:g}")
        panel.yaxis.set_major_formatter("{x:g}")
        panel.set_ylim(bottom=0.7)
        panel.set_ylabel(f"round {number + 1}\ntokens")
    set_title(_figure(axes[0]), title)
    axes[-1].set_xlabel("distance that a token's embedding moved")


def _draw_round(axes: Axes, drift: RoundDrift, first: bool) -> None:
    alpha, width = (0.3, 0.0) if first else (0.6, 0.7)
    axes.stairs(
        drift.counts, drift.edges, baseline=0.7, color=BLUE, fill=first, alpha=alpha, lw=width
    )
    if not first:
        return
    if drift.flagged_from is not None:
        axes.axvline(drift.flagged_from, ls="--", lw=1, color=MUTED)
    for at, (token, distance) in enumerate(sorted(drift.trigger.items(), key=lambda kv: kv[1])):
        axes.axvline(distance, ymax=0.45 + 0.16 * (at % 4) - 0.03, lw=1.1, color=VERMILLION)
        place = (distance, 0.45 + 0.16 * (at % 4) - 0.03)
        axes.annotate(
            short(token, 20),
            place,
            xycoords=("data", "axes fraction"),
            ha="center",
            fontsize=8.5,
            color=VERMILLION,
            bbox={"fc": PAPER, "ec": "none", "pad": 0.6, "alpha": 0.85},
        )
