"""Checksums, atomic writes, and the check that results can be written at all."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

from btu.errors import ConfigError


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
