"""Word embeddings of the tokens that a training set holds; the other rows need no work."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from btu.types import IntArray

READ_BY_MODELS = ("bos_token_id", "eos_token_id", "decoder_start_token_id")  # of a config


@contextmanager
def rows_in_use(
    model: nn.Module, table: nn.Embedding, ids: Sequence[IntArray], pad_token_id: int, decay: float
) -> Iterator[list[IntArray]]:
    """Inside this context the table holds only rows that the texts use; gives their new ids.

    A row that no text uses has no gradient, and AdamW does nothing to it but the decay, which is
    applied at the end. Gradients, moments and their memory are for the other rows only.

    Args:
        model: whose modules may share the table, as the two halves of BART do.
        table: word embeddings, (V, D); its weight is a smaller one inside the context.
        ids: token ids of every text of the training.
        pad_token_id: stays in place, and so do the ids below it: RoBERTa counts positions by it.
            Likewise other ids that a model compares with: BART looks for the end token.
        decay: what the training's weight decay leaves of an unused row.
    """
    full = table.weight
    kept = max(pad_token_id, table.padding_idx or 0, *_ids_of(model, len(full)))
    used = np.union1d(np.concatenate(ids), np.arange(kept + 1))  # (U,)
    place = np.zeros(len(full), dtype=np.int64)
    place[used] = np.arange(len(used))
    rows = torch.from_numpy(used).to(full.device)
    sharing = [table, *(m for m in model.modules() if getattr(m, "weight", None) is full)]
    few = nn.Parameter(full.detach()[rows], full.requires_grad)
    for module in sharing:
        module.weight = few
    try:
        yield [place[row] for row in ids]
    finally:
        trained = table.weight.detach()
        for module in sharing:
            module.weight = full
    if full.requires_grad:
        full.data.mul_(decay)
        full.data[rows] = trained.to(full.device)


def _ids_of(model: nn.Module, num_tokens: int) -> list[int]:
    """Token ids that the model itself reads."""
    found = (getattr(getattr(model, "config", None), name, None) for name in READ_BY_MODELS)
    return [token for token in found if isinstance(token, int) and token < num_tokens]
