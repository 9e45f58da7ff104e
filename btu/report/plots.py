"""What is drawn: curves over thresholds, trade-offs, the heat map and the distances."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from btu.metrics import by_size
from btu.report.groups import Spread, average
from btu.store.records import Record, RoundDrift
from btu.types import REPAIRED, TRUSTED_ONLY, VICTIM

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, distinct for the colour-blind; the page replaces each by a variable.
INK, MUTED, LINE, PAPER = "#1b1f24", "#5b636d", "#d5dae0", "#ffffff"
BLUE, VERMILLION, GREEN, PURPLE = "#0072b2", "#d55e00", "#009e73", "#cc79a7"
ORANGE, SKY = "#e69f00", "#56b4e9"
CACC_COLOR, ASR_COLOR = BLUE, VERMILLION
SERIES = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY)
MARKERS = {
    "clean": "P",
    "poisoned": "X",
    "tuned": "D",
    "trusted_only": "s",
    "unlearned": "^",
    "defended": "o",
}
UNDEFENDED, TRUSTED, BASE_RATE = "--", ":", "-."  # line styles of what a curve is compared with
DECIDED_ONCE = "decided once"  # in place of a threshold
TITLE_WIDTH = 62  # characters that fit above the narrowest picture
MAX_LINES = 3  # of a title or label; longer ones are cut
STYLE: dict[str, Any] = {
    "font.size": 9,
    "axes.titlesize": 9.5,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "figure.facecolor": PAPER,
    "axes.edgecolor": MUTED,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.titlecolor"), INK),
    **dict.fromkeys(("xtick.color", "ytick.color"), MUTED),
    "text.parse_math": False,  # names and tokens may hold a dollar sign
    "svg.fonttype": "none",
}


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
    """Excess ASR by attack (rows) and defense (columns); None where nothing was measured."""

    title: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    excess: tuple[tuple[float | None, ...], ...]
    texts: tuple[tuple[str, ...], ...]


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
    what = " / ".join(rows[0].choices[k] for k in ("dataset", "attack", "model"))
    return Curve(
        title=f"{what}: {arm}",
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


@contextmanager
def new_figure(width: float, height: float) -> Iterator[Figure]:
    """An empty figure in the style of this project, without a global state that others share."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):  # type: ignore[arg-type]
        yield Figure(figsize=(width, height), layout="constrained")


def draw_curve(axes: Axes, curve: Curve) -> None:
    """ASR and CACC with bands of one standard deviation, their base rate, and the two controls."""
    _draw_scores(axes, curve, curve.cacc, CACC_COLOR, "CACC", "o-")
    _draw_scores(axes, curve, curve.asr, ASR_COLOR, "ASR", "s-")
    _draw_scores(axes, curve, curve.base_rate, ASR_COLOR, "base rate", f"_{BASE_RATE}")
    _draw_level(axes, curve.undefended, UNDEFENDED, "undefended")
    _draw_level(axes, curve.trusted_only, TRUSTED, "trusted rows only")
    names = [DECIDED_ONCE if t is None else f"{t:g}" for t in curve.thresholds]
    axes.set_xticks(range(len(names)), names)
    if any(t is not None for t in curve.thresholds):
        axes.set_xlabel(curve.threshold_label)
    axes.set_ylabel("% of test rows")
    axes.set_ylim(-3, 103)
    axes.grid(axis="y")
    _finish(axes, curve.title)


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
    low = [100 * max(0.0, s.mean - (s.std or 0)) for _, s in points]
    high = [100 * min(1.0, s.mean + (s.std or 0)) for _, s in points]
    axes.fill_between([x for x, _ in points], low, high, color=color, alpha=0.18, lw=0)


def _draw_bars(axes: Axes, points: Sequence[tuple[int, Spread]], color: str) -> None:
    """One standard deviation around each point."""
    for x, s in points:
        if s.std:
            axes.errorbar(x, 100 * s.mean, yerr=100 * s.std, color=color, elinewidth=0.7)


def draw_trade_off(axes: Axes, title: str, points: Sequence[Point]) -> None:
    """CACC against ASR: the upper left corner is what a defense wants."""
    series = dict.fromkeys(p.series for p in points if p.series)
    colors = {name: SERIES[at % len(SERIES)] for at, name in enumerate(series)}
    for point in points:
        _draw_point(axes, point, colors.get(point.series, INK))
    for name, arm in dict.fromkeys((p.series, p.arm) for p in points if p.series):
        path = [p for p in points if (p.series, p.arm, p.swept) == (name, arm, True)]
        xs, ys = [100 * p.asr.mean for p in path], [100 * p.cacc.mean for p in path]
        axes.plot(xs, ys, "-", lw=0.8, color=colors[name], alpha=0.5, zorder=1)
    for arm in dict.fromkeys(p.arm for p in points):
        axes.plot([], [], MARKERS[arm], color=MUTED, label=arm, ms=5)
    for name, color in colors.items():
        axes.plot([], [], "-", color=color, lw=4, label=_short(name))
    axes.set_xlabel("ASR, % of attacked rows")
    axes.set_ylabel("CACC, % of test rows")
    axes.set_xlim(-4, 104)
    axes.grid()
    _finish(axes, title)


def _draw_point(axes: Axes, point: Point, color: str) -> None:
    _, _, bars = axes.errorbar(
        100 * point.asr.mean,
        100 * point.cacc.mean,
        xerr=100 * (point.asr.std or 0) or None,
        yerr=100 * (point.cacc.std or 0) or None,
        fmt=MARKERS[point.arm],
        color=color,
        ms=6,
        elinewidth=0.7,
        markeredgecolor=PAPER,
        markeredgewidth=0.5,
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
    axes.set_xticks(range(len(heat.columns)), [_wrapped(name, 20) for name in heat.columns])
    axes.set_yticks(range(len(heat.rows)), [_wrapped(name, 24) for name in heat.rows])
    axes.set_xlim(-0.5, len(heat.columns) - 0.5)
    axes.set_ylim(len(heat.rows) - 0.5, -0.5)
    axes.tick_params(length=0, labeltop=True, labelbottom=False, labelcolor=INK)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_title(_wrapped(heat.title), loc="left", pad=8)


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
    axes[0].set_title(_wrapped(title), loc="left")
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
            _short(token, 20),
            place,
            xycoords=("data", "axes fraction"),
            ha="center",
            fontsize=8.5,
            color=VERMILLION,
            bbox={"fc": PAPER, "ec": "none", "pad": 0.6, "alpha": 0.85},
        )


def _wrapped(text: str, width: int = TITLE_WIDTH) -> str:
    lines = [line for part in text.split("\n") for line in textwrap.wrap(part, width)]
    return "\n".join(lines[:MAX_LINES])


def _short(text: str, width: int = 40) -> str:
    return text if len(text) <= width else f"{text[: width - 3]}..."


def _finish(axes: Axes, title: str) -> None:
    longest = max(len(label) for label in axes.get_legend_handles_labels()[1])
    columns = 4 if longest < 14 else 3 if longest < 20 else 2
    axes.set_title(_wrapped(title), loc="left", pad=6)
    axes.figure.legend(loc="outside lower center", ncols=columns, handlelength=1.8)
