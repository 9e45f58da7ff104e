"""Records that agree in everything but the seed, and their scores over seeds."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import pairwise
from statistics import fmean, stdev
from typing import Any

from btu.errors import DataError
from btu.report.study import CHOICES, Study
from btu.store.records import Record
from btu.types import ARM_NAMES, REPAIRED

# Settings of a run that say how or where it is computed, not what.
RUN_LEVEL = frozenset(
    [
        "seed",
        "thresholds",
        "arms",
        "outputs",
        "force",
        "device",
        "save_model",
        "on_failure",
        "report",
        "objective",
    ]
)
RUN_LEVEL_STARTS = ("cache", "tracking")


@dataclass(frozen=True)
class Share:
    """Mean of a score over seeds, and its sample standard deviation from two seeds on."""

    mean: float
    std: float | None
    num_seeds: int


def share(values: Iterable[float | None]) -> Share | None:
    """Mean and spread of the values that are known; None where none is."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    return Share(fmean(known), stdev(known) if len(known) > 1 else None, len(known))


@dataclass(frozen=True)
class Group:
    """One row of a table: the records of several seeds and nothing else that differs."""

    dataset: str
    attack: str
    model: str
    defense: str
    arm: str
    threshold: float | None
    settings: Mapping[str, str]  # every setting that differs within the study
    records: tuple[Record, ...]  # in the order of their seeds

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of its records."""
        return tuple(record.seed for record in self.records)

    @property
    def leaky(self) -> bool:
        """Whether a record was evaluated on splits that overlap."""
        return any(record.leaky for record in self.records)

    @property
    def block(self) -> tuple[Any, ...]:
        """What two rows share that can be compared: all but the defense and its settings."""
        shared = {k: v for k, v in self.settings.items() if not is_of_defense(k)}
        return (self.dataset, self.attack, self.model, tuple(shared.items()))

    @property
    def variant(self) -> tuple[Any, ...]:
        """The defense with those of its settings that differ within the study."""
        own = {k: v for k, v in self.settings.items() if is_of_defense(k)}
        return (self.defense, tuple(own.items()))

    @cached_property
    def cacc(self) -> Share | None:
        """Accuracy on the clean test rows."""
        return share(r.scores.cacc for r in self.records)

    @cached_property
    def asr(self) -> Share | None:
        """Attack success rate."""
        return share(r.scores.asr for r in self.records)

    @cached_property
    def base_rate(self) -> Share | None:
        """What the same models predict as the target without a trigger."""
        return share(r.scores.base_rate for r in self.records)

    @cached_property
    def pacc(self) -> Share | None:
        """Accuracy on the triggered rows."""
        return share(r.scores.pacc for r in self.records)

    @cached_property
    def excess(self) -> Share | None:
        """ASR above the base rate of the same model, negative where it is below."""
        return share(_difference(r.scores.asr, r.scores.base_rate) for r in self.records)

    @cached_property
    def score(self) -> Share | None:
        """CACC minus what ASR exceeds the base rate by, as `btu.arms.choose` weighs it."""
        attacked = (r for r in self.records if r.scores.asr is not None)
        return share(r.scores.cacc - r.excess_asr for r in attacked)

    def numbers(self, of: Callable[[Record], int]) -> tuple[int, int]:
        """The smallest and the largest count among the records."""
        counts = [of(record) for record in self.records]
        return min(counts), max(counts)


def group_records(study: Study) -> tuple[Group, ...]:
    """The rows of the study, in the order of tables.

    Raises:
        DataError: two records of one group have the same seed.
    """
    columns = setting_columns(study.records)
    found: dict[tuple[Any, ...], list[Record]] = defaultdict(list)
    for record in study.records:
        names = tuple(record.choices[name] for name in CHOICES)
        values = tuple(columns[key].get(record.key, "") for key in columns)
        found[names, record.arm, record.threshold, values].append(record)
    groups = []
    for (names, arm, threshold, values), records in found.items():
        rows = tuple(sorted(records, key=lambda r: r.seed))
        _check_seeds(rows, study)
        settings = dict(zip(columns, values, strict=True))
        chosen = dict(zip(CHOICES, names, strict=True))
        groups.append(
            Group(**chosen, arm=arm, threshold=threshold, settings=settings, records=rows)
        )
    return tuple(sorted(groups, key=_table_order))


def setting_columns(records: Sequence[Record]) -> dict[str, dict[str, str]]:
    """The settings that differ where nothing else explains it: their values by record key.

    A setting that is constant for a dataset, attack and model (for `defense.*`: and defense) is a
    consequence of that choice and needs no column. `defense.*` does not matter to the arms that
    no defense touches.
    """
    values: dict[str, dict[str, str]] = defaultdict(dict)
    for record in records:
        for key, value in _settings(record):
            values[key][record.key] = value
    differing = (key for key, held in values.items() if _differs(key, held, records))
    return {key: values[key] for key in sorted(differing)}


def flatten(value: Any, at: str = "") -> Iterator[tuple[str, str]]:
    """Every value of a config under its dotted key; lists of plain values stay whole."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from flatten(inner, f"{at}.{key}" if at else str(key))
    elif isinstance(value, list) and any(isinstance(item, (Mapping, list)) for item in value):
        for number, inner in enumerate(value):
            yield from flatten(inner, f"{at}.{number}")
    else:
        yield at, _text(value)


def _text(value: Any) -> str:
    """A plain value as one would type it; 1 and 1.0 are one value, 0.1 and 0.10 too."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return f"[{','.join(map(_text, value))}]"
    return json.dumps(value)


def _settings(record: Record) -> Iterator[tuple[str, str]]:
    for key, value in flatten(record.config):
        root = key.split(".")[0]
        ignored = root in RUN_LEVEL or root.startswith(RUN_LEVEL_STARTS)
        if not ignored and (record.arm in REPAIRED or not is_of_defense(key)):
            yield key, value
    provenance = record.provenance
    yield "device", str(provenance.get("device", "")).split(":")[0]
    yield "precision", str(provenance.get("precision", ""))
    yield "btu", str(provenance.get("btu", ""))


def _differs(key: str, held: Mapping[str, str], records: Sequence[Record]) -> bool:
    if len(held) == len(records) and len(set(held.values())) == 1:
        return False
    within: dict[tuple[str, ...], set[str | None]] = defaultdict(set)
    of_defense = is_of_defense(key)
    for record in records:
        if of_defense and record.arm not in REPAIRED:
            continue
        names = CHOICES if of_defense else CHOICES[:3]
        # Where a run was computed has no group of options that would explain it.
        choice = tuple(record.choices[n] for n in names) if "." in key else ()
        within[choice].add(held.get(record.key))
    return any(len(values) > 1 for values in within.values())


def _check_seeds(records: Sequence[Record], study: Study) -> None:
    for one, two in pairwise(records):
        if one.seed == two.seed:
            raise DataError(
                f"seed {one.seed} is there twice with the same settings: "
                f"{study.paths[one.key]} and {study.paths[two.key]} ({_what_differs(one, two)}). "
                "Leave one out, or name the folders of the runs instead of all records."
            )


def _what_differs(one: Record, two: Record) -> str:
    """The values that tell two such records apart, for a sentence."""
    parts = ("provenance", "config", "stages")
    first, second = (
        {f"{p}.{k}": v for p in parts for k, v in flatten(asdict(r)[p])} for r in (one, two)
    )
    keys = [k for k in sorted({*first, *second}) if first.get(k) != second.get(k)]
    told = [k for k in keys if "peak_memory" not in k][:4]
    return f"they differ in {', '.join(told)}" if told else "nothing else recorded differs"


def _difference(one: float | None, two: float | None) -> float | None:
    return None if one is None or two is None else one - two


def _table_order(group: Group) -> tuple[Any, ...]:
    *names, shared = group.block
    undefended = {"poisoned": 0, "clean": 1}.get(group.arm, 2)
    at = -1.0 if group.threshold is None else group.threshold
    return (
        *(natural(name) for name in names),
        tuple((key, natural(value)) for key, value in shared),
        undefended,
        natural(group.defense),
        tuple((key, natural(value)) for key, value in group.variant[1]),
        ARM_NAMES.index(group.arm),
        at,
    )


def is_of_defense(key: str) -> bool:
    """Whether a setting is one of the defense."""
    return key.split(".")[0] == "defense"


def natural(value: str) -> tuple[int, float, str]:
    """A sort key that puts numbers first, by size."""
    try:
        number = float(value)
    except ValueError:
        return (1, 0.0, value)
    return (0, number, value) if math.isfinite(number) else (1, 0.0, value)
