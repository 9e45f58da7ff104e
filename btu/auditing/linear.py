"""Models of words in place of networks: a linear one learns 100,000 texts in seconds."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import numpy as np

from btu.evidence.words import find_terms, split_words
from btu.models.base import Training
from btu.store.stages import Cost, Format, Stage
from btu.training.outputs import Outputs
from btu.types import Split

NUM_FEATURES = 2**20
TOLD = 1.0  # seconds from which on a stage is told
TITLES = {  # as people who audit a file know them
    "victim": "model of the file",
    "reference A": "model of trusted rows",
    "reference B": "model of trusted rows",
    "outputs": "asking a model",
    "likeness": "comparing texts",
}
STRENGTH = 1.0  # C of the logistic regression
MOST_TIMES = 3  # as many rows of one label as of another; more are balanced, or it is all it says
TOLERANCE = 0.01  # of its fit; 0.0001 takes twice as long and tells nothing else
T = TypeVar("T")
log = logging.getLogger("btu")


@dataclass
class LinearLab:
    """Trains linear models of words and pairs of words, and remembers what they said.

    It is to a case what a `btu.lab.Lab` is; `docs/audit.md` says what is lost by that.

    Args:
        seed: of all draws.
        label_names: the names of the labels, in order.
        ignores_case: whether capital and small letters are one.
    """

    seed: int
    label_names: tuple[str, ...]
    ignores_case: bool = True
    _made: dict[str, Any] = field(default_factory=dict)
    _matrices: dict[int, tuple[Sequence[str], Any]] = field(default_factory=dict)
    _places: tuple[Sequence[str], dict[str, int]] | None = None

    @property
    def training(self) -> Training:
        """Of no consequence to linear models."""
        return Training(1, 1e-5, 64, 0.0, "fp32")

    def train(
        self, rows: Split, training: Training, *, title: str = "victim", draws: str = "victim"
    ) -> Stage[Any]:
        """A linear model of these rows."""

        def learn() -> Any:
            import torch
            from joblib import parallel_config
            from sklearn.linear_model import LogisticRegression
            from sklearn.multiclass import OneVsRestClassifier

            sizes = np.bincount(rows.labels)
            is_even = sizes.max() <= MOST_TIMES * sizes[sizes > 0].min()
            model = LogisticRegression(
                C=STRENGTH,
                solver="liblinear",
                dual=True,
                tol=TOLERANCE,
                random_state=0,
                class_weight=None if is_even else "balanced",
            )
            counts, threads = self._count(rows.texts), torch.get_num_threads()
            with parallel_config(backend="threading"):  # the fit itself is not Python
                return OneVsRestClassifier(model, n_jobs=threads).fit(counts, rows.labels)

        return Stage("linear", {"rows": rows.fingerprint}, learn, None, title=title)

    def outputs(self, model: Stage[Any], texts: Sequence[str]) -> Stage[Outputs]:
        """What a model says of texts."""

        def say() -> Outputs:
            learned = self.get(model)
            said = np.zeros((len(texts), len(self.label_names)), dtype=np.float32)
            said[:, learned.classes_] = learned.predict_proba(self._count(texts))
            return Outputs(said.argmax(1).astype(np.int64), said)

        parts = {"model": model, "texts": hash(tuple(texts))}
        return Stage("said", parts, say, None, title="outputs")

    def stage(
        self,
        name: str,
        compute: Callable[[], T],
        format: Format[T] | None,
        cost: Cost | None = None,
        *,
        by: Any,
        **parts: Any,
    ) -> Stage[T]:
        """A pass of a method's own; it is not kept."""
        return Stage(name, {}, compute, None)

    def get(self, stage: Stage[T], or_else: Callable[[], T] | None = None) -> T:
        """What a stage gives; models are made once. What takes long is told."""
        if stage.name == "linear" and stage.key in self._made:
            known: T = self._made[stage.key]
            return known
        start = time.perf_counter()
        found = stage.compute()
        if (seconds := time.perf_counter() - start) >= TOLD:
            title = stage.title or stage.name
            log.info("%-22s %8.1f s", TITLES.get(title, title), seconds)
        if stage.name == "linear":
            self._made[stage.key] = found
        return found

    def _count(self, texts: Sequence[str]) -> Any:
        """Which terms each text holds, by hash; the texts of a split are read once. (N, F)"""
        if isinstance(texts, tuple) and id(texts) not in self._matrices:
            self._matrices[id(texts)] = texts, self._vectorizer.transform(texts)
        if (known := self._matrices.get(id(texts))) is not None:
            return known[1]
        if self._largest is None:
            return self._vectorizer.transform(texts)
        places, matrix = self._largest
        rows = [places.get(text, -1) for text in texts]
        return self._vectorizer.transform(texts) if -1 in rows else matrix[rows]

    @property
    def _largest(self) -> tuple[dict[str, int], Any] | None:
        """Where each text of the largest split stands, and its matrix."""
        if not self._matrices:
            return None
        texts, matrix = max(self._matrices.values(), key=lambda each: len(each[0]))
        if self._places is None or len(self._places[0]) != len(texts):
            self._places = texts, {text: row for row, text in enumerate(texts)}
        return self._places[1], matrix

    @cached_property
    def _vectorizer(self) -> Any:
        from sklearn.feature_extraction.text import HashingVectorizer

        return HashingVectorizer(
            analyzer=lambda text: find_terms(split_words(text, self.ignores_case)),
            n_features=NUM_FEATURES,
            binary=True,
            norm=None,
            alternate_sign=False,
        )
