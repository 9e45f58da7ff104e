"""What defenses that convict say in records' evidence, recognised by its form, not by a name."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from btu.store.files import parse_as
from btu.store.records import Record

MARKS_OF_A_VERDICT = {"findings", "acquitted"}  # keys of the evidence
FINDING_COLUMNS = (
    "threshold",
    "defense",
    "convicted",
    "kind",
    "text",
    "marks",
    "place",
    "label",
    "rows",
    "held",
    "contradicted",
    "trusted",
    "turned_in_victim",
    "turned_in_reference",
    "tried",
    "p_excess",
    "p_contradiction",
    "p_effect",
    "p",
    "q",
    "reason",
    "examples",
)


@dataclass(frozen=True)
class Example:
    """A training row that shows a finding."""

    row: int  # of its file
    text: str
    marked: tuple[tuple[int, int], ...] = ()  # from which character to which
    label: str = ""
    reference: str = ""  # the label that the reference gives it


@dataclass(frozen=True)
class Effect:
    """How many trusted texts a finding turns to its label, in the victim and in the reference."""

    texts: int
    victim: int
    victim_interval: tuple[float, float]  # 95 %, of the share
    reference: int
    reference_interval: tuple[float, float]


@dataclass(frozen=True)
class Finding:
    """What was suspected of having been planted; what its defense does not say is None."""

    kind: str  # words or rows
    label: str
    rows: int  # untrusted rows of the label that show it
    text: str = ""  # empty of rows
    marks: tuple[str, ...] = ()  # of rows: terms that they have in excess
    place: str = "anywhere"
    trusted: int | None = None  # trusted rows of the label that hold it
    held: int | None = None  # untrusted rows of any label that hold it
    contradicted: int | None = None  # of `rows`
    p_excess: float | None = None
    p_contradiction: float | None = None
    p_effect: float | None = None
    effect: Effect | None = None
    p: float | None = None
    q: float | None = None
    reason: str = ""
    examples: tuple[Example, ...] = ()

    @property
    def written(self) -> str:
        """The text as most rows that show it have it; its words and single blanks where none do."""
        spans = [
            " ".join(example.text[slice(*example.marked[0])].split())
            for example in self.examples
            if self.text and example.marked
        ]
        alike = [span for span in spans if _squeeze(span) == _squeeze(self.text)]
        return max(alike, key=alike.count) if alike else self.text


def _squeeze(text: str) -> str:
    return "".join(text.lower().split())


@dataclass(frozen=True)
class Left:
    """What a repair leaves, in texts that it has not learned."""

    kind: str  # words: trusted texts with a phrase; rows: planted ones
    texts: int
    obey: int
    by_chance: int  # as many would without a backdoor


@dataclass(frozen=True)
class Verdict:
    """What one defense convicted at one threshold, and what it suspected and acquitted."""

    findings: tuple[Finding, ...]
    acquitted: tuple[Finding, ...]
    error_rate: float | None = None
    tests: int | None = None  # of words and phrases
    untrusted_rows: int | None = None
    trusted_rows: int | None = None
    repairs: tuple[str, ...] = ()
    left: tuple[Left, ...] = ()
    notes: tuple[str, ...] = ()


def find_verdicts(record: Record) -> dict[str, Mapping[str, Any]]:
    """The evidence of every defense that convicts, by the defense's name, as it is."""
    return {
        name: told
        for name, told in record.evidence.items()
        if isinstance(told, Mapping) and told.keys() >= MARKS_OF_A_VERDICT
    }


def read_verdicts(record: Record) -> dict[str, Verdict | str]:
    """The same as verdicts; of one that has another form the sentence that says where."""
    return {name: read_verdict(name, told) for name, told in find_verdicts(record).items()}


def read_verdict(name: str, told: Mapping[str, Any]) -> Verdict | str:
    """The evidence of a defense as a verdict; if it has another form, the sentence that says so."""
    try:
        return parse_as(Verdict, json.dumps(told).encode())
    except ValueError as error:
        return (
            f"what {name} convicted cannot be shown, since its evidence has another form: {error}"
        )


def list_verdicts(records: Sequence[Record]) -> list[dict[str, Any]]:
    """What `findings.json` holds: an object for each record whose defenses convict."""
    return [
        {
            "arm": record.arm,
            "threshold": record.threshold,
            "threshold_label": record.threshold_label,
            "record": record.key,
            "evidence": found,
        }
        for record in records
        if (found := find_verdicts(record))
    ]


def list_findings(records: Sequence[Record]) -> list[dict[str, Any]]:
    """One flat row per threshold and finding; each threshold once, whichever arm holds it."""
    rows, seen = [], set()
    for record in records:
        verdicts = read_verdicts(record)
        if verdicts and record.threshold not in seen:
            seen.add(record.threshold)
            for name, verdict in verdicts.items():
                about = {"threshold": record.threshold, "defense": name}
                rows += [about | row for row in _flatten(verdict)]
    return rows


def _flatten(verdict: Verdict | str) -> list[dict[str, Any]]:
    if isinstance(verdict, str):
        return []
    convicted = [(True, finding) for finding in verdict.findings]
    acquitted = [(False, finding) for finding in verdict.acquitted]
    return [{"convicted": yes, **_flat(finding)} for yes, finding in (*convicted, *acquitted)]


def _flat(finding: Finding) -> dict[str, Any]:
    values = asdict(finding)
    effect = values.pop("effect") or {}
    values["examples"] = [example.text for example in finding.examples]
    turned = {f"turned_in_{side}": effect.get(side) for side in ("victim", "reference")}
    return {**values, **turned, "tried": effect.get("texts")}
