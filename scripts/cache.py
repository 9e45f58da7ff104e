"""Look at the stage cache, and make room in it.

python scripts/cache.py list                       entries with their sizes, the total at the end
python scripts/cache.py why 3f2a 77c1              why two keys differ (first letters are enough)
python scripts/cache.py prune --to-gb 5            remove what was used least recently
python scripts/cache.py prune --idle-days 14       remove what nobody used for two weeks
python scripts/cache.py prune --to-gb 5 --dry-run  only say what would be removed
"""

from __future__ import annotations

import argparse
from pathlib import Path

from btu.errors import ConfigError
from btu.store.cache import entries, prune, remove_leftovers
from btu.store.inspect import differences, listing
from btu.terminal.console import Terminal
from btu.terminal.program import run_program

WIDTH = 130  # columns that the table of entries needs


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    top.add_argument("--folder", type=Path, default=Path("outputs/cache"), help="the cache")
    commands = top.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="entries with their sizes, the last used on top")
    why = commands.add_parser("why", help="what differs between two entries")
    why.add_argument("keys", nargs=2, metavar="KEY", help="a key or its first letters")
    making_room = commands.add_parser("prune", help="remove entries, and what killed jobs left")
    making_room.add_argument("--to-gb", type=at_least_0, help="until at most this much is left")
    making_room.add_argument(
        "--idle-days", type=at_least_0, help="only what has been idle that long"
    )
    making_room.add_argument(
        "--dry-run", action="store_true", help="remove nothing, only say what would go"
    )
    return top


def at_least_0(text: str) -> float:
    """A number that is not negative."""
    value = float(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"expected a number of at least 0, got {text}")
    return value


def main() -> int:
    """Do what the command says.

    Raises:
        ConfigError: there is no such cache or key, or nothing says how much to remove.
    """
    options, terminal = parser().parse_args(), Terminal(min_width=WIDTH)
    if not options.folder.is_dir():
        raise ConfigError(f"there is no cache at {options.folder}. Write --folder PATH.")
    if options.command == "list":
        terminal.print(listing(entries(options.folder)))
    elif options.command == "why":
        for line in differences(options.folder, *options.keys):
            terminal.say(line)
    else:
        make_room(options, terminal)
    return 0


def make_room(options: argparse.Namespace, terminal: Terminal) -> None:
    """Remove entries and what killed jobs left behind, and say what was removed."""
    if options.to_gb is None and options.idle_days is None:
        raise ConfigError(
            "prune needs --to-gb or --idle-days, or both, such as: prune --to-gb 5. "
            "To empty the cache write: prune --to-gb 0"
        )
    removed = prune(
        options.folder,
        to_bytes=None if options.to_gb is None else options.to_gb * 1e9,
        idle_seconds=86400 * (options.idle_days or 0),
        dry_run=options.dry_run,
    )
    terminal.print("would be removed:" if options.dry_run else "removed:")
    terminal.print(listing(removed))
    if options.dry_run:
        terminal.print("--dry-run: nothing was removed")
    elif left := remove_leftovers(options.folder):
        terminal.print(f"and what {left} killed jobs left behind")


if __name__ == "__main__":
    run_program(main)
