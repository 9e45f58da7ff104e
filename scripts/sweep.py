"""Look at a sweep, even while it runs, and upload the W&B runs that it kept offline.

python scripts/sweep.py show                    the table of jobs of the last sweep
python scripts/sweep.py show outputs/runs/2026-01-31/10-30-00-1
python scripts/sweep.py sync outputs/runs/2026-01-31/10-30-00-1
"""

from __future__ import annotations

import argparse
from pathlib import Path

from btu.errors import ConfigError
from btu.report.sweep_table import sweep_table
from btu.report.upload import not_uploaded, upload
from btu.sweeps.jobs import JOBS, jobs_of
from btu.terminal.console import Terminal
from btu.terminal.program import run_program


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = top.add_subparsers(dest="command", required=True)
    for command, does in (
        ("show", "what became of each job so far"),
        (
            "sync",
            "upload the offline W&B runs; after a failure, type it again for those that are left",
        ),
    ):
        inner = commands.add_parser(command, help=does)
        inner.add_argument(
            "folder", nargs="?", type=Path, help="of a sweep; the last one if left out"
        )
        inner.add_argument("--outputs", type=Path, default=Path("outputs"), help="where runs/ is")
    return top


def main() -> int:
    """Do what the command says; the exit code.

    Raises:
        ConfigError: there is no such sweep.
    """
    options, terminal = parser().parse_args(), Terminal()
    folder = options.folder or _last(options.outputs)
    jobs = jobs_of(folder) if folder.is_dir() else {}
    if not jobs:
        raise ConfigError(
            f"{folder} is not the folder of a sweep, which has jobs.json and a folder for each job."
        )
    if options.command == "show":
        terminal.print(sweep_table(jobs, complete=False))
        terminal.say(f"sweep: {folder}")
        return 0
    runs = not_uploaded(folder, jobs)
    terminal.say(f"W&B runs of {folder} that are not uploaded: {len(runs)}")
    left = upload(runs, lambda done: terminal.say(f"  {done} of {len(runs)}"))
    for path in left:
        terminal.say(f"not uploaded: {path}")
    return int(bool(left))


def _last(outputs: Path) -> Path:
    found = sorted(outputs.glob(f"runs/*/*/{JOBS}"))
    if not found:
        raise ConfigError(
            f"there is no sweep under {outputs / 'runs'}. Name its folder, or --outputs."
        )
    return found[-1].parent


if __name__ == "__main__":
    run_program(main)
