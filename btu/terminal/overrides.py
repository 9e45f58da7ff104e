"""How a value is written on the command line, where Hydra reads some characters as grammar."""

from __future__ import annotations

import re
import shlex

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, OverrideParseException

PLAIN = re.compile(r"[\w./+-]+", re.ASCII)


def quoted(text: str) -> str:
    """A text in double quotes, which Hydra reads as itself."""
    escaped = re.sub(r'(\\*)"', r'\1\1\\"', text)  # backslashes count before a quote only
    return '"' + re.sub(r"(\\+)$", r"\1\1", escaped) + '"'


def written(text: str) -> str:
    """A text as the value of an override, in quotes where it needs them."""
    return text if PLAIN.fullmatch(text) else quoted(text)


def explain_override(error: HydraException) -> str | None:
    """A sentence with what to type, if the error is of an override that Hydra cannot read."""
    ambiguous = re.match(r"Ambiguous value for argument '(.*?)'\n", str(error), re.DOTALL)
    if isinstance(error, OverrideParseException):
        override = error.override
    elif ambiguous:
        override = ambiguous[1]
    else:
        return None
    key, sign, value = override.partition("=")
    advised = f"{key}={quoted(value)}"
    if not sign:
        return f"{override!r} is not KEY=VALUE. `btu --help` lists the keys."
    if value[:1] in ("[", "{") or not _is_readable(advised):
        return (
            f"{override} cannot be read: a text with = , ( ) [ ] {{ }} # & or a letter beyond "
            """ASCII needs quotes, and the word as a whole those of the shell: 'KEY=["a=b",c]'."""
        )
    values = " For several values of a sweep add -m." if ambiguous else ""
    return (
        f"{override} cannot be read: Hydra takes a character of the value for its own grammar. "
        f"Quote it: {shlex.quote(advised)}.{values}"
    )


def _is_readable(override: str) -> bool:
    try:
        OverridesParser.create().parse_override(override)
    except HydraException:
        return False
    return True
