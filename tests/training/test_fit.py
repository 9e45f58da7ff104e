"""What training asks of the machine."""

import platform
import subprocess
import sys

import pytest

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


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_a_large_block_that_was_freed_is_used_again():
    def count(mode: str) -> int:
        command = [sys.executable, "-c", COUNT_FAULTS, mode]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    assert count("kept") < count("returned") / 2  # a few blocks are needed before all fit
