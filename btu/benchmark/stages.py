"""Each stage of a run, timed alone on one data set."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from btu.benchmark.machine import PeakMemory, wait_for
from btu.defenses.btu import BackdoorTokenUnlearning
from btu.defenses.settings import Round
from btu.errors import ConfigError
from btu.models.probe import PooledProbe
from btu.pipeline import Experiment
from btu.training.fit import Encoded, Padder, fit, freeze_all_but
from btu.types import IntArray, Suspects, TokenDistances

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
    """

    def __init__(self, experiment: Experiment, say: Callable[[str], None]) -> None:
        self.experiment, self.bench, self.say = experiment, experiment.bench, say
        self.device = self.bench.compute.device
        self.memory = PeakMemory(self.device)
        self.timings: list[Timing] = []

    def run(self) -> list[Timing]:
        """Time everything that one threshold needs, and a step of 64 x 32 tokens.

        Raises:
            ConfigError: the defense is not BTU, or there is no tuning set.
        """
        job, bench = self.experiment.job, self.bench
        defense, tuning = job.defense, bench.data.clean.tuning
        if not isinstance(defense, BackdoorTokenUnlearning) or tuning is None:
            raise ConfigError(
                "the benchmark times the stages of BTU: it needs defense=btu and tuning rows."
            )
        with self._timed("load model"):
            pristine = bench.pristine
        with self._timed("tokenize") as timing:
            train = bench.encoded(bench.data.train)
            _count(timing, train.ids)
        full = _flops_per_token(pristine.model, train, self._pad_token_id)
        forward = _flops_per_token(pristine.model, train, self._pad_token_id, backward=False)
        suspects = self._detection(train)
        with self._timed("victim") as timing:
            classifier = bench.victim(bench.data.train)
            epochs = bench.source.training.epochs
            _count(timing, train.ids, full, epochs)
        with self._timed("restore victim"):
            classifier = bench.victim(bench.data.train)
        with self._timed("evaluation") as timing:
            bench.predict(classifier)
            tests = [bench.data.clean.test, bench.data.triggered]
            _count(timing, [i for part in tests if part for i in bench.encoded(part).ids], forward)
        with self._timed("unlearning"):
            defense.repair(classifier, bench, suspects)
        with self._timed("clean tuning") as timing:
            bench.tune(classifier, defense.clean_tuning)
            ids, epochs = bench.encoded(tuning).ids, defense.clean_tuning.epochs
            _count(timing, ids, full, epochs)
        self._step(full)
        return self.timings

    @property
    def _pad_token_id(self) -> int:
        return int(self.bench.pristine.tokenizer.pad_token_id)

    def _detection(self, train: Encoded) -> Suspects:
        """The suspects at the first threshold; each round that they need is timed."""
        compute = self.bench.detection_round

        def timed(number: int, settings: Round, rate: float, hidden: IntArray) -> TokenDistances:
            with self._timed(f"round {number} ({settings.kind})") as timing:
                drift = compute(number, settings, rate, hidden)
            fresh = self.bench.fresh()
            model: nn.Module = fresh.model
            if settings.kind == "pooled":
                model = PooledProbe(fresh, self.bench.data.clean.num_labels, False, False)
            else:
                freeze_all_but(model, fresh.embeddings)
            each = _flops_per_token(model, train, self._pad_token_id)
            _count(timing, train.without_tokens(hidden).ids, each)
            return drift

        setattr(self.bench, "detection_round", timed)  # noqa: B010  mypy: a method is replaced
        suspects = self.experiment.detect("unlearned", self.experiment.job.thresholds[0])
        if suspects is None:
            raise ValueError("BTU always gives suspects")
        return suspects

    def _step(self, flops_per_token: float) -> None:
        rng = np.random.default_rng(1)
        size = self.bench.vocabulary_size
        rows = [rng.integers(size // 2, size, STEP_TOKENS) for _ in range(STEP_ROWS * STEPS)]
        data = Encoded(rows, np.arange(len(rows)) % self.bench.data.clean.num_labels)
        training = replace(self.bench.source.training, epochs=1, batch_size=STEP_ROWS)
        for attempt in ("warm-up", f"{STEPS} steps of {STEP_ROWS} x {STEP_TOKENS}"):
            classifier = self.bench.fresh()
            with self._timed(attempt) as timing:
                fit(
                    classifier.model,
                    classifier.embeddings,
                    data,
                    training,
                    Padder(self._pad_token_id),
                    self.bench.compute,
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
