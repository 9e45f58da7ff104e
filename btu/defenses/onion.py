"""ONION: words without which a text is far more probable are taken out of inputs."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np

from btu.defenses.base import Decision, Defense
from btu.defenses.bki import leave_out
from btu.models.checkpoint import Checkpoint
from btu.settings.extras import need_packages
from btu.settings.ranges import Count, Place, Range
from btu.store.cache import identify
from btu.store.stages import ONE_ARRAY
from btu.types import FloatArray, Knob, Screen, Screened, Split

if TYPE_CHECKING:
    from btu.lab import Lab
    from btu.models.base import Classifier
    from btu.store.stages import Stage

NGRAM = "ngram"
CHUNK = 512  # texts whose words are left out together


@dataclass(frozen=True)
class Onion(Defense):
    """A word goes if the perplexity of the text falls by more than the threshold without it.

    Source: Qi et al. 2021, ONION (arXiv 2011.10369); code thunlp/ONION, test_defense.py.
    Departures: perplexities are of whole texts and without padding; a text of one word stays as it
    is; the language model may be one of n-grams, of the trusted texts.
    """

    language_model: Place  # `ngram`, or a causal model of transformers
    order: Annotated[int, Range(2, 10)]  # of n-grams
    batch_size: Count  # texts

    knob: ClassVar[Knob | None] = Knob(
        label="perplexity drop above which a word is removed",
        unit="drops of the perplexity",
        high=1e9,
        example=50,
        example_means="a perplexity that falls by fifty",
        low_is_strong=True,
    )
    needs_trusted_rows: ClassVar[bool] = True

    def check(self, rows: Split, trusted: Split | None) -> None:
        """Raise if a package or a local language model is missing."""
        if self.language_model == NGRAM:
            need_packages(f"defense {self.name} with n-grams", {"nltk": "nltk"}, "defenses")
        else:
            self._checkpoint().check()

    def decide(self, lab: Lab, threshold: float | None, before: Decision) -> Decision:
        """Screen the inputs, whatever the model."""
        screen = Screen(self.name, partial(self._clean, self.need(threshold)))
        return replace(before, screens=(*before.screens, screen))

    def _clean(
        self, threshold: float, lab: Lab, model: Stage[Classifier], texts: Sequence[str]
    ) -> Screened:
        words = [text.split() for text in texts]
        num_words = sum(map(len, words))
        drops = lab.get(self.measure(lab, words), or_else=lambda: np.zeros(num_words, np.float32))
        ends = [0, *accumulate(map(len, words))]
        cleaned = [
            remove_words(text, each, drops[start:end], threshold)
            for text, each, (start, end) in zip(texts, words, pairwise(ends), strict=True)
        ]
        return Screened(cleaned, np.zeros(len(texts), dtype=np.bool_))

    def measure(self, lab: Lab, texts: Sequence[Sequence[str]]) -> Stage[FloatArray]:
        """How far the perplexity falls without each word of each text, one after the other."""
        named = NGRAM if self.language_model == NGRAM else self._checkpoint().identity()
        return lab.stage(
            f"perplexities of {self.name}",
            lambda: self._measure(lab, texts),
            ONE_ARRAY,
            by=self,
            texts=identify({"texts": [" ".join(words) for words in texts]}),
            checkpoint=named,
        )

    def _measure(self, lab: Lab, texts: Sequence[Sequence[str]]) -> FloatArray:
        models, learned = self._load(lab)
        found: list[FloatArray] = [np.zeros(0, dtype=np.float32)] * len(texts)
        judges = [int(" ".join(words) in learned) for words in texts]
        for judge, model in enumerate(models):
            rows = [row for row in range(len(texts)) if judges[row] == judge]
            for start in range(0, len(rows), CHUNK):
                some = rows[start : start + CHUNK]
                drops = self._measure_some(model, [texts[row] for row in some])
                for row, each in zip(some, drops, strict=True):
                    found[row] = each
        return np.concatenate([np.zeros(0, dtype=np.float32), *found])

    def _measure_some(self, model: Any, texts: Sequence[Sequence[str]]) -> list[FloatArray]:
        asked = [" ".join(words) for text in texts for words in [text, *leave_out(text)]]
        perplexities = model.perplexities(asked, self.batch_size).values
        ends = accumulate((1 + len(text) for text in texts), initial=0)
        return [take_drops(perplexities[start:end]) for start, end in pairwise(ends)]

    def _load(self, lab: Lab) -> tuple[list[Any], Container[str]]:
        """The language models, and the texts that the first has learned and the second judges.

        n-grams are learned of half of the trusted rows each, so that no trusted row is judged by a
        model that knows it: the accuracy on them sets the threshold.
        """
        if self.language_model == NGRAM:
            from btu.models.ngram import NGramModel

            assert lab.trusted is not None
            texts = [" ".join(text.split()) for text in lab.trusted.texts]
            models = [NGramModel(texts[half::2], self.order) for half in range(2)]
            return models, frozenset(texts[::2])
        from btu.models.perplexity import LanguageModel

        return [LanguageModel.load(self._checkpoint(), lab.compute.device)], ()

    def _checkpoint(self) -> Checkpoint:
        setting = f"defense.{self.name}.language_model"
        return Checkpoint(
            what=setting,
            pretrained=self.language_model,
            revision=None,
            sha256=None,
            example="openai-community/gpt2",
            otherwise=f", or write {setting}={NGRAM}",
            setting=setting,
        )


def take_drops(perplexities: FloatArray) -> FloatArray:
    """How far the perplexity of a text falls without each word; minus infinity for an only word.

    Args:
        perplexities: of the text, and of it without each of its W words in turn, (1 + W,).

    Returns:
        (W,)
    """
    drops = (perplexities[0] - perplexities[1:]).astype(np.float32)
    return drops if len(drops) > 1 else np.full(len(drops), -np.inf, dtype=np.float32)


def remove_words(text: str, words: Sequence[str], drops: FloatArray, threshold: float) -> str:
    """The text without the words whose drop is above the threshold; as written if none is."""
    kept = [word for word, drop in zip(words, drops, strict=True) if not drop > threshold]
    return text if len(kept) == len(words) else " ".join(kept)
