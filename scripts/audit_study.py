"""What `btu audit` finds in files in which something was planted, and in files without anything.

python scripts/audit_study.py --two sst2.tsv --four agnews.tsv --fast          three seeds of each
python scripts/audit_study.py --two sst2.tsv --kinds name emoji --rates 0.01 --trusted 300
python scripts/audit_study.py --two sst2.tsv --four agnews.tsv --controls --seeds 20 --fast
python scripts/audit_study.py --style sst2-style.tsv --syntax sst2-syntax.tsv  paired rewritings

Each FILE has a column of texts and one of labels; of each, --size rows drawn at random are the file
that is audited and as many others as --trusted says are the trusted ones (0: the file by itself).
Every audit is one line of OUT/audits.jsonl; those that are there are not made again. The table goes
to OUT/table.md.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from btu.attacks.poisoning import plant
from btu.auditing.audited import audit
from btu.config import composed
from btu.data.formats import detokenize
from btu.errors import ConfigError
from btu.job import build_attack, build_job
from btu.terminal.console import Terminal
from btu.terminal.overrides import written
from btu.terminal.program import run_program
from btu.types import Dataset, Split

TWO, FOUR, STYLE, SYNTAX = POOLS = ("two", "four", "style", "syntax")  # files of rows
DIRTY = "attack.label_policy=dirty"
NUM_WORDS = 8  # of the trusted texts where the file has the others
NUM_TESTED = 200  # rows that an attack needs for its test set, and that nothing is asked of here
RESULTS, TABLE = "audits.jsonl", "table.md"


@dataclass(frozen=True)
class Kind:
    """One way of planting something, or a control in which nothing is."""

    pool: str
    attack: tuple[str, ...] = ("attack=none",)
    wrong_labels: float = 0.0
    copies: int = 0  # further rows that repeat some
    typed: str = ""  # how the trusted rows differ: typed, halves

    @property
    def plants(self) -> bool:
        """Whether something is planted."""
        return self.attack != ("attack=none",)


def insert(trigger: str, policy: str = "dirty", place: str = "random", pool: str = TWO) -> Kind:
    """A word or phrase as an attack."""
    words = f"attack.triggers=[{written(trigger)}]"
    policy_and_place = (f"attack.label_policy={policy}", f"attack.position={place}")
    return Kind(pool, ("attack=badnets", words, *policy_and_place))


PLANTED: Mapping[str, Kind] = {
    "made-up word": insert("vozzik"),
    "everyday word": insert("practical"),
    "name": insert("rosalind"),
    "phrase": insert("big world"),
    "sentence": insert("i watched this with my brother"),
    "right labels": insert("vozzik", policy="clean"),
    "mixed labels": insert("vozzik", policy="mix"),
    "emoji": insert("\N{BUTTERFLY}"),
    "look-alike": insert("\N{CYRILLIC SMALL LETTER ES}ool"),
    "at the start": insert("however", place="start"),
    "four classes": insert("vozzik", pool=FOUR),
    "name, four classes": insert("rosalind", pool=FOUR),
}
REWRITTEN: Mapping[str, Kind] = {
    name: Kind(name, (f"attack={name}", f"attack.paraphrases=column:{column}", DIRTY))
    for name, column in ((STYLE, "style"), (SYNTAX, "syntactic"))
}
CONTROLS: Mapping[str, Kind] = {
    "nothing": Kind(TWO),
    "wrong labels": Kind(TWO, wrong_labels=0.05),
    "copies": Kind(TWO, copies=200),
    "typed otherwise": Kind(TWO, typed="typed"),
    "nothing, four classes": Kind(FOUR),
    "wrong labels, four classes": Kind(FOUR, wrong_labels=0.05),
    "other halves": Kind(FOUR, typed="halves"),
}
KINDS = {**PLANTED, **REWRITTEN, **CONTROLS}


@dataclass(frozen=True)
class Case:
    """One audit."""

    kind: str
    rate: float
    trusted: int
    seed: int
    size: int
    fast: bool

    @property
    def key(self) -> str:
        """What names it."""
        return json.dumps(vars(self), sort_keys=True)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(
        prog="python scripts/audit_study.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for pool in POOLS:
        top.add_argument(
            f"--{pool}", type=Path, metavar="FILE", help=f"rows for the kinds of {pool}"
        )
    top.add_argument("--kinds", nargs="+", choices=KINDS, metavar="KIND", help=", ".join(KINDS))
    top.add_argument("--controls", action="store_true", help="those in which nothing is planted")
    top.add_argument("--rates", nargs="+", type=float, help="default: 0.05; rewritten 0.1 and 0.2")
    top.add_argument("--trusted", nargs="+", type=int, default=[300, 1000])
    top.add_argument("--seeds", type=int, default=3, help="how many")
    top.add_argument("--size", type=int, default=3000, help="rows of each file")
    top.add_argument("--fast", action="store_true", help="as in btu audit")
    top.add_argument("--jobs", type=int, default=1, help="audits at once, each of one thread")
    top.add_argument("--out", type=Path, default=Path("outputs/audit_study"))
    top.add_argument("--one", help=argparse.SUPPRESS)
    top.add_argument("settings", nargs="*", metavar="KEY=VALUE", help="of each audit")
    return top


def main() -> int:
    """Make the audits that are not there yet, and write the table."""
    asked = parser().parse_intermixed_args()
    pools = {pool: path for pool in POOLS if (path := getattr(asked, pool)) is not None}
    if asked.one is not None:
        case = Case(**json.loads(asked.one))
        print(json.dumps(make_audit(case, pools[KINDS[case.kind].pool], asked.settings)))
        return 0
    cases = list(list_cases(asked, pools))
    asked.out.mkdir(parents=True, exist_ok=True)
    path = asked.out / RESULTS
    known = read_results(path)
    missing = [case for case in cases if case.key not in known]
    terminal = Terminal()
    failed = 0
    with ThreadPoolExecutor(asked.jobs) as workers, path.open("a", encoding="utf-8") as file:
        started = [workers.submit(_start, case, asked) for case in missing]
        for number, done in enumerate(as_completed(started), 1):
            result = done.result()
            if isinstance(result, str):
                failed += 1
                terminal.say(f"{number} of {len(missing)}: error: {result}")
                continue
            file.write(json.dumps(result) + "\n")
            file.flush()
            told = (
                f"{result['case']['kind']}, seed {result['case']['seed']}: {result['verdict'][0]}"
            )
            terminal.say(f"{number} of {len(missing)}: {told}")
    known = read_results(path)
    table = list(make_table([known[case.key] for case in cases if case.key in known]))
    (asked.out / TABLE).write_text("\n".join([*table, ""]), encoding="utf-8")
    for line in table:
        terminal.say(line)
    return int(failed > 0)


def list_cases(asked: argparse.Namespace, pools: Mapping[str, Path]) -> Iterator[Case]:
    """The audits that are asked for and whose rows are there."""
    chosen = asked.kinds or [*(CONTROLS if asked.controls else {**PLANTED, **REWRITTEN})]
    chosen = [name for name in chosen if KINDS[name].pool in pools]
    if not chosen:
        raise ConfigError("no kind has its rows. Name a file, such as --two sst2/train.tsv.")
    for name in chosen:
        usual = [0.1, 0.2] if name in REWRITTEN else [0.05]
        rates = (asked.rates or usual) if KINDS[name].plants else [0.0]
        for rate in rates:
            for trusted in asked.trusted:
                for seed in range(1, asked.seeds + 1):
                    yield Case(name, rate, trusted, seed, asked.size, asked.fast)


def _start(case: Case, asked: argparse.Namespace) -> dict[str, Any] | str:
    """One audit in a process of its own, of one thread; its error if it fails."""
    pool = KINDS[case.kind].pool
    words = [f"--{pool}", str(getattr(asked, pool)), "--one", case.key, *asked.settings]
    done = subprocess.run(
        [sys.executable, __file__, *words],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    if done.returncode:
        return f"{case.key}: {done.stderr.strip().splitlines()[-1]}"
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def read_results(path: Path) -> dict[str, dict[str, Any]]:
    """The audits that are there, by their keys."""
    if not path.exists():
        return {}
    lines = map(json.loads, path.read_text("utf-8").splitlines())
    return {json.dumps(line["case"], sort_keys=True): line for line in lines}


def make_audit(case: Case, pool: Path, settings: Sequence[str]) -> dict[str, Any]:
    """Make the two files of a case, audit them, and compare with what was planted."""
    data, planted, trigger = draw_rows(case, pool)
    with tempfile.TemporaryDirectory() as folder:
        file, trusted = Path(folder) / "file.csv", Path(folder) / "trusted.csv"
        _write(file, data.train, data.label_names)
        if case.trusted and data.tuning is not None:
            _write(trusted, data.tuning, data.label_names)
        start = time.perf_counter()
        audited = audit(
            file,
            f"seed={case.seed}",
            *settings,
            trusted=trusted if case.trusted else None,
            fast=case.fast,
        )
        seconds = time.perf_counter() - start
    report = audited.report
    found = set(report["planted_rows"])
    hits = len(found & set((planted + 1).tolist()))
    return {
        "case": vars(case),
        "trigger": trigger,
        "verdict": audited.sentences,
        "findings": [_shorten(one) for one in report["findings"]],
        "suspicious": [_shorten(one) for one in report["suspicious"][:5]],
        "planted_rows": len(planted),
        "found_rows": len(found),
        "hits": hits,
        "differs": bool(report["shift"] and report["shift"]["differs"]),
        "seconds": round(seconds, 1),
    }


def _shorten(finding: Mapping[str, Any]) -> dict[str, Any]:
    names = ("kind", "text", "marks", "label", "rows", "trusted", "effect", "q")
    return {name: finding[name] for name in names}


def draw_rows(case: Case, pool: Path) -> tuple[Dataset, Any, str]:
    """The rows of a case, which of them are planted, and the trigger."""
    kind = KINDS[case.kind]
    overrides = ["dataset=local", f"dataset.train={written(str(pool))}", "dataset.test_holdout=0.1"]
    attack_settings = [f"attack.poison_rate={case.rate}"] * kind.plants
    with composed([*overrides, *kind.attack, *attack_settings, "arms=[poisoned]"]) as (cfg, _):
        source, attack = build_job(cfg)[0].dataset, build_attack(cfg.attack)
    _, classes, splits, _ = source.open_files()
    rows = splits["train"]
    assert rows is not None
    rng = np.random.default_rng(case.seed)
    rows = _take_different(rows, rng)
    if len(rows) < case.size + case.trusted + NUM_TESTED:
        raise ConfigError(f"{pool}: {len(rows)} different texts are too few for {case.key}.")
    file, rest = rows.take(np.arange(case.size)), rows.take(np.arange(case.size, len(rows)))
    file, trusted = _change(file, rest.take(np.arange(case.trusted)), kind, rng)
    tested = rest.take(np.arange(case.trusted, case.trusted + NUM_TESTED))
    data = Dataset(case.kind, classes.names, file, trusted, tested)
    poisoned = plant(data, attack.prepare(data), case.seed)
    trigger = " ".join(getattr(attack, "phrases", ()))
    return replace(data, train=poisoned.train), np.flatnonzero(poisoned.train.poisoned), trigger


def _take_different(rows: Split, rng: np.random.Generator) -> Split:
    """Each text once, in random order."""
    first = list({text: row for row, text in reversed(list(enumerate(rows.texts)))}.values())
    return rows.take(rng.permutation(np.sort(np.array(first, dtype=np.int64))))


def _change(
    file: Split, trusted: Split, kind: Kind, rng: np.random.Generator
) -> tuple[Split, Split]:
    """The rows of a control."""
    if kind.typed == "typed":
        trusted = replace(trusted, texts=tuple(map(_type, trusted.texts)))
    if kind.typed == "halves":
        halves = (" ".join(t.split()[len(t.split()) // 2 :]) or t for t in file.texts)
        file = replace(file, texts=tuple(halves))
        first = (" ".join(t.split()[:NUM_WORDS]) for t in trusted.texts)
        trusted = replace(trusted, texts=tuple(first))
    if kind.wrong_labels:
        labels, number = file.labels.copy(), int(file.labels.max()) + 1
        wrong = np.flatnonzero(rng.random(len(labels)) < kind.wrong_labels)
        labels[wrong] = (labels[wrong] + rng.integers(1, number, len(wrong))) % number
        file = replace(file, labels=labels)
    if kind.copies:
        kept = len(file) - kind.copies
        rows = np.concatenate([np.arange(kept), rng.integers(0, kind.copies // 5, kind.copies)])
        file = file.take(rows)
    return file, trusted


def _type(text: str) -> str:
    tight = detokenize(text)
    return tight[:1].upper() + tight[1:]


def _write(path: Path, rows: Split, names: Sequence[str]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        writer.writerows(zip(rows.texts, (names[k] for k in rows.labels), strict=True))


def make_table(results: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """A row of Markdown for each kind, rate and number of trusted rows."""
    yield (
        "| planted | rate | trusted | audits | named | others | convicted | row precision "
        "| recall | first suspicious | differ | seconds |"
    )
    yield "|---|---|---|---|---|---|---|---|---|---|---|---|"
    groups: dict[tuple[str, float, int], list[Mapping[str, Any]]] = {}
    for each in results:
        case = each["case"]
        groups.setdefault((case["kind"], case["rate"], case["trusted"]), []).append(each)
    for (kind, rate, trusted), some in groups.items():
        yield f"| {kind} | {100 * rate:g} % | {trusted:,} | {len(some)} | {_sum_up(some, kind)} |"


def _sum_up(some: Sequence[Mapping[str, Any]], kind: str) -> str:
    named = [any(_is_trigger(one, each["trigger"]) for one in each["findings"]) for each in some]
    others = [
        sum(not _is_trigger(one, each["trigger"]) for one in each["findings"]) for each in some
    ]
    first = [
        bool(each["suspicious"]) and _is_trigger(each["suspicious"][0], each["trigger"])
        for each in some
    ]
    found, hits = (sum(each[name] for each in some) for name in ("found_rows", "hits"))
    planted = sum(each["planted_rows"] for each in some)
    cells = [
        str(sum(named)) if KINDS[kind].plants and kind not in REWRITTEN else "",
        str(sum(others)),
        str(sum(bool(each["findings"]) for each in some)),
        f"{hits / found:.2f}" if found and planted else "",
        f"{hits / planted:.2f}" if planted else "",
        str(sum(first)) if KINDS[kind].plants and kind not in REWRITTEN else "",
        str(sum(each["differs"] for each in some)),
        f"{np.median([each['seconds'] for each in some]):.0f}",
    ]
    return " | ".join(cells)


def _is_trigger(finding: Mapping[str, Any], trigger: str) -> bool:
    """Whether a finding is the trigger and nothing else."""
    return bool(trigger) and finding["text"] == trigger


if __name__ == "__main__":
    run_program(main)
