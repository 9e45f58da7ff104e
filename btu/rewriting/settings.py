"""Settings of a language model that rewrites, checked without loading it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from btu.errors import ConfigError, ModelError
from btu.models.checkpoint import Checkpoint
from btu.settings.base import Settings
from btu.settings.ranges import Count, Device, Place, Range, Revision, Seed, Text
from btu.store.stages import UNKEYED

EXAMPLE = "lievan/bible"
GENERATORS = ("LMHeadModel", "ForCausalLM", "ForConditionalGeneration")  # ends of class names
LIKELIEST = "For the likeliest token at each place write {key}=0."
ALL = "To draw from all tokens write {key}=1."
Prompt = Annotated[
    str,
    Text(
        r".*\{text\}.*",
        what="text that holds {text} where the text goes",
        advice="Write for example '{key}=\"paraphrase: {text}\"'.",
        several_lines=True,
    ),
]


@dataclass(frozen=True)
class Generation(Settings):
    """Which language model writes, and how."""

    pretrained: Place | None
    revision: Revision | None
    prompt: Prompt | None
    detokenize: bool
    max_input_tokens: Annotated[int, Range(1, 10_000)]
    max_new_tokens: Annotated[int, Range(1, 10_000)]
    temperature: Annotated[float, Range(0, 100, advice=LIKELIEST)]
    top_p: Annotated[float, Range(0, 1, "a share of the probability,", ALL, open_low=True)]
    batch_size: Count = field(metadata=UNKEYED)
    seed: Seed
    device: Device = field(metadata=UNKEYED)
    folder: Place = field(metadata=UNKEYED)

    place: ClassVar[str] = "attack.rewriter"

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
