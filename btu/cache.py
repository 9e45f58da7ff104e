"""Stage cache: what was computed once is not computed again, also after a kill.

An entry is `cache/<stage>/<key>/` with its files and, written last, `manifest.json` that holds
what the key was made of and each file's checksum. It is written into a temporary folder and
renamed, so there is no half entry; files are verified when read and a bad entry is rebuilt.
Nothing is pickled: stages write safetensors, npz and JSON.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

from btu.files import checksum

log = logging.getLogger(__name__)
MANIFEST = "manifest.json"


def make_key(parts: Mapping[str, Any]) -> str:
    """A short name for everything that a result depends on."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class StageCache:
    """Content-addressed folders of finished stages."""

    def __init__(self, root: Path, recompute: bool = False) -> None:
        self.root = root
        self.recompute = recompute
        self.made: set[str] = set()  # keys computed by this process, which `recompute` keeps

    def folder(
        self, stage: str, parts: Mapping[str, Any], compute: Callable[[Path], None]
    ) -> tuple[Path, str]:
        """The finished folder of a stage and its key, computed if there is none.

        Args:
            stage: name of the stage, its sub-folder.
            parts: everything the result depends on.
            compute: writes the stage's files into the folder it is given.
        """
        key = make_key({"stage": stage, **parts})
        final = self.root / stage / key
        if final.exists():
            if not self._is_intact(final):
                shutil.rmtree(final)
            elif key in self.made or not self.recompute:
                return final, key
        temporary = self.root / stage / f".{key}.{os.getpid()}.{uuid4().hex[:8]}"
        temporary.mkdir(parents=True)
        try:
            compute(temporary)
            self._write_manifest(temporary, key, parts)
            self._publish(temporary, final)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        self.made.add(key)
        return final, key

    def _is_intact(self, folder: Path) -> bool:
        try:
            files = json.loads((folder / MANIFEST).read_text())["files"]
            bad = [name for name, wanted in files.items() if checksum(folder / name) != wanted]
        except (OSError, ValueError, KeyError) as error:
            bad = [str(error)]
        if bad:
            log.warning("cache entry %s is damaged (%s) and is made again", folder, bad[0])
        return not bad

    def _write_manifest(self, folder: Path, key: str, parts: Mapping[str, Any]) -> None:
        files = {p.name: checksum(p) for p in sorted(folder.iterdir())}
        manifest = {"key": key, "parts": parts, "files": files}
        (folder / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True))

    def _publish(self, temporary: Path, final: Path) -> None:
        """Rename into place; whoever comes second keeps the first's entry, which is whole."""
        old = temporary.with_name(f"{temporary.name}.old")
        if self.recompute and final.exists():
            final.rename(old)
        try:
            temporary.rename(final)
        except OSError:
            if not (final / MANIFEST).is_file():
                raise
        shutil.rmtree(old, ignore_errors=True)
