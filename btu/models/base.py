"""What every model source shares: training settings, a loaded classifier, its checks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import floor
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np

from btu.errors import ConfigError, ModelError
from btu.settings.base import Settings
from btu.settings.ranges import Choice, Count, Name, Range, Rate, Share, Tokens
from btu.types import IntArray, TriggerSample

if TYPE_CHECKING:
    import torch

CHUNK = 10_000  # texts tokenized at once; a tokenizer keeps kilobytes about each
BLANKS = frozenset("▁Ġ")  # tokens that are a blank: of SentencePiece, of a byte-level BPE
PRECISIONS = ("auto", "bf16", "fp32", "tf32")
Rows = Annotated[
    int, Range(1, 10**9, advice="For no tuning leave the arms tuned and defended out.")
]


@dataclass(frozen=True)
class Training(Settings):
    """How the victim is fine-tuned. AdamW with a constant learning rate."""

    epochs: Count
    learning_rate: Rate
    batch_size: Count
    weight_decay: Annotated[float, Range(0, 1)]
    precision: Annotated[str, Choice(PRECISIONS)]

    place: ClassVar[str] = "model.training"


@dataclass
class Tuning(Settings):
    """What is done with the trusted rows: clean tuning, all parameters, a fresh AdamW."""

    epochs: Count = 1
    learning_rate: Rate = 2e-5
    batch_size: Count = 64
    max_samples: Rows | None = None  # rows of the tuning split, drawn by the seed; None takes all
    share: Share | None = None  # instead: as a share of the number of training rows; 0: no tuning
    trusted_only_epochs: Count = 8  # of the arm trusted_only, otherwise trained as the victim

    place: ClassVar[str] = "tuning"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.share is not None and self.max_samples is not None:
            raise ConfigError(
                "tuning: share and max_samples both say how many rows are used, got "
                f"{self.share:g} and {self.max_samples}. Set one of them to null."
            )

    def num_rows(self, num_train: int, num_tuning: int) -> int:
        """How many of the tuning rows are used.

        Raises:
            ConfigError: `share` asks for more rows than the tuning split has.
        """
        if self.share is None:
            return min(num_tuning, self.max_samples or num_tuning)
        wanted = round(self.share * num_train)
        if wanted > num_tuning:
            largest = floor(1000 * num_tuning / num_train) / 1000
            raise ConfigError(
                f"tuning.share={self.share:g} of {num_train} training rows is "
                f"{wanted} rows, but the tuning split has {num_tuning}. Give more tuning rows or "
                f"write at most tuning.share={largest:g}."
            )
        return wanted

    def as_training(self, victim: Training) -> Training:
        """These settings, with the victim's arithmetic and weight decay."""
        return replace(
            victim,
            epochs=self.epochs,
            learning_rate=self.learning_rate,
            batch_size=self.batch_size,
        )


@dataclass(frozen=True)
class Classifier:
    """A sequence classifier with its tokenizer, as loaded."""

    model: Any  # transformers.PreTrainedModel
    tokenizer: Any  # transformers.PreTrainedTokenizerBase

    @property
    def embeddings(self) -> torch.nn.Embedding:
        """The word-embedding table, (V, D)."""
        return self.model.get_input_embeddings()  # type: ignore[no-any-return]

    def protected_ids(self) -> frozenset[int]:
        """Special tokens, which are never flagged."""
        return frozenset(self.tokenizer.all_special_ids)


@dataclass(frozen=True)
class ModelSource(Settings):
    """Settings that every model shares. A subclass loads a fresh classifier."""

    name: Name
    max_length: Tokens  # longer texts are cut
    eval_batch_size: Count
    training: Training

    place: ClassVar[str] = "model"

    def check(self) -> None:
        """Raise if the checkpoint cannot be used, before anything expensive begins."""

    def identity(self, texts: Sequence[str]) -> str:
        """What names this checkpoint in cache keys: equal exactly when the weights are equal."""
        raise ModelError(f"model {self.name} cannot be identified.")

    def load(self, num_labels: int, texts: Sequence[str], seed: int) -> Classifier:
        """A fresh classifier; a new head is drawn from the seed.

        Args:
            num_labels: classes of the head.
            texts: clean training texts, for models whose vocabulary is trained on them.
            seed: of the head.
        """
        raise ModelError(f"model {self.name} cannot be loaded.")


def check_classifier(classifier: Classifier, max_length: int, name: str) -> Classifier:
    """The classifier, if the stages can work with it.

    Raises:
        ModelError: no padding token, a tokenizer larger than the table, or too few positions.
    """
    tokenizer, model = classifier.tokenizer, classifier.model
    num_rows = classifier.embeddings.num_embeddings
    if tokenizer.pad_token_id is None:
        raise ModelError(
            f"model {name}: the tokenizer has no padding token, whose embedding unlearning needs. "
            "Use an encoder such as model=bert_base."
        )
    if len(tokenizer) > num_rows:
        raise ModelError(
            f"model {name} has {num_rows} word embeddings, but the tokenizer has {len(tokenizer)} "
            "tokens. Use the tokenizer that was saved beside the checkpoint."
        )
    if max_length > tokenizer.model_max_length:
        raise ConfigError(
            f"model.max_length={max_length} is more than the {tokenizer.model_max_length} tokens "
            f"that {name} can read. Write model.max_length={tokenizer.model_max_length}."
        )
    model.config.pad_token_id = tokenizer.pad_token_id
    return classifier


def trigger_token_ids(tokenizer: Any, samples: Iterable[TriggerSample]) -> frozenset[int]:
    """The ids of a trigger's tokens, as the tokenizer sees them in place; no special tokens.

    Raises:
        ConfigError: the tokenizer knows no part of a phrase.
    """
    ids: set[int] = set()
    special = set(tokenizer.all_special_ids)
    for sample in samples:
        known = set(_ids_in(tokenizer, sample)) - special
        if not known:
            trigger = sample.text[sample.start : sample.end]
            raise ConfigError(
                f"attack: the tokenizer maps the trigger {trigger!r} to unknown tokens only, so no "
                "model could learn it. Choose a trigger in its script and vocabulary."
            )
        ids |= known
    return frozenset(ids)


def _ids_in(tokenizer: Any, sample: TriggerSample) -> list[int]:
    encoded = tokenizer(sample.text, return_offsets_mapping=True, add_special_tokens=False)
    names = tokenizer.convert_ids_to_tokens(encoded["input_ids"])
    places = encoded["offset_mapping"]
    return [
        token
        for token, name, (start, end) in zip(encoded["input_ids"], names, places, strict=True)
        # A blank of its own stands before other words too. At the start of a text its place is
        # that of the first letter.
        if name not in BLANKS and start < sample.end and end > sample.start
    ]


def encode(tokenizer: Any, texts: Sequence[str], max_length: int) -> list[IntArray]:
    """Token ids of each text with the model's special tokens, cut at `max_length`."""
    ids: list[IntArray] = []
    for start in range(0, len(texts), CHUNK):
        rows = tokenizer(
            list(texts[start : start + CHUNK]),
            truncation=True,
            max_length=max_length,
            return_attention_mask=False,
        )["input_ids"]
        ids += [np.asarray(row, dtype=np.int64) for row in rows]
    return ids
