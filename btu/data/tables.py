"""Read TSV, CSV, JSON and parquet into columns of strings; every file quirk ends here."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from btu.data.delimited import ALL_BY_LOOKING, Layout, read_delimited
from btu.data.files import decode, read_bytes
from btu.data.structured import read_json, read_parquet
from btu.errors import DataError, did_you_mean, listed

TEXT_COLUMNS = (
    "text", "sentence", "review", "content", "tweet", "comment", "body", "document",
    "texts", "sentences", "reviews", "tweets", "comments", "comment_text", "message", "messages",
    "review_body", "review_text", "reviewtext",
)  # fmt: skip
LABEL_COLUMNS = (
    "label", "labels", "class", "target", "sentiment", "category", "stars",
    "rating", "star_rating", "polarity", "toxic", "is_toxic",
)  # fmt: skip
HALF_CHARACTER = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Table:
    """A file's columns as strings, row for row; empty cells are empty strings."""

    path: Path
    columns: Mapping[str, list[str]]
    nested: Mapping[str, str]  # columns of other values than text and numbers, and an example
    notes: tuple[str, ...] = ()  # what was told by looking

    @property
    def num_rows(self) -> int:
        """Rows of the file, without its header."""
        return len(next(iter(self.columns.values()), []))


def read_table(
    path: Path, layout: Layout = ALL_BY_LOOKING, header: Sequence[str] | None = None
) -> Table:
    """All columns of a file. Blanks around column names go.

    Args:
        path: ends in one of `FORMATS`, or in one of them and .gz.
        layout: of CSV and TSV, as far as it is known.
        header: the columns of a CSV file that may come without a header line.

    Raises:
        DataError: no such file, another kind of file or encoding, or a broken row.
    """
    raw, ending = read_bytes(path)
    if ending == ".parquet":
        return to_table(path, read_parquet(path, raw))
    text = decode(path, raw)
    if not text.strip():
        raise DataError(f"{path} is empty; expected a header line and rows.")
    if ending in (".json", ".jsonl"):
        return to_table(path, read_json(path, text))
    columns, notes = read_delimited(path, text, layout, header)
    return to_table(path, columns, notes)


def read_texts(path: Path) -> list[str]:
    """The text column of a file."""
    table = read_table(path)
    return table.columns[find_column(table, None, TEXT_COLUMNS)]


def to_table(
    path: Path, named: Sequence[tuple[str, Sequence[object]]], notes: Sequence[str] = ()
) -> Table:
    """Columns of any values as a table of strings.

    Raises:
        DataError: two columns have one name.
    """
    columns: dict[str, list[str]] = {}
    nested: dict[str, str] = {}
    halves = 0
    for number, (written, values) in enumerate(named):
        name = mend(str(written)).strip() or f"Unnamed: {number}"
        if name in columns or name in nested:
            raise DataError(f"{path} has two columns with the name {name!r}. Rename one of them.")
        odd = next((value for value in values if not _is_scalar(value)), None)
        if odd is not None:
            nested[name] = type(odd).__name__
            continue
        cells = [_to_string(value) for value in values]
        columns[name] = [mend(cell) for cell in cells]
        halves += sum(map(str.__ne__, cells, columns[name]))
    if halves:
        notes = [
            *notes,
            f"{halves} cells hold half of a character (a lone surrogate), read as \ufffd",
        ]
    return Table(path, columns, nested, tuple(notes))


def find_column(table: Table, wanted: str | None, usual: Sequence[str], setting: str = "") -> str:
    """The column that the settings name, or the one that usually has this role.

    Args:
        table: has the column.
        wanted: its name, if it is known.
        usual: the names of such columns, in lower case, the likeliest first.
        setting: the key that names it, for errors; empty where there is none.

    Raises:
        DataError: it is not there, two may be meant, or it does not hold texts or numbers.
    """
    known = [*table.columns, *table.nested]
    if wanted is not None:
        name = wanted.strip()
        if name not in known:
            raise DataError(
                f"{table.path} has no column {wanted!r}; {did_you_mean(wanted, known, 'it has')} "
                "Without a name the columns are guessed."
            )
    else:
        name = _guess(table.path, known, usual, setting)
    if name in table.nested:
        raise DataError(
            f"{table.path}: the column {name!r} holds values of the type {table.nested[name]}, "
            "expected texts or numbers."
        )
    return name


def _guess(path: Path, known: Sequence[str], usual: Sequence[str], setting: str) -> str:
    advice = f"Write dataset.{setting}=NAME" if setting else "Rename one of them"
    for name in usual:
        if name in known:
            return name
        found = [column for column in known if column.lower() == name]
        if len(found) > 1:
            raise DataError(f"{path} has the columns {listed(map(repr, found))}. {advice}.")
        if found:
            return found[0]
    raise DataError(
        f"{path}: cannot tell which of the columns {listed(map(repr, known))} is meant. "
        f"{advice}; the first line of a file must name its columns."
    )


def mend(cell: str) -> str:
    """The string with a replacement character for each half of a character.

    JSON can write one half of an emoji, which no encoding can store.
    """
    return cell if cell.isascii() else HALF_CHARACTER.sub("\ufffd", cell)


def _is_scalar(value: object) -> bool:
    return not isinstance(value, (list, tuple, dict, set, bytes)) or _is_utf8(value)


def _is_utf8(value: object) -> bool:
    try:
        return isinstance(value, bytes) and value.decode() is not None
    except UnicodeDecodeError:
        return False


def _to_string(value: object) -> str:
    if isinstance(value, str):
        return value
    if value is None or value != value:  # NaN is the one value that is not itself
        return ""
    return value.decode() if isinstance(value, bytes) else str(value)
