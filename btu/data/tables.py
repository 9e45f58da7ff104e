"""Read TSV, CSV, JSON lines and parquet into columns of strings; every file quirk ends here."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from btu.errors import DataError, did_you_mean

if TYPE_CHECKING:
    import pandas as pd

TEXT_COLUMNS = ("text", "sentence", "review", "content", "tweet", "comment", "body", "document")
LABEL_COLUMNS = ("label", "labels", "class", "target", "sentiment", "category", "stars")
FORMATS = (".tsv", ".csv", ".jsonl", ".json", ".parquet")


def read_table(path: Path, header: list[str] | None = None) -> pd.DataFrame:
    """All columns of a file as strings, row for row; empty cells are empty strings.

    In TSV a quote is an ordinary character; in CSV it quotes. Blanks around column names go.
    `header` names the columns of a CSV file that may come without a header line.

    Raises:
        DataError: no such file, an unknown ending, bytes that are not UTF-8, or a broken row.
    """
    if not path.is_file():
        raise DataError(_no_file(path))
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise DataError(f"{path}: expected a file that ends in {', '.join(FORMATS)}.")
    frame = _parquet(path) if suffix == ".parquet" else _parse(path, suffix, header)
    frame.columns = [str(column).strip() for column in frame.columns]
    return frame.fillna("").astype(str)


def read_texts(path: Path) -> list[str]:
    """The text column of a file."""
    frame = read_table(path)
    return list(frame[find_column(frame, None, TEXT_COLUMNS, path, "text_column")])


def find_column(
    frame: pd.DataFrame, wanted: str | None, usual: tuple[str, ...], path: Path, setting: str
) -> str:
    """The column that the settings name, or the one that usually has this role.

    Raises:
        DataError: it is not there, with the columns that are.
    """
    columns = list(frame.columns)
    if wanted is not None:
        if wanted.strip() in columns:
            return wanted.strip()
        raise DataError(f"{path} has no column {wanted!r}; {did_you_mean(wanted, columns)}")
    by_lower = {column.lower(): column for column in columns}
    for name in usual:
        if name in by_lower:
            return by_lower[name]
    raise DataError(
        f"{path}: cannot tell which of the columns {', '.join(map(repr, columns))} is meant. "
        f"Write dataset.{setting}=NAME; the first line of a file must name its columns."
    )


def _no_file(path: Path) -> str:
    """One sentence about a path that is not a file, with what may have been meant."""
    if path.is_dir():
        return f"{path} is a folder; expected a file that ends in {', '.join(FORMATS)}."
    if not path.parent.is_dir():
        return f"there is no file {path}, nor a folder {path.parent}."
    names = [entry.name for entry in path.parent.iterdir() if entry.suffix.lower() in FORMATS]
    if not names:
        return f"there is no file {path}; its folder holds none that ends in {', '.join(FORMATS)}."
    return f"there is no file {path}; {did_you_mean(path.name, names, 'its folder holds')}"


def _parse(path: Path, suffix: str, header: list[str] | None) -> pd.DataFrame:
    import pandas as pd

    text = _decode(path)
    if not text.strip():
        raise DataError(f"{path} is empty; expected a header line and rows.")
    if suffix in (".jsonl", ".json"):
        return _json_lines(path, text)
    options: dict[str, Any] = {"dtype": str, "keep_default_na": False, "index_col": False}
    if suffix == ".tsv":
        options |= {"sep": "\t", "quoting": csv.QUOTE_NONE, "lineterminator": "\n"}
    if header is not None:
        first = next(csv.reader([text.split("\n", 1)[0]]))
        named = [cell.strip().lower() for cell in first] == header
        options |= {"names": header, "header": 0 if named else None}
    try:
        frame: pd.DataFrame = pd.read_csv(io.StringIO(text), **options)
    except (pd.errors.ParserError, ValueError) as error:
        reason = str(error).replace("Error tokenizing data. C error: ", "")
        raise DataError(f"{path}: {reason.strip().rstrip('.')}.") from error
    return frame


def _decode(path: Path) -> str:
    raw = path.read_bytes()
    try:
        return raw.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise DataError(
            f"{path}, line {line}: the bytes are not UTF-8 text. "
            f"Convert it, for example with: iconv -f latin1 -t utf-8 {path.name}"
        ) from error


def _json_lines(path: Path, text: str) -> pd.DataFrame:
    import pandas as pd

    rows = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"{path}, line {number}: not JSON ({error.msg}).") from error
        if not isinstance(row, dict):
            raise DataError(f"{path}, line {number}: expected one JSON object per line.")
        rows.append(row)
    return pd.DataFrame(rows, dtype=object)


def _parquet(path: Path) -> pd.DataFrame:
    import pandas as pd

    try:
        return pd.read_parquet(path).astype(object)
    except (OSError, ValueError) as error:
        reason = str(error).split("\n")[0]
        raise DataError(f"{path} is not a readable parquet file ({reason}).") from error
