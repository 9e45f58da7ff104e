"""What flows between stages (N samples, V vocabulary, D embedding width, K suspects)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.float32]

ARMS = ("clean", "poisoned", "tuned", "unlearned", "defended")


@dataclass(frozen=True)
class Split:
    """Labelled texts. `source` is each text's row in the file it came from."""

    texts: tuple[str, ...]  # N
    labels: IntArray  # (N,)
    source: IntArray  # (N,)
    poisoned: BoolArray  # (N,) ground truth, for metrics and reports only
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # further text columns
    num_rows_in_file: int = 0  # before empty rows were dropped; parallel files must match it
    path: str = ""  # the file, where there is one

    def __len__(self) -> int:
        return len(self.texts)

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


class TriggerSample(NamedTuple):
    """A short text that holds a trigger as the attack inserts it, at text[start:end]."""

    text: str
    start: int
    end: int


@dataclass(frozen=True)
class PoisonCounts:
    """What poisoning was asked for and what it did to the training set."""

    requested: int
    poisoned: int
    flipped: int  # labels changed to the target
    duplicates: int  # poisoned texts that occur more than once
    generic: int  # poisoned rows that got stock words and no other change
    looked_at: int  # training rows that the two counts below are of
    without_paraphrase: int  # of these, not used: there is no paraphrase
    unchanged: int  # of these, not used: the attack leaves them as they are
    test_generic: int
    test_without_paraphrase: int  # of the non-target test rows, left out of the triggered test set
    test_unchanged: int  # likewise


@dataclass(frozen=True)
class FormatShift:
    """How the rows that got a trigger are typed, before and after."""

    split: str  # train or test
    measure: str
    original: float  # a share in [0, 1], or a mean
    triggered: float
    num_rows: int
    is_share: bool


@dataclass(frozen=True)
class PoisonedDataset:
    """A data set after the attack.

    `triggered` keeps the true labels, so that ASR, PACC and the base rate all come from it;
    `triggered_rows[i]` is the test row of which `triggered` row i is the twin.
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
        return np.asarray([t for t in order.tolist() if t not in self.protected], dtype=np.int64)


@dataclass(frozen=True)
class Suspects:
    """The union of the tokens that the rounds flagged at one threshold."""

    threshold: float
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
class Predictions:
    """Predicted labels of one model on the clean and the triggered test set."""

    clean: IntArray  # (N_test,)
    triggered: IntArray  # (N_triggered,), empty without an attack


@dataclass(frozen=True)
class Scores:
    """Shares in [0, 1] with their counts; None where the attack leaves nothing to measure."""

    cacc: float
    num_clean: int
    asr: float | None
    pacc: float | None
    base_rate: float | None
    num_triggered: int
