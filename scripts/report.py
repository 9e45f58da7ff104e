"""Tables, plots and one page about many records.

python scripts/report.py outputs/records --out outputs/reports/study
python scripts/report.py outputs/runs/2026-01-31/10-30-00-1 --out outputs/reports/sweep

The page is DIR/report.html. The same records give the same page, so it is not kept in git.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from btu.report.write import write_report
from btu.terminal.console import Terminal
from btu.terminal.program import run_program

EPILOG = """\
DIR gets report.html (the page: everything, in one file that needs no network), report.md,
report.csv and report_seeds.csv (every threshold, shares as fractions), chosen.csv (the
thresholds that a defender could have chosen), report.tex and report_long.tex (for a paper) and
figures/ (PNG, SVG, PDF).
The same records give the same page, so there is no need to keep it in git.

examples:
  python scripts/report.py outputs/records --out outputs/reports/study
  python scripts/report.py outputs/runs/2026-01-31/10-30-00-1 --out outputs/reports/sweep
"""


def main() -> int:
    """Write the report and name its page."""
    parser = argparse.ArgumentParser(
        prog="python scripts/report.py",
        description="Write tables, plots and one page about many records.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "sources",
        metavar="RECORDS",
        nargs="+",
        type=Path,
        help="a folder of records, a record (JSON), or the folder of a run or a sweep",
    )
    parser.add_argument(
        "--out", metavar="DIR", type=Path, required=True, help="the folder to write into"
    )
    arguments = parser.parse_args()
    report = write_report(arguments.sources, arguments.out)
    warnings, terminal = Terminal(stderr=True), Terminal()
    for line in report.study.warnings:
        warnings.say(line)
    terminal.say(f"{report.page}: {len(report.study.records)} records")
    return 0


if __name__ == "__main__":
    run_program(main)
