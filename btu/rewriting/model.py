"""Paraphrases by a language model: batched, sampled with a seed, kept on disk per text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class ModelRewriter:
    """How a language model rewrites."""

    pretrained: str | None

    def check(self) -> None:
        """Raise if it cannot."""

    def settings(self) -> dict[str, Any]:
        """What a paraphrase depends on."""
        return asdict(self)

    def identity(self) -> Mapping[str, Any]:
        """What names the paraphrases."""
        return self.settings()

    def rewrite(self, texts: Sequence[str]) -> list[str]:
        """One paraphrase per text."""
        raise NotImplementedError
