"""Backdoor Token Unlearning: find the tokens whose embeddings moved, and unlearn them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from btu.defenses.base import Defense
from btu.defenses.settings import (
    CUTOFFS,
    REPLACEMENTS,
    Round,
    TuningSettings,
    check_numbers,
)
from btu.errors import ConfigError, check_choice
from btu.types import ARMS, EditReport, IntArray, Suspects, TokenDistances

if TYPE_CHECKING:
    from btu.lab import Workbench
    from btu.models.base import Classifier


@dataclass(frozen=True)
class BackdoorTokenUnlearning(Defense):
    """BTU as in the paper, or as in its released code (conf/defense/btu_reference.yaml).

    Source: Jiang, Lyu, Li, Ma 2025, AAAI 39(23):24285-24293, arXiv 2501.03272.
    """

    rounds: list[Round]
    use_rounds: list[int]  # the rounds that are run, by number from 1
    learning_rate: float  # of the detection rounds
    reference_vocab_size: int | None  # 35022 flags as many tokens as the released code
    cutoff: str  # which dimensions of a suspect are replaced
    replacement: str  # the row whose values they take
    clean_tuning: TuningSettings

    def __post_init__(self) -> None:
        check_choice("defense.cutoff", self.cutoff, CUTOFFS)
        check_choice("defense.replacement", self.replacement, REPLACEMENTS)
        if not self.rounds:
            raise ConfigError("defense.rounds is empty; BTU needs at least one detection round.")
        if self.rounds[0].hide_suspects:
            raise ConfigError(
                "defense.rounds[0] hides suspects of an earlier round, but it is the first round. "
                "Put a round before it or set hide_suspects: false."
            )
        check_numbers("defense.use_rounds", self.use_rounds, len(self.rounds))

    def arms(self) -> tuple[str, ...]:
        """All five."""
        return ARMS

    def tuning(self) -> TuningSettings | None:
        """One epoch on the clean tuning set."""
        return self.clean_tuning

    def detect(self, bench: Workbench, threshold: float) -> Suspects | None:
        """Flag the tokens that drifted most in each used round; the suspects are the union.

        A round keeps its number, and with it its seed, whichever rounds are run beside it.
        """
        from btu.defenses.detection import num_flagged, select_tokens

        count = num_flagged(threshold, bench.vocabulary_size, self.reference_vocab_size)
        flagged: list[IntArray] = []
        distances: list[TokenDistances] = []
        for number in self.use_rounds:
            settings = self.rounds[number - 1]
            hidden = union(flagged) if settings.hide_suspects else union([])
            drift = bench.detection_round(number, settings, self.learning_rate, hidden)
            distances.append(drift)
            flagged.append(select_tokens(drift, count))
        return Suspects(threshold, union(flagged), tuple(flagged), tuple(distances))

    def repair_settings(self) -> Mapping[str, Any]:
        """Which dimensions are replaced, and with what."""
        return {"cutoff": self.cutoff, "replacement": self.replacement}

    def repair(
        self, classifier: Classifier, bench: Workbench, suspects: Suspects
    ) -> EditReport | None:
        """Give the suspects' changed dimensions the values of a row that stands for nothing."""
        from btu.defenses.unlearning import replacement_row, unlearn

        table = classifier.embeddings.weight.data  # edited in place
        pretrained = bench.pretrained_embeddings().to(table.device)
        values = replacement_row(pretrained, classifier.tokenizer.pad_token_id, self.replacement)
        return unlearn(pretrained, table, suspects.token_ids, values, self.cutoff)


def union(flagged: list[IntArray]) -> IntArray:
    """All flagged ids, sorted, each once."""
    return np.unique(np.concatenate([np.empty(0, dtype=np.int64), *flagged]))
