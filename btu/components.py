"""Where components come from: the class that a `_target_` names, btu's or the user's.

It may stand in any module that can be imported, as long as it derives from its group's base in
`BASES`. Modules in the current directory can be, as with `python -m`, after all that is
installed. A config folder is trusted as code is: naming a module runs it.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import re
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import get_annotations
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

from btu.attacks.base import Attack
from btu.data.base import DatasetSource
from btu.defenses.base import Defense
from btu.errors import ConfigError, did_you_mean, first_line
from btu.models.base import ModelSource
from btu.settings.base import Settings
from btu.settings.ranges import Name
from btu.store.code import is_library


@dataclass(frozen=True)
class Tracker(Settings):
    """Where results are mirrored to; this one mirrors nothing."""

    name: Name

    place: ClassVar[str] = "tracking"

    @contextmanager
    def job(self, experiment: Any, run_dir: Path) -> Iterator[Tracker]:
        """Open a run for one job and close it whatever happens; yields what mirrors its result."""
        yield self

    def log_result(self, result: Any, run_dir: Path, objective: float | None) -> str | None:
        """Mirror a finished result; the folder of its run if that is to be uploaded later."""
        return None


BASES: dict[str, type[Any]] = {
    "dataset": DatasetSource,
    "attack": Attack,
    "model": ModelSource,
    "defense": Defense,
    "tracking": Tracker,
}


def find_class(target: object, group: str) -> type[Any]:
    """The class that a `_target_` names, if it is a component of this group.

    Raises:
        ConfigError: there is no such class, it cannot be imported, or it is of another kind.
    """
    base = BASES[group.partition(".")[0]]
    expected = f"{base.__module__}.{base.__name__}"
    where = f"{group}._target_"
    if not isinstance(target, str) or not re.fullmatch(r"\w+(\.\w+)+", target):
        raise ConfigError(
            f"{where} names a class with its module, such as {expected}, got {target!r}."
        )
    module_name, _, class_name = target.rpartition(".")
    module = _imported(module_name, where)
    if not hasattr(module, class_name):
        near = _nearest(
            class_name, _components(module, base), f"class that derives from {expected}"
        )
        raise ConfigError(f"{where}: there is no class {class_name} in {module_name}; {near}")
    cls = getattr(module, class_name)
    if not (isinstance(cls, type) and issubclass(cls, base)):
        came = "a class that does not" if isinstance(cls, type) else f"a {type(cls).__name__}"
        raise ConfigError(
            f"{where}: expected a class that derives from {expected}, but {target} is {came}."
        )
    for parent in (parent for parent in cls.__mro__ if issubclass(parent, base)):
        if get_annotations(parent) and "__dataclass_params__" not in vars(parent):
            raise ConfigError(
                f"{where}: the fields of {parent.__name__} are not read, because it is not a "
                "dataclass. Write @dataclass(frozen=True) above it."
            )
    return cls


def _imported(name: str, where: str) -> ModuleType:
    """A module by its name; one in the current directory is found, after all that is installed.

    Raises:
        ConfigError: there is no such module, or it raises when it is imported.
    """
    if not name.startswith("btu.") and not {"", os.getcwd()} & set(sys.path):
        sys.path.append(os.getcwd())  # the console script has its own folder there instead
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise _import_error(error, name, where) from error
        raise ConfigError(f"{where}: {_no_module(error.name)}") from error
    except (Exception, SystemExit) as error:
        raise _import_error(error, name, where) from error


def _no_module(name: str) -> str:
    parent, _, last = name.rpartition(".")
    if not parent:
        return (
            f"there is no module {name}. Install it, or put the folder that it lies in in "
            "PYTHONPATH."
        )
    folders = getattr(sys.modules.get(parent), "__path__", ())
    known = [module.name for module in pkgutil.iter_modules(folders)]
    return f"there is no module {last} in {parent}; {_nearest(last, known, 'module')}"


def _nearest(wrong: str, known: Sequence[str], kind: str) -> str:
    return did_you_mean(wrong, known, "it has") if known else f"it has no {kind}."


def _components(module: ModuleType, base: type[Any]) -> list[str]:
    """The names of a module's classes that derive from a base."""
    classes = {name: value for name, value in vars(module).items() if isinstance(value, type)}
    return [name for name, cls in classes.items() if issubclass(cls, base) and cls is not base]


def _import_error(error: BaseException, name: str, where: str) -> ConfigError:
    """What an import raised, with the last line outside of libraries that led to it."""
    if isinstance(error, SyntaxError) and error.filename:
        place, reason = (error.filename, error.lineno), error.msg
    else:
        lines = [(f.filename, f.lineno) for f in traceback.extract_tb(error.__traceback__)]
        own = [line for line in lines if line[0] != __file__ and _is_users(line[0])]
        place, reason = (own or lines)[-1], first_line(error)
    path = Path(place[0])
    file = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    said = f"{type(error).__name__}: {reason}" if reason else type(error).__name__
    return ConfigError(f"{where}: {name} cannot be imported: {file} line {place[1]} raises {said}")


def _is_users(file: str) -> bool:
    return not file.startswith("<") and not is_library(Path(file))
