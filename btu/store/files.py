"""Checksums, atomic writes, files that are read by a schema, and the check that there is room."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from btu.errors import ConfigError

if TYPE_CHECKING:
    from pydantic import TypeAdapter

MOST_BYTES = 1 << 28  # of a JSON file that is read into memory
T = TypeVar("T")


def checksum(path: Path) -> str:
    """The sha256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()


def write_json(path: Path, value: Any) -> None:
    """Write JSON whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    text = json.dumps(value, indent=1, ensure_ascii=False) + "\n"
    temporary.write_text(text, encoding="utf-8", errors="backslashreplace")  # a lone \ud800 as JSON
    temporary.replace(path)


def read_bytes(path: Path) -> bytes:
    """What a JSON file holds.

    Raises:
        OSError: it cannot be read.
        ValueError: it is larger than anything that btu writes.
    """
    with path.open("rb") as file:
        raw = file.read(MOST_BYTES + 1)
    if len(raw) > MOST_BYTES:
        raise ValueError(f"is larger than {MOST_BYTES >> 20} MB")
    return raw


def parse_as(kind: type[T], raw: bytes) -> T:
    """JSON as a value of a dataclass whose fields have the declared types and ranges.

    Numbers are finite, nothing is converted, and fields that the class does not have are left out.

    Raises:
        ValueError: it is not JSON, or the first field that is wrong and how.
    """
    from pydantic import ValidationError

    try:
        value: T = _adapter(kind).validate_json(raw)  # type: ignore[arg-type]
        return value
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"{where}: {first['msg']}" if where else first["msg"]) from None


def read_as(kind: type[T], path: Path) -> T:
    """A JSON file as a value of a dataclass, see `parse_as`.

    Raises:
        OSError: it cannot be read.
        ValueError: why it is not one.
    """
    return parse_as(kind, read_bytes(path))


@lru_cache
def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    from pydantic import ConfigDict, TypeAdapter, with_config

    strict = ConfigDict(strict=True, allow_inf_nan=False)
    return TypeAdapter(with_config(strict)(kind))


@contextmanager
def disk_errors() -> Iterator[None]:
    """Inside the block what safetensors says of the disk is an OSError, as of other writers."""
    from safetensors import SafetensorError

    try:
        yield
    except SafetensorError as error:
        number = re.search(r"os error (\d+)", str(error))
        code = int(number[1]) if number else errno.EIO
        raise OSError(code, os.strerror(code)) from error


def check_writable(folder: Path, needed_bytes: int, setting: str = "outputs") -> None:
    """Raise unless the folder that a setting names can be written and has that much room.

    Raises:
        ConfigError: the folder cannot be made or written, or its disk is nearly full.
    """
    probe = folder / f".write-test.{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            probe.write_bytes(b"btu")
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(
            f"{setting}={folder} cannot be written ({error.strerror}). Write {setting}=PATH for "
            "another folder."
        ) from error
    free = shutil.disk_usage(folder).free
    if free < needed_bytes:
        raise ConfigError(
            f"{setting}={folder} has {free / 1e6:.0f} MB free, but this run needs about "
            f"{needed_bytes / 1e6:.0f} MB. Make room or write {setting}=PATH for another disk."
        )
