"""Paraphrases on disk: written batch by batch, read by whoever wants the same ones.

A folder holds what one model makes under one set of settings. Each finished batch is a file of
JSON lines named by the checksum of its content, written whole and then renamed, so that processes
that run at once cannot harm each other and a damaged file shows itself.
"""

from __future__ import annotations

import hashlib
import json
import logging
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from btu.store.files import write_json

SETTINGS = "settings.json"  # no stage's manifest: `cache.limit_gb` leaves these folders alone
SUFFIX = ".jsonl"
log = logging.getLogger(__name__)


class KeptParaphrases:
    """The paraphrases of one folder, in memory.

    Args:
        folder: where they are kept.
        settings: what they depend on, for people who look into the folder.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self.folder, self.settings = folder, settings
        self.paraphrases: dict[str, str] = {}  # by text
        self._seen: set[str] = set()  # names of files
        self.read()

    def read(self) -> None:
        """Take in what has been written since; damaged files count as not there."""
        for path in sorted(self.folder.glob(f"*{SUFFIX}")):
            if path.name not in self._seen:
                self._seen.add(path.name)
                self._take(path)

    def _take(self, path: Path) -> None:
        content = path.read_bytes()
        if path.name != _name(content):
            log.warning(f"{path} is damaged; its paraphrases are made again.")
            return
        for line in content.decode().rstrip("\n").split("\n"):
            row = json.loads(line)
            self.paraphrases.setdefault(row["text"], row["paraphrase"])

    def add(self, paraphrases: Mapping[str, str]) -> None:
        """Keep a finished batch: whole or not at all."""
        rows = ({"text": text, "paraphrase": made} for text, made in paraphrases.items())
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        content = "".join(lines).encode()
        if not (self.folder / SETTINGS).exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            write_json(self.folder / SETTINGS, self.settings)
        name = _name(content)
        temporary = self.folder / f".{name}.{secrets.token_hex(4)}"
        temporary.write_bytes(content)
        temporary.replace(self.folder / name)
        self._seen.add(name)
        self.paraphrases.update(paraphrases)


def _name(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16] + SUFFIX
