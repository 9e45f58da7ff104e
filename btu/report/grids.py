"""Tables as rows of text, before any file format: what every format shows alike."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from operator import attrgetter
from typing import Generic, TypeVar

from btu.report.best import Marked
from btu.report.groups import Group, Spread, is_of_method
from btu.store.records import CHOICES, Suspect

NUM_TOKENS = 10  # suspects listed per row
SUSPECT_TITLES = ("token", "in seeds", "best rank", "of the trigger", "leans to", "texts")
Row = TypeVar("Row")
Labels = dict[str, str]  # dataset, attack, model, defense: what a filter looks at


@dataclass(frozen=True)
class Cell:
    """One value as text."""

    text: str
    bold: bool = False


@dataclass(frozen=True)
class Line:
    """One row of a table, and what a filter may ask about it."""

    cells: tuple[Cell, ...]
    labels: Labels = field(default_factory=dict)
    block: object = None  # rows of one block stand together


@dataclass(frozen=True)
class Grid:
    """A table: column titles, which of them are numbers, rows."""

    titles: tuple[str, ...]
    numeric: tuple[bool, ...]
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Column(Generic[Row]):
    """One column of a table: its title, and what it says of a row, in most tables a group."""

    title: str
    text: Callable[[Row], str]
    bold: Callable[[Marked], bool] = lambda row: False
    numeric: bool = True


def score_grid(rows: Sequence[Marked], without: Iterable[str] = ()) -> Grid:
    """Scores, a row per group; `without` names columns to leave out."""
    columns = [c for c in _columns(rows) if c.title not in set(without)]
    lines = (
        Line(
            tuple(Cell(c.text(r.group), c.bold(r)) for c in columns),
            labels(r.group),
            r.group.block,
        )
        for r in rows
    )
    return Grid(tuple(c.title for c in columns), tuple(c.numeric for c in columns), tuple(lines))


def suspect_grid(groups: Sequence[Group]) -> Grid:
    """The suspects that most seeds flag, of the best row of each defense."""
    columns = [*identity_columns(groups), *_threshold_columns(groups)]
    lines = [
        Line(
            tuple(Cell(text) for text in (*(c.text(group) for c in columns), *cells)),
            labels(group),
            (group.block, group.variant),
        )
        for group in groups
        for cells in _suspects(group)
    ]
    titles = (*(c.title for c in columns), *SUSPECT_TITLES)
    numeric = (
        *(c.numeric for c in columns),
        *(t in ("best rank", "texts") for t in SUSPECT_TITLES),
    )
    return Grid(titles, numeric, tuple(lines))


def labels(group: Group) -> Labels:
    """What the filters of the page look at."""
    return {name: getattr(group, name) for name in CHOICES}


def percent(spread: Spread | None) -> str:
    """`84.1 ± 1.2`; no spread from a single seed; empty where nothing was measured."""
    if spread is None:
        return ""
    text = f"{100 * spread.mean:.1f}"
    return text if spread.std is None else f"{text} ± {100 * spread.std:.1f}"


def threshold_text(group: Group) -> str:
    """The threshold as one would type it, empty where there is none."""
    return "" if group.threshold is None else f"{group.threshold:g}"


def span(numbers: tuple[int, int]) -> str:
    """`872`, or `860-872` where seeds differ."""
    low, high = numbers
    return str(low) if low == high else f"{low}-{high}"


def identity_columns(groups: Sequence[Group]) -> list[Column[Group]]:
    """What a row is about: the choices, and the settings that differ, those of the method last."""
    keys = groups[0].settings if groups else {}
    settings = [Column(k, partial(_setting, k), numeric=_all_numbers(groups, k)) for k in keys]
    *shared, defense = (Column(name, attrgetter(name), numeric=False) for name in CHOICES)
    own = [column for column in settings if is_of_method(column.title)]
    return [*shared, *(c for c in settings if c not in own), defense, *own]


def _columns(rows: Sequence[Marked]) -> list[Column[Group]]:
    groups = [row.group for row in rows]
    columns = identity_columns(groups)
    columns += [
        Column("arm", lambda g: g.arm.name, numeric=False),
        *_threshold_columns(groups),
        Column("seeds", lambda g: str(len(g.seeds))),
        *score_columns(),
        Column("PACC", lambda g: percent(g.pacc)),
        *rejected_columns(groups),
        Column("score", lambda g: percent(g.score), lambda r: r.best),
        Column("test rows", lambda g: span(g.numbers(lambda r: r.scores.num_clean))),
        Column("attacked rows", lambda g: span(g.numbers(lambda r: r.scores.num_triggered))),
    ]
    if any(group.leaky for group in groups):
        columns.append(Column("note", lambda g: "LEAKY" if g.leaky else "", numeric=False))
    return columns


def score_columns() -> list[Column[Group]]:
    """CACC, ASR, base rate and excess."""
    return [
        Column("CACC", lambda g: percent(g.cacc), lambda r: r.highest_cacc),
        Column("ASR", lambda g: percent(g.asr)),
        Column("base rate", lambda g: percent(g.base_rate)),
        Column("excess", lambda g: percent(g.excess), lambda r: r.lowest_excess),
    ]


def _threshold_columns(groups: Sequence[Group]) -> list[Column[Group]]:
    """The threshold, and what it is of where the rows have thresholds of several kinds."""
    kinds = {g.threshold_label for g in groups if g.threshold is not None}
    kind = Column("threshold of", _kind, numeric=False)
    return [Column("threshold", threshold_text), *[kind] * (len(kinds) > 1)]


def _kind(group: Group) -> str:
    return "" if group.threshold is None else group.threshold_label or ""


def rejected_columns(groups: Sequence[Group]) -> list[Column[Group]]:
    """Shares of rejected inputs, where a defense of these rows rejects any."""
    if not any(g.rejected_clean or g.rejected_triggered for g in groups):
        return []
    return [
        Column("rejected, clean", lambda g: percent(g.rejected_clean)),
        Column("rejected, attacked", lambda g: percent(g.rejected_triggered)),
    ]


def _setting(key: str, group: Group) -> str:
    return group.settings[key]


def _all_numbers(groups: Sequence[Group], key: str) -> bool:
    values = {group.settings[key] for group in groups} - {""}
    return all(value.replace(".", "", 1).replace("e-", "", 1).isdigit() for value in values)


def _suspects(group: Group) -> list[tuple[str, ...]]:
    """The tokens of one row: those of most seeds first, then by their best rank."""
    tokens: dict[tuple[str, int], list[Suspect]] = defaultdict(list)
    for suspect in (s for record in group.records for s in record.suspects or ()):
        tokens[suspect.token, suspect.id].append(suspect)
    ranked = sorted(tokens.items(), key=lambda kv: (-len(kv[1]), min(s.rank for s in kv[1]), kv[0]))
    known = {None: "", True: "yes", False: "no"}
    return [
        (
            token,
            f"{len(same)} of {len(group.seeds)}",
            str(min(s.rank for s in same)),
            known[same[0].is_trigger],
            "/".join(sorted({s.leans_to for s in same})),
            span((min(s.num_texts for s in same), max(s.num_texts for s in same))),
        )
        for (token, _), same in ranked[:NUM_TOKENS]
    ]
