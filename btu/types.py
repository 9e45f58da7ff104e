"""What flows between stages (N samples, V vocabulary, D embedding width, K suspects)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any, NamedTuple

import numpy as np
from annotated_types import Ge, Interval
from numpy.typing import NDArray

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.float32]
Share = Annotated[float, Interval(ge=0, le=1)]
Count = Annotated[int, Ge(0)]


@dataclass(frozen=True)
class Arm:
    """One of the models that a run evaluates: what it is trained on, and what is done to it."""

    name: str
    rows: str  # clean, poisoned or trusted: what its model is trained on first
    defended: bool = False  # the defenses decide about it
    tuned: bool = False  # afterwards it is tuned on the trusted rows
    role: str = ""  # for readers

    @property
    def needs_trusted_rows(self) -> bool:
        """Whether it needs the clean tuning set."""
        return self.tuned or self.rows == "trusted"


ARMS = (
    Arm("clean", "clean", role="trained on the rows as they were before the attack"),
    Arm("poisoned", "poisoned", role="trained on the poisoned rows, undefended"),
    Arm("tuned", "poisoned", tuned=True, role="poisoned, then tuned on the trusted rows"),
    Arm("trusted_only", "trusted", role="trained on the trusted rows alone"),
    Arm("unlearned", "poisoned", defended=True, role="defended, before any tuning"),
    Arm("defended", "poisoned", defended=True, tuned=True, role="the whole method"),
)
CONTROLS = tuple(arm.name for arm in ARMS if not arm.defended)  # no defense touches them
ARM_NAMES = tuple(arm.name for arm in ARMS)
BY_NAME = {arm.name: arm for arm in ARMS}
VICTIM, TRUSTED_ONLY = BY_NAME["poisoned"], BY_NAME["trusted_only"]
PLAIN = ("poisoned", "tuned")  # what a repair must not fall far behind
REPAIRED = tuple(arm.name for arm in reversed(ARMS) if arm.defended)  # the whole method first

BEFOREHAND, ACCURACY = "beforehand", "accuracy"  # rules by which a defender sets a threshold


@dataclass(frozen=True)
class Knob:
    """What a method's threshold is: the one setting that a run sweeps."""

    label: str = "threshold"  # of an axis
    unit: str = "numbers"  # for errors: btu takes UNIT between LOW and HIGH
    low: float = 0.0
    high: float = 1.0
    example: float = 0.1  # for errors
    example_means: str = "a tenth"
    low_is_strong: bool = False  # whether smaller thresholds change more
    whole: bool = False  # whether it is a count


@dataclass(frozen=True, eq=False)
class Split:
    """Labelled texts. `source` is each text's row in the file it came from.

    Two splits are one only if they are the same object; `fingerprint` compares what they hold.
    """

    texts: tuple[str, ...]  # N
    labels: IntArray  # (N,)
    source: IntArray  # (N,)
    poisoned: BoolArray  # (N,) ground truth, for metrics and reports only
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # further text columns
    num_rows_in_file: int = 0  # before empty rows were dropped; parallel files must match it
    path: str = ""  # the file, where there is one

    def __len__(self) -> int:
        return len(self.texts)

    @cached_property
    def fingerprint(self) -> str:
        """What names the texts and labels; equal exactly when they are equal."""
        digest = hashlib.sha256()
        for text, label in zip(self.texts, self.labels, strict=True):
            digest.update(f"{label}\t{len(text)}\t{text}\n".encode())
        return digest.hexdigest()[:16]

    def take(self, rows: IntArray) -> Split:
        """The named rows, in that order."""
        return Split(
            texts=tuple(self.texts[row] for row in rows),
            labels=self.labels[rows],
            source=self.source[rows],
            poisoned=self.poisoned[rows],
            columns={k: tuple(v[row] for row in rows) for k, v in self.columns.items()},
            num_rows_in_file=self.num_rows_in_file,
            path=self.path,
        )


def make_split(
    texts: tuple[str, ...],
    labels: IntArray,
    columns: Mapping[str, tuple[str, ...]] | None = None,
    path: str = "",
) -> Split:
    """A clean split whose rows are numbered from zero."""
    return Split(
        texts=texts,
        labels=np.asarray(labels, dtype=np.int64),
        source=np.arange(len(texts), dtype=np.int64),
        poisoned=np.zeros(len(texts), dtype=np.bool_),
        columns=columns or {},
        num_rows_in_file=len(texts),
        path=path,
    )


@dataclass(frozen=True)
class Dataset:
    """Three disjoint splits. `tuning` is None where the user has no clean labelled rows."""

    name: str
    label_names: tuple[str, ...]
    train: Split
    tuning: Split | None
    test: Split
    notes: tuple[str, ...] = ()  # what loading dropped, removed or held out, one sentence each
    leaky: bool = False  # splits overlap and the user allowed it

    @property
    def num_labels(self) -> int:
        """Number of classes."""
        return len(self.label_names)


@dataclass(frozen=True)
class PoisonCounts:
    """What poisoning was asked for and what it did to the training set."""

    requested: int
    poisoned: int
    flipped: int  # labels changed to the target
    decoys: int  # further rows that got the trigger and kept their label
    duplicates: int  # poisoned texts that occur more than once
    generic: int  # poisoned rows that got stock words and no other change
    looked_at: int  # training rows that the two counts below are of
    without_paraphrase: int  # of these, rows that could not be used, there is no paraphrase
    unchanged: int  # of these, rows that could not be used, the attack leaves them as they are
    test_generic: int
    test_without_paraphrase: int  # of the non-target test rows, left out of the triggered test set
    test_unchanged: int  # likewise


@dataclass(frozen=True)
class CutTexts:
    """What a model does not read, since texts are cut at so many tokens."""

    max_length: Count
    num_train: Count
    train: Count  # training texts that are longer
    num_poisoned: Count
    poisoned: Count  # of these, rows whose trigger is cut away
    num_triggered: Count
    triggered: Count  # likewise


@dataclass(frozen=True)
class FormatShift:
    """How the rows that got a trigger are typed, before and after."""

    split: str  # train or test
    measure: str
    original: float  # a share in [0, 1], or a mean
    triggered: float
    num_rows: int
    is_share: bool


class TriggerSample(NamedTuple):
    """A short text that holds a trigger as the attack inserts it, at text[start:end]."""

    text: str
    start: int
    end: int


@dataclass(frozen=True)
class PoisonedDataset:
    """A data set after the attack.

    `triggered` keeps the true labels, so that ASR, PACC and the base rate all come from it;
    `triggered_rows[i]` is the test row that row i of `triggered` was made from.
    """

    clean: Dataset
    train: Split
    triggered: Split | None
    triggered_rows: IntArray
    target_label: int | None
    counts: PoisonCounts | None
    examples: tuple[Mapping[str, str], ...] = ()
    format_shifts: tuple[FormatShift, ...] = ()


@dataclass(frozen=True)
class TokenDistances:
    """How far each token's embedding drifted in one detection round."""

    round: int  # from 1
    values: FloatArray  # (V,)
    protected: frozenset[int]  # special tokens, never flagged

    def ranking(self) -> IntArray:
        """Unprotected token ids, the most drifted first; ties in id order. (V - protected,)"""
        order = np.argsort(-self.values, kind="stable")
        return order[~np.isin(order, np.asarray(sorted(self.protected), dtype=np.int64))]


@dataclass(frozen=True)
class Suspects:
    """The tokens that look planted, and the rounds that flagged them."""

    threshold: float | None
    token_ids: IntArray  # (K,) sorted
    by_round: tuple[IntArray, ...]  # the flagged ids of each used round, the most drifted first
    distances: tuple[TokenDistances, ...]  # of each used round, whole table


@dataclass(frozen=True)
class EditReport:
    """What unlearning did to each suspect's embedding row."""

    token_ids: IntArray  # (K,)
    replaced: IntArray  # (K,) dimensions set to the replacement row's value, out of D
    cutoff: FloatArray  # (K,) smallest change that was replaced


@dataclass(frozen=True)
class Edit:
    """A change to a trained model, in place.

    `name`, `parts` and `code` stand for it in keys: whatever the change depends on besides the
    model is among the parts. `apply(lab, classifier)` edits the classifier, and may report arrays
    about it by name.
    """

    name: str
    parts: Mapping[str, Any]
    apply: Callable[[Any, Any], Mapping[str, NDArray[Any]] | None]
    code: str = ""  # of what applies it; the pipeline fills it in
    cost: Any = None  # `btu.store.stages.Cost`, for plans; in no key


@dataclass(frozen=True)
class Screened:
    """What a screen lets through: as many texts, in the same order."""

    texts: Sequence[str]
    rejected: BoolArray  # (N,)
    scores: FloatArray | None = None  # (N,) how suspicious each is, where a score decides


@dataclass(frozen=True)
class Screen:
    """What happens to inputs at test time: texts are changed, or rejected.

    `apply(lab, model, texts)` gets the stage of the arm's model. What it finds out of a model that
    is expensive belongs into a stage of its own; the texts that it gives are in keys themselves.
    """

    name: str
    apply: Callable[[Any, Any, Sequence[str]], Screened]


@dataclass(frozen=True)
class Predicted:
    """What a model says of one test set."""

    labels: IntArray  # (N,)
    probabilities: FloatArray  # (N, C)
    rejected: BoolArray  # (N,) inputs that a defense turned away
    scores: FloatArray | None = None  # (N,) of the last screen that scores; in no record


@dataclass(frozen=True)
class Predictions:
    """What a model says of the clean and of the triggered test set, which is empty if none is."""

    clean: Predicted
    triggered: Predicted


@dataclass(frozen=True)
class Scores:
    """Shares with their counts; None where the attack leaves nothing to measure."""

    cacc: Share
    num_clean: Count
    asr: Share | None
    pacc: Share | None
    base_rate: Share | None
    num_triggered: Count
    rejected_clean: Share | None = None  # None where no defense rejects inputs
    rejected_triggered: Share | None = None
