"""Tables as Markdown and CSV. Whatever comes from records is escaped."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean

from btu.report.best import Marked
from btu.report.chosen import Chosen, has_published
from btu.report.grids import Cell, Grid
from btu.report.groups import Group, Spread
from btu.report.published import tell_published
from btu.report.spreadsheet import write_frame
from btu.store.records import CHOICES, Record
from btu.terminal.text import plain

_MARKDOWN = re.compile(r"([\\`*_\[\]|~$#])")
SCORES = ("cacc", "asr", "base_rate", "excess", "pacc", "score")
CHOSEN_SCORES = ("cacc", "asr", "base_rate", "excess")
REJECTED = ("rejected_clean", "rejected_triggered")
HITS = (
    *("precision", "recall", "row_precision", "row_recall", "row_auroc"),
    *("input_precision", "input_recall", "input_auroc", "num_found_words", "num_found_rows"),
)


def escape_markdown(text: str) -> str:
    """Text that Markdown shows unchanged, also within a table."""
    text = plain(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKDOWN.sub(r"\\\1", text).replace("://", "&#58;//")


def markdown(grid: Grid) -> str:
    """A pipe table."""
    marks = " | ".join("---:" if numeric else "---" for numeric in grid.numeric)
    rows = [" | ".join(_markdown_cell(cell) for cell in line.cells) for line in grid.lines]
    head = " | ".join(escape_markdown(title) for title in grid.titles)
    return "".join(f"| {row} |\n" for row in (head, marks, *rows))


def _markdown_cell(cell: Cell) -> str:
    text = escape_markdown(cell.text)
    return f"**{text}**" if cell.bold and text else text


def write_csv(path: Path, rows: Sequence[Marked]) -> None:
    """The complete table, shares as fractions of full precision; rejected ones if there are any."""
    import pandas as pd

    scores = (*SCORES, *_rejected([row.group for row in rows]))
    write_frame(pd.DataFrame([_csv_row(row, scores) for row in rows]), path)


def write_chosen_csv(path: Path, rows: Sequence[Chosen]) -> None:
    """What a defender could have chosen and what was best, shares as fractions."""
    import pandas as pd

    scores = (*CHOSEN_SCORES, *_rejected([row.picked for row in rows]))
    values = [_chosen_row(row, scores) for row in rows]
    if has_published(rows):
        for value, row in zip(values, rows, strict=True):
            value["published"] = tell_published(row.picked)
    write_frame(pd.DataFrame(values), path)


def write_seeds_csv(path: Path, groups: Sequence[Group]) -> None:
    """A row per seed of every row of the complete table, shares as fractions."""
    import pandas as pd

    rows = [_seed_row(group, record) for group in groups for record in group.records]
    write_frame(pd.DataFrame(rows), path)


def _seed_row(group: Group, record: Record) -> dict[str, object]:
    attacked = record.scores.asr is not None
    return {
        **_csv_names(group),
        "seed": record.seed,
        **asdict(record.scores),
        "excess": record.excess_asr if attacked else None,
        "score": record.scores.cacc - record.excess_asr if attacked else None,
        "num_suspects": None if record.suspects is None else len(record.suspects),
        "seconds": record.seconds,
        "leaky": record.leaky,
        "commit": record.provenance.get("commit"),
        "key": record.key,
    }


def _chosen_row(row: Chosen, scores: Sequence[str]) -> dict[str, object]:
    group = row.picked
    return {
        **_csv_names(group),
        "threshold": " ".join(map(str, row.thresholds)),
        "chosen_by": row.way,
        "num_seeds": len(group.seeds),
        "seeds": " ".join(map(str, group.seeds)),
        **_csv_spreads(group, scores),
        "best_threshold": row.best.threshold if row.best else None,
        "best_cacc": _mean(row.best.cacc if row.best else None),
        "best_excess": _mean(row.best.excess if row.best else None),
        "seconds": _mean(row.seconds),
        "passes": _mean(row.passes),
    }


def _csv_names(group: Group) -> dict[str, object]:
    return {
        **{name: getattr(group, name) for name in CHOICES},
        **group.settings,
        "arm": group.arm.name,
        "threshold": group.threshold,
        "threshold_label": group.threshold_label,
    }


def _csv_row(row: Marked, scores: Sequence[str]) -> dict[str, object]:
    group = row.group
    counts = {
        "num_clean": group.numbers(lambda r: r.scores.num_clean),
        "num_triggered": group.numbers(lambda r: r.scores.num_triggered),
    }
    return {
        **_csv_names(group),
        "num_seeds": len(group.seeds),
        "seeds": " ".join(map(str, group.seeds)),
        **{k: low if low == high else f"{low}-{high}" for k, (low, high) in counts.items()},
        **_csv_scores(group, scores),
        "best": row.best,
        "leaky": group.leaky,
    }


def _csv_scores(group: Group, scores: Sequence[str]) -> dict[str, float | None]:
    values = _csv_spreads(group, scores)
    for name, numbers in _csv_detection(group).items():
        values[name] = fmean(numbers) if numbers else None
    return values


def _csv_spreads(group: Group, scores: Sequence[str]) -> dict[str, float | None]:
    values: dict[str, float | None] = {}
    for name in scores:
        spread: Spread | None = getattr(group, name)
        values[name] = _mean(spread)
        values[f"{name}_std"] = spread.std if spread else None
    return values


def _mean(spread: Spread | None) -> float | None:
    return spread.mean if spread else None


def _rejected(groups: Sequence[Group]) -> list[str]:
    return [name for name in REJECTED if any(getattr(group, name) for group in groups)]


def _csv_detection(group: Group) -> dict[str, list[float]]:
    """Number of suspects, and how well they, or words and rows, hit what was planted."""
    detections = [r.detection for r in group.records if r.detection]
    return {
        "num_suspects": [float(len(r.suspects)) for r in group.records if r.suspects is not None],
        **{
            name: [float(d[name]) for d in detections if isinstance(d.get(name), int | float)]
            for name in HITS
        },
    }


def slug(*parts: str) -> str:
    """A name that is safe as a file name, an anchor and a label."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", "-".join(p for p in parts if p)).strip("-.")[:100] or "x"
