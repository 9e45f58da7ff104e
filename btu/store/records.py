"""The results store: one JSON (and one npz of predictions) per arm and threshold.

The first line of a JSON has the checksums of the lines below it and of the predictions, so that a
record is what was computed or is not read at all.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from btu import processes
from btu.errors import ConfigError
from btu.store.claims import ClaimLost, claimed, remove_dead
from btu.store.code import PACKAGE, __version__, in_checkout
from btu.store.files import checksum, parse_as, read_bytes
from btu.store.stages import read_arrays, write_arrays
from btu.types import ARM_NAMES, CutTexts, FormatShift, Predicted, Predictions, Scores, Share

FORMAT = 5  # raise it when a record's fields change their meaning
TEST_SETS = ("clean", "triggered")
KEY_LENGTH = 16  # of a record's identity: its file's name
CHOICES = ("dataset", "attack", "model", "defense")
SHA256 = rb'"([0-9a-f]{64})"'
HEAD = re.compile(rb'\{"format": (\d+), "predictions": %b, "sha256": %b,' % (SHA256, SHA256))
PACKAGES = ("torch", "transformers", "datasets", "hydra-core", "numpy")


@dataclass(frozen=True)
class Suspect:
    """One suspect token: where it ranked, what became of it, and which texts hold it."""

    token: str
    id: int
    rounds: tuple[int, ...]  # that flagged it, from 1
    rank: int  # the best among them, from 1
    distance: float  # in the round of that rank
    ranks: Mapping[str, int]  # by the number of each round that was run
    distances: Mapping[str, float]  # likewise
    replaced: int  # dimensions of its embedding
    is_trigger: bool | None  # None where no trigger is known
    leans_to: str  # the label whose share among its texts exceeds the label's share most
    lean_share: Share  # share of its training texts with that label
    num_texts: int
    examples: tuple[str, ...]


@dataclass(frozen=True)
class RoundDrift:
    """How far the tokens moved in one detection round, as a distribution."""

    number: int  # of the round, from 1
    edges: tuple[float, ...]  # B + 1 edges of distance, equal in log10
    counts: tuple[int, ...]  # (B,) unprotected tokens in each bin
    num_tokens: int
    flagged_from: float | None  # distance of the last token flagged at the record's threshold
    trigger: Mapping[str, float]  # distances of the true trigger's tokens, where they are known


@dataclass(frozen=True)
class Choice:
    """What a defender, who knows no trigger, goes by to set the threshold."""

    rule: str  # of `btu.types`: BEFOREHAND or ACCURACY
    beforehand: float | None  # the method's own threshold
    low_is_strong: bool  # whether smaller thresholds change more
    accuracy: Share | None = None  # of this model on the trusted rows; None by BEFOREHAND
    undefended: Share | None = None  # of the undefended one


@dataclass(frozen=True)
class Work:
    """What a model, and all that was decided about it, took to make and to score."""

    seconds: float  # of all entries of the cache that it was made from, when they were made
    passes: float  # forward passes' worth of work over the training rows; training is three


@dataclass(frozen=True)
class Record:
    """One evaluated arm at one threshold, with all that is needed to trust and repeat it."""

    key: str
    identity: str  # sha256 of everything that the numbers depend on; the key is its beginning
    arm: str
    threshold: float | None  # None for arms without one, and methods that are decided once
    threshold_label: str | None  # of an axis; None for arms that no defense decides about
    seed: int
    choices: Mapping[str, str]  # of each of `CHOICES` the name
    scores: Scores
    suspects: tuple[Suspect, ...] | None  # None for arms that detect nothing
    detection: Mapping[str, Any] | None  # precision, recall, best rank of true trigger tokens
    drift: tuple[RoundDrift, ...] | None  # None for arms that detect nothing
    evidence: Mapping[str, Any]  # what else the defenses say of their decision
    format_shifts: tuple[FormatShift, ...]  # how the rows that got the trigger are typed
    cut: CutTexts  # what its model does not read of long texts
    leaky: bool
    config: Mapping[str, Any]
    stages: Mapping[str, str]  # keys of the cache entries it was made from
    seconds: float
    provenance: Mapping[str, Any]
    work: Work
    choice: Choice | None  # None for arms without a threshold

    @property
    def excess_asr(self) -> float:
        """ASR above the model's own base rate, at least 0; 0 without an attack."""
        if self.scores.asr is None or self.scores.base_rate is None:
            return 0.0
        return max(0.0, self.scores.asr - self.scores.base_rate)

    @property
    def convicts(self) -> bool:
        """Whether a defense says what was planted."""
        told = (each for each in self.evidence.values() if isinstance(each, Mapping))
        return any(each.get("findings") for each in told)

    def describe(self, instead_of_seconds: str = "") -> str:
        """One line for the log."""
        scores = self.scores
        at = "" if self.threshold is None else f" @ {self.threshold:g}"
        asr = "" if scores.asr is None else f"  ASR {scores.asr:6.1%} of {scores.num_triggered}"
        return (
            f"{self.arm + at:<20} CACC {scores.cacc:6.1%} of {scores.num_clean}{asr}  "
            f"{instead_of_seconds or f'{self.seconds:.1f} s'}"
        )


class RecordStore:
    """Records by key under one folder; the JSON is written last, so a record is whole."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def load(self, identity: str) -> tuple[Record, Predictions] | None:
        """The stored record with its predictions; None where there is none of this format.

        Raises:
            ConfigError: the record under this key was made from other settings.
        """
        path = self.path(identity)
        try:
            record, wanted = _read(path)
            predicted = path.with_suffix(".npz")
            if checksum(predicted) != wanted:
                return None
        except (OSError, ValueError):
            return None
        arrays = read_arrays(predicted)
        predictions = Predictions(*(_predicted(arrays, name) for name in TEST_SETS))
        if record.identity != identity:
            raise ConfigError(
                f"{path} was made from other settings than this run's, yet claims the same key. "
                "Move it away, or write outputs=PATH for another folder."
            )
        return record, predictions

    def get(
        self, identity: str, compute: Callable[[], tuple[Record, Predictions]], anew: bool = False
    ) -> tuple[Record, Predictions]:
        """The stored record, or the computed one; jobs that run at once compute it once."""
        final = self.path(identity).with_suffix("")
        if processes.follows():
            return processes.follow(compute, lambda: self._written(identity))

        def is_stored() -> bool:
            return not anew and self.load(identity) is not None

        while True:
            stored = None if anew else self.load(identity)
            if stored is not None:
                remove_dead(final)
                processes.agree(processes.READ)
                return stored
            what = f"record {final.name}"
            with suppress(ClaimLost), claimed(final, what, is_stored) as folder:
                if folder is not None:
                    processes.agree(processes.COMPUTE)
                    made = compute()
                    self._save(*made, folder)
                    processes.agree(processes.READ)
                    return made

    def _written(self, identity: str) -> tuple[Record, Predictions]:
        """The record that process 0 has just written or read."""
        stored = self.load(identity)
        if stored is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self.path(identity))
        return stored

    def _save(self, record: Record, predictions: Predictions, folder: Path) -> None:
        """Write the predictions, then the record, each whole."""
        final = self.path(record.identity)
        write_arrays(folder / "p.npz", name_arrays(predictions))
        write_record(folder / "r.json", asdict(record), checksum(folder / "p.npz"))
        (folder / "p.npz").replace(final.with_suffix(".npz"))
        (folder / "r.json").replace(final)

    def path(self, identity: str) -> Path:
        """Where the JSON of a record lies."""
        return self.folder / f"{identity[:KEY_LENGTH]}.json"


def write_record(path: Path, fields: Mapping[str, Any], predictions: str) -> None:
    """Write a record.

    Args:
        path: of its JSON.
        fields: of a `Record`.
        predictions: the sha256 of the npz beside it.
    """
    below = json.dumps(fields, indent=1, ensure_ascii=False).removeprefix("{\n") + "\n"
    sums = {"predictions": predictions, "sha256": hashlib.sha256(below.encode()).hexdigest()}
    head = json.dumps({"format": FORMAT, **sums}).removesuffix("}")
    path.write_text(f"{head},\n{below}", encoding="utf-8", newline="\n")


def read_record(path: Path) -> Record:
    """A record from its JSON file.

    Raises:
        OSError: it cannot be read.
        ValueError: another format, not a record, or not what was written; as the end of a sentence
            that begins with the file.
    """
    return _read(path)[0]


def _read(path: Path) -> tuple[Record, str]:
    """A record, and the sha256 of its predictions."""
    raw = read_bytes(path)
    head, _, below = raw.partition(b"\n")
    found = HEAD.fullmatch(head)
    number = found or re.match(rb'\{\s*"format": (\d{1,9})\b', raw)
    if number and int(number[1]) != FORMAT:
        told = f"has format {number[1].decode()}, but this version reads format {FORMAT}"
        raise ValueError(told)
    if found is None:
        raise ValueError("is not a record")
    predictions, wanted = found[2].decode(), found[3].decode()
    if hashlib.sha256(below).hexdigest() != wanted:
        raise ValueError("was cut or changed after it was written (the checksum does not match)")
    try:
        record = parse_as(Record, raw)
        _check(record)
    except ValueError as error:
        raise ValueError(f"is not a record of format {FORMAT} ({error})") from error
    return record, predictions


def _check(record: Record) -> None:
    """Raise ValueError where fields do not fit together."""
    if record.arm not in ARM_NAMES:
        raise ValueError(f"there is no arm {record.arm}")
    if not record.choices.keys() >= set(CHOICES):
        raise ValueError(f"choices must name {', '.join(CHOICES)}")
    for drift in record.drift or ():
        if len(drift.edges) != len(drift.counts) + 1 or not drift.counts:
            raise ValueError("drift needs one more edge than it has counts")


def name_arrays(predictions: Predictions) -> dict[str, NDArray[Any]]:
    """Labels, probabilities and rejections of both test sets, as `clean_labels` and so on."""
    return {
        f"{name}_{part}": getattr(getattr(predictions, name), part)
        for name in TEST_SETS
        for part in ("labels", "probabilities", "rejected")
    }


def _predicted(arrays: Mapping[str, NDArray[Any]], name: str) -> Predicted:
    parts = (arrays[f"{name}_{part}"] for part in ("labels", "probabilities", "rejected"))
    return Predicted(*parts)


def summary_rows(records: Sequence[Record]) -> list[dict[str, Any]]:
    """What `summary.json` holds: one flat object per record."""
    return [
        {
            "arm": record.arm,
            "threshold": record.threshold,
            "threshold_label": record.threshold_label,
            **asdict(record.scores),
            "num_suspects": None if record.suspects is None else len(record.suspects),
            "seconds": round(record.seconds, 3),
            **{f"work_{name}": value for name, value in asdict(record.work).items()},
            "picked_by": record.choice and record.choice.rule,
            "trusted_accuracy": record.choice and record.choice.accuracy,
            "detection": record.detection,
            "evidence": dict(record.evidence),
            "leaky": record.leaky,
            "record": record.key,
        }
        for record in records
    ]


def provenance(
    device: str, precision: str, plugins: Sequence[Mapping[str, Any]] = ()
) -> dict[str, Any]:
    """Code, versions and machine, as far as they can matter for a number.

    Args:
        device: that computed it.
        precision: of its matrix products.
        plugins: what `btu.store.code.plugin_of` says of each component from outside btu.
    """
    import torch

    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else platform.machine()
    return {
        "btu": __version__,
        "commit": _git("rev-parse", "HEAD"),
        "dirty": is_dirty(),
        "plugins": [dict(plugin) for plugin in plugins],
        "python": platform.python_version(),
        "versions": {package: version(package) for package in PACKAGES},
        "device": device,
        "device_name": name,
        "precision": precision,
        "threads": torch.get_num_threads(),
        "peak_memory_mb": peak_memory_mb(),
    }


def is_dirty() -> bool:
    """Whether the code or settings of a checkout differ from its commit, new files among them.

    A new file elsewhere, such as a note, changes no number.
    """
    changed = _git("status", "--porcelain", "--untracked-files=no")
    return bool(changed or _git("ls-files", "--others", "--exclude-standard", "btu", "conf"))


def peak_memory_mb() -> int:
    """The most memory this process has held, in MB; 0 where the system does not tell."""
    try:
        import resource
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak / (1e6 if sys.platform == "darwin" else 1e3))


def _git(*arguments: str) -> str | None:
    """What git says about the code that runs; None where it is not a checkout of btu."""
    if not in_checkout():
        return None
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=PACKAGE.parent,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
