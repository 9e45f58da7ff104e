"""How fast the stages and whole runs are, on this machine, beside its own rate of matrix products.

python scripts/benchmark.py                              stages; a made-up corpus of SST-2's size
python scripts/benchmark.py stages one ten grid          whole runs too, each from an empty cache
python scripts/benchmark.py --corpus small --model tiny  in seconds, to try it
python scripts/benchmark.py --corpus agnews              120,000 texts of AG News' lengths
python scripts/benchmark.py one ten --data DIR           train.tsv, tuning.tsv, test.tsv of DIR
python scripts/benchmark.py --device cuda -- model.training.batch_size=128
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir

from btu.config import CONF
from btu.errors import ConfigError
from btu.terminal.console import Terminal
from btu.terminal.program import run_program

ROOT = Path(__file__).resolve().parent.parent
WIDTH = 110  # columns that the table of stages needs
ONE = "thresholds=[0.0005]"
TEN = "thresholds=[0.0001,0.0002,0.0003,0.0005,0.0007,0.001,0.0015,0.002,0.003,0.005]"
WHOLE = {
    "one": ("one threshold", [ONE]),
    "ten": ("ten thresholds", [TEN]),
    "grid": (
        "grid of four attacks",
        ["-m", ONE, "attack=badnets,addsent,style,syntax", "report=false"],
    ),
}
PARTS = ("train", "tuning", "test")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(
        prog="python scripts/benchmark.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("what", nargs="*", metavar="WHAT", help="stages (the default), one, ten, grid")
    top.add_argument("--corpus", choices=("sst2", "agnews", "small"), default="sst2")
    top.add_argument("--data", type=Path, metavar="DIR", help="real files in place of a corpus")
    top.add_argument("--model", default="minilm", help="as in btu model=...")
    top.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1")
    top.add_argument(
        "--repeat", type=int, default=1, help="whole runs: how often; the median counts"
    )
    top.add_argument(
        "--out", type=Path, metavar="JSON", help="default: outputs/benchmark/<time>.json"
    )
    top.add_argument(
        "overrides", nargs="*", metavar="KEY=VALUE", help="after --, as btu takes them"
    )
    return top


def main() -> int:
    """Print a table, write it as JSON."""
    arguments, what = parsed()
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("WANDB_MODE", "offline")
    out = arguments.out or Path("outputs/benchmark") / f"{time.strftime('%Y-%m-%d-%H-%M-%S')}.json"
    with tempfile.TemporaryDirectory(prefix="btu-benchmark-") as folder:
        report = measure(arguments, what, Path(folder))
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    terminal = Terminal(min_width=WIDTH)
    print_tables(report, terminal)
    terminal.say(f"written: {out}")
    return 0


def parsed() -> tuple[argparse.Namespace, list[str]]:
    """Arguments, and what to measure; what stands after -- are overrides."""
    line = sys.argv[1:]
    after = line.index("--") if "--" in line else len(line)
    arguments = parser().parse_args(line[:after])
    arguments.overrides = line[after + 1 :]
    known = ("stages", *WHOLE)
    for word in arguments.what:
        if word not in known:
            parser().error(f"there is no {word}; known: {', '.join(known)}")
    if arguments.repeat < 1:
        parser().error(f"--repeat is at least 1, got {arguments.repeat}")
    return arguments, [word for word in known if word in (arguments.what or ["stages"])]


def measure(arguments: argparse.Namespace, what: Sequence[str], folder: Path) -> dict[str, Any]:
    """The machine's rates, its stages and whole runs, as they go into the JSON file."""
    import torch

    from btu.benchmark.machine import PRECISIONS, matrix_rate
    from btu.benchmark.stages import StageTimer
    from btu.running import prepare
    from btu.store.records import provenance
    from btu.training.devices import resolve_device, resolve_precision

    device = resolve_device(arguments.device)
    overrides = common_overrides(arguments, device, folder)
    job = composed([*overrides, ONE], folder)
    precision = resolve_precision(job.model.training.precision, device)
    timer = StageTimer(prepare(job), say) if "stages" in what else None
    rates = {name: matrix_rate(device, name) for name in PRECISIONS}
    report: dict[str, Any] = {
        "machine": provenance(device, precision) | {"threads": torch.get_num_threads()},
        "matrix_gflops": {name: rate / 1e9 for name, rate in rates.items()},
        "overrides": overrides,
    }
    for name in what:
        if timer is not None and name == "stages":
            report[name] = stages(timer, rates["bf16" if precision == "bf16" else "fp32"])
        else:
            report[name] = whole_run(name, overrides, folder, arguments.repeat)
    return report


def common_overrides(arguments: argparse.Namespace, device: str, folder: Path) -> list[str]:
    """What every run of this benchmark has in common; writes the corpus where one is wanted."""
    from btu.benchmark.corpora import CORPORA, known_words, write_corpus

    chosen = [f"model={arguments.model}", f"device={device}", "model.training.epochs=1"]
    if arguments.data is not None:
        files = [f"{part}.tsv" for part in PARTS]
        if missing := [name for name in files if not (arguments.data / name).is_file()]:
            raise ConfigError(
                f"--data {arguments.data} has no {', '.join(missing)}; "
                f"it must be a folder with {', '.join(files)}."
            )
        data = ["dataset=local", *(f"dataset.{p}={arguments.data / p}.tsv" for p in PARTS)]
    else:
        say("corpus")
        from btu.config import build

        model = build(composed_config([f"model={arguments.model}"]).model, "model")
        words = known_words(model.load(2, ["one text"], 1).tokenizer)
        data = write_corpus(folder / "data", CORPORA[arguments.corpus], words)
    arms = "arms=[poisoned,unlearned,defended]"
    return [*data, *chosen, arms, *arguments.overrides]


def composed_config(overrides: Sequence[str]) -> Any:
    """The config that `btu` would run."""
    with initialize_config_dir(str(CONF), version_base=None):
        return compose("config", list(overrides))


def composed(overrides: Sequence[str], folder: Path) -> Any:
    """The job that `btu` would run, with an empty cache."""
    from btu.job import build_job

    job, _ = build_job(composed_config([*overrides, f"outputs={folder / 'stages'}"]))
    return job


def stages(timer: Any, rate: float) -> list[dict[str, Any]]:
    """Every stage with its throughput and its share of the machine's rate."""
    return [
        asdict(timing)
        | {
            "rows_per_second": timing.rows / timing.seconds,
            "tokens_per_second": timing.tokens / timing.seconds,
            "gflops": timing.flops / timing.seconds / 1e9,
            "share_of_matrix_rate": timing.flops / timing.seconds / rate,
        }
        for timing in timer.run()
    ]


def whole_run(name: str, overrides: Sequence[str], folder: Path, repeat: int) -> dict[str, Any]:
    """Run the command line from an empty cache; its wall time, memory and scores."""
    from statistics import median

    title, more = WHOLE[name]
    seconds = []
    for number in range(repeat):
        say(f"{title}, {number + 1} of {repeat}")
        outputs = folder / f"{name}-{number}"
        command = [sys.executable, "-m", "btu", *more, *overrides, f"outputs={outputs}"]
        start = time.perf_counter()
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        seconds.append(time.perf_counter() - start)
        if done.returncode:
            raise ConfigError(
                f"{title} ended with exit code {done.returncode}: {done.stderr[-400:]}"
            )
    records = [json.loads(path.read_text()) for path in outputs.glob("records/*.json")]
    return {
        "title": title,
        "seconds": seconds,
        "median_seconds": median(seconds),
        "peak_mb": max(record["provenance"]["peak_memory_mb"] for record in records),
        "scores": sorted((scores(record) for record in records), key=json.dumps),
    }


def scores(record: Mapping[str, Any]) -> dict[str, Any]:
    """What a record found."""
    kept = {name: record["scores"][name] for name in ("cacc", "asr", "base_rate")}
    return {
        "attack": record["choices"]["attack"],
        "arm": record["arm"],
        "threshold": record["threshold"],
    } | kept


def print_tables(report: Mapping[str, Any], terminal: Terminal) -> None:
    """The report for a reader."""
    from rich.table import Table

    rates = ", ".join(f"{name} {rate:,.0f}" for name, rate in report["matrix_gflops"].items())
    machine = report["machine"]
    terminal.print(
        f"{machine['device']}, {machine['precision']}, {machine['threads']} threads; "
        f"matrix products in GFLOP/s: {rates}"
    )
    if "stages" in report:
        heads = (
            "stage",
            "seconds",
            "samples/s",
            "tokens/s",
            "peak MB",
            "TFLOP",
            "GFLOP/s",
            "of matrix rate",
        )
        table = Table(title="stages")
        for head in heads:
            table.add_column(head, justify="left" if head == "stage" else "right")
        for stage in report["stages"]:
            table.add_row(*stage_cells(stage))
        terminal.print(table)
    for name in (name for name in WHOLE if name in report):
        run = report[name]
        every = ", ".join(f"{seconds:.1f}" for seconds in run["seconds"])
        terminal.print(
            f"{run['title']}: {run['median_seconds']:.1f} s ({every}), peak {run['peak_mb']:,} MB"
        )


def stage_cells(stage: Mapping[str, Any]) -> list[str]:
    """A row of the table of stages; empty where nothing is counted."""
    cells = [stage["name"], f"{stage['seconds']:.2f}"]
    cells += [
        f"{stage[key]:,.0f}" if stage["rows"] else ""
        for key in ("rows_per_second", "tokens_per_second")
    ]
    cells.append(f"{stage['peak_mb']:,}")
    if not stage["flops"]:
        return [*cells, "", "", ""]
    return [
        *cells,
        f"{stage['flops'] / 1e12:.2f}",
        f"{stage['gflops']:,.0f}",
        f"{stage['share_of_matrix_rate']:.0%}",
    ]


def say(what: str) -> None:
    """Tell on stderr what is measured now."""
    print(f"... {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    run_program(main)
