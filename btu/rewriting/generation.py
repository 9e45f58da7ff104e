"""A language model at work: texts in, paraphrases out, each drawn from its own numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import LogitsProcessor, LogitsProcessorList
from transformers.generation.logits_process import TemperatureLogitsWarper, TopPLogitsWarper

from btu.data.formats import detokenize
from btu.errors import ConfigError, ModelError
from btu.models.tokens import as_plain_text
from btu.rewriting.settings import Generation
from btu.seeding import stream
from btu.training.devices import resolve_device

# STRAP's code marks what is read and what is written with these as token types (data_utils.py:87).
STRAP_READ, STRAP_WRITTEN = "<tokens>", "<verb>"


class GumbelNoise(LogitsProcessor):
    """Makes the arg max of the scores a draw from their softmax, from a row's own random numbers.

    With one generator for all rows, as transformers has it, a text's paraphrase would depend on the
    texts beside it.
    """

    def __init__(self, seed: int, texts: Sequence[str]) -> None:
        self.generators = [stream(seed, "paraphrase", text) for text in texts]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """The scores (B, V) with Gumbel noise."""
        size = scores.shape[-1]
        draws = [generator.standard_exponential(size) for generator in self.generators]
        noise = -np.log(np.stack(draws)).astype(np.float32)  # (B, V)
        return scores + torch.from_numpy(noise).to(scores.device)


class Paraphraser:
    """A model that has been loaded to paraphrase.

    Args:
        rewriter: which model, and how it writes.

    Raises:
        ModelError: the checkpoint lacks weights or tokens that writing needs.
        ConfigError: the model cannot read and write so many tokens.
    """

    def __init__(self, rewriter: Generation) -> None:
        self.rewriter = rewriter
        self.config = rewriter.checkpoint.config()
        self.is_causal = not self.config.is_encoder_decoder
        self.model, self.tokenizer = self._load()
        self.segments = self._segments()
        self.prompt = self._prompt()

    def _load(self) -> tuple[Any, Any]:
        kind = "AutoModelForCausalLM" if self.is_causal else "AutoModelForSeq2SeqLM"
        checkpoint = self.rewriter.checkpoint
        model, tokenizer = checkpoint.load(kind)
        if tokenizer.eos_token_id is None:
            raise ModelError(
                f"attack.rewriter: the tokenizer of {checkpoint.pretrained} has no end-of-sequence "
                "token, at which a paraphrase ends. Name another checkpoint."
            )
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        tokenizer.padding_side = "left" if self.is_causal else "right"
        tokenizer.truncation_side = "right"
        return model.float().eval().to(resolve_device(self.rewriter.device)), tokenizer

    def _segments(self) -> tuple[int, int] | None:
        """Token types of a STRAP checkpoint, if it is one and no prompt takes their place."""
        known = self.tokenizer.get_vocab()
        if self.rewriter.prompt is not None or not self.is_causal:
            return None
        if STRAP_READ not in known or STRAP_WRITTEN not in known:
            return None
        return known[STRAP_READ], known[STRAP_WRITTEN]

    def _prompt(self) -> str:
        """The prompt with its begin-of-sequence token, once it is known to fit."""
        bos = self.tokenizer.bos_token
        prompt = self.rewriter.prompt or ("{text}{bos}" if self.is_causal else "{text}")
        if "{bos}" in prompt and bos is None:
            raise ModelError(
                f"attack.rewriter: the tokenizer of {self.rewriter.pretrained} has no "
                f"begin-of-sequence token for the prompt {prompt}. Write a prompt without it, such "
                "as 'attack.rewriter.prompt=\"Paraphrase: {text}\\nAnswer:\"'."
            )
        prompt = prompt.replace("{bos}", bos or "")
        positions = getattr(self.config, "max_position_embeddings", None)
        extra = len(self.tokenizer(prompt.replace("{text}", ""))["input_ids"])
        reads, writes = self.rewriter.max_input_tokens + extra, self.rewriter.max_new_tokens
        needed = reads + writes if self.is_causal else max(reads, writes + 1)
        if positions is not None and needed > positions:
            raise ConfigError(
                f"attack.rewriter.max_input_tokens={self.rewriter.max_input_tokens} and "
                f"max_new_tokens={writes} need {needed} positions with the prompt, but "
                f"{self.rewriter.pretrained} has {positions}. Write smaller numbers."
            )
        return prompt

    def paraphrase(self, texts: Sequence[str]) -> list[str]:
        """One paraphrase per text, of a batch that goes through the model together."""
        read = [detokenize(text) for text in texts] if self.rewriter.detokenize else texts
        inputs = self._as_strap(read, *self.segments) if self.segments else self._prompted(read)
        written = self.model.generate(
            **{name: ids.to(self.model.device) for name, ids in inputs.items()},
            logits_processor=self._sampling(texts),
            do_sample=False,  # the arg max, of scores with noise
            num_beams=1,
            num_return_sequences=1,
            max_new_tokens=self.rewriter.max_new_tokens,
            eos_token_id=self._ends(),
            pad_token_id=self.tokenizer.pad_token_id,
        )
        if self.is_causal:
            written = written[:, inputs["input_ids"].shape[1] :]
        decoded = self.tokenizer.batch_decode(written, skip_special_tokens=True)
        return [" ".join(text.split()) for text in decoded]

    def _sampling(self, texts: Sequence[str]) -> LogitsProcessorList:
        """How scores become draws; nothing where the likeliest token is taken."""
        steps = LogitsProcessorList()
        if self.rewriter.temperature > 0:
            steps.append(TemperatureLogitsWarper(float(self.rewriter.temperature)))
            steps.append(TopPLogitsWarper(self.rewriter.top_p))
            steps.append(GumbelNoise(self.rewriter.seed, texts))
        return steps

    def _ends(self) -> list[int]:
        """Tokens that end a paraphrase: STRAP's configs name GPT-2's, its tokenizers their own."""
        named = self.model.generation_config.eos_token_id
        others = named if isinstance(named, list) else [named]
        ids = {self.tokenizer.eos_token_id, *others}
        return sorted(token for token in ids if token is not None)

    def _prompted(self, texts: Sequence[str]) -> dict[str, torch.Tensor]:
        plain = as_plain_text(self.tokenizer, texts)  # the prompt has its special tokens
        prompts = [self.prompt.replace("{text}", self._cut(text)) for text in plain]
        encoded = self.tokenizer(
            prompts, padding=True, return_tensors="pt", return_token_type_ids=False
        )
        return dict(encoded)

    def _cut(self, text: str) -> str:
        """The text without what follows its first `max_input_tokens` tokens."""
        encoded = self.tokenizer(
            text, add_special_tokens=False, split_special_tokens=True, return_offsets_mapping=True
        )
        ends = [end for _, end in encoded["offset_mapping"]]
        longest = self.rewriter.max_input_tokens
        return text if len(ends) <= longest else text[: ends[longest - 1]]

    def _as_strap(self, texts: Sequence[str], read: int, written: int) -> dict[str, torch.Tensor]:
        """What a STRAP model was trained on: texts of one length, padding that is read as they are.

        Source: build_sentence and build_segment in STRAP's data_utils.py; so does OpenBackdoor.
        """
        ids = self.tokenizer(
            list(texts),
            add_special_tokens=False,
            split_special_tokens=True,
            truncation=True,
            padding="max_length",
            max_length=self.rewriter.max_input_tokens,
            return_tensors="pt",
        )["input_ids"]  # (B, L)
        begin = torch.full_like(ids[:, :1], self.tokenizer.bos_token_id)
        ids = torch.cat([ids, begin], dim=1)  # (B, L + 1)
        types = torch.full_like(ids, read)
        types[:, -1] = written
        return {
            "input_ids": ids,
            "attention_mask": torch.ones_like(ids),
            "token_type_ids": types,
        }
