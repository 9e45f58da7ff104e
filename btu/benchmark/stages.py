"""Each stage of a run, timed alone on one data set."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from btu.benchmark.machine import PeakMemory, wait_for
from btu.defenses.base import Decision
from btu.defenses.btu import BackdoorTokenUnlearning
from btu.errors import ConfigError
from btu.experiment import Experiment
from btu.models.base import Classifier
from btu.models.probe import PooledProbe
from btu.store.stages import Stage
from btu.training.fit import Encoded, Padder, fit, freeze_all_but
from btu.types import IntArray

STEP_ROWS, STEP_TOKENS, STEPS = 64, 32, 20  # the batch whose throughput is the headline


@dataclass
class Timing:
    """One stage."""

    name: str
    rows: int = 0
    tokens: int = 0  # without padding
    flops: float = 0.0  # of matrix products, without padding
    seconds: float = 0.0
    peak_mb: int = 0


class StageTimer:
    """Runs the stages of a job one after the other and times each.

    Args:
        experiment: with an empty cache.
        say: is told of each stage when it begins.

    Raises:
        ConfigError: the defense is not BTU, or there is no tuning set.
    """

    def __init__(self, experiment: Experiment, say: Callable[[str], None]) -> None:
        self.experiment, self.lab, self.say = experiment, experiment.lab, say
        trusted = self.lab.trusted
        if not isinstance(experiment.job.swept, BackdoorTokenUnlearning) or trusted is None:
            raise ConfigError(
                "the benchmark times the stages of BTU: it needs defense=btu and tuning rows."
            )
        self.trusted = trusted
        self.device = self.lab.compute.device
        self.memory = PeakMemory(self.device)
        self.timings: list[Timing] = []

    def run(self) -> list[Timing]:
        """Time everything that one threshold needs, and a step of 64 x 32 tokens."""
        job, lab = self.experiment.job, self.lab
        rows, trusted = lab.rows, self.trusted
        with self._timed("load model"):
            pristine = lab.pristine
        with self._timed("tokenize") as timing:
            train = lab.encoded(rows)
            _count(timing, train.ids)
        full = _flops_per_token(pristine.model, train, self._pad_token_id)
        forward = _flops_per_token(pristine.model, train, self._pad_token_id, backward=False)
        decision = self._decision(train)
        training = job.model.training
        victim = lab.train(rows, training)
        with self._timed("victim") as timing:
            lab.get(victim)
            _count(timing, train.ids, full, training.epochs)
        with self._timed("restore victim"):
            classifier = lab.get(victim)
        loaded: Stage[Classifier] = Stage("model", {}, lambda: classifier, None)
        with self._timed("evaluation") as timing:
            lab.predict(loaded, (), "evaluation")
            tests = [lab.data.clean.test, lab.data.triggered]
            _count(timing, [i for part in tests if part for i in lab.encoded(part).ids], forward)
        with self._timed("unlearning"):
            for edit in decision.edits:
                edit.apply(lab, classifier)
        with self._timed("clean tuning") as timing:
            tuning = job.tuning.as_training(training)
            lab.get(lab.train(trusted, tuning, start=loaded, title="clean tuning", draws="tuning"))
            _count(timing, lab.encoded(trusted).ids, full, tuning.epochs)
        self._step(full)
        return self.timings

    @property
    def _pad_token_id(self) -> int:
        return int(self.lab.pristine.tokenizer.pad_token_id)

    def _decision(self, train: Encoded) -> Decision:
        """The decision at the first threshold; each round that it needs is timed."""
        get = self.lab.get

        def timed(stage: Stage[Any], or_else: Any = None) -> Any:
            settings = stage.parts["round"]
            with self._timed(f"round {stage.parts['number']} ({settings['kind']})") as timing:
                moved = get(stage)
            fresh = self.lab.fresh()
            model: nn.Module = fresh.model
            if settings["kind"] == "pooled":
                model = PooledProbe(fresh, self.lab.num_labels, False, False)
            else:
                freeze_all_but(model, fresh.embeddings)
            each = _flops_per_token(model, train, self._pad_token_id)
            _count(timing, train.without_tokens(stage.parts["hidden"]).ids, each)
            return moved

        setattr(self.lab, "get", timed)  # noqa: B010  mypy: a method is replaced
        try:
            return self.experiment.decide(self.experiment.job.thresholds[0])
        finally:
            del self.lab.__dict__["get"]

    def _step(self, flops_per_token: float) -> None:
        rng = np.random.default_rng(1)
        size = self.lab.vocabulary_size
        rows = [rng.integers(size // 2, size, STEP_TOKENS) for _ in range(STEP_ROWS * STEPS)]
        data = Encoded(rows, np.arange(len(rows)) % self.lab.num_labels)
        training = replace(self.lab.source.training, epochs=1, batch_size=STEP_ROWS)
        for attempt in ("warm-up", f"{STEPS} steps of {STEP_ROWS} x {STEP_TOKENS}"):
            classifier = self.lab.fresh()
            with self._timed(attempt) as timing:
                fit(
                    classifier.model,
                    classifier.embeddings,
                    data,
                    training,
                    Padder(self._pad_token_id),
                    self.lab.compute,
                    seed=1,
                    title=attempt,
                )
                _count(timing, rows, flops_per_token)
        self.timings.pop(-2)

    @contextmanager
    def _timed(self, name: str) -> Iterator[Timing]:
        timing = Timing(name)
        self.say(name)
        self.memory.start()
        wait_for(self.device)
        start = time.perf_counter()
        yield timing
        wait_for(self.device)
        timing.seconds = time.perf_counter() - start
        timing.peak_mb = self.memory.megabytes()
        self.timings.append(timing)


def _count(
    timing: Timing, ids: Sequence[IntArray], flops_per_token: float = 0.0, epochs: int = 1
) -> None:
    timing.rows = epochs * len(ids)
    timing.tokens = epochs * sum(map(len, ids))
    timing.flops = timing.tokens * flops_per_token


def _flops_per_token(
    model: nn.Module, data: Encoded, pad_token_id: int, backward: bool = True
) -> float:
    """Operations of the matrix products for one token of a text of middling length."""
    row = sorted(data.ids, key=len)[len(data) // 2]
    batch = Padder(pad_token_id)([(row, 0)] * 2)
    with FlopCounterMode(display=False) as counter:
        loss = model(**batch)["loss"]
        if backward:
            loss.backward()
    model.zero_grad()
    return float(counter.get_total_flops()) / (2 * len(row))
