"""Plots of one run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from btu.records import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ASR_COLOR, CACC_COLOR = "#c0392b", "#1f6fb2"


def plot_curve(records: Sequence[Record], path: Path) -> bool:
    """ASR and CACC of the repaired model against the threshold; False where nothing was swept.

    Dotted: the base rate. Dashed: the undefended model.
    """
    arm = next((a for a in ("defended", "unlearned") if any(r.arm == a for r in records)), None)
    if arm is None:
        return False
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt

    rows = sorted((r for r in records if r.arm == arm), key=lambda r: r.threshold or 0.0)
    figure, axes = plt.subplots(figsize=(6.4, 4.0), dpi=150, layout="constrained")
    _draw(axes, rows, next((r for r in records if r.arm == "poisoned"), None), arm)
    figure.savefig(path)
    plt.close(figure)
    return True


def _draw(axes: Axes, rows: Sequence[Record], undefended: Record | None, arm: str) -> None:
    places = list(range(len(rows)))
    axes.plot(places, [100 * r.scores.cacc for r in rows], "o-", color=CACC_COLOR, label="CACC")
    attacked = [(p, r.scores) for p, r in zip(places, rows, strict=True)]
    asr = [(p, 100 * s.asr, 100 * (s.base_rate or 0)) for p, s in attacked if s.asr is not None]
    if asr:
        xs, ys, base = zip(*asr, strict=True)
        axes.plot(xs, ys, "s-", color=ASR_COLOR, label="ASR")
        axes.plot(xs, base, ":", color=ASR_COLOR, label="base rate")
    if undefended is not None:
        axes.axhline(100 * undefended.scores.cacc, ls="--", lw=1, color=CACC_COLOR, alpha=0.6)
        if undefended.scores.asr is not None:
            axes.axhline(100 * undefended.scores.asr, ls="--", lw=1, color=ASR_COLOR, alpha=0.6)
    axes.set_xticks(places, [f"{r.threshold:g}" for r in rows])
    axes.set_xlabel("threshold (share of the vocabulary flagged per round)")
    axes.set_ylabel("% of test rows")
    axes.set_ylim(-3, 103)
    what = " / ".join(rows[0].choices[k] for k in ("dataset", "attack", "model"))
    axes.set_title(f"{what}: {arm} (dashed: undefended)", fontsize=10)
    axes.grid(alpha=0.25)
    axes.legend(loc="center right", fontsize=9)
