"""CSV that a spreadsheet shows and does not execute."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from btu.terminal.text import plain

if TYPE_CHECKING:
    import pandas as pd

FORMULA_STARTS = "=+-@\t\r\n＝＋－＠"  # OWASP, "CSV injection"


def write_frame(frame: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV; a text that a spreadsheet would take for a formula gets a `'` first.

    Numbers, also negative ones, stay numbers, and a single character is not a formula, so that the
    token `-` stays itself.
    """
    safe = frame.map(as_text).rename(columns=as_text)
    safe.to_csv(path, index=False, lineterminator="\n")


def as_text(value: Any) -> Any:
    """The value, as a text that neither a spreadsheet nor a terminal executes."""
    if not isinstance(value, str):
        return value
    seen = plain(value)
    if len(value) < 2 or value[0] not in FORMULA_STARTS:
        return seen
    try:
        float(value)
    except ValueError:
        return f"'{seen}"
    return seen
