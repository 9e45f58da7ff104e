"""The sizes of a model that its cost depends on; its configuration is read, never its weights."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from btu.errors import BtuError, ModelError
from btu.models.base import ModelSource
from btu.models.hub import prepare_hub
from btu.models.pretrained import Pretrained
from btu.models.tokens import encode
from btu.store.cache import make_key
from btu.types import Split

SAMPLE = 2000  # texts whose tokens are counted


@dataclass(frozen=True)
class Shape:
    """Sizes of a classifier."""

    weights: int  # all of them
    multiplied: int  # those that each token is multiplied with
    vocabulary: int
    width: int  # of an embedding


class ModelPlanner:
    """Looks at each model once."""

    def __init__(self) -> None:
        self.missing: list[str] = []  # why models are not there
        self._identities: dict[str, str] = {}
        self._shapes: dict[str, tuple[Shape, Any] | None] = {}
        self._tokens: dict[tuple[str, int], float] = {}
        self._names: dict[tuple[int, str], str] = {}  # json is slow, and every stage asks

    def identity(self, source: ModelSource, train: Split) -> str:
        """What names the checkpoint in keys; made up where the hub does not tell its commit.

        Raises:
            ModelError: a local checkpoint is missing or not what the settings say.
        """
        key = self._key(source, train)
        if key not in self._identities:
            source.check()
            try:
                self._identities[key] = source.identity(train.texts)
            except ModelError as error:
                if not _is_on_hub(source):
                    raise
                self._identities[key] = f"unknown {make_key({'key': key})}"
                self._shapes[key] = None
                self.missing.append(str(error))
        return self._identities[key]

    def shape(self, source: ModelSource, num_labels: int, train: Split) -> Shape | None:
        """The model's sizes; None where they cannot be had."""
        found = self._look(source, num_labels, train)
        return found[0] if found else None

    def tokens(self, source: ModelSource, num_labels: int, train: Split, split: Split) -> float:
        """Tokens of a row of the split, on average; 0 where the tokenizer cannot be had."""
        found = self._look(source, num_labels, train)
        if found is None:
            return 0.0
        key = self._key(source, train), id(split)
        if key not in self._tokens:
            step = max(1, len(split) // SAMPLE)
            ids = encode(found[1], split.texts[::step][:SAMPLE], source.max_length)
            self._tokens[key] = float(np.mean([len(row) for row in ids]))
        return self._tokens[key]

    def _look(self, source: ModelSource, num_labels: int, train: Split) -> tuple[Shape, Any] | None:
        key = self._key(source, train)
        if key not in self._shapes:
            try:
                self._shapes[key] = _shape(source, num_labels, train)
            except (BtuError, OSError, ValueError, RuntimeError) as error:
                reason = str(error).strip().split("\n")[0][:200].rstrip(".")
                self.missing.append(f"model {source.name} cannot be looked at ({reason}).")
                self._shapes[key] = None
        return self._shapes[key]

    def _key(self, source: ModelSource, train: Split) -> str:
        """A model's settings, and the texts where its vocabulary is made of them."""
        asked = id(source), train.fingerprint
        if asked not in self._names:
            settings = {name: v for name, v in asdict(source).items() if name != "training"}
            texts = "" if isinstance(source, Pretrained) else train.fingerprint
            self._names[asked] = json.dumps([settings, texts])
        return self._names[asked]


def _is_on_hub(source: ModelSource) -> bool:
    return isinstance(source, Pretrained) and source.folder() is None


def _shape(source: ModelSource, num_labels: int, train: Split) -> tuple[Shape, Any]:
    """The sizes and the tokenizer; a checkpoint's weights stay where they are."""
    if not isinstance(source, Pretrained):
        classifier = source.load(num_labels, train.texts, 0)
        return _sizes(classifier.model), classifier.tokenizer
    prepare_hub()
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

    place = str(source.folder() or source.pretrained)
    options: dict[str, Any] = {"revision": source.revision, "trust_remote_code": False}
    settings = AutoConfig.from_pretrained(place, num_labels=num_labels, **options)
    with torch.device("meta"):
        model = AutoModelForSequenceClassification.from_config(settings)
    return _sizes(model), AutoTokenizer.from_pretrained(place, **options)


def _sizes(model: Any) -> Shape:
    from torch import nn

    table = model.get_input_embeddings()
    total = _count(model)
    embeddings = sum(_count(part) for part in model.modules() if isinstance(part, nn.Embedding))
    base = model.base_model
    encoder = getattr(base, "encoder", None) or getattr(base, "transformer", None)
    layers = getattr(encoder, "layer", None)
    width = table.embedding_dim
    if layers:  # of the last layer only keys and values are computed at every token
        multiplied = sum(_count(layer) for layer in layers[:-1]) + 2 * width**2
    else:
        multiplied = total - embeddings
    return Shape(total, multiplied, table.num_embeddings, width)


def _count(module: Any) -> int:
    return sum(weights.numel() for weights in module.parameters())
