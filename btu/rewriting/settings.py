"""Settings of a language model that rewrites, checked without loading it."""

from __future__ import annotations

from dataclasses import dataclass, field

from btu.errors import ConfigError, ModelError
from btu.models.checkpoint import Checkpoint
from btu.store.stages import UNKEYED

EXAMPLE = "lievan/bible"
GENERATORS = ("LMHeadModel", "ForCausalLM", "ForConditionalGeneration")  # ends of class names


@dataclass(frozen=True)
class Generation:
    """Which language model writes, and how."""

    pretrained: str | None
    revision: str | None
    prompt: str | None
    detokenize: bool
    max_input_tokens: int
    max_new_tokens: int
    temperature: float
    top_p: float
    batch_size: int = field(metadata=UNKEYED)
    seed: int
    device: str = field(metadata=UNKEYED)
    folder: str = field(metadata=UNKEYED)

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
            self.check_kind()

    @property
    def checkpoint(self) -> Checkpoint:
        """Where the model comes from."""
        return Checkpoint(
            "attack.rewriter", self.pretrained or "", self.revision, None, example=EXAMPLE
        )

    def check_kind(self) -> None:
        """Raise a ModelError if the model writes no text."""
        classes = self.checkpoint.config().architectures or ()
        if classes and not any(name.endswith(GENERATORS) for name in classes):
            raise ModelError(
                f"attack.rewriter.pretrained: {self.pretrained} is a {classes[0]}, which writes no "
                "text. Name a causal or a text-to-text language model, such as "
                f"attack.rewriter.pretrained={EXAMPLE}."
            )
