"""A command never fails by printing."""

import os
import subprocess
import sys

import pytest

from btu.terminal.streams import LossyStream

PRINT = """
import sys
from btu.terminal.console import Terminal
from btu.terminal.streams import lasting_output
with lasting_output():
    for _ in range(3000):
        print("\\u4e2d " * 20)
    Terminal().say("\\u4e2d\\ud800")
    print("said", file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("shell", "said"),
    [
        ("PYTHONIOENCODING=ascii {0} > out", "said\n"),
        ("PYTHONIOENCODING=latin-1 {0} > out", "said\n"),
        ("{0} >&-", "said\n"),
        ("{0} >&- 2>&- <&-", ""),
        ("{0} > /dev/full", "said\nnote: standard output could not be written: No space left"),
        ("{0} 2> /dev/full > /dev/null", ""),
        ("( {0}; echo $? >&2 ) | head -1 > /dev/null", "said\n0\n"),
    ],
)
def test_output_that_cannot_be_written_is_lost_and_ends_nothing(shell, said, tmp_path):
    (tmp_path / "print.py").write_text(PRINT)

    done = subprocess.run(
        ["bash", "-c", shell.format(f"{sys.executable} print.py")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith(said)
    assert "Traceback" not in done.stderr


def test_what_is_lost_is_remembered_and_the_descriptor_goes_nowhere():
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as broken:
        stream = LossyStream(broken)
        stream.write("one\n")
        stream.flush()
        stream.writelines(["two\n"])
        stream.flush()

        assert isinstance(stream.error, BrokenPipeError)
        os.write(writing, b"another program writes here, too")
