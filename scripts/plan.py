"""What a sweep would mean, without running it: jobs, what they share, hours, disk.

python scripts/plan.py -m attack=badnets,addsent,style,syntax seed=1,2,3 hydra/launcher=slurm
python scripts/plan.py -m experiment=cutoff_ablation        as btu takes it, with or without -m
python scripts/plan.py --at-once 8 -m seed=1,2,3            on eight machines like this one
python scripts/plan.py --rate 100 -m model=bert_base        on one that multiplies at 100 TFLOP/s
python scripts/plan.py --json plan.json -m seed=1,2,3       for other programs

Nothing is trained and nothing is written. A hub is asked for a data set, and for a model's
configuration and tokenizer, never for its weights. The exit code is 1 if a job could not begin.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import asdict
from pathlib import Path

from btu.errors import ConfigError
from btu.store.files import write_json
from btu.terminal.console import Terminal
from btu.terminal.program import run_program

WIDTH = 118  # columns that the tables need


def parser() -> argparse.ArgumentParser:
    """The options of this script; everything else is read as btu reads it."""
    top = argparse.ArgumentParser(
        prog="python scripts/plan.py",
        usage="%(prog)s [--at-once N] [--rate TFLOPS] [--json FILE] [what btu takes]",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    top.add_argument(
        "--at-once", type=int, metavar="N", help="jobs at once; default: what the launcher says"
    )
    top.add_argument(
        "--rate",
        type=float,
        metavar="TFLOPS",
        help="TFLOP/s of matrix products of another machine, from python scripts/benchmark.py",
    )
    top.add_argument("--json", type=Path, metavar="FILE", help="also write the plan to this file")
    return top


def main() -> int:
    """Print the plan; 1 if a job of it could not begin."""
    options, arguments = parser().parse_known_args()
    # As in btu.cli: waiting threads must not spin while the machine's rate is measured.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    for name, value in (("--at-once", options.at_once), ("--rate", options.rate)):
        if value is not None and value <= 0:
            raise ConfigError(f"{name} is a number above 0, got {value:g}.")
    from btu.planning.jobs import read_sweep
    from btu.planning.plan import make_plan
    from btu.planning.tables import tables

    sweep = read_sweep(arguments)
    plan = make_plan(sweep, options.at_once, options.rate)
    terminal = Terminal(min_width=WIDTH)
    terminal.print(tables(plan, sweep.launcher))
    if options.json is not None:
        write_json(options.json, asdict(plan))
        terminal.say(f"written: {options.json}")
    return int(bool(plan.failing))


if __name__ == "__main__":
    run_program(main)
