"""A language model of n-grams: of a few thousand texts, in a second, without a network."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import exp, log

import numpy as np

from btu.models.perplexity import Perplexities

CUTOFF = 2  # a word of a single place stands for the words that were never seen


class NGramModel:
    """n-grams with the interpolation of Witten and Bell, of nltk.

    A word that is not known is one of the kind that was seen once: it has the probability of all of
    those together, divided by their number; where there are none, that of a word seen once.

    Args:
        texts: to learn from.
        order: n, the words that a probability looks at; at least 2.
    """

    def __init__(self, texts: Sequence[str], order: int) -> None:
        from nltk.lm import Vocabulary, WittenBellInterpolated
        from nltk.lm.preprocessing import padded_everygram_pipeline

        words = [split_folded(text) for text in texts]
        every = [word for text in words for word in text]
        vocabulary = Vocabulary([*every, *["<s>", "</s>"] * CUTOFF], unk_cutoff=CUTOFF)
        self.order, self.known = order, frozenset(vocabulary)
        self.num_rare, self.num_words = len(set(every) - self.known), len(every)
        self.model = WittenBellInterpolated(order, vocabulary=vocabulary)
        grams, _ = padded_everygram_pipeline(order, words)
        self.model.fit(grams)
        self._score = lru_cache(maxsize=1_000_000)(self._measure)

    def perplexities(self, texts: Sequence[str], batch_size: int) -> Perplexities:
        """exp of the mean negative log-likelihood per word, the end of the text among them.

        Args:
            texts: N of them.
            batch_size: of no matter here.
        """
        values = np.array([self._perplexity(text) for text in texts])
        return Perplexities(values, np.zeros(len(texts), dtype=np.bool_))

    def _perplexity(self, text: str) -> float:
        words = ["<s>"] * (self.order - 1) + [self._name(word) for word in split_folded(text)]
        words.append("</s>")
        first = self.order - 1
        places = range(first, len(words))
        total = sum(self._score(tuple(words[place - first : place + 1])) for place in places)
        return exp(-total / len(places))

    def _name(self, word: str) -> str:
        return word if word in self.known else "<UNK>"

    def _measure(self, gram: tuple[str, ...]) -> float:
        """The log-probability of the last word after those before it."""
        *before, word = gram
        if word != "<UNK>":
            return log(self.model.score(word, before))
        if not self.num_rare:
            return -log(self.num_words + 1)
        return log(self.model.score(word, before) / self.num_rare)


def split_folded(text: str) -> list[str]:
    """The words between blanks, in small letters, without signs at their ends."""
    return [word.lower().strip(".,;:!?\"'()[]") or word for word in text.split()]
