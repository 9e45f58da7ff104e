"""Perplexity of whole texts under a causal language model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from btu.errors import ModelError
from btu.models.checkpoint import Checkpoint
from btu.terminal.progress import progress

if TYPE_CHECKING:
    import torch

BATCH_TOKENS = 4096  # the logits of so many tokens of GPT-2 are 0.8 GB


class Perplexities(NamedTuple):
    """Of N texts."""

    values: NDArray[np.float64]  # (N,) NaN for a text without a token
    cut: NDArray[np.bool_]  # (N,) longer than the model can read; its beginning was measured


class LanguageModel:
    """A causal language model that tells how probable texts are.

    Each text follows the begin token (GPT-2: its end token), so that its first token counts, too,
    and a text of one token has a perplexity.

    Args:
        model: of transformers, in float32.
        tokenizer: its own.
        what: the setting that names it, for errors.

    Raises:
        ModelError: the tokenizer has neither a begin nor an end token.
    """

    def __init__(self, model: Any, tokenizer: Any, what: str = "stealth.language_model") -> None:
        self.model, self.tokenizer = model, tokenizer
        self.begin = tokenizer.bos_token_id
        if self.begin is None:
            self.begin = tokenizer.eos_token_id
        if self.begin is None:
            raise ModelError(
                f"{what}: the tokenizer has neither a begin nor an end token that a text could "
                f"follow. Name another causal language model, or write {what}=null."
            )
        positions = getattr(model.config, "max_position_embeddings", None)
        known = (positions, tokenizer.model_max_length)
        self.max_length: int = min(length for length in known if length is not None)

    @classmethod
    def load(cls, checkpoint: Checkpoint, device: str) -> LanguageModel:
        """Load a checkpoint.

        Raises:
            ModelError: it cannot be loaded, or is not a causal language model.
        """
        _check_causal(checkpoint)
        model, tokenizer = checkpoint.load("AutoModelForCausalLM")
        return cls(model.float().eval().to(device), tokenizer, checkpoint.what)

    def perplexities(self, texts: Sequence[str], batch_size: int) -> Perplexities:
        """exp of the mean negative log-likelihood per token, the begin token not counted."""
        ids, cut = self._encode(texts)
        losses = np.full(len(texts), np.nan)
        batches = _batches([len(each) for each in ids], batch_size)
        with progress("perplexity", len(batches)) as advance:
            for rows in batches:
                losses[rows] = self._losses([ids[row] for row in rows])
                advance()
        return Perplexities(np.exp(losses), cut)

    def _encode(self, texts: Sequence[str]) -> tuple[list[list[int]], NDArray[np.bool_]]:
        """Ids with the begin token, cut at what the model can read."""
        if not texts:
            return [], np.zeros(0, dtype=np.bool_)
        found = self.tokenizer(list(texts), add_special_tokens=False, split_special_tokens=True)
        whole = [[self.begin, *each] for each in found["input_ids"]]
        cut = np.asarray([len(each) > self.max_length for each in whole], dtype=np.bool_)
        return [each[: self.max_length] for each in whole], cut

    def _losses(self, ids: Sequence[Sequence[int]]) -> list[float]:
        """Mean negative log-likelihood of each text's tokens, after the begin token."""
        import torch

        inputs, mask = _padded(ids)
        device = self.model.device
        with torch.inference_mode():
            output = self.model(input_ids=inputs.to(device), attention_mask=mask.to(device))
            return [
                float(torch.nn.functional.cross_entropy(logits[: n - 1].float(), row[1:n]))
                for logits, row, n in zip(
                    output.logits, inputs.to(device), map(len, ids), strict=True
                )
            ]


def _check_causal(checkpoint: Checkpoint) -> None:
    """Raise unless the checkpoint was saved as a causal language model.

    transformers would give any BERT a language model's head, and it reads what it is to predict.
    """
    config = checkpoint.config()
    from transformers.models.auto import modeling_auto

    causal, masked = (
        modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    )
    saved_as = set(config.architectures or ())
    reads_ahead = config.model_type in masked and not getattr(config, "is_decoder", False)
    if reads_ahead or not saved_as & set(causal.values()):
        raise ModelError(
            f"{checkpoint.what}: {checkpoint.pretrained} is not a causal language model but "
            f"{', '.join(sorted(saved_as)) or config.model_type}. Name one such as "
            f"{checkpoint.example}, or leave perplexity out with {checkpoint.what}=null."
        )


def _batches(lengths: Sequence[int], batch_size: int) -> list[list[int]]:
    """Rows of similar length together, the longest first; those without a token are left out."""
    rows = [row for row in np.argsort(lengths, kind="stable")[::-1].tolist() if lengths[row] > 1]
    batches: list[list[int]] = []
    for row in rows:
        full = not batches or len(batches[-1]) >= batch_size
        if full or (len(batches[-1]) + 1) * lengths[batches[-1][0]] > BATCH_TOKENS:
            batches.append([])
        batches[-1].append(row)
    return batches


def _padded(ids: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask, (B, L), padded at the end, where a causal model does not look."""
    import torch

    longest = max(map(len, ids))
    rows = [[*each, *[each[0]] * (longest - len(each))] for each in ids]
    mask = [[1] * len(each) + [0] * (longest - len(each)) for each in ids]
    return torch.tensor(rows), torch.tensor(mask)
