"""A file as text: unpacked, decoded, and called what it is where it is something else."""

from __future__ import annotations

import codecs
import gzip
import os
import stat
import zlib
from pathlib import Path

from btu.errors import DataError, did_you_mean, shorten

FORMATS = (".tsv", ".csv", ".jsonl", ".json", ".parquet")
ENDINGS = f"{', '.join(FORMATS)}, also with .gz"
BYTE_ORDER_MARKS = (  # the longer first: that of UTF-16 begins that of UTF-32
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
KINDS = (  # how files begin that are often taken for tables
    (b"version https://git-lfs", "a pointer of Git LFS. Fetch the file itself with: git lfs pull"),
    (b"PK\x03\x04", "a zip archive or an Excel file. Unpack it, or save its sheet as CSV in UTF-8"),
    (b"\x1f\x8b", "packed by gzip. Let its name end in .gz"),
    (b"BZh", "packed by bzip2. Unpack it with: bunzip2"),
    (b"\xfd7zXZ\x00", "packed by xz. Unpack it with: unxz"),
    (b"\x28\xb5\x2f\xfd", "packed by zstd. Unpack it with: unzstd"),
    (b"PAR1", "a parquet file. Let its name end in .parquet"),
    (b"ARROW1", "an Arrow file. Save it as parquet"),
    (b"\xd0\xcf\x11\xe0", "an old Excel file. Save its sheet as CSV in UTF-8"),
    (b"SQLite format 3", "a database of SQLite. Export its table as CSV"),
    (b"%PDF", "a PDF. Give a table"),
)
PAGE_BEGINS = (b"<!doctype html", b"<html", b"<head", b"<?xml")
MANY_ZEROS = 0.1  # of the bytes: more are text in UTF-16, fewer are faults
NUM_AROUND = 12  # characters shown on each side of a byte that is not UTF-8


def read_bytes(path: Path) -> tuple[bytes, str]:
    """What a file holds, unpacked where its name ends in .gz, and the ending before that.

    Raises:
        DataError: there is no such file, it is not a regular one, or it cannot be read or unpacked.
    """
    _check_is_file(path)
    ending = find_ending(path)
    if not ending:
        raise DataError(f"{path}: expected a file that ends in {ENDINGS}.")
    try:
        raw = path.read_bytes()
        return (gzip.decompress(raw) if path.suffix.lower() == ".gz" else raw), ending
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be unpacked by gzip ({error}). Fetch it again.") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {os.strerror(error.errno or 0)}.") from error


def find_ending(path: Path) -> str:
    """Its ending that names a format, in lower case; empty where there is none."""
    name = path.with_suffix("") if path.suffix.lower() == ".gz" else path
    return name.suffix.lower() if name.suffix.lower() in FORMATS else ""


def check_kind(path: Path, raw: bytes) -> None:
    """Raise if the bytes are those of a known kind of file that is not text."""
    begin = raw[:100]
    kind = next((kind for magic, kind in KINDS if begin.startswith(magic)), None)
    if begin.removeprefix(codecs.BOM_UTF8).lstrip().lower().startswith(PAGE_BEGINS):
        kind = "a web page (HTML or XML), as a failed download leaves it. Fetch the file again"
    if kind:
        raise DataError(f"{path} is {kind}.")


def decode(path: Path, raw: bytes) -> str:
    r"""The text of UTF-8, or of what a byte order mark names; lines end in `\n`.

    Raises:
        DataError: it is another kind of file, another encoding, or has NUL bytes.
    """
    check_kind(path, raw)
    mark = next((name for mark, name in BYTE_ORDER_MARKS if raw.startswith(mark)), None)
    try:
        text = raw.decode(mark or "utf-8")
    except UnicodeDecodeError as error:
        raise DataError(_not_decoded(path, raw, error, mark)) from error
    if "\0" in text:
        raise DataError(_has_zeros(path, text))
    text = text.replace("\r\n", "\n")
    return text if "\n" in text else text.replace("\r", "\n")


def _check_is_file(path: Path) -> None:
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(_no_file(path)) from error
    except (OSError, ValueError) as error:  # a loop of links, no permission, a name too long
        reason = os.strerror(error.errno or 0) if isinstance(error, OSError) else str(error)
        raise DataError(f"{shorten(str(path), 200)} cannot be read: {reason}.") from error
    if stat.S_ISDIR(mode):
        raise DataError(f"{path} is a folder; expected a file that ends in {ENDINGS}.")
    if not stat.S_ISREG(mode):
        raise DataError(f"{path} is a pipe, a socket or a device; write its contents into a file.")


def _no_file(path: Path) -> str:
    """One sentence about a path that is not a file, with what may have been meant."""
    if path.is_symlink():
        return f"{path} is a link to {os.readlink(path)}, which is not there."
    if not path.parent.is_dir():
        return f"there is no file {path}, nor a folder {path.parent}."
    try:
        names = [entry.name for entry in path.parent.iterdir() if find_ending(entry)]
    except OSError:  # a folder that may be entered and not listed
        return f"there is no file {path}."
    if not names:
        return f"there is no file {path}; its folder holds none that ends in {ENDINGS}."
    return f"there is no file {path}; {did_you_mean(path.name, names, 'its folder holds')}"


def _not_decoded(path: Path, raw: bytes, error: UnicodeDecodeError, mark: str | None) -> str:
    if mark:
        return f"{path} begins as {mark} does, but is not ({error.reason}). Save it as UTF-8."
    line = raw[: error.start].count(b"\n") + 1
    where = f"{path}, line {line}: the bytes are not UTF-8"
    around = raw[max(0, error.start - NUM_AROUND) : error.start + NUM_AROUND]
    try:
        raw.decode("cp1252")
    except UnicodeDecodeError:
        return f"{where}. Save the file as UTF-8 with the program that wrote it."
    shown = " ".join(around.decode("cp1252").split())
    return (
        f"{where}. As cp1252 (Windows, Latin-1) they read {shown!r}; if that is right, convert the "
        f"file: {_converting('cp1252', path)}"
    )


def _converting(encoding: str, path: Path) -> str:
    """The command that converts a file to UTF-8."""
    name, unpack = path.name, ""
    if path.suffix.lower() == ".gz":
        name, unpack = path.stem, f"gunzip -k {path.name}; "
    return f"{unpack}iconv -f {encoding} -t utf-8 {name} > utf8-{name}"


def _has_zeros(path: Path, text: str) -> str:
    if text.count("\0") > MANY_ZEROS * len(text):
        order = "le" if text.find("\0") % 2 else "be"
        return (
            f"{path} looks like UTF-16 without a byte order mark. Convert it: "
            f"{_converting(f'utf-16{order}', path)}"
        )
    line = text[: text.index("\0")].count("\n") + 1
    return (
        f"{path}, line {line} holds a NUL byte, which is not text. Remove it: "
        f"tr -d '\\000' < {path.name} > clean-{path.name}"
    )
