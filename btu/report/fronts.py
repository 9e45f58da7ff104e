"""What every defense leaves of every attack against what it costs, as a defender would choose."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING

from btu.metrics import Judged, undominated
from btu.report.best import blocks, studies
from btu.report.chosen import choices
from btu.report.comparisons import labels_in
from btu.report.drawn import Picture
from btu.report.groups import Group
from btu.report.palette import INK, MUTED, PAPER, SHAPES, Look, set_title, short
from btu.report.panels import looks_of, plot_series
from btu.report.titles import attack_of, control_of, listed, study_of, variant_of
from btu.types import BY_NAME, VICTIM

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LINEAR_TO = 5  # points; beyond, the axes are logarithmic
TICKS = (-5, -2, 0, 2, 5, 10, 20, 50, 100)


@dataclass(frozen=True)
class Place:
    """What is left of an attack and what that costs, both in points; less of both is better."""

    excess: float  # of ASR over the base rate
    loss: float  # of CACC against the undefended model, tuned where there is one

    @property
    def told(self) -> str:
        """In words."""
        return f"excess {self.excess:.1f}, CACC lost {round(self.loss, 1) + 0.0:.1f}"


@dataclass(frozen=True)
class Mark:
    """A defense against one attack."""

    defense: str
    attack: str
    chosen: Place
    best: Place


@dataclass(frozen=True)
class Front:
    """All marks of a data set and model, and the mean places that no other mean beats."""

    title: str
    marks: tuple[Mark, ...]
    front: Mapping[str, Place]  # by defense, from the least excess on


def fronts(groups: Sequence[Group]) -> list[Picture]:
    """A picture for each data set and model with several defenses."""
    pictures = []
    for name, rows in studies(groups).items():
        attacks = [marks for block in blocks(rows) if (marks := _marks(block))]
        if len({mark.defense for marks in attacks for mark in marks}) > 1:
            pictures.append(_picture(name, rows, attacks))
    return pictures


def _marks(block: Sequence[Group]) -> list[Mark]:
    marks = []
    for row in choices(block):
        chosen, best = (_place(group, block) for group in (row.picked, row.best))
        if chosen and best:
            attack = ", ".join(attack_of(row.picked).split("\n"))
            marks.append(Mark(variant_of(row.picked), attack, chosen, best))
    return marks


def _place(group: Group | None, block: Sequence[Group]) -> Place | None:
    if group is None or group.excess is None or group.cacc is None:
        return None
    tuned = control_of(block, BY_NAME["tuned"], group) or control_of(block, VICTIM, group)
    if tuned is None or tuned.cacc is None:
        return None
    return Place(100 * group.excess.mean, 100 * (tuned.cacc.mean - group.cacc.mean))


def find_front(marks: Sequence[Mark]) -> dict[str, Place]:
    """The means over attacks that no other mean beats, from the least excess on.

    Only defenses that have a mark for every attack have a mean.
    """
    places: dict[str, dict[str, Place]] = {}
    for mark in marks:
        places.setdefault(mark.defense, {})[mark.attack] = mark.chosen
    attacks = {mark.attack for mark in marks}
    means = {name: _mean(by.values()) for name, by in places.items() if by.keys() == attacks}
    ahead = undominated(list(means), lambda name: _judge(means[name]))
    return {name: means[name] for name in sorted(ahead, key=lambda name: means[name].excess)}


def _mean(places: Collection[Place]) -> Place:
    return Place(fmean(p.excess for p in places), fmean(p.loss for p in places))


def _judge(place: Place) -> Judged:
    return Judged(cacc=-place.loss, asr=place.excess, score=0.0, threshold=None)


def _picture(
    name: tuple[str, str], rows: Sequence[Group], attacks: Sequence[Sequence[Mark]]
) -> Picture:
    title = f"What is left of the backdoor, and what that costs, on {study_of(rows[0])}"
    if len(attacks) > len(SHAPES):
        title += f" ({len(SHAPES)} of {len(attacks)} attacks and settings)"
    marks = [mark for shown in attacks[: len(SHAPES)] for mark in shown]
    front = Front(title, tuple(marks), find_front(marks))
    named = listed(front.front) if front.front else "no defense, since none met every attack"
    told = "; ".join(f"{m.defense} against {m.attack}: {m.chosen.told}" for m in marks)
    means = "; ".join(f"{defense}: {place.told}" for defense, place in front.front.items())
    alt = f"{title}. Pareto front of the means over attacks: {named}. {means}. Chosen: {told}"
    size = (8.0, max(5.0, 1.2 + 0.19 * _num_entries(marks)))
    return Picture("fronts", title, name, alt, labels_in(rows), size, partial(_paint, front))


def _num_entries(marks: Sequence[Mark]) -> int:
    """Of the legend: defenses, attacks, the best, the front."""
    return len({m.defense for m in marks}) + len({m.attack for m in marks}) + 2


def _paint(front: Front, figure: Figure) -> None:
    axes = figure.subplots()
    looks = looks_of(list(dict.fromkeys(mark.defense for mark in front.marks)))
    attacks = dict.fromkeys(mark.attack for mark in front.marks)
    shapes = dict(zip(attacks, SHAPES, strict=False))
    for mark in front.marks:
        _draw_mark(axes, mark, looks[mark.defense], shapes[mark.attack])
    _draw_front(axes, front.front)
    _set_axes(axes)
    _set_legend(figure, axes, looks, shapes)
    set_title(figure, front.title)


def _draw_mark(axes: Axes, mark: Mark, look: Look, shape: str) -> None:
    """The place chosen, and joined to it, small, the best one."""
    xs, ys = zip(*((p.excess, p.loss) for p in (mark.chosen, mark.best)), strict=True)
    axes.plot(xs, ys, color=look.color, lw=0.7, alpha=0.45, zorder=1)
    axes.plot(xs[1:], ys[1:], ".", color=look.color, ms=3.5)
    plot_series(axes, xs[:1], ys[:1], replace(look, marker=shape))


def _draw_front(axes: Axes, front: Mapping[str, Place]) -> None:
    xs, ys = ([getattr(place, of) for place in front.values()] for of in ("excess", "loss"))
    axes.plot(xs, ys, "*-", color=INK, lw=1.3, ms=9, markeredgecolor=PAPER, mew=0.5, zorder=4)
    for at, (name, place) in enumerate(front.items()):
        above = at % 2 == 1  # by turns, since neighbours may lie close together
        left = place.excess > TICKS[-2]  # there is no room on the right
        axes.annotate(
            short(name, 20),
            (place.excess, place.loss),
            (-6 if left else 6, 5 if above else -5),
            textcoords="offset points",
            ha="right" if left else "left",
            va="bottom" if above else "top",
            color=INK,
            zorder=5,
            bbox={"fc": PAPER, "ec": "none", "pad": 0.4, "alpha": 0.6},
        )


def _set_axes(axes: Axes) -> None:
    axes.set_title("\N{NORTH WEST ARROW} better", loc="left")
    axes.set_xlabel("excess: ASR above the base rate, points")
    axes.set_ylabel("CACC lost, points")
    axes.set_xscale("symlog", linthresh=LINEAR_TO, linscale=0.6)
    axes.set_yscale("symlog", linthresh=LINEAR_TO, linscale=0.6)
    low, high = axes.get_ylim()
    axes.set_xticks(TICKS, list(map(str, TICKS)))
    axes.set_yticks(TICKS, list(map(str, TICKS)))
    axes.set_xlim(-0.5, 110)
    axes.set_ylim(low, high)
    axes.minorticks_off()
    axes.invert_yaxis()
    axes.grid()


def _set_legend(
    figure: Figure, axes: Axes, looks: Mapping[str, Look], shapes: Mapping[str, str]
) -> None:
    for name, look in looks.items():
        plot_series(axes, [], [], replace(look, marker="o"), " ", short(name))
    for attack, shape in shapes.items():
        axes.plot([], [], shape, color=MUTED, ms=6.5, label=short(attack))
    axes.plot([], [], ".-", color=MUTED, lw=0.7, ms=3.5, label="to its best threshold")
    axes.plot([], [], "*-", color=INK, lw=1.3, ms=9, label="front of the means")
    figure.legend(loc="outside right upper")
