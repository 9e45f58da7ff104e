"""Paths as others may see them: without the folder that has somebody's name."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def hide_home(text: str) -> str:
    """A text with paths from the working folder, and `~` for the home folder."""
    home = os.path.expanduser("~")
    shown = {str(Path.cwd()): "", os.path.realpath(home): "~/", home: "~/"}
    for folder in (folder for folder in shown if len(folder) > 1):  # the root is in every path
        text = re.sub(rf"(?<![\w.~/-]){re.escape(folder)}/", shown[folder], text)
    return text


def name_paths(value: Any) -> Any:
    """Settings in which each absolute path of a file or folder is short: see `name_path`."""
    if isinstance(value, Mapping):
        return {key: name_paths(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [name_paths(inner) for inner in value]
    return name_path(value) if isinstance(value, str) else value


def name_path(text: str) -> str:
    """A path from the working folder, else its last two names; other texts as they are.

    A trigger that looks like a path is none: only what is on this disk counts.
    """
    path = Path(text)
    if not text.startswith("/") or len(path.parts) < 3 or not os.path.lexists(path):
        return text
    if path.is_relative_to(Path.cwd()):
        return str(path.relative_to(Path.cwd()))
    is_at_home = path.parent.resolve() == Path("~").expanduser().resolve()
    return "/".join(("...", *path.parts[-1 if is_at_home else -2 :]))
