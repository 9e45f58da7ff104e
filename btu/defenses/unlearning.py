"""Unlearn suspect tokens, dimension by dimension."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from btu.errors import ModelError
from btu.types import Edit, EditReport, IntArray

if TYPE_CHECKING:
    from btu.lab import Lab
    from btu.models.base import Classifier


def cutoffs(change: Tensor, token_ids: Tensor, rule: str) -> Tensor:
    """The smallest change that counts as planted, per suspect. (K,)

    Args:
        change: |E0 - E|, (V, D).
        token_ids: suspects, (K,).
        rule: `mean`, the mean of the whole table; `row_mean`, of each suspect's own row;
            `frobenius`, ||E0 - E||_F / V as in the released code, which is so small that whole
            rows are replaced; `whole_row`, 0, which replaces them by definition.

    Source: Jiang et al. 2025, dimensional unlearning.
    """
    if rule == "row_mean":
        return change[token_ids].mean(1)
    if rule == "whole_row":
        return change.new_zeros(len(token_ids))
    value = change.mean() if rule == "mean" else change.norm() / change.shape[0]
    return value.expand(len(token_ids))


def replacement_row(pretrained: Tensor, pad_token_id: int, rule: str) -> Tensor:
    """The values that replaced dimensions take. (D,)

    Args:
        pretrained: word embeddings before training, (V, D).
        pad_token_id: row of `pretrained` that stands for nothing.
        rule: `padding_row`, that row; `mean_row`, the mean of all V rows.

    The mean leaves out neither special tokens nor suspects: the pretrained table has seen no
    poison, and so a token gets the same values whichever others are suspects.

    Source: Jiang et al. 2025, dimensional unlearning (the padding row); the mean row is ours.
    """
    return pretrained.mean(0) if rule == "mean_row" else pretrained[pad_token_id]


def make_edit(tokens: IntArray, cutoff: str, replacement: str) -> Edit:
    """The edit that unlearns these tokens of a trained model.

    Args:
        tokens: suspects, (K,).
        cutoff: how it is computed, see `cutoffs`.
        replacement: whose values they take, see `replacement_row`.
    """

    def apply(lab: Lab, classifier: Classifier) -> dict[str, Any]:
        table = classifier.embeddings.weight.data  # edited in place
        pretrained = lab.pretrained_embeddings().to(table.device)
        values = replacement_row(pretrained, classifier.tokenizer.pad_token_id, replacement)
        return asdict(unlearn(pretrained, table, tokens, values, cutoff))

    parts = {"tokens": tokens, "cutoff": cutoff, "replacement": replacement}
    return Edit("unlearning", parts, apply)


def unlearn(
    pretrained: Tensor, table: Tensor, token_ids: IntArray, values: Tensor, rule: str
) -> EditReport:
    """Give the suspects' changed dimensions the replacement row's values, in place.

    Args:
        pretrained: word embeddings before training, (V, D).
        table: word embeddings of the victim, (V, D); edited.
        token_ids: suspects, (K,).
        values: the replacement row, (D,).
        rule: how the cutoff is computed, see `cutoffs`.

    Returns:
        Per suspect, how many of the D dimensions were replaced and at which cutoff.

    Raises:
        ModelError: the table has not moved at all, so that every change would reach the cutoff.
    """
    rows = torch.as_tensor(token_ids, dtype=torch.int64, device=table.device)
    change = (pretrained - table).abs()  # (V, D)
    if not change.any():
        raise ModelError(
            "unlearning replaces what training changed in the word embeddings, but training has "
            "not moved them at all: they are frozen, or an adapter was trained in their place. "
            "Train the whole model, or leave this defense out."
        )
    cutoff = cutoffs(change, rows, rule)  # (K,)
    replace = change[rows] >= cutoff.unsqueeze(1)  # (K, D)
    table[rows] = torch.where(replace, values, table[rows])
    return EditReport(
        token_ids=token_ids,
        replaced=replace.sum(1).cpu().numpy(),
        cutoff=cutoff.float().cpu().numpy(),
    )
