"""What every stage takes for granted of a classifier, tried once on a few tokens when it is loaded.

Nothing is drawn: the model is in its mode for evaluation meanwhile.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from btu.errors import BtuError, ConfigError, ModelError
from btu.models.base import Classifier
from btu.models.tokens import encode
from btu.training.first_position import read_first_position_only
from btu.training.fit import Encoded, Padder
from btu.training.rows import rows_in_use
from btu.training.states import find_head_place
from btu.types import IntArray

NUM_TOKENS = 16  # of the longer of two rows
NUM_TEXTS, NUM_LETTERS = 8, 200  # that the rows are made of
TOLERANCE = 1e-3  # of the largest logit; arithmetic in fp32 moves a hundredth of that
SUPPORTED = (
    "Encoders such as BERT, RoBERTa, DistilBERT, ALBERT, ELECTRA, DeBERTa, MPNet, XLM-R and "
    "ModernBERT can be used, and XLNet, BART, GPT-2, Llama and Qwen2."
)


def make_ready(classifier: Classifier, texts: Sequence[str], max_length: int, name: str) -> None:
    """Choose the side of padding and take what shortcuts the model allows, in place.

    Args:
        classifier: as loaded, on the CPU.
        texts: some that it is to read.
        max_length: tokens of the longest.
        name: of the model, for errors.

    Raises:
        ModelError: the model does not do what the stages need; the sentence names its class.
        ConfigError: it has fewer positions than `max_length`.
    """
    model = classifier.model
    was_training = model.training
    model.eval()
    with _refusing(model, name):
        rows = _two_rows(classifier, texts, max_length)
        plain = torch.cat([_logits(classifier, [row]) for row in rows])  # (2, C)
        _choose_side(classifier, rows, plain)
        find_head_place(model, _batch(classifier, rows[:1]))
        read_first_position_only(model)
        _check_gradient(classifier, rows, plain)
    _check_positions(classifier, rows[0], max_length, name)
    model.train(was_training)


@contextmanager
def _refusing(model: Any, name: str) -> Iterator[None]:
    """Whatever a model of any author raises inside this block, as one sentence."""
    try:
        yield
    except BtuError as error:
        raise _refusal(model, name, str(error)) from error
    except Exception as error:
        raise _refusal(model, name, f"it fails ({str(error).split(chr(10))[0][:150]})") from error


def _refusal(model: Any, name: str, why: str) -> ModelError:
    return ModelError(f"model {name}: a {type(model).__name__} cannot be used, {why}. {SUPPORTED}")


def _two_rows(classifier: Classifier, texts: Sequence[str], max_length: int) -> list[IntArray]:
    """Token ids of a text and of about half of it."""
    text = " ".join([text[:NUM_LETTERS] for text in texts[:NUM_TEXTS]] * NUM_TOKENS)
    ids = encode(classifier.tokenizer, [text], min(NUM_TOKENS, max_length))
    (half,) = Encoded(ids, np.zeros(1, dtype=np.int64)).cut(max(1, len(ids[0]) // 2)).ids
    return [ids[0], half]


def _batch(classifier: Classifier, rows: Sequence[IntArray]) -> dict[str, Tensor]:
    tokenizer = classifier.tokenizer
    padder = Padder(tokenizer.pad_token_id, side=tokenizer.padding_side)
    return padder([(row, 0) for row in rows])


def _logits(classifier: Classifier, rows: Sequence[IntArray]) -> Tensor:
    """Logits of rows in one batch, (B, C)."""
    with torch.no_grad():
        logits: Tensor = classifier.model(**_batch(classifier, rows)).logits
    return logits


def _agree(found: Tensor, plain: Tensor) -> bool:
    largest = float(plain.abs().max())
    return found.shape == plain.shape and torch.allclose(found, plain, 0.0, TOLERANCE * largest)


def _choose_side(classifier: Classifier, rows: Sequence[IntArray], plain: Tensor) -> None:
    """Pad where it changes no logit: after the texts if possible, else before them (XLNet)."""
    if not plain.isfinite().all():
        raise ModelError("its logits are not finite")
    for side in ("right", "left"):
        classifier.tokenizer.padding_side = side
        if _agree(_logits(classifier, rows), plain):
            return
    raise ModelError("what it says of a text depends on the padding beside it")


def _check_gradient(classifier: Classifier, rows: Sequence[IntArray], plain: Tensor) -> None:
    """Raise unless a step on the rows in use sees the same logits and moves every token."""
    model, table = classifier.model, classifier.embeddings
    pad_token_id = classifier.tokenizer.pad_token_id
    with rows_in_use(model, table, rows, pad_token_id, decay=1.0) as ids:
        output = model(**_batch(classifier, ids))
        (moved,) = torch.autograd.grad(output.loss, table.weight, allow_unused=True)
        if not _agree(output.logits.detach(), plain):
            raise ModelError("what it says of a text depends on the numbers of unused tokens")
        if moved is None or not moved.isfinite().all():
            raise ModelError("training gives its word embeddings no finite gradient")
        seen = moved.abs().sum(1) > 0  # (U,)
        skipped = {pad_token_id, table.padding_idx}
        if not all(seen[token] for token in ids[0].tolist() if token not in skipped):
            raise ModelError("its head does not see every token of a text")


def _check_positions(classifier: Classifier, row: IntArray, max_length: int, name: str) -> None:
    """Raise a ConfigError if the model has fewer positions than `max_length`."""

    def is_too_long(length: int) -> bool:
        body = np.resize(row[1:-1] if len(row) > 2 else row, max(0, length - 2))
        try:
            _logits(classifier, [np.concatenate([row[:1], body, row[-1:]])])
        except (IndexError, RuntimeError, ValueError):
            return True
        return False

    if max_length > len(row) and is_too_long(max_length):
        lengths = range(len(row), max_length + 1)
        longest = lengths[bisect_left(lengths, True, key=is_too_long)] - 1
        raise ConfigError(
            f"model.max_length={max_length} is more than the {longest} tokens that {name} has "
            f"positions for. Write model.max_length={longest}."
        )
