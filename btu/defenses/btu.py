"""Backdoor Token Unlearning: find the tokens whose embeddings moved, and unlearn them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np

from btu.defenses.base import Decision, Defense
from btu.defenses.rounds import Round, drift
from btu.errors import ConfigError
from btu.settings.ranges import Choice, Items, Range, Rate
from btu.types import FloatArray, IntArray, Knob, Split, Suspects, TokenDistances

if TYPE_CHECKING:
    from btu.lab import Lab
    from btu.store.stages import Stage

CUTOFFS = ("mean", "row_mean", "frobenius", "whole_row")
REPLACEMENTS = ("padding_row", "mean_row")
VocabularySize = Annotated[int, Range(1, 10_000_000)]
NOTHING: IntArray = np.empty(0, dtype=np.int64)
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BackdoorTokenUnlearning(Defense):
    """BTU as in the paper, or as in its released code (conf/defense/btu_reference.yaml).

    Source: Jiang, Lyu, Li, Ma 2025, AAAI 39(23):24285-24293, arXiv 2501.03272.
    """

    rounds: Annotated[list[Round], Items(1, distinct=False)]
    use_rounds: Annotated[
        list[Annotated[int, Range(1, 1000)]], Items(1)
    ]  # the rounds that are run, by number from 1
    learning_rate: Rate  # of the detection rounds
    reference_vocab_size: VocabularySize | None  # 35022 flags as many tokens as the released code
    cutoff: Annotated[str, Choice(CUTOFFS)]  # which dimensions of a suspect are replaced
    replacement: Annotated[str, Choice(REPLACEMENTS)]  # the row whose values they take

    knob: ClassVar[Knob | None] = Knob(
        label="share of the vocabulary flagged per round",
        unit="fractions of the vocabulary",
        example=0.0005,
        example_means="one token in two thousand",
    )
    tunes: ClassVar[bool] = True
    edits_embeddings: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        place = f"defense.{self.name}"
        if self.rounds[0].hide_suspects:
            raise ConfigError(
                f"{place}.rounds[0] hides suspects of an earlier round, but it is the first round. "
                "Put a round before it or set hide_suspects: false."
            )
        numbers = list(self.use_rounds)
        if not numbers or numbers != [
            n for n in range(1, len(self.rounds) + 1) if n in self.use_rounds
        ]:
            raise ConfigError(
                f"{place}.use_rounds names rounds by their numbers from 1 to {len(self.rounds)}, "
                f"each once and in order, got {numbers}. For the first alone write "
                f"{place}.use_rounds=[1]."
            )

    def passes(self, lab: Lab) -> Sequence[Stage[Any]]:
        """The rounds that hide nothing."""
        hiding = [n for n in self.use_rounds[1:] if self.rounds[n - 1].hide_suspects]
        return [self._round(lab, lab.rows, n) for n in self.use_rounds if n not in hiding]

    def decide(self, lab: Lab, threshold: float | None, before: Decision) -> Decision:
        """Flag the tokens that drift most in each used round; the suspects are the union.

        A round keeps its number, and with it its seed, whichever rounds are run beside it.
        """
        from btu.defenses.detection import num_flagged, select_tokens
        from btu.defenses.unlearning import make_edit

        threshold = self.need(threshold)
        count = num_flagged(threshold, lab.vocabulary_size, self.reference_vocab_size)
        flagged: list[IntArray] = []
        distances: list[TokenDistances] = []
        for number in self.use_rounds:
            hidden = join(flagged) if self.rounds[number - 1].hide_suspects else NOTHING
            stage = self._round(lab, before.keep(lab.rows), number, hidden)
            values = lab.get(stage, or_else=partial(make_up_drift, lab.vocabulary_size, stage.key))
            moved = TokenDistances(number, values, lab.protected_ids)
            distances.append(moved)
            flagged.append(select_tokens(moved, count))
        suspects = Suspects(threshold, join(flagged), tuple(flagged), tuple(distances))
        if not len(suspects.token_ids):
            log.warning(
                "threshold %g of %d tokens flags none: nothing will be unlearned",
                threshold,
                lab.vocabulary_size,
            )
            return replace(before, suspects=suspects)
        edit = make_edit(suspects.token_ids, self.cutoff, self.replacement)
        return replace(before, suspects=suspects, edits=(*before.edits, edit))

    def _round(
        self, lab: Lab, rows: Split, number: int, hidden: IntArray = NOTHING
    ) -> Stage[FloatArray]:
        return drift(lab, rows, number, self.rounds[number - 1], self.learning_rate, hidden)


def join(flagged: Sequence[IntArray]) -> IntArray:
    """All flagged ids, sorted, each once."""
    return np.unique(np.concatenate([NOTHING, *flagged]))


def make_up_drift(size: int, key: str) -> FloatArray:
    """A drift for a plan, which flags other tokens for each round of another key. (V,)"""
    rng = np.random.default_rng(int(key, 16))
    return rng.random(size, dtype=np.float32)
