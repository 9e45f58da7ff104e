"""The stages that train or predict, each computed once: detection rounds, victims, tuning."""

from __future__ import annotations

import copy
import hashlib
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from btu.cache import StageCache, make_key
from btu.defenses.settings import Round, TuningSettings
from btu.models.base import Classifier, ModelSource, Training, encode, trigger_token_ids
from btu.models.probe import PooledProbe
from btu.seeding import stream, stream_seed, torch_stream
from btu.training import Compute, Encoded, Padder, fit, freeze_all_but, predict
from btu.types import IntArray, PoisonedDataset, Predictions, Split, TokenDistances

VERSION = 2  # of every stage: raise it when what a stage computes changes
log = logging.getLogger(__name__)


class Workbench:
    """One data set, one model and one seed, with everything that was computed from them.

    Args:
        source: where fresh classifiers come from.
        data: the poisoned data set.
        compute: device and arithmetic.
        cache: finished stages.
        seed: of the run.
    """

    def __init__(
        self,
        source: ModelSource,
        data: PoisonedDataset,
        compute: Compute,
        cache: StageCache,
        seed: int,
    ) -> None:
        self.source, self.data, self.compute = source, data, compute
        self.cache, self.seed = cache, seed
        self._seen: set[str] = set()  # keys that the log has named
        self._in_use: dict[str, str] = {}  # title -> key
        self._encoded: dict[int, Encoded] = {}

    @cached_property
    def pristine(self) -> Classifier:
        """The classifier as loaded; copied, never trained."""
        train = self.data.clean.train
        return self.source.load(self.data.clean.num_labels, train.texts, self.seed)

    @cached_property
    def identity(self) -> str:
        """What names the checkpoint."""
        return self.source.identity(self.data.clean.train.texts)

    @property
    def vocabulary_size(self) -> int:
        """V, the rows of the embedding table."""
        return self.pristine.embeddings.num_embeddings

    def pretrained_embeddings(self) -> torch.Tensor:
        """E0, (V, D)."""
        return self.pristine.embeddings.weight.detach()

    def trigger_ids(self, phrases: Sequence[str]) -> frozenset[int]:
        """The token ids of the attack's phrases, in place."""
        return trigger_token_ids(self.pristine.tokenizer, phrases)

    def encoded(self, split: Split) -> Encoded:
        """The split tokenized, once."""
        if id(split) not in self._encoded:
            ids = encode(self.pristine.tokenizer, split.texts, self.source.max_length)
            self._encoded[id(split)] = Encoded(ids, split.labels)
        return self._encoded[id(split)]

    def detection_round(
        self, number: int, settings: Round, learning_rate: float, hidden: IntArray
    ) -> TokenDistances:
        """The drift of every token over one epoch; keyed by what was hidden, not why."""
        training = replace(
            self.source.training,
            epochs=1,
            learning_rate=learning_rate,
            batch_size=settings.batch_size,
        )
        parts = self._parts(self.data.train, training) | {
            "number": number,
            "round": asdict(settings),
            "hidden": hidden.tolist(),
        }

        def work(folder: Path) -> None:
            values = self._drift(number, settings, training, hidden)
            np.savez(folder / "distances.npz", values=values)

        title = f"round {number}"
        if len(hidden):
            title += f" without {len(hidden)} tokens"
        folder = self._stage("detection", title, parts, work)
        with np.load(folder / "distances.npz", allow_pickle=False) as stored:
            values = stored["values"]
        return TokenDistances(number, values, self.pristine.protected_ids())

    def _drift(
        self, number: int, settings: Round, training: Training, hidden: IntArray
    ) -> np.ndarray[Any, np.dtype[np.float32]]:
        from btu.defenses.detection import embedding_distances

        classifier = self._fresh()
        seed = stream_seed(self.seed, "detection", str(number))
        over_padding = settings.kind == "pooled" and settings.pooling == "all_positions"
        if settings.kind == "pooled":
            with torch_stream(stream_seed(seed, "head")):
                model: torch.nn.Module = PooledProbe(
                    classifier,
                    self.data.clean.num_labels,
                    over_padding,
                    train_all=settings.trainable == "embedding_module",
                )
        else:
            model = classifier.model
            freeze_all_but(model, classifier.embeddings)
        max_length = min(settings.max_length, self.source.max_length)
        data = self.encoded(self.data.train).cut(max_length).without_tokens(hidden)
        padder = self._padder(max_length if over_padding else None)
        fit(model, data, training, padder, self.compute, seed, f"detection round {number}")
        return embedding_distances(
            self.pretrained_embeddings(), classifier.embeddings.weight.detach().cpu()
        )

    def victim(self, train: Split) -> Classifier:
        """A classifier fine-tuned on this training set, to edit at will."""
        training = self.source.training
        name = "victim" if train is self.data.train else "clean model"

        def work(folder: Path) -> None:
            classifier = self._fresh()
            seed = stream_seed(self.seed, "victim")
            data = self.encoded(train)
            fit(classifier.model, data, training, self._padder(), self.compute, seed, name)
            state = {k: v.cpu().contiguous() for k, v in classifier.model.state_dict().items()}
            save_file(state, folder / "model.safetensors")

        folder = self._stage("victim", name, self._parts(train, training), work)
        classifier = self._fresh()
        classifier.model.load_state_dict(load_file(folder / "model.safetensors"))
        return classifier

    def tune(self, classifier: Classifier, settings: TuningSettings) -> None:
        """Clean tuning, in place: a fresh optimizer over all parameters; nothing for no rows."""
        tuning = self.data.clean.tuning
        if tuning is None:
            raise ValueError("there is no clean tuning set; the pipeline leaves such arms out")
        data = self.encoded(tuning)
        num_rows = settings.num_rows(len(self.data.train), len(data))
        if not num_rows:
            return
        if num_rows < len(data):
            order = stream(self.seed, "tuning rows").permutation(len(data))
            rows = np.sort(order[:num_rows])  # those of a smaller share are among them
            data = Encoded([data.ids[row] for row in rows], data.labels[rows])
        training = settings.as_training(self.source.training)
        seed = stream_seed(self.seed, "tuning")
        classifier.model.requires_grad_(True)
        padder = self._padder()
        fit(classifier.model, data, training, padder, self.compute, seed, "clean tuning")

    def predict(self, classifier: Classifier) -> Predictions:
        """Predicted labels on the clean and the triggered test set, in one pass."""
        clean = self.encoded(self.data.clean.test).ids
        triggered = self.encoded(self.data.triggered).ids if self.data.triggered else []
        both = predict(classifier.model, [*clean, *triggered], self._padder(), self.compute)
        return Predictions(clean=both[: len(clean)], triggered=both[len(clean) :])

    def _fresh(self) -> Classifier:
        return Classifier(copy.deepcopy(self.pristine.model), self.pristine.tokenizer)

    def _padder(self, pad_to: int | None = None) -> Padder:
        return Padder(self.pristine.tokenizer.pad_token_id, pad_to)

    def _parts(self, train: Split, training: Training) -> dict[str, Any]:
        """What any training on this split depends on."""
        return {
            "version": VERSION,
            "data": fingerprint(train),
            "model": self.identity,
            "num_labels": self.data.clean.num_labels,
            "max_length": self.source.max_length,
            "training": asdict(training) | {"precision": self.compute.precision},
            "seed": self.seed,
            "device": self.compute.device.split(":")[0],
        }

    def _stage(
        self, stage: str, title: str, parts: dict[str, Any], work: Callable[[Path], None]
    ) -> Path:
        start = time.perf_counter()
        num_made = len(self.cache.made)
        folder, key = self.cache.folder(stage, parts, work)
        self._in_use[title] = key
        if key not in self._seen:
            made = len(self.cache.made) > num_made
            how = f"{time.perf_counter() - start:.1f} s" if made else "from the cache"
            log.info("%-26s %s  key %s", title, how, key)
            self._seen.add(key)
        return folder

    @contextmanager
    def stages_in_use(self) -> Iterator[dict[str, str]]:
        """Collect the stages that are used inside the block: title -> key of the cache entry."""
        outer, self._in_use = self._in_use, {}
        try:
            yield self._in_use
        finally:
            self._in_use = outer


def fingerprint(split: Split | None) -> str:
    """What names the texts and labels of a split; equal exactly when they are equal."""
    if split is None:
        return "none"
    digest = hashlib.sha256()
    for text, label in zip(split.texts, split.labels, strict=True):
        digest.update(f"{label}\t{len(text)}\t{text}\n".encode())
    return make_key({"rows": digest.hexdigest()})
