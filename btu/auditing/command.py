"""The command `btu audit`: says in a sentence what was planted in a file, and writes its rows."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from btu.errors import BtuError, ConfigError
from btu.terminal.console import LineFormatter, Terminal
from btu.terminal.program import run_program

NOTHING, FOUND = 0, 3  # exit codes; 1 is an error
OPTIONS = {  # what errors of data sets advise, and how it is typed here
    "dataset audit: ": "",
    "dataset.text_column=": "--text ",
    "dataset.label_column=": "--label ",
    "dataset.tuning=": "--trusted ",
}
EPILOG = """\
The file: TSV, CSV, JSON or parquet, also with .gz, with a column of texts and one of labels.
The trusted rows: such a file, of the same task, labels and source; at least 50, better 1,000.
Without any, only words in rows with wrong labels can be found.

exit code  0: nothing was found, or only suspicious words; 3: something was; 1: an error
in DIR     report.html (to read), report.json (for machines), rows.csv (what was found in each
           row), clean.* (the file without the rows found), relabelled.* (--relabel), model;
           networks stay in ./outputs, so that the same audit again takes seconds

KEY=VALUE changes any other setting, as everywhere: seed=2, defense.selfset.thresholds=[0.01],
model.training.epochs=5, dataset.delimiter=tab. docs/audit.md explains every line."""
log = logging.getLogger("btu")


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one sentence, like all others."""

    def error(self, message: str) -> NoReturn:
        """Raise what is wrong with the words."""
        if "required: FILE" in message:
            raise ConfigError("btu audit needs a file. Type: btu audit FILE --trusted FILE")
        raise ConfigError(f"{message}. btu audit --help lists the options.")


def main(words: Sequence[str]) -> None:
    """Run the command and exit."""
    run_program(lambda: _run(words))


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = Parser(
        prog="btu audit",
        description="What was planted in a file, in which rows, and what is left without it.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("file", metavar="FILE", help="labelled texts that you did not collect")
    parser.add_argument("--trusted", metavar="FILE", help="labelled texts that you trust")
    parser.add_argument(
        "--text", metavar="COLUMN", help="with the texts; default: guessed by its name"
    )
    parser.add_argument("--label", metavar="COLUMN", help="with the labels; likewise")
    parser.add_argument("--model", metavar="NAME", help="minilm, bert_base, ...; default: minilm")
    parser.add_argument("--fast", action="store_true", help="train no network: seconds, sees less")
    parser.add_argument(
        "--relabel", action="store_true", help="write the file with suggested labels, too"
    )
    parser.add_argument(
        "--save-model",
        action="store_true",
        help="train models without the rows found, save one",
    )
    parser.add_argument("--out", metavar="DIR", help="default: FILE's name and -audit")
    parser.add_argument("settings", nargs="*", metavar="KEY=VALUE", help=argparse.SUPPRESS)
    return parser


def _run(words: Sequence[str]) -> int:
    asked = make_parser().parse_intermixed_args(words)
    _check_words(asked)
    _log_stages()
    folder = check_folder(asked.out, Path(asked.file))
    from btu.auditing.audited import audit

    try:
        audited = audit(
            asked.file,
            *asked.settings,
            trusted=asked.trusted,
            text=asked.text,
            label=asked.label,
            model=asked.model,
            fast=asked.fast,
            save_model=asked.save_model,
        )
    except BtuError as error:
        raise BtuError(_name_options(str(error))) from error
    terminal = Terminal()
    for line in audited.lines:
        terminal.say(line)
    terminal.say(f"files: {audited.write(folder, asked.relabel)}")
    return FOUND if audited.planted or audited.examined.unread else NOTHING


def _check_words(asked: argparse.Namespace) -> None:
    other = next((word for word in asked.settings if "=" not in word), None)
    if other is not None:
        raise ConfigError(
            f"one FILE is audited at a time, and {other} is another. If it is the trusted one, "
            f"type --trusted {other}"
        )
    if asked.fast and asked.model and not asked.save_model:
        raise ConfigError(
            f"--fast trains no network, and --model {asked.model} names one. Leave one of them out."
        )


def check_folder(out: str | None, file: Path) -> Path:
    """Where the files go.

    Raises:
        ConfigError: something is there already.
    """
    folder = Path(out).expanduser() if out else Path(f"{file.name.split('.')[0]}-audit")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(
            f"{folder} is there already, and an audit overwrites nothing. Write --out DIR for "
            "another folder, or remove it."
        )
    place = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        raise ConfigError(
            f"{folder} cannot be made in {place}. Write --out DIR for another folder."
        )
    return folder


def _name_options(sentence: str) -> str:
    """An error with the options of this command in the place of settings."""
    for setting, option in OPTIONS.items():
        sentence = sentence.replace(setting, option)
    return sentence


def _log_stages() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter("%(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    log.setLevel(logging.INFO)
