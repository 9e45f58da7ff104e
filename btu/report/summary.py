"""What a reader should know before the numbers: what was run, left out, and made by what."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from btu.report.grids import Cell, Grid, Line
from btu.report.groups import Group, natural
from btu.report.study import Study
from btu.store.records import CHOICES, Record

PLURALS = {"dataset": "datasets", "attack": "attacks", "model": "models", "defense": "defenses"}


@dataclass(frozen=True)
class Summary:
    """The facts at the head of a report: name and value, in order."""

    facts: tuple[tuple[str, str], ...]
    leaky: int  # records evaluated on splits that overlap


def summarize(study: Study, groups: Sequence[Group]) -> Summary:
    """What the study holds, counted."""
    records = study.records
    seeds = sorted({r.seed for r in records})
    thresholds = sorted({r.threshold for r in records if r.threshold is not None})
    named = {name: _choices(records, name) for name in CHOICES}
    facts = [
        ("records", f"{len(records):,} in {len(groups):,} rows"),
        ("seeds", _listed(map(str, seeds))),
        *((PLURALS[name], _listed(values)) for name, values in named.items()),
        ("thresholds", _listed(f"{t:g}" for t in thresholds) or "none"),
        ("settings that differ", _listed(groups[0].settings) or "none"),
        ("computing time", _duration(sum(r.seconds for r in records))),
        ("left out", f"{len(study.left_out)} files"),
    ]
    if study.jobs:
        unfinished = len(study.unfinished)
        how = f"{unfinished} of them not finished" if unfinished else "all finished"
        facts.append(("jobs", f"{len(study.jobs)}, {how}"))
    return Summary(tuple(facts), sum(r.leaky for r in records))


def left_out_grid(study: Study) -> Grid:
    """The files that are in no table, with the reason."""
    lines = (Line((Cell(item.name), Cell(item.reason))) for item in study.left_out)
    return Grid(("file", "why it was left out"), (False, False), tuple(lines))


def job_grid(study: Study) -> Grid:
    """The jobs that did not finish, with their sentence."""
    lines = (
        Line((Cell(j.name), Cell(j.status), Cell(j.error or ""), Cell(" ".join(j.overrides))))
        for j in study.unfinished
    )
    return Grid(("job", "status", "error", "overrides"), (False,) * 4, tuple(lines))


def provenance_grid(records: Sequence[Record]) -> Grid:
    """What the records were made by: each value and the number of records that have it."""
    lines = []
    for title, value_of in _provenance(records):
        counts = Counter(value_of(r.provenance) for r in records)
        for value, count in sorted(counts.items(), key=lambda kv: (-kv[1], kv[0])):
            lines.append(Line((Cell(title), Cell(value or "not recorded"), Cell(f"{count:,}"))))
    return Grid(("made by", "value", "records"), (False, False, True), tuple(lines))


def _provenance(
    records: Sequence[Record],
) -> Iterable[tuple[str, Callable[[Any], str]]]:
    yield "btu", lambda p: str(p.get("btu") or "")
    yield "commit", _commit
    yield "python", lambda p: str(p.get("python") or "")
    packages = sorted({name for r in records for name in _versions(r.provenance)})
    for package in packages:
        yield package, partial(_version, package)
    yield "device", lambda p: f"{p.get('device', '')} {p.get('device_name', '')}".strip()
    yield "precision", lambda p: str(p.get("precision") or "")


def _versions(provenance: Any) -> dict[str, str]:
    versions = provenance.get("versions")
    return versions if isinstance(versions, dict) else {}


def _version(package: str, provenance: Any) -> str:
    return str(_versions(provenance).get(package) or "")


def _commit(provenance: Any) -> str:
    dirty = " with uncommitted changes" if provenance.get("dirty") else ""
    commit = str(provenance.get("commit") or "")
    return f"{commit[:12]}{dirty}" if commit else ""


def _choices(records: Sequence[Record], name: str) -> list[str]:
    return sorted({r.choices[name] for r in records}, key=natural)


def _listed(values: Iterable[str], most: int = 12) -> str:
    names = list(values)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
