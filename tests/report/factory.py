"""Records as files, for tests of the report."""

import json
from dataclasses import asdict, replace
from pathlib import Path

from btu.store.records import Choice, Record, RoundDrift, Suspect, Work, write_record
from btu.types import ACCURACY, BEFOREHAND, BY_NAME, CutTexts, FormatShift, Scores

HEADER = ("format", "predictions", "sha256")
CONFIG = {
    "dataset": {"name": "d", "train": "train.tsv"},
    "attack": {"name": "a", "poison_rate": 0.1, "triggers": ["cf", "mn"]},
    "model": {"name": "m", "training": {"epochs": 2}},
    "defense": {
        "btu": {
            "name": "btu",
            "thresholds": [0.001],
            "cutoff": "mean",
            "rounds": [{"kind": "pooled"}, {"kind": "full"}],
        }
    },
    "tuning": {"epochs": 1, "max_samples": None, "trusted_only_epochs": 8},
    "swept_defense": None,
    "thresholds": [0.001],
    "arms": ["poisoned", "defended"],
    "device": "auto",
    "seed": 1,
}
LABEL = "share of the vocabulary flagged per round"
PROVENANCE = {
    "btu": "0.1.0",
    "commit": "c" * 40,
    "dirty": False,
    "python": "3.11.7",
    "versions": {"torch": "2.13.0"},
    "device": "cpu",
    "device_name": "x86_64",
    "precision": "bf16",
}
DRIFT = tuple(
    RoundDrift(number, (0.01, 0.1, 1.0, 10.0), (90, 8, 2), 100, 0.5, {"cf": 2.0})
    for number in (1, 2)
)

FORMAT_SHIFTS = (
    FormatShift("test", "begins with a capital", 0.0, 0.8, 400, True),
    FormatShift("test", "ends with a stop", 0.9, 0.8, 400, True),
    FormatShift("test", "mean length in words", 18.0, 19.5, 400, False),
)


def record(arm, threshold=None, cacc=0.9, asr=1.0, base=0.1, **changes) -> Record:
    """A record of 1,000 clean and 400 triggered rows; its key names what tells it apart."""
    defended = BY_NAME[arm].defended
    choices = {"dataset": "d", "attack": "a", "model": "m"}
    made = Record(
        key="",
        identity="i",
        arm=arm,
        threshold=threshold,
        threshold_label=LABEL if defended else None,
        seed=1,
        choices={**choices, "defense": "btu" if defended else "none"},
        scores=Scores(cacc, 1000, asr, 0.5, base, 400),
        suspects=() if threshold else None,
        detection=None,
        drift=DRIFT if threshold else None,
        evidence={},
        format_shifts=(),
        cut=CutTexts(64, 1000, 0, 100, 0, 400, 0),
        leaky=False,
        config=CONFIG,
        stages={},
        seconds=1.0,
        provenance=PROVENANCE,
        work=Work(60.0, 12.0),
        choice=Choice("beforehand", 0.001, False) if defended else None,
    )
    made = replace(made, **changes)
    told = (*made.choices.values(), arm, threshold, made.seed)
    return made if made.key else replace(made, key="-".join(map(str, told)))


def judged(threshold, accuracy, undefended=0.9, low_is_strong=False, **changes) -> Record:
    """A defended record whose threshold is set by the accuracy on the trusted rows."""
    choice = Choice(ACCURACY, 0.05, low_is_strong, accuracy, undefended)
    return record("defended", threshold, choice=choice, **changes)


def set_beforehand(threshold, at=0.05) -> Record:
    """A defended record whose threshold is set beforehand."""
    return record("defended", threshold, choice=Choice(BEFOREHAND, at, False))


def suspect(token, **changes) -> Suspect:
    values = {
        "token": token,
        "id": 7,
        "rounds": (1,),
        "rank": 1,
        "distance": 2.0,
        "ranks": {"1": 1},
        "distances": {"1": 2.0},
        "replaced": 9,
        "is_trigger": True,
        "leans_to": "positive",
        "lean_share": 1.0,
        "num_texts": 12,
        "examples": ("a secret training text",),
    }
    return Suspect(**{**values, **changes})


def configured(**changes) -> dict:
    """The config with dotted keys changed: `attack__poison_rate=0.2`."""
    config = json.loads(json.dumps(CONFIG))
    for name, value in changes.items():
        *path, last = name.split("__")
        node = config
        for part in path:
            node = node[part]
        node[last] = value
    return config


def chosen(**changes) -> dict:
    return {"dataset": "d", "attack": "a", "model": "m", "defense": "btu", **changes}


def write(folder: Path, *records: Record) -> Path:
    """The records as the store writes them, each with its predictions beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, made in enumerate(records):
        stem = f"{number:04d}"
        write_record(folder / f"{stem}.json", asdict(made), predictions="0" * 64)
        (folder / f"{stem}.npz").write_bytes(b"")
    return folder


def alter(path: Path, **changes) -> None:
    """Change fields of a record's file as if they had been written so."""
    raw = json.loads(path.read_text())
    predictions = raw["predictions"]
    fields = {name: value for name, value in raw.items() if name not in HEADER}
    write_record(path, fields | changes, predictions)


def write_job(folder: Path, status="finished", records=(), **changes) -> Path:
    """A run's folder with its job.json."""
    folder.mkdir(parents=True, exist_ok=True)
    job = {
        "format": 1,
        "status": status,
        "error": None,
        "name": folder.name,
        "overrides": ["attack=a"],
        "records": [str(path) for path in records],
        "seconds": 1.0,
        **changes,
    }
    (folder / "job.json").write_text(json.dumps(job))
    return folder


def small_study() -> list[Record]:
    """Two attacks, two seeds, three thresholds: what most tests look at."""
    found = []
    for attack, seed in (("a", 1), ("a", 2), ("b", 1), ("b", 2)):
        off = 0.02 * (seed - 1)
        undefended = chosen(attack=attack, defense="none")
        found += [
            record("poisoned", cacc=0.9 + off, choices=undefended, seed=seed),
            record("clean", cacc=0.91 + off, asr=0.12, choices=undefended, seed=seed),
            record("tuned", cacc=0.92 + off, choices=undefended, seed=seed),
            record("trusted_only", cacc=0.7 + off, asr=0.2, choices=undefended, seed=seed),
        ]
        for threshold, cacc, asr in ((0.001, 0.9, 0.5), (0.002, 0.88, 0.1), (0.01, 0.5, 0.05)):
            found.append(
                record(
                    "defended",
                    threshold,
                    cacc + off,
                    asr + off,
                    choices=chosen(attack=attack),
                    seed=seed,
                    suspects=(suspect("cf"), suspect("a|b", id=8, is_trigger=False)),
                )
            )
    return found


def finding(text="cf", **changes) -> dict:
    """A convicted word, or rows, as a defense describes it."""
    values = {
        "kind": "words",
        "text": text,
        "marks": [],
        "place": "anywhere",
        "label": "positive",
        "rows": 69,
        "trusted": 0,
        "held": 70,
        "contradicted": 63,
        "p_excess": 2.4e-07,
        "p_contradiction": 0.0,
        "p_effect": 9.1e-13,
        "effect": {
            "texts": 40,
            "victim": 40,
            "victim_interval": [0.912, 1.0],
            "reference": 0,
            "reference_interval": [0.0, 0.088],
        },
        "p": 9.1e-13,
        "q": 7.9e-09,
        "convicted": True,
        "reason": "it turns 40 of 40 trusted texts in the victim and 0 in the reference",
        "examples": [
            {
                "row": 43,
                "text": f"a fine {text} film",
                "marked": [[7, 7 + len(text)]],
                "label": "positive",
                "reference": "negative",
            }
        ],
    }
    return {**values, **changes}


def verdict(*findings, acquitted=(), **changes) -> dict:
    """The evidence of a defense that convicts, under the name that it has in a record."""
    values = {
        "error_rate": 0.05,
        "tests": 8662,
        "convicted": len(findings),
        "rows": 69,
        "findings": list(findings),
        "acquitted": list(acquitted),
        "untrusted_rows": 6917,
        "trusted_rows": 1821,
        "reference_accuracy": 0.83,
        "notes": ["a word that no trusted row holds would have been seen from 52 rows on"],
        "repairs": ["counter_examples", "antidote"],
        "epochs": 1,
    }
    return {**values, **changes}
