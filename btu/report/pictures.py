"""Which pictures a study gets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from btu.report import plots
from btu.report.best import best_repairs, blocks, repairs, studies
from btu.report.comparisons import ablations, labels_in, overviews
from btu.report.drawn import Picture
from btu.report.fronts import fronts
from btu.report.grids import percent, threshold_text
from btu.report.groups import Group
from btu.report.titles import (
    CONTROLS,
    attack_of,
    control_of,
    study_of,
    subject_of,
    variant_of,
)
from btu.store.records import RoundDrift
from btu.types import TRUSTED_ONLY, VICTIM, Arm

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PER_SECTION = 60  # pictures drawn; the others are named
MOST_PANELS = 12  # of one picture
MOST_COLUMNS = 8  # of a heat map; with more its defenses become rows
NUM_OUTLINES = 5  # seeds drawn in one picture of distances
SECTIONS = {
    "overview": "All attacks",
    "ablations": "Settings that were varied",
    "curves": "ASR and CACC against the threshold",
    "fronts": "What is left against what it costs",
    "trade-offs": "Trade-off between ASR and CACC",
    "heat-maps": "Attack by defense",
    "distances": "How far the tokens moved",
}
ABOUT = {
    "overview": "A row per attack and model, defenses at their best threshold. A bar goes from the "
    "base rate to the ASR: what the backdoor adds. Whiskers: one standard deviation over seeds.",
    "ablations": "Scores against the setting that was varied, each defense at its best threshold. "
    "Whiskers: one standard deviation over seeds. Level lines: what the setting does not touch.",
    "curves": "The defended model (unlearned, where nothing was tuned). Bands: one standard "
    "deviation over seeds. Dash-dotted: base rate of the same models. Dashed: the undefended "
    "model. Dotted: a model trained on the trusted rows alone.",
    "fronts": "Every defense against every attack at the thresholds that a defender could have "
    "chosen, each joined to its best one. The upper left is where a defense should be. CACC lost "
    "is against the tuned model, or the undefended one where none was tuned. The axes are "
    "logarithmic beyond 5 points. Stars: means over all attacks, of the defenses that no other "
    "beats in one and does not lose to in the other.",
    "trade-offs": "Each mark is one row of the table, bars are one standard deviation over seeds. "
    "The upper left is where a defense should be. A line joins the thresholds of one "
    "defense, in their order; a defense that is decided once is a single mark.",
    "heat-maps": "Each defense at its best threshold, beside the undefended model and the one "
    "trained on the trusted rows alone. Colour: ASR above the base rate.",
    "distances": "Number of tokens by the distance that training moved them, per detection round. "
    "Filled: the first seed, lines: the others. Dashed: the last token that the threshold flagged; "
    "marked: the true trigger, where it is known.",
}


def pictures(groups: Sequence[Group]) -> tuple[Picture, ...]:
    """All pictures of a study, section by section."""
    return (
        *overviews(groups),
        *ablations(groups),
        *_curves(groups),
        *fronts(groups),
        *_trade_offs(groups),
        *_heats(groups),
        *_distances(groups),
    )


def _curves(groups: Sequence[Group]) -> list[Picture]:
    """Of each defense all attacks in one picture, and then each attack by itself."""
    shown: dict[tuple[str, str, str, str | None], list[tuple[Group, plots.Curve]]] = {}
    single = []
    for block in blocks(groups):
        for rows in repairs(block):
            if sum(g.threshold is not None for g in rows) > 1:
                first, curve = rows[0], _curve(rows, block)
                single.append(_single(rows, curve))
                key = (first.dataset, first.model, variant_of(first), first.threshold_label)
                shown.setdefault(key, []).append((first, curve))
    return [*(_all_attacks(panels) for panels in shown.values() if len(panels) > 1), *single]


def _curve(rows: Sequence[Group], block: Sequence[Group]) -> plots.Curve:
    title = subject_of(rows[0], variant_of(rows[0])) + ", unlearned" * (not rows[0].arm.tuned)
    return plots.Curve(
        title=title,
        threshold_label=rows[0].threshold_label or "threshold",
        thresholds=tuple(g.threshold for g in rows),
        cacc=tuple(g.cacc for g in rows),
        asr=tuple(g.asr for g in rows),
        base_rate=tuple(g.base_rate for g in rows),
        undefended=_level(VICTIM, rows[0], block),
        trusted_only=_level(TRUSTED_ONLY, rows[0], block),
    )


def _single(rows: Sequence[Group], curve: plots.Curve) -> Picture:
    first = rows[0]
    told = "; ".join(
        f"{threshold_text(g) or plots.DECIDED_ONCE}: CACC {percent(g.cacc)}, ASR {percent(g.asr)}"
        for g in rows
    )
    alt = f"ASR and CACC in per cent by {curve.threshold_label}, {curve.title}. {told}"
    parts = (*_parts(first), variant_of(first), first.arm.name)
    paint = partial(_one, plots.draw_curve, curve)
    return Picture("curves", curve.title, parts, alt, labels_in(rows), (4.8, 3.7), paint)


def _all_attacks(panels: Sequence[tuple[Group, plots.Curve]]) -> Picture:
    first = panels[0][0]
    title = f"{variant_of(first)} against all attacks on {study_of(first)}"
    shown = dict(
        zip(
            (attack_of(g).replace("\n", ", ") for g, _ in panels),
            (c for _, c in panels),
            strict=True,
        )
    )
    shown = dict(list(shown.items())[:MOST_PANELS])
    alt = f"ASR and CACC in per cent by {panels[0][1].threshold_label}, {title}: {', '.join(shown)}"
    size = (6.6, 1.0 + 2.1 * -(-len(shown) // 2))
    parts = (first.dataset, first.model, variant_of(first), "all-attacks")
    paint = partial(_whole, plots.draw_curves, title, shown)
    return Picture("curves", title, parts, alt, labels_in([g for g, _ in panels]), size, paint)


def _level(arm: Arm, row: Group, block: Sequence[Group]) -> plots.Level:
    control = control_of(block, arm, row)
    return plots.Level(control.cacc, control.asr) if control else plots.Level()


def _one(function: Callable[..., None], value: object, figure: Figure) -> None:
    function(figure.subplots(), value)


def _whole(function: Callable[..., None], title: str, value: object, figure: Figure) -> None:
    function(figure, title, value)


def _trade_offs(groups: Sequence[Group]) -> list[Picture]:
    drawn = []
    for block in blocks(groups):
        points = [
            plots.Point(
                g.arm.name,
                variant_of(g) if g.arm.defended else "",
                g.asr,
                g.cacc,
                g.threshold is not None,
            )
            for g in block
            if g.asr is not None and g.cacc is not None
        ]
        if len(points) < 2:
            continue
        subject = subject_of(block[0])
        title = f"Accuracy against attack success: {subject}"
        alt = f"CACC against ASR of {len(points)} rows of the table, {subject}"
        paint = partial(_trade_off, title, points)
        labels = labels_in(block)
        drawn.append(Picture("trade-offs", title, _parts(block[0]), alt, labels, (4.8, 3.7), paint))
    return drawn


def _trade_off(title: str, points: Sequence[plots.Point], figure: Figure) -> None:
    plots.draw_trade_off(figure.subplots(), title, points)


def _heats(groups: Sequence[Group]) -> list[Picture]:
    attacked = {
        name: [block for block in blocks(rows) if any(g.excess for g in block)]
        for name, rows in studies(groups).items()
    }
    return [_heat(name, attacks) for name, attacks in attacked.items() if attacks]


def _heat(name: tuple[str, str], attacks: Sequence[Sequence[Group]]) -> Picture:
    rows = [attack_of(block[0]) for block in attacks]
    columns = [CONTROLS[VICTIM]]
    cells: list[dict[str, Group | None]] = []
    for block in attacks:
        controls = {columns[0]: control_of(block, VICTIM)}
        if trusted_only := control_of(block, TRUSTED_ONLY):
            controls[CONTROLS[TRUSTED_ONLY]] = trusted_only
        cells.append({**controls, **{variant_of(g): g for g in best_repairs(block)}})
        columns += [column for column in cells[-1] if column not in columns]
    excess = tuple(tuple(_excess(row.get(c)) for c in columns) for row in cells)
    texts = tuple(tuple(_heat_text(row.get(c)) for c in columns) for row in cells)
    study = study_of(attacks[0][0])
    title = f"What each defense leaves of each attack on {study}"
    heat = plots.Heat(title, tuple(rows), tuple(columns), excess, texts)
    told = "; ".join(
        f"{r}, {c}: {' '.join(text.split())}"
        for r, line in zip(rows, texts, strict=True)
        for c, text in zip(columns, line, strict=True)
        if text
    )
    row_height = 0.62
    if len(columns) > max(MOST_COLUMNS, len(rows)):
        heat, row_height = heat.turned(), 0.45
    size = (1.5 + 1.5 * len(heat.columns), 1.0 + row_height * len(heat.rows))
    labels = labels_in([g for block in attacks for g in block])
    alt = f"ASR, base rate and CACC by attack and defense, {study}. {told}"
    paint = partial(_one, plots.draw_heat, heat)
    return Picture("heat-maps", title, name, alt, labels, size, paint)


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
        told = f"{subject_of(best, variant_of(best))}" + f", threshold {at}" * bool(at)
        num_rounds = max(map(len, by_seed))
        alt = f"{told}: {' '.join(map(_told, by_seed[0]))}"
        title = f"How far training moved the tokens: {told}"
        parts = (*_parts(best), variant_of(best), f"threshold-{at}" * bool(at))
        paint = partial(_distance, title, by_seed, num_rounds)
        size = (4.8, 0.9 + 1.25 * num_rounds)
        drawn.append(Picture("distances", title, parts, alt, labels_in([best]), size, paint))
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


def _parts(group: Group) -> tuple[str, ...]:
    """What the file names of a block's pictures begin with."""
    shared = (f"{key.split('.')[-1]}={value}" for key, value in group.block[3] if value)
    return (group.dataset, group.attack, group.model, *shared)
