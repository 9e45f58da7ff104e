"""What an analyst wants to know of a suspect token: which label its texts have, and the texts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from btu.defenses.base import Decision
from btu.store.records import RoundDrift, Suspect
from btu.training.fit import Encoded
from btu.types import IntArray, Split, Suspects, TokenDistances

if TYPE_CHECKING:
    from btu.lab import Lab

NUM_EXAMPLES = 3
NUM_BINS = 60


@dataclass(frozen=True)
class Leaning:
    """The label that a token's texts lean to."""

    label: int
    share: float  # of its texts that have the label
    rows: IntArray  # its texts


class TokenIndex:
    """Which rows hold which token."""

    def __init__(self, data: Encoded) -> None:
        self.tokens = np.concatenate([np.empty(0, dtype=np.int64), *data.ids])
        self.rows = np.repeat(np.arange(len(data)), [len(row) for row in data.ids])
        self.labels = data.labels
        self.prior = np.bincount(data.labels) / max(1, len(data.labels))

    def leaning(self, token: int) -> Leaning:
        """The label whose share among the token's texts exceeds its share overall the most."""
        rows = np.unique(self.rows[self.tokens == token])
        if not len(rows):
            return Leaning(0, 0.0, rows)
        shares = np.bincount(self.labels[rows], minlength=len(self.prior)) / len(rows)
        label = int(np.argmax(shares - self.prior))
        return Leaning(label, float(shares[label]), rows)


def describe_decision(
    decision: Decision,
    reports: Mapping[str, NDArray[Any]],
    lab: Lab,
    trigger_ids: frozenset[int] | None,
) -> dict[str, Any]:
    """What a record says of a decision: suspects, drift and evidence.

    Args:
        decision: with or without suspects.
        reports: of the edits, by name: how many dimensions of each suspect were replaced.
        lab: whose rows hold the suspects.
        trigger_ids: of the true trigger, where one is known.
    """
    found: dict[str, Any] = {"suspects": None, "drift": None, "evidence": dict(decision.evidence)}
    suspects = decision.suspects
    if suspects is None:
        return found
    replaced = reports.get("unlearning.replaced", np.zeros(len(suspects.token_ids), dtype=np.int64))
    index = TokenIndex(lab.encoded(lab.rows))
    names = lab.data.clean.label_names
    tokens = lab.name_tokens(suspects.token_ids.tolist())
    described = describe_suspects(suspects, replaced, index, lab.rows, names, tokens, trigger_ids)
    drift = describe_drift(suspects, trigger_ids or frozenset(), lab.name_tokens)
    return found | {"suspects": described, "drift": drift}


def describe_suspects(
    suspects: Suspects,
    replaced: IntArray,
    index: TokenIndex,
    train: Split,
    label_names: tuple[str, ...],
    token_strings: list[str],
    trigger_ids: frozenset[int] | None,
) -> tuple[Suspect, ...]:
    """Every suspect with ranks, edits and evidence, the best rank first.

    `token_strings[k]` belongs to `suspects.token_ids[k]`; `trigger_ids` is None where no trigger
    is known.
    """
    rank_of = {str(d.round): _ranks(d.ranking(), len(d.values)) for d in suspects.distances}
    flagged = {d.round: ids for d, ids in zip(suspects.distances, suspects.by_round, strict=True)}
    described = []
    for k, token in enumerate(suspects.token_ids.tolist()):
        ranks = {number: int(table[token]) for number, table in rank_of.items()}
        distances = {str(d.round): float(d.values[token]) for d in suspects.distances}
        rounds = tuple(number for number, ids in flagged.items() if token in ids)
        best = str(min(rounds, key=lambda number: ranks[str(number)]))
        leaning = index.leaning(token)
        described.append(
            Suspect(
                token=token_strings[k],
                id=token,
                rounds=rounds,
                rank=ranks[best],
                distance=distances[best],
                ranks=ranks,
                distances=distances,
                replaced=int(replaced[k]),
                is_trigger=None if trigger_ids is None else token in trigger_ids,
                leans_to=label_names[leaning.label],
                lean_share=leaning.share,
                num_texts=len(leaning.rows),
                examples=tuple(train.texts[row] for row in leaning.rows[:NUM_EXAMPLES]),
            )
        )
    return tuple(sorted(described, key=lambda s: (s.rank, s.id)))


def _ranks(ranking: IntArray, size: int) -> IntArray:
    """Rank from 1 of each token; 0 for protected ones. (V,)"""
    ranks = np.zeros(size, dtype=np.int64)
    ranks[ranking] = np.arange(1, len(ranking) + 1)
    return ranks


def describe_drift(
    suspects: Suspects,
    trigger_ids: frozenset[int],
    token_strings: Callable[[list[int]], list[str]],
) -> tuple[RoundDrift, ...]:
    """The distribution of the tokens' drift in each round, and where the trigger lies in it.

    A round in which nothing moved is left out.
    """
    tokens = sorted(trigger_ids)
    names = token_strings(tokens)
    described = []
    for drift, flagged in zip(suspects.distances, suspects.by_round, strict=True):
        edges, counts = _histogram(drift)
        if not edges:
            continue
        described.append(
            RoundDrift(
                number=drift.round,
                edges=edges,
                counts=counts,
                num_tokens=sum(counts),
                flagged_from=float(drift.values[flagged[-1]]) if len(flagged) else None,
                trigger={n: float(drift.values[t]) for n, t in zip(names, tokens, strict=True)},
            )
        )
    return tuple(described)


def _histogram(drift: TokenDistances) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """Bins of equal width in log10 and how many unprotected tokens each holds."""
    values = drift.values[drift.ranking()].astype(np.float64)
    moved = values[values > 0]
    if not len(moved):
        return (), ()
    edges = np.geomspace(moved.min(), max(moved.max(), moved.min() * 1.01), NUM_BINS + 1)
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
    return tuple(map(float, edges)), tuple(map(int, counts))
