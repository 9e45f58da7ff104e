"""Models of words in place of networks: a linear one learns 100,000 texts in seconds."""

from __future__ import annotations

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
STRENGTH = 1.0  # C of the logistic regression
T = TypeVar("T")


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

    @property
    def training(self) -> Training:
        """Of no consequence to linear models."""
        return Training(1, 1e-5, 64, 0.0, "fp32")

    def train(
        self, rows: Split, training: Training, *, title: str = "victim", draws: str = "victim"
    ) -> Stage[Any]:
        """A linear model of these rows."""

        def learn() -> Any:
            from sklearn.linear_model import LogisticRegression
            from sklearn.multiclass import OneVsRestClassifier

            model = LogisticRegression(C=STRENGTH, solver="liblinear", dual=True, random_state=0)
            return OneVsRestClassifier(model).fit(self._count(rows.texts), rows.labels)

        return Stage("linear", {"rows": rows.fingerprint}, learn, None, title=title)

    def outputs(self, model: Stage[Any], texts: Sequence[str]) -> Stage[Outputs]:
        """What a model says of texts."""

        def say() -> Outputs:
            learned = self.get(model)
            said = np.zeros((len(texts), len(self.label_names)), dtype=np.float32)
            said[:, learned.classes_] = learned.predict_proba(self._count(texts))
            return Outputs(said.argmax(1).astype(np.int64), said)

        return Stage("said", {"model": model, "texts": hash(tuple(texts))}, say, None)

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
        """What a stage gives; models are made once."""
        if stage.name != "linear":
            return stage.compute()
        if stage.key not in self._made:
            self._made[stage.key] = stage.compute()
        found: T = self._made[stage.key]
        return found

    def _count(self, texts: Sequence[str]) -> Any:
        """Which terms each text holds, by hash. (N, NUM_FEATURES)"""
        known = self._matrices.get(id(texts))
        if known is None:
            known = texts, self._vectorizer.transform(texts)
            if isinstance(texts, tuple):  # of a split; lists are made for one question
                self._matrices[id(texts)] = known
        return known[1]

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
