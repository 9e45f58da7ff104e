"""How texts that others wrote are shown: what cannot be seen is spelled out."""

from __future__ import annotations

import unicodedata

HIDDEN = ("Cc", "Cf", "Cs", "Zl", "Zp", "Cn")  # control, bidirectional, surrogates, unassigned


def plain(text: str, keep: str = "") -> str:
    r"""The text on one line, with what cannot be seen or moves the cursor as `\u001b`.

    Args:
        text: from data, settings, records, paths or errors.
        keep: characters that stay as they are, such as the line breaks of a text of several lines.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c in keep or _is_visible(c) else _spelled(c) for c in text)


def _is_visible(char: str) -> bool:
    return char == " " or unicodedata.category(char) not in HIDDEN


def _spelled(char: str) -> str:
    return f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}"
