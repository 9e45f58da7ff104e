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
from btu.metrics import by_size
from btu.report.study import Study
from btu.store.records import CHOICES, Record
from btu.types import ARMS, BY_NAME, VICTIM, Arm

# Settings in a record's config that no row may differ in: rows are means over seeds, each record
# says its own arm and threshold, and its provenance says the device.
NO_COLUMN = frozenset(["seed", "thresholds", "arms", "device"])
METHOD = ("defense", "swept_defense", "tuning")  # what rows that can be compared may differ in
TRUSTED_ONLY_TUNING = ("trusted_only_epochs", "max_samples", "share")


@dataclass(frozen=True)
class Spread:
    """Mean of a score over seeds, and its sample standard deviation from two seeds on."""

    mean: float
    std: float | None
    num_seeds: int


def average(values: Iterable[float | None]) -> Spread | None:
    """Mean and spread of the values that are known; None where none is."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    return Spread(fmean(known), stdev(known) if len(known) > 1 else None, len(known))


@dataclass(frozen=True)
class Group:
    """One row of a table: the records of several seeds and nothing else that differs."""

    dataset: str
    attack: str
    model: str
    defense: str
    arm: Arm
    threshold: float | None
    threshold_label: str | None  # what the threshold is of
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
        """What two rows share that can be compared: all but the method and its settings."""
        shared = {k: v for k, v in self.settings.items() if not is_of_method(k)}
        return (self.dataset, self.attack, self.model, tuple(shared.items()))

    @property
    def decision(self) -> tuple[Any, ...]:
        """The defense, with those of its settings that differ within the study."""
        own = {k: v for k, v in self.settings.items() if is_of_method(k) and not is_of_tuning(k)}
        return (self.defense, tuple(own.items()), self.threshold_label)

    @property
    def variant(self) -> tuple[Any, ...]:
        """The decision and how its model is tuned; one curve runs over rows of one variant."""
        return (*self.decision, tuple(self.method.items()))

    @property
    def method(self) -> Mapping[str, str]:
        """The settings of defense and tuning that differ within the study."""
        return {k: v for k, v in self.settings.items() if is_of_method(k)}

    def may_control(self, other: Group) -> bool:
        """Whether no setting that matters to both differs."""
        pairs = ((value, other.settings[key]) for key, value in self.settings.items())
        return all(one == two or not one or not two for one, two in pairs)

    @cached_property
    def cacc(self) -> Spread | None:
        """Accuracy on the clean test rows."""
        return average(r.scores.cacc for r in self.records)

    @cached_property
    def asr(self) -> Spread | None:
        """Attack success rate."""
        return average(r.scores.asr for r in self.records)

    @cached_property
    def base_rate(self) -> Spread | None:
        """What the same models predict as the target without a trigger."""
        return average(r.scores.base_rate for r in self.records)

    @cached_property
    def pacc(self) -> Spread | None:
        """Accuracy on the triggered rows."""
        return average(r.scores.pacc for r in self.records)

    @cached_property
    def rejected_clean(self) -> Spread | None:
        """Share of the clean test rows that the defense rejects; None where nothing rejects."""
        return average(r.scores.rejected_clean for r in self.records)

    @cached_property
    def rejected_triggered(self) -> Spread | None:
        """Share of the triggered rows that the defense rejects; None where nothing rejects."""
        return average(r.scores.rejected_triggered for r in self.records)

    @cached_property
    def excess(self) -> Spread | None:
        """What ASR exceeds the base rate of the same model by; 0 where it is below."""
        return average(r.excess_asr for r in self._attacked)

    @cached_property
    def score(self) -> Spread | None:
        """CACC minus what ASR exceeds the base rate by, as `btu.metrics.choose` weighs it."""
        return average(r.scores.cacc - r.excess_asr for r in self._attacked)

    @property
    def _attacked(self) -> list[Record]:
        return [r for r in self.records if r.scores.asr is not None]

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
    alike: dict[tuple[Any, ...], list[Record]] = defaultdict(list)
    for record in study.records:
        names = tuple(record.choices[name] for name in CHOICES)
        point = (record.arm, record.threshold, record.threshold_label)
        alike[names, point, tuple(columns[key].get(record.key, "") for key in columns)].append(
            record
        )
    groups = []
    for (names, (arm, threshold, label), values), records in alike.items():
        rows = tuple(sorted(records, key=lambda r: r.seed))
        _check_seeds(rows, study)
        groups.append(
            Group(
                **dict(zip(CHOICES, names, strict=True)),
                arm=BY_NAME[arm],
                threshold=threshold,
                threshold_label=label,
                settings=dict(zip(columns, values, strict=True)),
                records=rows,
            )
        )
    return tuple(sorted(groups, key=_table_order))


def setting_columns(records: Sequence[Record]) -> dict[str, dict[str, str]]:
    """The settings that differ where nothing else explains it: their values by record key.

    A setting that is constant for a dataset, attack and model (for those of the method: and
    defense) is a consequence of that choice and needs no column, nor does one that is always the
    run's seed. Only arms to which a setting matters are asked for it.
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
    arm = BY_NAME[record.arm]
    for key, value in flatten(record.config):
        if key.split(".")[0] not in NO_COLUMN and matters(key, arm):
            yield key, value
    provenance = record.provenance
    yield "device", str(provenance.get("device", "")).split(":")[0]
    yield "precision", str(provenance.get("precision", ""))
    yield "btu", str(provenance.get("btu", ""))


def matters(key: str, arm: Arm) -> bool:
    """Whether a setting can change a number of an arm."""
    if not is_of_method(key):
        return True
    if not is_of_tuning(key):
        return arm.defended and not key.endswith(".thresholds")  # the record has its own threshold
    name = key.removeprefix("tuning.")
    if arm.rows == "trusted":
        return name in TRUSTED_ONLY_TUNING
    return arm.tuned and name != "trusted_only_epochs"


def _differs(key: str, held: Mapping[str, str], records: Sequence[Record]) -> bool:
    if len(held) == len(records) and len(set(held.values())) == 1:
        return False
    within: dict[tuple[str, ...], set[tuple[str | None, int]]] = defaultdict(set)
    names = CHOICES if is_of_method(key) else CHOICES[:3]
    for record in records:
        if matters(key, BY_NAME[record.arm]):
            # Where a run was computed has no group of options that would explain it.
            explained = "." in key or is_of_method(key)
            choice = tuple(record.choices[n] for n in names) if explained else ()
            within[choice].add((held.get(record.key), record.seed))
    return any(
        len({value for value, _ in found}) > 1 and any(value != str(seed) for value, seed in found)
        for found in within.values()
    )


def _check_seeds(records: Sequence[Record], study: Study) -> None:
    for one, two in pairwise(records):
        if one.seed == two.seed:
            raise DataError(
                f"seed {one.seed} occurs twice with the same settings: "
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
    return f"they differ in {', '.join(told)}" if told else "no other recorded value differs"


def _table_order(group: Group) -> tuple[Any, ...]:
    *names, shared = group.block
    arm = group.arm
    control = (arm.needs_trusted_rows, arm.rows != VICTIM.rows) if not arm.defended else ()
    return (
        *(natural(name) for name in names),
        tuple((key, natural(value)) for key, value in shared),
        arm.defended,
        control,
        natural(group.defense),
        tuple((key, natural(value)) for key, value in group.method.items()),
        group.threshold_label or "",
        ARMS.index(arm),
        by_size(group.threshold),
    )


def is_of_method(key: str) -> bool:
    """Whether a setting is one of the defense or of clean tuning."""
    return key.split(".")[0] in METHOD


def is_of_tuning(key: str) -> bool:
    """Whether a setting is one of clean tuning."""
    return key.split(".")[0] == "tuning"


def natural(value: str) -> tuple[int, float, str]:
    """A sort key that puts numbers first, by size."""
    try:
        number = float(value)
    except ValueError:
        return (1, 0.0, value)
    return (0, number, value) if math.isfinite(number) else (1, 0.0, value)
