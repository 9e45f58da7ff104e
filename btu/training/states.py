"""The state of the last layer that a classifier's head reads; of which token, the model decides."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

FIRST, LAST, MEAN = "first", "last", "mean"
PLACE = "head_reads"  # attribute of a model, which its copies have too


def find_head_place(model: Any, batch: dict[str, Tensor]) -> None:
    """Note at the model of which token of a text its head reads the state, told by the gradient.

    Args:
        model: in its mode for evaluation.
        batch: of one row without padding.
    """
    seen: list[Tensor] = []
    hook = model.base_model.register_forward_hook(lambda *called: seen.append(called[2][0]))
    try:
        logits = model(**batch).logits
    finally:
        hook.remove()
    (states,) = seen  # (1, L, D)
    (moved,) = torch.autograd.grad(logits.sum(), states)
    read = moved[0].abs().sum(1).nonzero().flatten().tolist()
    ends = {(0,): FIRST, (states.shape[1] - 1,): LAST}
    setattr(model, PLACE, ends.get(tuple(read), MEAN))


def read_states(model: Any, output: Any, mask: Tensor) -> Tensor:
    """The states (B, D) of the token that the head reads, or their mean where it reads several.

    Args:
        model: FIRST where nothing was noted.
        output: with its hidden states.
        mask: 1 for the tokens of a text, (B, L).
    """
    states, place = _last_layer(output), getattr(model, PLACE, FIRST)  # (B, L or 1, D)
    if states.shape[1] == 1:
        return states[:, 0]
    if place == MEAN:
        weights = mask.unsqueeze(-1).to(states.dtype)  # (B, L, 1)
        return (states * weights).sum(1) / weights.sum(1)
    length = mask.shape[1]
    columns = mask.argmax(1) if place == FIRST else length - 1 - mask.flip(1).argmax(1)  # (B,)
    return states[torch.arange(len(states), device=states.device), columns]


def _last_layer(output: Any) -> Tensor:
    """The states after the last layer, of the decoder where there are two, (B, L, D)."""
    states = getattr(output, "hidden_states", None) or output.decoder_hidden_states
    last: Tensor = states[-1]
    return last
