"""Where every setting of every component is checked, from yaml as well as from Python."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, ClassVar, Union, get_args, get_origin, get_type_hints

from btu.errors import ConfigError, did_you_mean, first_line, shown
from btu.settings.ranges import Range, Rule, Text

FINITE = Range()  # what a number is where nothing else is said
NOUNS: Mapping[Any, str] = {
    **{str: "text", int: "a number", float: "a number", bool: "true or false"},
    **{list: "a list", dict: "a mapping"},
}
WORDS = {True: ("true, yes and on", "yes"), False: ("false, no and off", "no")}


class Settings:
    """Base of dataclasses whose fields say what they may be (`btu.settings.ranges`).

    A subclass with a `__post_init__` of its own, for what relates two fields, calls this one first.
    """

    place: ClassVar[str] = ""  # where it stands in a config, for errors; {name} is its name

    def __post_init__(self) -> None:
        check_settings(type(self), vars(self), self.place.format_map(vars(self)))


@dataclass(frozen=True)
class Kind:
    """What the type hint of a setting says."""

    types: tuple[Any, ...]  # without None; several of a union
    optional: bool
    rules: tuple[Rule, ...]
    items: Kind | None = None  # of what a list or a mapping holds
    either: tuple[Kind, ...] = ()  # of a union: what a value of each type may be

    @property
    def settings(self) -> Any:
        """The dataclass that it is; None if it is not one."""
        return next((kind for kind in self.types if is_dataclass(kind)), None)

    @property
    def noun(self) -> str:
        """What it is, for errors; "" of anything."""
        found = [name for kind, name in NOUNS.items() if kind in self.types]
        return " or ".join(found) or ("a mapping" if self.settings else "")


@cache
def kinds(cls: Any) -> Mapping[str, Kind]:
    """What each field of a dataclass may be; `cls` is one (mypy takes it for not hashable).

    Raises:
        ConfigError: a type that is not known where the class is defined.
    """
    try:
        hints = get_type_hints(cls, include_extras=True)
    except NameError as error:  # types are looked up in the class's module
        raise ConfigError(
            f"the types of {cls.__name__}'s fields cannot be read: {first_line(error)}. "
            "Import what they name outside of TYPE_CHECKING."
        ) from error
    return {field.name: _kind(hints[field.name]) for field in fields(cls)}


def check_settings(cls: type[Any], values: Mapping[str, Any], place: str) -> None:
    """Raise unless each value is what its field says; nested mappings, lists and items, too.

    Args:
        cls: the dataclass that the values belong to.
        values: by field, of the fields' types; those that are left out are not checked.
        place: the key that they stand under, "" at the root.

    Raises:
        ConfigError: one sentence with the key, what was expected, what came and what to type.
    """
    for key, kind, value in walk(cls, values, place):
        if value is None:
            continue
        numbers = isinstance(value, float) and not any(isinstance(r, Range) for r in kind.rules)
        for rule in (*kind.rules, *((FINITE,) if numbers else ())):
            rule.check(key, value, kind.optional)


def check_words(cls: type[Any], values: Mapping[str, Any], place: str) -> None:
    """Raise where a key is not a field, or YAML made of a value what the field cannot hold.

    Args:
        cls, place: as for `check_settings`.
        values: as they were read, before any is converted.

    Raises:
        ConfigError: no such field; a list or a mapping where none is expected; a whole number out
            of its range; where text is expected, a boolean, null, or a number that may have been
            written otherwise.
    """
    _check_names(cls, values, place)
    for key, kind, value in walk(cls, values, place):
        if kind.settings and isinstance(value, dict):
            _check_names(kind.settings, value, key)
        came = NOUNS[type(value)] if isinstance(value, (list, dict)) else ""
        if came and kind.noun and came != kind.noun:
            raise ConfigError(f"{key} is {kind.noun}, got {came}: {shown(value)}.")
        if type(value) is int:  # of any size, which a float is not
            for rule in kind.rules:
                if isinstance(rule, Range):
                    rule.check(key, value, kind.optional)
        if str not in kind.types or isinstance(value, str) or type(value) in kind.types:
            continue
        if isinstance(value, bool):
            words, example = WORDS[value]
            raise ConfigError(
                f"{key} is {kind.noun}, got {shown(value)}, which YAML makes of {words} without "
                f"quotes. Quote the word, such as '{example}'."
            )
        if value is None and not kind.optional:
            raise ConfigError(
                f"{key} is {kind.noun}, got null. Quote the word if it is one: 'null'."
            )
        verbatim = any(isinstance(rule, Text) and rule.verbatim for rule in kind.rules)
        if isinstance(value, float) or (isinstance(value, int) and verbatim):
            raise ConfigError(
                f"{key} is text, got the number {shown(value)}, which may have been written "
                f"otherwise: YAML reads 1.10 as 1.1, 007 as 7. Quote it, such as '{shown(value)}'."
            )


def _check_names(cls: Any, values: Mapping[str, Any], place: str) -> None:
    for name in values:
        if name not in kinds(cls):
            near = did_you_mean(str(name), kinds(cls))
            key, owner = (f"{place}.{name}", cls.__name__) if place else (name, "the run")
            raise ConfigError(f"{key}: {owner} has no such field; {near}")


def walk(cls: Any, values: Mapping[str, Any], place: str) -> Iterator[tuple[str, Kind, Any]]:
    """Every setting with its key and kind: a field, then what it holds.

    Args:
        cls, values, place: as for `check_settings`.
    """
    for name, kind in kinds(cls).items():
        if name in values:
            yield from _parts(f"{place}.{name}" if place else name, kind, values[name])


def _parts(key: str, kind: Kind, value: Any) -> Iterator[tuple[str, Kind, Any]]:
    kind = next((one for one in kind.either if type(value) in one.types), kind)
    yield key, kind, value
    if isinstance(value, Mapping) and kind.settings:
        yield from walk(kind.settings, value, key)
    elif isinstance(value, Mapping) and kind.items:
        for name, part in value.items():
            yield from _parts(f"{key}.{name}", kind.items, part)
    elif isinstance(value, (list, tuple)) and kind.items:
        for number, part in enumerate(value):
            yield from _parts(f"{key}[{number}]", kind.items, part)


def _kind(hint: Any) -> Kind:
    origin, inside = get_origin(hint), get_args(hint)
    if origin is Annotated:
        kind = _kind(inside[0])
        rules = tuple(rule for rule in inside[1:] if isinstance(rule, Rule))
        return replace(kind, rules=(*kind.rules, *rules))
    if origin in (Union, UnionType):
        either = tuple(_kind(part) for part in inside if part is not NoneType)
        optional = len(either) < len(inside)
        if len(either) == 1:
            return replace(either[0], optional=optional)
        types = tuple(kind for one in either for kind in one.types)
        return Kind(types, optional, (), either=either)
    items = _kind(inside[-1]) if origin in (list, tuple, dict) and inside else None
    return Kind((origin or hint,), hint is Any, (), items)
