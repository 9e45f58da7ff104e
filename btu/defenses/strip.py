"""STRIP: inputs whose prediction stays firm although half of their words are replaced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from btu.defenses.inputs import InputFilter
from btu.seeding import stream
from btu.settings.ranges import Count, Share
from btu.store.stages import ONE_ARRAY
from btu.types import FloatArray

if TYPE_CHECKING:
    from btu.lab import Lab
    from btu.models.base import Classifier
    from btu.store.stages import Stage


@dataclass(frozen=True)
class Strip(InputFilter):
    """A trigger decides whatever stands beside it, so that little entropy is suspicious.

    Source: Gao et al. 2019, STRIP (arXiv 1902.06531), and its version for texts (arXiv 1911.10312);
    code thunlp/OpenBackdoor, strip_defender.py. Departures: entropies are averaged over the
    perturbations of one text; words are replaced by random ones of a random trusted text instead of
    its most telling ones, and no place is drawn twice.
    """

    num_perturbations: Count  # of each text
    swap_share: Share  # of its words that are replaced

    def scores(self, lab: Lab, model: Stage[Classifier], texts: Sequence[str]) -> Stage[FloatArray]:
        """Minus the mean entropy of what the model says of each text's perturbations. (N,)"""
        assert lab.trusted is not None
        rng = stream(lab.seed, self.name)
        donors = [words for text in lab.trusted.texts if (words := text.split())]
        perturbed = [
            swap_words(text, donors[rng.integers(len(donors))], self.swap_share, rng)
            for text in texts
            for _ in range(self.num_perturbations)
        ]
        said = lab.outputs(model, perturbed)

        def compute() -> FloatArray:
            return -mean_entropy(lab.get(said).probabilities, self.num_perturbations)

        return lab.stage(f"entropies of {self.name}", compute, ONE_ARRAY, by=self, said=said)


def swap_words(text: str, donor: Sequence[str], share: float, rng: np.random.Generator) -> str:
    """The text with a share of its words, rounded up, replaced by words of another text."""
    words = text.split()
    places = rng.permutation(len(words))[: int(np.ceil(share * len(words)))]
    for place in places:
        words[place] = donor[int(rng.integers(len(donor)))]
    return " ".join(words)


def mean_entropy(probabilities: FloatArray, times: int) -> FloatArray:
    """The mean entropy of each text's perturbations, in bits; 0 log 0 is 0. (N,)

    Args:
        probabilities: (N * times, C), the perturbations of one text next to each other.
        times: perturbations of each text.
    """
    from scipy.special import entr

    bits = entr(probabilities.astype(np.float64)).sum(1) / np.log(2)
    found: FloatArray = bits.reshape(-1, times).mean(1).astype(np.float32)
    return found
