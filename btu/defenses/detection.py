"""Detection rounds: train once over the poisoned set, see which word embeddings moved."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from btu.errors import ModelError
from btu.types import FloatArray, IntArray, TokenDistances


def embedding_distances(before: Tensor, after: Tensor) -> FloatArray:
    """How far each token's embedding moved during training.

    Args:
        before: word-embedding table of the pretrained model, (V, D).
        after: the same table after training, (V, D).

    Returns:
        Euclidean distance per row, (V,), in token-id order.

    Raises:
        ModelError: the two tables differ in shape, which means two tokenizers.

    Source: Jiang et al. 2025, backdoor token detection.
    """
    if before.shape != after.shape:
        raise ModelError(
            f"word embeddings have {tuple(after.shape)} entries, expected {tuple(before.shape)}; "
            "use one tokenizer for both."
        )
    moved = (after.float() - before.float()).norm(dim=1)  # (V,)
    return np.asarray(moved.cpu(), dtype=np.float32)


def num_flagged(threshold: float, vocabulary_size: int, reference_size: int | None) -> int:
    """How many tokens a round flags.

    The released code takes 0.05 % of 35022 tokens, rounded down, whatever the vocabulary; BERT's
    has 30522 (BTU.py:728). A `reference_size` of 35022 restores their 17 per round.
    """
    if reference_size is not None:
        return int(threshold * reference_size)
    return round(threshold * vocabulary_size)


def select_tokens(distances: TokenDistances, count: int) -> IntArray:
    """The `count` unprotected tokens that drifted most, the most drifted first; ties by id."""
    return distances.ranking()[:count]
