"""Streams are named, repeatable and independent."""

import numpy as np
import torch

from btu.seeding import stream, stream_seed, torch_stream


def test_a_stream_depends_on_seed_and_name_alone():
    draws = [
        stream(*key).integers(0, 2**32, 4).tolist()
        for key in ((1, "a"), (1, "a"), (1, "b"), (2, "a"))
    ]

    assert draws[0] == draws[1]
    assert len({tuple(d) for d in draws}) == 3


def test_names_do_not_run_together():
    assert stream_seed(1, "ab", "c") != stream_seed(1, "a", "bc")
    assert stream_seed(1, "1") != stream_seed(11, "")


def test_a_torch_stream_leaves_the_global_generator_alone():
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)

    with torch_stream(1):
        inside = torch.rand(3)

    assert torch.equal(torch.rand(3), wanted)
    with torch_stream(1):
        assert torch.equal(torch.rand(3), inside)
    assert not np.allclose(inside, wanted)
