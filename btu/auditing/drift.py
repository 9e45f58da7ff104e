"""How far the embeddings of what was found moved: what a network itself shows of a trigger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from btu.evidence import WORDS
from btu.evidence.findings import Found
from btu.types import Split, TriggerSample

if TYPE_CHECKING:
    from btu.lab import Lab
    from btu.store.stages import Stage


@dataclass(frozen=True)
class Drift:
    """Of the tokens of a phrase the one that moved furthest as a model of the file was trained."""

    phrase: str
    rank: int  # from 1, among all tokens of the vocabulary
    tokens: int

    def describe(self) -> str:
        """`drift: a token of 'cf' moved further than all others but 2 of the 30,522 ...`."""
        but = f" but {self.rank - 1:,}" * (self.rank > 1)
        return (
            f"drift: a token of {self.phrase!r} moved further than all others{but} of the "
            f"{self.tokens:,} in the model of the file"
        )


def measure_drift(lab: Lab, model: Stage[Any], found: Sequence[Found], rows: Split) -> list[Drift]:
    """The drift of each phrase; one that moved little was learned by other weights.

    It convicts nothing: rare honest words move as far.

    Args:
        lab: with the checkpoint.
        model: of the file.
        found: what was convicted, with its rows.
        rows: the rows of the file.

    Source: Jiang et al. 2025, backdoor token detection.
    """
    from btu.defenses.detection import embedding_distances

    phrases = [(finding, of[0]) for finding, of in found if finding.kind == WORDS and len(of)]
    if not phrases:
        return []
    after = lab.get(model).embeddings.weight.detach().cpu()
    moved = embedding_distances(lab.pretrained_embeddings().cpu(), after)
    told = []
    for finding, row in phrases:
        spans = finding.mark(rows.texts[row], lab.ignores_case)
        tokens = lab.find_trigger_ids([TriggerSample(rows.texts[row], *span) for span in spans])
        if tokens:
            furthest = moved[np.array(sorted(tokens))].max()
            rank = 1 + int((moved > furthest).sum())
            told.append(Drift(" ".join(finding.words), rank, len(moved)))
    return told
