"""The stages that train or predict, each computed once: detection rounds, victims, tuning."""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from btu.data.stored import fingerprint
from btu.defenses.settings import Round, TuningSettings
from btu.models.base import Classifier, ModelSource, Training, encode, trigger_token_ids
from btu.models.probe import PooledProbe
from btu.seeding import stream, stream_seed, torch_stream
from btu.store.cache import StageCache, make_key
from btu.store.evaluation import Evaluation, read_arrays, read_evaluation
from btu.training.first_position import read_first_position_only
from btu.training.fit import Compute, Encoded, Padder, fit, freeze_all_but, predict
from btu.training.resume import KeptEpochs
from btu.types import (
    EditReport,
    IntArray,
    PoisonedDataset,
    Predictions,
    Split,
    TokenDistances,
    TriggerSample,
)

VERSION = 5  # of every stage: raise it when what a stage computes changes
WEIGHTS, DISTANCES = "model.safetensors", "distances.npz"
T = TypeVar("T")
log = logging.getLogger(__name__)


class Workbench:
    """One data set, one model and one seed, with everything that was computed from them.

    Args:
        source: where fresh classifiers come from.
        data: the poisoned data set.
        compute: device and arithmetic.
        cache: finished stages.
        seed: of the run.
        about: names for the manifests of cache entries, such as the attack's.
        save_every_s: how often a training of several epochs keeps one, in seconds; None: never.
    """

    def __init__(
        self,
        source: ModelSource,
        data: PoisonedDataset,
        compute: Compute,
        cache: StageCache,
        seed: int,
        about: Mapping[str, Any],
        save_every_s: float | None = None,
    ) -> None:
        self.source, self.data, self.compute = source, data, compute
        self.cache, self.seed, self.about = cache, seed, about
        self.save_every_s = save_every_s
        self._kept: KeptEpochs | None = None  # of the stage that is being computed
        self._fingerprints: dict[int, str] = {}
        self._seen: set[str] = set()  # keys that the log has named
        self._in_use: dict[str, str] = {}  # title -> key
        self._encoded: dict[int, Encoded] = {}
        self._resident: tuple[Split, dict[str, torch.Tensor]] | None = None  # the last victim

    @cached_property
    def pristine(self) -> Classifier:
        """The classifier as loaded, made ready for the device; copied, never trained."""
        data = self.data.clean
        classifier = self.source.load(data.num_labels, data.train.texts, self.seed)
        if self.compute.device == "cpu":  # in bf16 faster than sdpa, and its dropout is ours
            classifier.model.set_attn_implementation("eager")
        read_first_position_only(classifier.model)
        return classifier

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

    def trigger_ids(self, samples: Sequence[TriggerSample]) -> frozenset[int]:
        """The token ids of the attack's triggers, in place."""
        return trigger_token_ids(self.pristine.tokenizer, samples)

    def encoded(self, split: Split) -> Encoded:
        """The split tokenized, once."""
        if id(split) not in self._encoded:
            ids = encode(self.pristine.tokenizer, split.texts, self.source.max_length)
            self._encoded[id(split)] = Encoded(ids, split.labels)
        return self._encoded[id(split)]

    def fingerprint(self, split: Split | None) -> str:
        """What names the split, computed once."""
        if id(split) not in self._fingerprints:
            self._fingerprints[id(split)] = fingerprint(split)
        return self._fingerprints[id(split)]

    def detection_round(
        self, number: int, settings: Round, learning_rate: float, hidden: IntArray
    ) -> TokenDistances:
        """The drift of every token over one epoch; keyed by what was hidden, not why."""
        training = self._round_training(settings, learning_rate)
        parts = self.round_parts(number, settings, learning_rate, hidden.tolist())

        def work(folder: Path) -> None:
            values = self._drift(number, settings, training, hidden)
            np.savez(folder / DISTANCES, values=values)

        title = f"round {number}"
        if len(hidden):
            title += f" without {len(hidden)} tokens"
        values = self._stage(
            "detection",
            title,
            parts,
            work,
            lambda folder: read_arrays(folder / DISTANCES)["values"],
        )
        return TokenDistances(number, values, self.pristine.protected_ids())

    def round_parts(
        self, number: int, settings: Round, learning_rate: float, hidden: Sequence[object]
    ) -> dict[str, Any]:
        """What the drift of a detection round depends on."""
        training = self._round_training(settings, learning_rate)
        return self._parts(self.data.train, training) | {
            "number": number,
            "round": asdict(settings),
            "hidden": hidden,
        }

    def _round_training(self, settings: Round, learning_rate: float) -> Training:
        return replace(
            self.source.training,
            epochs=1,
            learning_rate=learning_rate,
            batch_size=settings.batch_size,
        )

    def _drift(
        self, number: int, settings: Round, training: Training, hidden: IntArray
    ) -> np.ndarray[Any, np.dtype[np.float32]]:
        from btu.defenses.detection import embedding_distances

        classifier = self.fresh()
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
        table = classifier.embeddings
        fit(model, table, data, training, padder, self.compute, seed, f"detection round {number}")
        return embedding_distances(self.pretrained_embeddings(), table.weight.detach().cpu())

    def victim(self, train: Split) -> Classifier:
        """A classifier fine-tuned on this training set, to edit at will.

        The weights stay in memory until those of another training set are asked for.
        """
        if self._resident is None or self._resident[0] is not train:
            self._resident = None  # two would be there while the next one trains
            self._resident = train, self._victim_state(train)
        classifier = self.fresh()
        classifier.model.load_state_dict(self._resident[1])
        return classifier

    def _victim_state(self, train: Split) -> dict[str, torch.Tensor]:
        name = self._name(train)

        def work(folder: Path) -> None:
            classifier = self.fresh()
            seed = stream_seed(self.seed, "victim")
            self._fit(classifier, self.encoded(train), self.source.training, seed, name)
            state = {k: v.cpu().contiguous() for k, v in classifier.model.state_dict().items()}
            save_file(state, folder / WEIGHTS)

        parts = self._parts(train, self.source.training)
        return self._stage("victim", name, parts, work, lambda folder: load_file(folder / WEIGHTS))

    def victim_key(self, train: Split) -> str:
        """The key of the classifier fine-tuned on this training set."""
        return make_key({"stage": "victim", **self._parts(train, self.source.training)})

    def evaluate(
        self,
        arm: str,
        train: Split,
        changes: Mapping[str, Any],
        build: Callable[[], tuple[Classifier, EditReport | None]],
    ) -> Evaluation:
        """What a model predicts; models that were made in the same way are evaluated once.

        Args:
            arm: for the manifest; in no key.
            train: what the model was trained on.
            changes: everything that was done to it afterwards, such as the ids unlearned.
            build: gives the model, where it has to be evaluated.
        """
        self._in_use[self._name(train)] = self.victim_key(train)
        parts = self.evaluation_parts(train, changes)

        def work(folder: Path) -> None:
            classifier, edits = build()
            found = self.predict(classifier)
            Evaluation(found, edits).write(folder)

        return self._stage("evaluation", f"scores of {arm}", parts, work, read_evaluation)

    def evaluation_parts(self, train: Split, changes: Mapping[str, Any]) -> dict[str, Any]:
        """What the predictions of a model depend on."""
        tests = (self.data.clean.test, self.data.triggered)
        return {
            "version": VERSION,
            "victim": self.victim_key(train),
            "changes": changes,
            "tests": [self.fingerprint(split) for split in tests],
            "eval_batch_size": self.source.eval_batch_size,  # may move a last digit in bf16
        }

    def tune(self, classifier: Classifier, settings: TuningSettings) -> None:
        """Clean tuning, in place: a fresh optimizer over all parameters; nothing for no rows."""
        tuning = self.data.clean.tuning
        if tuning is None:
            raise ValueError("there is no clean tuning set; the pipeline leaves such arms out")
        data, num_rows = self.encoded(tuning), self.tuning_rows(settings)
        if not num_rows:
            return
        if num_rows < len(data):
            order = stream(self.seed, "tuning rows").permutation(len(data))
            rows = np.sort(order[:num_rows])  # those of a smaller share are among them
            data = Encoded([data.ids[row] for row in rows], data.labels[rows])
        training = settings.as_training(self.source.training)
        seed = stream_seed(self.seed, "tuning")
        classifier.model.requires_grad_(True)
        self._fit(classifier, data, training, seed, "clean tuning")

    def tuning_rows(self, settings: TuningSettings) -> int:
        """How many rows clean tuning uses."""
        tuning = self.data.clean.tuning
        return settings.num_rows(len(self.data.train), len(tuning)) if tuning else 0

    def _fit(
        self, classifier: Classifier, data: Encoded, training: Training, seed: int, title: str
    ) -> None:
        model, table, kept = classifier.model, classifier.embeddings, self._kept
        fit(model, table, data, training, self._padder(), self.compute, seed, title, kept=kept)

    def predict(self, classifier: Classifier) -> Predictions:
        """Predicted labels on the clean and the triggered test set, in one pass.

        None in a process that follows another: it reads what that one predicts.
        """
        if self.compute.group.rank:
            return Predictions(np.empty(0, np.int64), np.empty(0, np.int64))
        clean = self.encoded(self.data.clean.test).ids
        triggered = self.encoded(self.data.triggered).ids if self.data.triggered else []
        both = predict(classifier.model, [*clean, *triggered], self._padder(), self.compute)
        return Predictions(clean=both[: len(clean)], triggered=both[len(clean) :])

    def fresh(self) -> Classifier:
        """A copy of the classifier as loaded, to train."""
        return Classifier(copy.deepcopy(self.pristine.model), self.pristine.tokenizer)

    def _padder(self, pad_to: int | None = None) -> Padder:
        return Padder(self.pristine.tokenizer.pad_token_id, pad_to)

    def _parts(self, train: Split, training: Training) -> dict[str, Any]:
        """What any training on this split depends on."""
        return {
            "version": VERSION,
            "data": self.fingerprint(train),
            "model": self.identity,
            "num_labels": self.data.clean.num_labels,
            "max_length": self.source.max_length,
            "training": asdict(training) | {"precision": self.compute.precision},
            "seed": self.seed,
            "device": self.compute.device.split(":")[0],
            **self.compute.several(),
        }

    def _stage(
        self,
        stage: str,
        title: str,
        parts: dict[str, Any],
        work: Callable[[Path], None],
        read: Callable[[Path], T],
    ) -> T:
        start = time.perf_counter()
        num_made = len(self.cache.made)
        about = {**self.about, "title": title}

        def write(folder: Path) -> None:
            with self._keeping_epochs(stage, parts, about, folder):
                work(folder)

        value, key = self.cache.get(stage, parts, write, read, about)
        self._in_use[title] = key
        if key not in self._seen and stage != "evaluation":  # a record says more
            made = len(self.cache.made) > num_made
            how = f"{time.perf_counter() - start:.1f} s" if made else "from the cache"
            log.info("%-26s %s  key %s", title, how, key)
        self._seen.add(key)
        return value

    @contextmanager
    def _keeping_epochs(
        self, stage: str, parts: dict[str, Any], about: dict[str, Any], claim: Path
    ) -> Iterator[None]:
        """Inside the block a training goes on after the last epoch that was kept of this stage."""
        outer, self._kept = self._kept, None
        if self.save_every_s is not None:
            key = make_key({"stage": stage, **parts})
            manifest = {"key": key, "parts": parts, "about": about}
            folder = self.cache.unfinished(stage, key)
            self._kept = KeptEpochs(folder, manifest, self.save_every_s, claim.exists)
        try:
            yield
        finally:
            self._kept = outer

    def _name(self, train: Split) -> str:
        return "victim" if train is self.data.train else "clean model"

    @contextmanager
    def stages_in_use(self) -> Iterator[dict[str, str]]:
        """Collect the stages that are used inside the block: title -> key of the cache entry."""
        outer, self._in_use = self._in_use, {}
        try:
            yield self._in_use
        finally:
            self._in_use = outer
