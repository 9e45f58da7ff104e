"""How a value is written on the command line, where Hydra reads some characters as grammar."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, OverrideParseException

from btu.errors import ConfigError

SEVERAL = "+"  # between the names of several options, as in attack=badnets+style
LIST = re.compile(r"\[([^\[\]]+)\]")
PLAIN = re.compile(r"[\w./+-]+", re.ASCII)


def quoted(text: str) -> str:
    """A text in double quotes, which Hydra reads as itself."""
    escaped = re.sub(r'(\\*)"', r'\1\1\\"', text)  # backslashes count before a quote only
    return '"' + re.sub(r"(\\+)$", r"\1\1", escaped) + '"'


def written(text: str) -> str:
    """A text as the value of an override, in quotes where it needs them."""
    return text if PLAIN.fullmatch(text) else quoted(text)


def join_attacks(words: Sequence[str]) -> list[str]:
    """Words of a command line, in which attack=[a,b] is attack=a+b, the option made of both.

    For Hydra a list of options is one file laid over another.
    """
    return [
        LIST.sub(lambda names: SEVERAL.join(_names_in(names[1])), word)
        if re.match(r"\+{0,2}attack=", word)
        else word
        for word in words
    ]


def _names_in(listed: str) -> list[str]:
    return [name.strip(" '\"") for name in listed.split(",")]


def several_names(option: str) -> list[str]:
    """The names that an option such as badnets+style is made of.

    Raises:
        ConfigError: a name is missing or stands there twice.
    """
    names = option.split(SEVERAL)
    if "" in names:
        raise ConfigError(
            f"attack={option}: a name is missing. Write for example attack=[badnets,style]."
        )
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(
                f"attack=[{','.join(names)}] names {name} twice. Each attack plants once: leave "
                "one out."
            )
    return names


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
