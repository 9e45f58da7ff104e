"""Print records as a Markdown table, mean over seeds with the lowest and the highest.

python scripts/seed_table.py outputs/records
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path
from statistics import mean

from btu.records import Record, read_record
from btu.types import ARMS


def load(folder: Path) -> list[Record]:
    """All readable records of a folder; what is no record is named and left out."""
    records = []
    for path in sorted(folder.glob("*.json")):
        try:
            records.append(read_record(path))
        except (ValueError, KeyError, TypeError) as error:
            print(f"left out: {error}", file=sys.stderr)
    return records


def percent(values: list[float | None]) -> str:
    """Mean of the shares with the spread from the lowest to the highest."""
    known = [100 * value for value in values if value is not None]
    if not known:
        return "-"
    spread = f" ({min(known):.1f}-{max(known):.1f})" if len(known) > 1 else ""
    return f"{mean(known):.1f}{spread}"


def table(records: list[Record]) -> str:
    """The table, in the order of the arms."""
    groups: dict[tuple[str, int, float, str], list[Record]] = defaultdict(list)
    for r in records:
        name = " / ".join(r.choices[k] for k in ("dataset", "attack", "model"))
        groups[name, ARMS.index(r.arm), r.threshold or 0.0, r.choices["defense"]].append(r)
    lines = [
        "| data / attack / model | arm | threshold | seeds | CACC | PACC | ASR | base rate |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for (name, arm, threshold, _), rows in sorted(groups.items()):
        shares = [
            percent([getattr(r.scores, share) for r in rows])
            for share in ("cacc", "pacc", "asr", "base_rate")
        ]
        cells = [name, ARMS[arm], f"{threshold:g}" if threshold else "", str(len(rows)), *shares]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_dir():
        sys.exit("usage: python scripts/seed_table.py FOLDER, a folder of records")
    found = load(Path(sys.argv[1]))
    if not found:
        sys.exit(f"no records in {sys.argv[1]}; run btu first")
    print(table(found))
