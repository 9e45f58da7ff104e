"""RAP: inputs whose label stays as probable beside a word that was made to lower it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from btu.defenses.inputs import InputFilter
from btu.errors import ConfigError
from btu.models.tokens import encode, find_rare_words
from btu.seeding import stream_seed
from btu.settings.ranges import Count, Rate, Share
from btu.store.stages import ONE_ARRAY, Cost
from btu.types import Edit, FloatArray, Split

if TYPE_CHECKING:
    from btu.lab import Lab
    from btu.models.base import Classifier
    from btu.store.stages import Stage

Words = list[tuple[str, int]]  # of each label the word and its id


@dataclass(frozen=True)
class Rap(InputFilter):
    """A trigger outweighs the word, so that a small drop of the probability is suspicious.

    Source: Yang et al. 2021, RAP (arXiv 2110.07831); code lancopku/RAP, rap_defense.py. Departures:
    nobody tells which label to protect, so that each has a word, tuned on the trusted rows of that
    label, and an input gets the word of its predicted label; the words are the rarest ones of the
    training rows, and so none is the attack's; they are tuned by AdamW, without dropout, in a copy
    of the model; the length of their embeddings is fixed, as theirs is, and both bounds weigh one.
    """

    epochs: Count
    learning_rate: Rate
    batch_size: Count
    least_drop: Share  # of the probability
    most_drop: Share

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.least_drop >= self.most_drop:
            raise ConfigError(
                f"defense.{self.name}.least_drop must be below most_drop, got "
                f"{self.least_drop:g} and {self.most_drop:g}."
            )

    def check(self, rows: Split, trusted: Split | None) -> None:
        """Raise a ConfigError if a label has no trusted row to tune its word on."""
        assert trusted is not None
        if missing := set(rows.labels.tolist()) - set(trusted.labels.tolist()):
            raise ConfigError(
                f"defense {self.name} tunes a word for each label on its trusted rows, and label "
                f"{min(missing)} has none. Give rows of every label with dataset.tuning=PATH."
            )

    def scores(self, lab: Lab, model: Stage[Classifier], texts: Sequence[str]) -> Stage[FloatArray]:
        """Minus what the word takes from the probability of each text's predicted label. (N,)"""
        words = self._find_words(lab)
        before, edited = lab.outputs(model, texts), self._edit(lab, model, words)

        def compute() -> FloatArray:
            said = lab.get(before)
            pairs = zip(said.labels, texts, strict=True)
            asked = [f"{words[label][0]} {text}" for label, text in pairs]
            now = lab.get(lab.outputs(edited, asked, kept=False)).probabilities
            rows = np.arange(len(texts))
            change: FloatArray = now[rows, said.labels] - said.probabilities[rows, said.labels]
            return change

        cost = Cost("outputs", len(texts), lab.rows, 1, lab.source.eval_batch_size)
        name = f"drops of {self.name}"
        return lab.stage(name, compute, ONE_ARRAY, cost, by=self, before=before, edited=edited)

    def _find_words(self, lab: Lab) -> Words:
        """A word for each label.

        Raises:
            ConfigError: the tokenizer has too few words that are one token.
        """
        found = find_rare_words(lab.pristine.tokenizer, lab.encoded(lab.rows).ids, lab.num_labels)
        if len(found) < lab.num_labels:
            raise ConfigError(
                f"defense {self.name} needs a word of one token for each of {lab.num_labels} "
                f"labels, and the tokenizer has {len(found)}. Choose another model or defense."
            )
        return found

    def _edit(self, lab: Lab, model: Stage[Classifier], words: Words) -> Stage[Classifier]:
        """The model with the words' tuned embeddings."""
        tuned = self._tune(lab, model, words)
        ids = [token for _, token in words]

        def put(lab: Lab, classifier: Classifier) -> None:
            import torch

            table = classifier.embeddings.weight.data
            table[ids] = torch.from_numpy(lab.get(tuned)).to(table.device)

        return lab.edit(model, Edit(self.name, {"ids": ids, "embeddings": tuned}, put))

    def _tune(self, lab: Lab, model: Stage[Classifier], words: Words) -> Stage[FloatArray]:
        """The embedding of each label's word. (C, D)"""
        assert lab.trusted is not None
        trusted = lab.trusted
        said = lab.outputs(model, trusted.texts)

        def compute() -> FloatArray:
            probabilities, tuned = lab.get(said).probabilities, []
            for label, word in enumerate(words):
                rows = np.flatnonzero(trusted.labels == label)
                before = probabilities[rows, label]
                some = trusted.take(rows)
                tuned.append(self._tune_one(lab, lab.get(model), some, label, word, before))
            return np.stack(tuned)

        cost = Cost(f"words of {self.name}", self.epochs * len(trusted), trusted, 2)
        name = f"words of {self.name}"
        return lab.stage(name, compute, ONE_ARRAY, cost, by=self, said=said, words=words)

    def _tune_one(
        self,
        lab: Lab,
        classifier: Classifier,
        rows: Split,
        label: int,
        word: tuple[str, int],
        before: FloatArray,
    ) -> FloatArray:
        """The embedding that lowers the label's probability of these rows. (D,)"""
        import torch

        from btu.models.soft_word import SoftWord
        from btu.training.fit import Encoded

        name, token = word
        texts = [f"{name} {text}" for text in rows.texts]
        ids = encode(classifier.tokenizer, texts, lab.source.max_length)
        place = ids[0].tolist().index(token)
        bounds = (self.least_drop, self.most_drop)
        model = SoftWord(classifier, token, place, label, torch.tensor(before), bounds)
        training = replace(
            lab.source.training,
            epochs=self.epochs,
            learning_rate=self.learning_rate,
            batch_size=self.batch_size,
            weight_decay=0.0,
        )
        seed, title = stream_seed(lab.seed, self.name, str(label)), f"word of {self.name}"
        lab.fit(model, classifier, Encoded(ids, np.arange(len(ids))), training, seed, title)
        found: FloatArray = model.embedding().detach().cpu().numpy()
        return found
