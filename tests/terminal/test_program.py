"""Every command tells an error in one sentence."""

import pytest

from btu.errors import ConfigError
from btu.terminal.program import FULL_ERROR, run_program


def ended(work, capsys):
    with pytest.raises(SystemExit) as end:
        run_program(work)
    return end.value.code, capsys.readouterr().err


def raising(error):
    def work():
        raise error

    return work


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ConfigError("write x\x1b=1"), "error: write x\\u001b=1\n"),
        (FileNotFoundError(2, "no", "f"), "error: No such file or directory (f).\n"),
        (
            RuntimeError("out of memory\nTried to allocate"),
            "error: unexpected RuntimeError: out of memory (to see its trace, set "
            "HYDRA_FULL_ERROR=1)\n",
        ),
        (MemoryError(), "error: unexpected MemoryError: no message (to see its trace, set "),
    ],
)
def test_an_error_is_one_sentence_and_exit_code_1(error, said, capsys, monkeypatch):
    monkeypatch.delenv(FULL_ERROR, raising=False)

    code, printed = ended(raising(error), capsys)

    assert code == 1
    assert printed.startswith(said)
    assert len(printed.splitlines()) == 1


def test_its_trace_is_there_for_whoever_asks(capsys, monkeypatch):
    monkeypatch.setenv(FULL_ERROR, "1")

    _, printed = ended(raising(RuntimeError("\x1b[2J")), capsys)

    assert "Traceback" in printed
    assert "\x1b" not in printed


def test_a_command_gives_its_own_exit_code(capsys):
    assert ended(lambda: 7, capsys) == (7, "")
    assert ended(raising(KeyboardInterrupt()), capsys) == (130, "")
