"""Models and what they say of texts, as stages: making one computes nothing, `get` does, once."""

from __future__ import annotations

import copy
import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from btu.errors import ConfigError
from btu.models.base import Classifier, ModelSource, Training, Tuning
from btu.models.tokens import (
    count_cut,
    count_same,
    encode,
    name_unknown,
    trigger_token_ids,
    unknown_words,
)
from btu.seeding import stream, stream_seed
from btu.store.cache import StageCache
from btu.store.code import code_of
from btu.store.files import disk_errors
from btu.store.stages import Cost, Format, Stage, settings_of
from btu.training.contract import make_ready
from btu.training.devices import Compute
from btu.training.fit import Encoded, Padder, fit, predict
from btu.training.outputs import (
    EVALUATION_FORMAT,
    NOTHING_SCREENED,
    OUTPUTS_FORMAT,
    Evaluation,
    Outputs,
    Passed,
    Said,
)
from btu.training.resume import EpochCheckpoint
from btu.training.runner import StageRunner
from btu.types import (
    CutTexts,
    Edit,
    IntArray,
    PoisonedDataset,
    Predictions,
    Screen,
    Split,
    TriggerSample,
)

TRAINING, EVALUATION, OUTPUTS = 7, 7, 2  # versions: raise one when what its stages compute changes
WEIGHTS = "model.safetensors"
TRAINING_PASSES = 3  # forward, and gradients of activations and of weights
MOST_TOKENS = 16  # of a word
T = TypeVar("T")


class Lab(StageRunner):
    """One data set, one model and one seed.

    A defense sees `rows`, the untrusted training rows, and `trusted`, the clean tuning set, and
    asks models for what it needs: `train`, `edit` and `outputs` make stages, `stage` one of its
    own, and `get` gives what a stage gives.

    Args:
        source: where fresh classifiers come from.
        data: the poisoned data set.
        compute: device and arithmetic.
        cache: finished stages.
        seed: of the run.
        about: names for the manifests of cache entries, such as the attack's.
        save_every_s: how often a training of several epochs keeps one, in seconds; None: never.
        tuning: how many of the trusted rows there are; by default all.
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
        tuning: Tuning | None = None,
    ) -> None:
        super().__init__(cache, save_every_s)
        self.source, self.data, self.compute = source, data, compute
        self.seed, self.about = seed, about
        unmarked = np.zeros(len(data.train), dtype=np.bool_)  # which rows are poisoned is hidden
        self.rows, self.tuning = replace(data.train, poisoned=unmarked), tuning or Tuning()
        self.num_labels = data.clean.num_labels
        self._encoded: WeakKeyDictionary[Split, Encoded] = WeakKeyDictionary()
        self._resident: tuple[str, dict[str, torch.Tensor]] | None = None  # the last victim
        self._reports: dict[str, NDArray[Any]] = {}  # of the model that was edited last

    @property
    def label_names(self) -> tuple[str, ...]:
        """The names of the labels, in order."""
        return self.data.clean.label_names

    @property
    def training(self) -> Training:
        """How the victim is trained."""
        return self.source.training

    @cached_property
    def trusted(self) -> Split | None:
        """The trusted rows that may be used; those of a smaller share are among them.

        Raises:
            ConfigError: there are fewer than the share that is asked for.
        """
        found = self.data.clean.tuning
        if found is None:
            return None
        number = self.tuning.num_rows(len(self.rows), len(found))
        if number == len(found):
            return found
        order = stream(self.seed, "tuning rows").permutation(len(found))
        return found.take(np.sort(order[:number]))

    # The model as loaded

    @cached_property
    def pristine(self) -> Classifier:
        """The classifier as loaded, made ready for the device; copied, never trained."""
        classifier = self.source.load(self.num_labels, self.data.clean.train.texts, self.seed)
        if self.compute.device == "cpu":  # in bf16 faster than sdpa, and its dropout is ours
            classifier.model.set_attn_implementation("eager")
        texts, max_length = self.data.clean.train.texts, self.source.max_length
        make_ready(classifier, texts, max_length, self.source.name)
        return classifier

    def fresh(self) -> Classifier:
        """A copy of the classifier as loaded, to train."""
        return Classifier(copy.deepcopy(self.pristine.model), self.pristine.tokenizer)

    @cached_property
    def identity(self) -> str:
        """What names the checkpoint."""
        return self.source.identity(self.data.clean.train.texts)

    @property
    def vocabulary_size(self) -> int:
        """V, the rows of the embedding table."""
        return self.pristine.embeddings.num_embeddings

    @property
    def num_weights(self) -> int:
        """How many numbers a copy of the model holds."""
        return sum(weights.numel() for weights in self.pristine.model.parameters())

    @property
    def protected_ids(self) -> frozenset[int]:
        """Special tokens, which are never flagged."""
        return self.pristine.protected_ids()

    @cached_property
    def ignores_case(self) -> bool:
        """Whether capital and small letters are one to the tokenizer."""
        small, capital = encode(self.pristine.tokenizer, ["word", "WORD"], MOST_TOKENS)
        return np.array_equal(small, capital)

    def pretrained_embeddings(self) -> torch.Tensor:
        """E0, (V, D)."""
        return self.pristine.embeddings.weight.detach()

    def name_tokens(self, ids: list[int]) -> list[str]:
        """The tokens of these ids as the tokenizer writes them, the unknown one with its words."""
        unknown = self.pristine.tokenizer.unk_token_id
        tokens: list[str] = self.pristine.tokenizer.convert_ids_to_tokens(ids)
        return [
            name_unknown(token, self._unknown_words) if number == unknown else token
            for number, token in zip(ids, tokens, strict=True)
        ]

    @cached_property
    def _unknown_words(self) -> Counter[str]:
        """What the unknown token stands for in the training rows."""
        tokenizer, ids = self.pristine.tokenizer, self.encoded(self.rows).ids
        texts = zip(self.rows.texts, ids, strict=True)
        holding = [text for text, row in texts if tokenizer.unk_token_id in row]
        return unknown_words(tokenizer, holding)

    def find_trigger_ids(self, samples: Sequence[TriggerSample]) -> frozenset[int]:
        """The token ids of the attack's triggers, in place."""
        return trigger_token_ids(self.pristine.tokenizer, samples)

    def encoded(self, split: Split) -> Encoded:
        """The split tokenized, once for as long as it lives."""
        if split not in self._encoded:
            ids = encode(self.pristine.tokenizer, split.texts, self.source.max_length)
            self._encoded[split] = Encoded(ids, split.labels)
        return self._encoded[split]

    @cached_property
    def cut(self) -> CutTexts:
        """What the model does not read of long texts, triggers above all."""
        data, longest, tokenizer = self.data, self.source.max_length, self.pristine.tokenizer
        ids = self.encoded(data.train).ids
        planted = np.flatnonzero(data.train.poisoned).tolist()
        originals = [data.clean.train.texts[row] for row in planted]
        tested: Sequence[IntArray] = self.encoded(data.triggered).ids if data.triggered else ()
        untouched = [data.clean.test.texts[row] for row in data.triggered_rows]
        return CutTexts(
            max_length=longest,
            num_train=len(ids),
            train=count_cut(tokenizer, data.train.texts, ids, longest),
            num_poisoned=len(planted),
            poisoned=count_same(tokenizer, originals, [ids[row] for row in planted], longest),
            num_triggered=len(tested),
            triggered=count_same(tokenizer, untouched, tested, longest),
        )

    # Stages

    def get(self, stage: Stage[T], or_else: Callable[[], T] | None = None) -> T:
        """What a stage gives; the weights that were asked for last stay in memory."""
        if self._resident is not None and self._resident[0] == getattr(stage, "key", None):
            self._used[stage.title] = stage
            return self._restore(self._resident[1])  # type: ignore[return-value]
        return super().get(stage, or_else)

    def stage(
        self,
        name: str,
        compute: Callable[[], T],
        format: Format[T] | None,
        cost: Cost | None = None,
        *,
        by: Any,
        **parts: Any,
    ) -> Stage[T]:
        """A method's own expensive pass.

        Args:
            name: its folder in the cache; `scores of onion`, say.
            compute: gives the result.
            format: how it is written, such as `btu.store.stages.ONE_ARRAY`.
            cost: for plans.
            by: the method, `self` there. It counts with its code and with its settings but for
                `threshold`, since a pass that every threshold shares cannot depend on one.
            parts: what it depends on besides the training rows, the trusted rows, the checkpoint
                and the seed: splits, stages, arrays, settings.
        """
        named = {key: self._named(value) for key, value in parts.items()}
        owner = self._named(by)
        owner["settings"].pop("threshold", None)
        seen = {"rows": self.rows.fingerprint, "seed": self.seed, **self.arithmetic}
        seen["trusted"] = self.trusted.fingerprint if self.trusted else "none"
        named |= {"by": owner, "lab": seen}
        return Stage(name, named, compute, format, title=name, cost=cost)

    def _named(self, part: Any) -> Any:
        """A split by its fingerprint, a component by its settings and its code."""
        if isinstance(part, Split):
            return part.fingerprint
        if hasattr(part, "__dataclass_fields__") and not isinstance(part, Stage):
            return {"settings": settings_of(part), "code": code_of(type(part))}
        return part

    def describe_work(self) -> dict[str, Any]:
        """Names, machine and checkpoint, for people who look at the cache and for plans."""
        names = ("device", "precision")
        arithmetic = {name: self.arithmetic[name] for name in names}
        return {**self.about, **arithmetic, "model_identity": self.identity}

    # Training and editing

    def train(
        self,
        rows: Split,
        training: Training,
        *,
        start: Stage[Classifier] | None = None,
        title: str = "victim",
        draws: str = "victim",
        kept: bool = False,
    ) -> Stage[Classifier]:
        """A classifier fine-tuned on these rows, all of its parameters; to edit at will.

        One that starts from the checkpoint is kept in the cache, one that starts from another
        model is made again where it is asked for, unless it is to be kept.

        Args:
            rows: what it is trained on; for no rows the start is given back.
            training: epochs, batch size, learning rate.
            start: the model to go on with; None: the checkpoint with a fresh head.
            title: for logs.
            draws: names the random draws of batches and dropout.
            kept: in the cache though it starts from another model; never right after an edit,
                which tells what it did only when it is made.
        """
        if start is not None and not len(rows):
            return start
        parts = self.training_parts(rows, training) | {"start": start, "draws": draws}
        epochs = training.epochs * len(rows)
        kind = "victim" if start is None else "tuning"
        shown = title if start is None else kind
        cost = Cost(shown, epochs, rows, TRAINING_PASSES, training.batch_size)

        def learn() -> Classifier:
            if start is None:
                self._resident = None  # two would be there while this one trains
            classifier = self.fresh() if start is None else self.get(start)
            classifier.model.requires_grad_(True)
            data, seed = self.encoded(rows), stream_seed(self.seed, draws)
            with training.adapting(classifier.model) as model:
                self.fit(
                    model, classifier, data, training, seed, title, checkpoint=self._checkpoint
                )
            return classifier

        stage: Stage[Classifier] = Stage(kind, parts, learn, None, TRAINING, title, cost)
        kept = start is None or (kept and start.name != "edit")
        return replace(stage, format=self._weights_format(stage)) if kept else stage

    def _weights_format(self, stage: Stage[Classifier]) -> Format[Classifier]:
        def write(classifier: Classifier, folder: Path) -> None:
            state = classifier.model.state_dict()
            whole = torch.contiguous_format  # each a tensor of its own: parts of BART share one
            tensors = {name: w.cpu().clone(memory_format=whole) for name, w in state.items()}
            with disk_errors():
                save_file(tensors, folder / WEIGHTS)

        def read(folder: Path) -> Classifier:
            self._resident = stage.key, load_file(folder / WEIGHTS)
            return self._restore(self._resident[1])

        return Format(write, read)

    def _restore(self, state: Mapping[str, torch.Tensor]) -> Classifier:
        classifier = self.fresh()
        classifier.model.load_state_dict(state)
        return classifier

    def fit(
        self,
        model: torch.nn.Module,
        classifier: Classifier,
        data: Encoded,
        training: Training,
        seed: int,
        title: str,
        pad_to: int | None = None,
        checkpoint: EpochCheckpoint | None = None,
    ) -> None:
        """Train what requires a gradient, in place.

        Args:
            model: the classifier's, or another head on its embeddings.
            classifier: whose word embeddings the model reads.
            data: what it is trained on.
            training: epochs, batch size, learning rate.
            seed: of the batch order and of dropout.
            title: for the progress bar.
            pad_to: tokens of every row; None: as many as the longest of its batch has.
            checkpoint: where a training of several epochs keeps one.
        """
        table, padder = classifier.embeddings, self._padder(pad_to)
        fit(model, table, data, training, padder, self.compute, seed, title, checkpoint=checkpoint)

    def training_parts(self, rows: Split, training: Training) -> dict[str, Any]:
        """What any training on these rows depends on."""
        return {
            **self.arithmetic,
            "data": rows.fingerprint,
            "num_labels": self.num_labels,
            "training": asdict(training) | {"precision": self.compute.precision},
            "seed": self.seed,
        }

    @cached_property
    def arithmetic(self) -> dict[str, Any]:
        """The model and the machine, as far as they decide a number."""
        return {
            "model": self.identity,
            "code": code_of(type(self.source)),
            "max_length": self.source.max_length,
            "precision": self.compute.precision,
            "device": self.compute.device.split(":")[0],
            **self.compute.several(),
        }

    def edit(self, model: Stage[Classifier], edit: Edit) -> Stage[Classifier]:
        """A model after a change; made again where it is asked for."""

        def apply() -> Classifier:
            classifier = self.get(model)
            found = edit.apply(self, classifier) or {}
            self._reports |= {f"{edit.name}.{name}": values for name, values in found.items()}
            return classifier

        parts = {"start": model, "edit": edit.name, "settings": edit.parts, "code": edit.code}
        return Stage("edit", parts, apply, None, TRAINING, edit.name, edit.cost)

    # What a model says

    def evaluate(
        self,
        model: Stage[Classifier],
        clean: Split,
        triggered: Split | None,
        title: str,
        trusted: Split | None = None,
    ) -> Stage[Evaluation]:
        """What a model says of both test sets, in one pass, and of trusted rows in another."""

        def say() -> Evaluation:
            self._reports = {}
            classifier = self.get(model)
            ids = [*self.encoded(clean).ids]
            ids += self.encoded(triggered).ids if triggered else []
            both = self._predict(classifier, ids)
            return Evaluation(
                both.take(slice(len(clean))),
                both.take(slice(len(clean), None)),
                self._reports,
                None if trusted is None else self._predict(classifier, self.encoded(trusted).ids),
            )

        tests = [clean.fingerprint, triggered.fingerprint if triggered else "none"]
        num_rows = len(clean) + (len(triggered) if triggered else 0)
        if trusted is not None:
            tests.append(trusted.fingerprint)
            num_rows += len(trusted)
        size = self.source.eval_batch_size  # may move a last digit in bf16
        return Stage(
            "evaluation",
            {"model": model, "tests": tests, "eval_batch_size": size},
            say,
            EVALUATION_FORMAT,
            EVALUATION,
            title,
            Cost("evaluation", num_rows, clean, 1, size),
        )

    def outputs(
        self, model: Stage[Classifier], texts: Sequence[str], kept: bool = True
    ) -> Stage[Outputs]:
        """Probabilities (N, C), and the states that the head reads (N, D), of these texts.

        Args:
            model: that is asked.
            texts: N of them.
            kept: in the cache; not where a stage of your own makes less of them, and keeps that.
        """
        digest = hashlib.sha256("\n".join(f"{len(t)}\t{t}" for t in texts).encode()).hexdigest()

        def say() -> Outputs:
            return self.ask(self.get(model), texts, states=True)

        size = self.source.eval_batch_size
        parts = {"model": model, "texts": digest, "eval_batch_size": size}
        cost = Cost("outputs", len(texts), self.rows, 1, size)
        form = OUTPUTS_FORMAT if kept else None
        return Stage("outputs", parts, say, form, OUTPUTS, "outputs", cost)

    def ask(self, classifier: Classifier, texts: Sequence[str], states: bool = False) -> Outputs:
        """What a classifier says of texts right now; its states only where they are asked for."""
        ids = encode(classifier.tokenizer, texts, self.source.max_length)
        return self._predict(classifier, ids, states)

    def predict(
        self,
        model: Stage[Classifier],
        screens: Sequence[Screen],
        title: str,
        trusted: Split | None = None,
    ) -> Said:
        """What a model behind its screens says of the test sets, and what its edits reported.

        Args:
            model: of an arm.
            screens: that its inputs pass, in order.
            title: for logs.
            trusted: rows that it says something of, too.
        """
        clean, of_clean = self._screened(model, screens, self.data.clean.test)
        triggered, of_triggered = self.data.triggered, NOTHING_SCREENED
        if triggered is not None:
            triggered, of_triggered = self._screened(model, screens, triggered)
        asked, of_trusted = trusted, NOTHING_SCREENED
        if trusted is not None:
            asked, of_trusted = self._screened(model, screens, trusted)
        found = self.get(self.evaluate(model, clean, triggered, title, asked))
        return Said(
            Predictions(of_clean.join(found.clean), of_triggered.join(found.triggered)),
            found.reports,
            None if found.trusted is None else of_trusted.join(found.trusted),
        )

    def _screened(
        self, model: Stage[Classifier], screens: Sequence[Screen], split: Split
    ) -> tuple[Split, Passed]:
        rejected, scores = np.zeros(len(split), dtype=np.bool_), None
        for screen in screens:
            found = screen.apply(self, model, split.texts)
            if len(found.texts) != len(split) or len(found.rejected) != len(split):
                raise ConfigError(
                    f"screen {screen.name} was given {len(split)} texts and gave "
                    f"{len(found.texts)} back with {len(found.rejected)} rejections. It must give "
                    "one of each per text, in order."
                )
            rejected |= found.rejected
            scores = scores if found.scores is None else found.scores
            if tuple(found.texts) != split.texts:
                split = replace(split, texts=tuple(found.texts))
        return split, Passed(rejected, scores)

    def _predict(
        self, classifier: Classifier, ids: Sequence[IntArray], states: bool = False
    ) -> Outputs:
        """Nothing in a process that follows another: it reads what that one predicts."""
        if self.compute.group.rank:
            ids = []
        return predict(classifier.model, ids, self._padder(), self.compute, self.num_labels, states)

    def _padder(self, pad_to: int | None = None) -> Padder:
        tokenizer = self.pristine.tokenizer
        return Padder(tokenizer.pad_token_id, pad_to, tokenizer.padding_side)
