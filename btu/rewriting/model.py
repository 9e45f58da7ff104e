"""Paraphrases by a language model: batched, sampled with a seed, kept on disk per text."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from btu.rewriting.kept import KeptParaphrases
from btu.rewriting.settings import Generation
from btu.store.cache import make_key
from btu.store.stages import settings_of
from btu.terminal.progress import progress

VERSION = 2  # raise it when the same settings give other paraphrases
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ModelRewriter(Generation):
    """A language model that rewrites: a causal one (STRAP and kin) or a text-to-text one (T5).

    The paraphrase of a text depends on the text and on these settings, not on what else is
    rewritten. Each is kept in `folder` as soon as its batch is finished and never made again.

    Source: Krishna et al. 2020 (arXiv 2010.05700), the paraphrasers of the style attack.
    """

    def settings(self) -> dict[str, Any]:
        """What a paraphrase depends on, but for the weights."""
        return settings_of(self)

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
        self.check_kind()
        return {"version": VERSION, **self.settings(), "checkpoint": self.checkpoint.identity()}
