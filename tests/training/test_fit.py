"""What training asks of the machine."""

import platform
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from btu.errors import ModelError
from btu.training.fit import Encoded, Padder, fit, predict
from tests.training.test_halves import CPU, PADDER, TRAINING, Bag, some_data

COUNT_FAULTS = """
import resource, sys, torch
from btu.training.memory import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(16_000_000)  # 64 MB: 15,625 pages
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

if sys.argv[1] == "kept":
    keep_freed_memory()
for _ in range(10):
    faults()
print(sum(faults() for _ in range(10)))
"""


COUNT_HELD = """
import torch
from btu.training.memory import give_memory_back, keep_freed_memory

def held():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 1e6  # MB

keep_freed_memory()
pinned = []
for _ in range(8):  # free blocks between small ones that stay, as after a job
    torch.ones(16_000_000)
    block = torch.ones(16_000_000)
    pinned.append(torch.ones(1000))
    del block
before = held()
give_memory_back()
print(before - held())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="malloc_trim is glibc's")
def test_what_a_job_freed_is_given_back_to_the_system():
    command = [sys.executable, "-c", COUNT_HELD]

    given_back = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    assert given_back > 50  # MB; a block is 64


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_a_large_block_that_was_freed_is_used_again():
    def count(mode: str) -> int:
        command = [sys.executable, "-c", COUNT_FAULTS, mode]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    assert count("kept") < count("returned") / 2  # a few blocks are needed before all fit


def test_a_training_that_diverges_says_what_to_lower():
    for batch_size, num_calls in ((8, 10), (1, 32)):  # at the end of an epoch, and within one
        model, calls = Bag(dropout=0.0), []
        model.frozen.data[0] = float("inf")
        model.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        settings = replace(TRAINING, batch_size=batch_size)

        with pytest.raises(
            ModelError, match=r"^round 1: the training diverged.*is 0\.01:"
        ) as error:
            fit(model, model.words, some_data(), settings, PADDER, CPU, 1, "round 1")

        assert "model.training.learning_rate" in str(error.value)
        assert len(calls) == num_calls
        assert len(model.words.weight) == 40


def test_a_frozen_part_that_is_no_number_is_told_when_texts_are_scored():
    class Broken(torch.nn.Module):
        def forward(self, input_ids, attention_mask):
            logits = input_ids[:, :2].float()
            return SimpleNamespace(logits=logits.masked_fill(logits == 3, float("nan")))

    ids = [np.asarray([1, 2]), np.asarray([2, 3]), np.asarray([4, 5])]

    with pytest.raises(ModelError, match=r"of 1 of 3 texts is not finite \(NaN\)"):
        predict(Broken(), ids, PADDER, CPU, 2)


@pytest.mark.parametrize("side", ["right", "left"])
def test_a_row_without_a_token_is_read_as_a_padding_token(side):
    rows = [(np.asarray([5, 6]), 1), (np.empty(0, dtype=np.int64), 0)]

    batch, alone = Padder(9, side=side)(rows), Padder(9, side=side)(rows[1:])

    assert batch["input_ids"].tolist() == [[5, 6], [9, 9]]
    assert batch["attention_mask"].tolist() == [[1, 1], [1, 0] if side == "right" else [0, 1]]
    assert alone["input_ids"].tolist() == [[9]]
    assert alone["attention_mask"].tolist() == [[1]]


def test_texts_of_hidden_suspects_alone_are_trained_on_without_a_fault():
    data = some_data().without_tokens(np.arange(0, 40))
    some = Encoded([*data.ids[:20], *some_data().ids[20:]], data.labels)

    for rows in (data, some):
        model = Bag()
        fit(model, model.words, rows, TRAINING, PADDER, CPU, 1, "round 3")
        assert all(weights.isfinite().all() for weights in model.parameters())
