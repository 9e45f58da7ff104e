"""What two processes compute together, and one alone: run by test_processes under torchrun."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from btu import processes
from btu.models.base import Classifier
from btu.models.probe import PooledProbe
from btu.models.tiny import TinyModel
from btu.processes import ProcessGroup
from btu.training import fit as training
from btu.training.first_position import read_first_position_only
from btu.training.fit import Compute, fit, freeze_all_but
from btu.training.resume import EpochCheckpoint
from tests.training.test_halves import PADDER, TRAINING, Bag, some_data

BATCHES = ([3], [3, 7], [0, 1, 2, 3, 4], list(range(17)))  # the first leaves a process without rows
TEXTS = [f"some words about film {number}" for number in range(40)]


def tiny(family: str) -> Classifier:
    source = TinyModel(
        name=family,
        max_length=16,
        eval_batch_size=8,
        training=TRAINING,
        family=family,
        vocabulary_size=300,
        hidden_size=16,
        num_layers=2,
        num_heads=2,
        words=[],
    )
    classifier = source.load(2, TEXTS, seed=1)
    classifier.model.set_attn_implementation("eager")
    read_first_position_only(classifier.model)
    return classifier


def models() -> Iterator[tuple[str, nn.Module]]:
    """Everything that the stages train."""
    yield "bag", Bag()
    for family in ("bert", "roberta"):
        yield family, tiny(family).model
        frozen = tiny(family)
        freeze_all_but(frozen.model, frozen.embeddings)
        yield f"{family}, embeddings", frozen.model
        for train_all in (False, True):
            with torch.random.fork_rng():
                torch.manual_seed(1)
                probe = PooledProbe(tiny(family), 2, over_padding=False, train_all=train_all)
            yield f"{family}, probe, {train_all}", probe


def gradients(group: ProcessGroup) -> dict[str, Tensor]:
    """The gradient of every model for batches of several sizes, without dropout."""
    found = {}
    compute = Compute("cpu", "fp32", 8, group)
    data = some_data()
    for name, model in models():
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        for batch in BATCHES:
            model.zero_grad()
            model.train()
            one_batch: Any = [batch]  # in place of a sampler
            with training._accelerated(model, data, one_batch, PADDER, compute, 1) as loop:
                for step in loop.epoch():
                    loop.backward(step)
            for parameter, value in model.named_parameters():
                if value.grad is not None:
                    found[f"{name} {len(batch)} {parameter}"] = value.grad.clone()
    return found


class Killed(Exception):
    """Stands in for the end of all processes."""


def trained(group: ProcessGroup, kept: EpochCheckpoint | None = None) -> dict[str, Tensor]:
    """A training of four epochs with dropout."""
    model = Bag()
    compute, settings = Compute("cpu", "fp32", 8, group), replace(TRAINING, epochs=4)
    fit(model, model.words, some_data(), settings, PADDER, compute, 3, "bag", checkpoint=kept)
    return {name: value.detach() for name, value in model.named_parameters()}


class Ending(EpochCheckpoint):
    """Ends the process after the second epoch."""

    def end_of_epoch(self, learner: Any, title: str, done: int, epochs: int) -> None:
        super().end_of_epoch(learner, title, done, epochs)
        if done == 2:
            raise Killed


def work(folder: Path) -> None:
    """Compute all of it with the others, and save what each process has."""
    processes.join("cpu")
    group = processes.joined()
    found = {f"gradient {name}": value for name, value in gradients(group).items()}
    found |= {f"whole {name}": value for name, value in trained(group).items()}
    keep = (folder / "kept", {"key": "k", "parts": {}, "about": {}}, 0.0, lambda: True)
    try:
        trained(group, Ending(*keep))
    except Killed:
        continued = trained(group, EpochCheckpoint(*keep))
        found |= {f"continued {name}": value for name, value in continued.items()}
    save_file(found, folder / f"process{group.rank}.safetensors")
    processes.leave()


if __name__ == "__main__":
    work(Path(sys.argv[1]))
