"""What every model source shares: training settings, a loaded classifier, its checks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import floor
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from btu.errors import ConfigError, ModelError
from btu.models.tokens import special_ids
from btu.settings.base import Settings
from btu.settings.ranges import Choice, Count, Name, Range, Rate, Share, Tokens

if TYPE_CHECKING:
    import torch

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

    @contextmanager
    def adapting(self, model: Any) -> Iterator[Any]:
        """Inside the block the model is as it learns; here it is the model itself."""
        yield model


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
        return special_ids(self.tokenizer)


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
    """The classifier with what the stages need of its tokenizer and its config.

    Where no padding token is named, as in GPT-2 and Llama, the end token stands for it.

    Raises:
        ModelError: no token to pad with, no places of tokens, or more tokens than embeddings.
        ConfigError: the tokenizer is for shorter texts.
    """
    tokenizer, model = classifier.tokenizer, classifier.model
    num_rows = classifier.embeddings.num_embeddings
    if not tokenizer.is_fast:
        raise ModelError(
            f"model {name}: its {type(tokenizer).__name__} does not tell where in a text a token "
            "stands. Use a model whose tokenizer can be saved as tokenizer.json."
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.bos_token
    if tokenizer.pad_token_id is None:
        raise ModelError(
            f"model {name}: the tokenizer has neither a padding token, whose embedding unlearning "
            "needs, nor an end token in its place. Give it one, tokenizer.pad_token=..., and save "
            "it again with tokenizer.save_pretrained(folder)."
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
    model.config.problem_type = "single_label_classification"  # whatever it was trained for before
    model.config.return_dict = True
    return classifier
