"""Paraphrases by a language model: batched, sampled with a seed, kept on disk per text."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from btu.errors import ConfigError, ModelError
from btu.models.checkpoint import Checkpoint
from btu.rewriting.kept import KeptParaphrases
from btu.store.cache import make_key
from btu.training.progress import progress

VERSION = 1  # raise it when the same settings give other paraphrases
EXAMPLE = "lievan/bible"
GENERATORS = ("LMHeadModel", "ForCausalLM", "ForConditionalGeneration")  # ends of class names
CHANGE_NO_TEXT = ("batch_size", "device", "folder")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ModelRewriter:
    """How a language model rewrites: a causal one (STRAP and kin) or a text-to-text one (T5).

    The paraphrase of a text depends on the text and on these settings, not on what else is
    rewritten. Each is kept in `folder` as soon as its batch is finished and never made again.

    Source: Krishna et al. 2020 (arXiv 2010.05700), the paraphrasers of the style attack.
    """

    pretrained: str | None
    revision: str | None
    prompt: str | None
    detokenize: bool
    max_input_tokens: int
    max_new_tokens: int
    temperature: float
    top_p: float
    batch_size: int
    seed: int
    device: str
    folder: str

    def __post_init__(self) -> None:
        for name in ("max_input_tokens", "max_new_tokens", "batch_size"):
            if getattr(self, name) < 1:
                raise ConfigError(
                    f"attack.rewriter.{name} is at least 1, got {getattr(self, name)}. "
                    f"Write for example attack.rewriter.{name}=50."
                )
        if self.temperature < 0:
            raise ConfigError(
                f"attack.rewriter.temperature is at least 0, got {self.temperature:g}. For the "
                "likeliest token at each place write attack.rewriter.temperature=0."
            )
        if not 0 < self.top_p <= 1:
            raise ConfigError(
                "attack.rewriter.top_p is a share of the probability, above 0 and at most 1, got "
                f"{self.top_p:g}. To draw from all tokens write attack.rewriter.top_p=1."
            )
        if self.prompt is not None and "{text}" not in self.prompt:
            raise ConfigError(
                "attack.rewriter.prompt must hold {text} where the text goes, got "
                f"{self.prompt!r}. Write for example 'attack.rewriter.prompt=\"paraphrase: "
                "{text}\"'."
            )

    def check(self) -> None:
        """Raise if no model is named, or a local one is missing or writes no text.

        Raises:
            ConfigError, ModelError: with what to type.
        """
        if self.pretrained is None:
            raise ConfigError(
                "attack.paraphrases=model needs a language model, but attack.rewriter.pretrained "
                f"is null. Name one, such as attack.rewriter.pretrained={EXAMPLE}, or write "
                "attack.paraphrases=rules."
            )
        self.checkpoint.check()
        if self.checkpoint.folder() is not None:
            self._check_kind()

    @property
    def checkpoint(self) -> Checkpoint:
        """Where the model comes from."""
        return Checkpoint(
            "attack.rewriter", self.pretrained or "", self.revision, None, example=EXAMPLE
        )

    def settings(self) -> dict[str, Any]:
        """What a paraphrase depends on, but for the weights."""
        return {name: value for name, value in asdict(self).items() if name not in CHANGE_NO_TEXT}

    def identity(self) -> Mapping[str, Any]:
        """What names the paraphrases: equal exactly when settings and weights are.

        Raises:
            ModelError: the model writes no text, or it cannot be reached.
        """
        return self._identity

    def rewrite(self, texts: Sequence[str]) -> list[str]:
        """One paraphrase per text; "" for a blank one, and where the model writes nothing.

        Raises:
            ModelError: the model cannot be loaded, or not used with these settings.
        """
        if self._missing(texts):
            self._kept.read()  # another process may have made them meanwhile
            if missing := self._missing(texts):
                self._generate(missing)
        return [self._kept.paraphrases.get(text, "") for text in texts]

    def _missing(self, texts: Sequence[str]) -> list[str]:
        known = self._kept.paraphrases
        return [text for text in dict.fromkeys(texts) if text.strip() and text not in known]

    def _generate(self, texts: Sequence[str]) -> None:
        from btu.rewriting.generation import Paraphraser

        start = time.perf_counter()
        paraphraser = Paraphraser(self)
        longest_first = sorted(texts, key=len, reverse=True)
        starts = range(0, len(texts), self.batch_size)
        with progress(f"paraphrases of {len(texts):,} texts", len(starts)) as step:
            for first in starts:
                batch = longest_first[first : first + self.batch_size]
                written = paraphraser.paraphrase(batch)
                self._kept.add(dict(zip(batch, written, strict=True)))
                step()
        seconds = time.perf_counter() - start
        log.info("%-26s %d texts  %.0f s  %s", "paraphrases", len(texts), seconds, self.pretrained)

    @cached_property
    def _kept(self) -> KeptParaphrases:
        return KeptParaphrases(Path(self.folder) / make_key(self._identity), self._identity)

    @cached_property
    def _identity(self) -> Mapping[str, Any]:
        self._check_kind()
        return {"version": VERSION, **self.settings(), "checkpoint": self.checkpoint.identity()}

    def _check_kind(self) -> None:
        classes = self.checkpoint.config().architectures or ()
        if classes and not any(name.endswith(GENERATORS) for name in classes):
            raise ModelError(
                f"attack.rewriter.pretrained: {self.pretrained} is a {classes[0]}, which writes no "
                "text. Name a causal or a text-to-text language model, such as "
                f"attack.rewriter.pretrained={EXAMPLE}."
            )
