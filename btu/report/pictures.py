"""Which pictures a study gets, each drawn once: as PNG and as SVG that follows the page's theme."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from btu.report import plots
from btu.report.best import best_repairs, blocks, repairs
from btu.report.formats import plain, slug
from btu.report.grids import percent, threshold_text
from btu.report.groups import Group
from btu.store.records import CHOICES, RoundDrift
from btu.types import TRUSTED_ONLY, VICTIM, Arm

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PER_SECTION = 60  # pictures drawn; the others are named
NUM_OUTLINES = 5  # seeds drawn in one picture of distances
SECTIONS = {
    "curves": "ASR and CACC against the threshold",
    "trade-offs": "Trade-off between ASR and CACC",
    "heat-maps": "Attack by defense",
    "distances": "How far the tokens moved",
}
ABOUT = {
    "curves": "The defended model (unlearned, where nothing was tuned). Bands: one standard "
    "deviation over seeds. Dash-dotted: base rate of the same models. Dashed: the undefended "
    "model. Dotted: a model trained on the trusted rows alone.",
    "trade-offs": "Each mark is one row of the table, bars are one standard deviation over seeds. "
    "The upper left is where a defense should be. A line joins the thresholds of one "
    "defense, in their order; a defense that is decided once is a single mark.",
    "heat-maps": "Each defense at its best threshold, beside the undefended model and the one "
    "trained on the trusted rows alone. Colour: ASR above the base rate.",
    "distances": "Number of tokens by the distance that training moved them, per detection round. "
    "Filled: the first seed, lines: the others. Dashed: the last token that the threshold flagged; "
    "marked: the true trigger, where it is known.",
}
# A palette colour of the plots and the variable of the page that stands for it.
VARIABLES = {
    plots.INK: "ink",
    plots.MUTED: "muted",
    plots.LINE: "line",
    plots.PAPER: "paper",
    plots.BLUE: "blue",
    plots.VERMILLION: "vermillion",
    plots.GREEN: "green",
    plots.PURPLE: "purple",
    plots.ORANGE: "orange",
    plots.SKY: "sky",
}


@dataclass(frozen=True)
class Picture:
    """A picture that can be drawn: what it shows, in words, and for which choices."""

    section: str
    title: str
    alt: str
    labels: dict[str, tuple[str, ...]]  # dataset, attack, model, defense
    size: tuple[float, float]  # inches
    draw: Callable[[Figure], None]


@dataclass(frozen=True)
class Drawn:
    """A picture as files: the PNG's name and the SVG's text."""

    picture: Picture
    name: str
    svg: str


def pictures(groups: Sequence[Group]) -> tuple[Picture, ...]:
    """All pictures of a study, section by section."""
    return (*_curves(groups), *_trade_offs(groups), *_heats(groups), *_distances(groups))


def draw(picture: Picture, name: str, folder: Path) -> Drawn:
    """Write the PNG; give the SVG with colours as variables and ids that no other picture has."""
    import matplotlib as mpl

    buffer = io.StringIO()
    with (
        plots.new_figure(*picture.size) as figure,
        mpl.rc_context({"svg.hashsalt": name}),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # tokens of any script
        picture.draw(figure)
        figure.savefig(folder / f"{name}.png", dpi=144, metadata={"Software": None})
        figure.set_layout_engine("none")  # computed once, it is half of the work
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return Drawn(picture, name, themed(buffer.getvalue(), picture.alt))


def names(chosen: Sequence[Picture]) -> list[str]:
    """A file name for each picture, distinct also on systems that ignore case."""
    taken: dict[str, int] = {}
    given = []
    for picture in chosen:
        name = slug(picture.section, picture.title)
        taken[name.lower()] = taken.get(name.lower(), 0) + 1
        number = taken[name.lower()]
        given.append(name if number == 1 else f"{name}-{number}-")
    return given


def themed(svg: str, alt: str) -> str:
    """An SVG for a page: no head, no metadata, the page's colours and fonts, a title."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.S)
    head, body = svg.split(">", 1)
    view = re.search(r'viewBox="[^"]*"', head)
    body = re.sub(r'<g id="[^"]*"', "<g", body)
    body = re.sub(r' xlink:href="#', ' href="#', body)
    body = re.sub(r'( (?:d|x|y|transform|points)=")([^"]*)', _shorter, body)
    body = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", body)
    for color, variable in VARIABLES.items():
        body = re.sub(rf"((?:fill|stroke): ){color}\b", rf"\1var(--{variable})", body)
    title = escape(plain(alt))
    return (
        f'<svg role="img" {view.group(0) if view else ""} aria-label="{title}">'
        f"<title>{title}</title>{body.strip()}"
    )


def _shorter(match: re.Match[str]) -> str:
    return match.group(1) + re.sub(r"(\.\d\d)\d+", r"\1", match.group(2))


def _curves(groups: Sequence[Group]) -> list[Picture]:
    return [
        _curve(rows, block)
        for block in blocks(groups)
        for rows in repairs(block)
        if sum(g.threshold is not None for g in rows) > 1
    ]


def _curve(rows: Sequence[Group], block: Sequence[Group]) -> Picture:
    title = f"{_name(rows[0])} / {_variant(rows[0])}: {rows[0].arm.name}"
    label = rows[0].threshold_label or "threshold"
    curve = plots.Curve(
        title=title,
        threshold_label=label,
        thresholds=tuple(g.threshold for g in rows),
        cacc=tuple(g.cacc for g in rows),
        asr=tuple(g.asr for g in rows),
        base_rate=tuple(g.base_rate for g in rows),
        undefended=_level(VICTIM, rows[0], block),
        trusted_only=_level(TRUSTED_ONLY, rows[0], block),
    )
    told = "; ".join(
        f"{threshold_text(g) or plots.DECIDED_ONCE}: CACC {percent(g.cacc)}, ASR {percent(g.asr)}"
        for g in rows
    )
    alt = f"ASR and CACC in per cent by {label}, {title}. {told}"
    return Picture(
        "curves", title, alt, _labels(rows), (4.8, 3.7), partial(_one, plots.draw_curve, curve)
    )


def _level(arm: Arm, row: Group, block: Sequence[Group]) -> plots.Level:
    control = _control(arm, block, row)
    return plots.Level(control.cacc, control.asr) if control else plots.Level()


def _control(arm: Arm, block: Sequence[Group], row: Group | None = None) -> Group | None:
    """The first row of a control, trained and tuned like the given row."""
    rows = (g for g in block if g.arm == arm and (row is None or g.may_control(row)))
    return next(rows, None)


def _one(function: Callable[..., None], value: object, figure: Figure) -> None:
    function(figure.subplots(), value)


def _trade_offs(groups: Sequence[Group]) -> list[Picture]:
    drawn = []
    for block in blocks(groups):
        points = [
            plots.Point(
                g.arm.name,
                _variant(g) if g.arm.defended else "",
                g.asr,
                g.cacc,
                g.threshold is not None,
            )
            for g in block
            if g.asr is not None and g.cacc is not None
        ]
        if len(points) < 2:
            continue
        title = _name(block[0])
        alt = f"CACC against ASR of {len(points)} rows of the table, {title}"
        draw_points = partial(_trade_off, title, points)
        drawn.append(Picture("trade-offs", title, alt, _labels(block), (4.8, 3.7), draw_points))
    return drawn


def _trade_off(title: str, points: Sequence[plots.Point], figure: Figure) -> None:
    plots.draw_trade_off(figure.subplots(), title, points)


def _heats(groups: Sequence[Group]) -> list[Picture]:
    studies: dict[tuple[str, str], list[list[Group]]] = {}
    for block in blocks(groups):
        if any(g.excess for g in block):
            studies.setdefault((block[0].dataset, block[0].model), []).append(block)
    return [_heat(" / ".join(name), attacks) for name, attacks in studies.items()]


def _heat(title: str, attacks: Sequence[Sequence[Group]]) -> Picture:
    rows = [_attack(block[0]) for block in attacks]
    columns = ["undefended"]
    cells: list[dict[str, Group | None]] = []
    for block in attacks:
        controls = {columns[0]: _control(VICTIM, block)}
        if trusted_only := _control(TRUSTED_ONLY, block):
            controls["trusted rows only"] = trusted_only
        cells.append({**controls, **{_variant(g): g for g in best_repairs(block)}})
        columns += [name for name in cells[-1] if name not in columns]
    excess = tuple(tuple(_excess(row.get(c)) for c in columns) for row in cells)
    texts = tuple(tuple(_heat_text(row.get(c)) for c in columns) for row in cells)
    heat = plots.Heat(title, tuple(rows), tuple(columns), excess, texts)
    told = "; ".join(
        f"{r}, {c}: {' '.join(text.split())}"
        for r, line in zip(rows, texts, strict=True)
        for c, text in zip(columns, line, strict=True)
        if text
    )
    size = (1.3 + 1.5 * len(columns), 0.7 + 0.62 * len(rows))
    every = [g for block in attacks for g in block]
    alt = f"ASR, base rate and CACC by attack and defense, {title}. {told}"
    return Picture(
        "heat-maps", title, alt, _labels(every), size, partial(_one, plots.draw_heat, heat)
    )


def _excess(group: Group | None) -> float | None:
    return group.excess.mean if group and group.excess else None


def _heat_text(group: Group | None) -> str:
    if group is None or not (group.asr and group.base_rate and group.cacc):
        return ""
    asr, base, cacc = (100 * s.mean for s in (group.asr, group.base_rate, group.cacc))
    return f"ASR {asr:.1f} ({base:.1f})\nCACC {cacc:.1f}"


def _distances(groups: Sequence[Group]) -> list[Picture]:
    drawn = []
    for best in best_repairs(groups):
        by_seed = [r.drift for r in best.records if r.drift][:NUM_OUTLINES]
        if not by_seed:
            continue
        at = threshold_text(best)
        title = f"{_name(best)} / {_variant(best)}" + f", threshold {at}" * bool(at)
        num_rounds = max(map(len, by_seed))
        size = (4.8, 0.9 + 1.25 * num_rounds)
        alt = f"{title}: {' '.join(map(_told, by_seed[0]))}"
        paint = partial(_distance, title, by_seed, num_rounds)
        drawn.append(Picture("distances", title, alt, _labels([best]), size, paint))
    return drawn


def _distance(
    title: str, by_seed: Sequence[Sequence[RoundDrift]], num_rounds: int, figure: Figure
) -> None:
    panels = figure.subplots(num_rounds, sharex=True, squeeze=False)[:, 0]
    plots.draw_distances(list(panels), title, by_seed)


def _told(drift: RoundDrift) -> str:
    trigger = ", ".join(f"{token} at {at:.3g}" for token, at in sorted(drift.trigger.items()))
    flagged = "" if drift.flagged_from is None else f", flagged from {drift.flagged_from:.3g}"
    return (
        f"Round {drift.number}: {drift.num_tokens} tokens{flagged}; trigger {trigger or 'unknown'}."
    )


def _labels(rows: Sequence[Group]) -> dict[str, tuple[str, ...]]:
    distinct = {name: dict.fromkeys(getattr(g, name) for g in rows) for name in CHOICES}
    return {name: tuple(values) for name, values in distinct.items()}


def _name(group: Group) -> str:
    shared = [f"{key.split('.')[-1]}={value}" for key, value in group.block[3] if value]
    return plain(" / ".join([group.dataset, group.attack, group.model, *shared]))


def _attack(group: Group) -> str:
    shared = [f"{key.split('.')[-1]}={value}" for key, value in group.block[3] if value]
    return "\n".join(map(plain, [group.attack, *shared]))


def _variant(group: Group) -> str:
    own = [f"{key.split('.')[-1]}={value}" for key, value in group.method.items() if value]
    return plain(" ".join([group.defense, *own]))
