"""Look at a sweep, even while it runs, and upload the W&B runs that it kept offline.

python scripts/sweep.py show                    the table of jobs of the last sweep
python scripts/sweep.py show outputs/runs/2026-01-31/10-30-00-1
python scripts/sweep.py sync outputs/runs/2026-01-31/10-30-00-1
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console

from btu.errors import BtuError, ConfigError
from btu.report.sweep_table import sweep_table
from btu.report.upload import not_uploaded, upload
from btu.sweeps.jobs import JOBS, jobs_of


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


def run(options: argparse.Namespace, console: Console) -> int:
    """Do what the command says; the exit code.

    Raises:
        ConfigError: there is no such sweep.
    """
    folder = options.folder or _last(options.outputs)
    jobs = jobs_of(folder) if folder.is_dir() else {}
    if not jobs:
        raise ConfigError(
            f"{folder} is not the folder of a sweep, which has jobs.json and a folder for each job."
        )
    if options.command == "show":
        console.print(sweep_table(jobs, complete=False))
        console.print(f"sweep: {folder}", soft_wrap=True, highlight=False)
        return 0
    runs = not_uploaded(folder, jobs.values())
    console.print(f"W&B runs of {folder} that are not uploaded: {len(runs)}", soft_wrap=True)
    left = upload(runs, lambda done: console.print(f"  {done} of {len(runs)}", highlight=False))
    for path in left:
        console.print(f"not uploaded: {path}", soft_wrap=True, highlight=False)
    return int(bool(left))


def _last(outputs: Path) -> Path:
    found = sorted(outputs.glob(f"runs/*/*/{JOBS}"))
    if not found:
        raise ConfigError(
            f"there is no sweep under {outputs / 'runs'}. Name its folder, or --outputs."
        )
    return found[-1].parent


def main() -> None:
    """Run the command line."""
    try:
        sys.exit(run(parser().parse_args(), Console()))
    except (BtuError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
