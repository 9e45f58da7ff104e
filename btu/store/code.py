"""The code of a component, as a name for cache keys: an attack that was edited is another attack.

What counts is code, not text: comments, docstrings and the place of a line change nothing. Which
code counts follows from the imports, so that there is no list to maintain.
"""

from __future__ import annotations

import ast
import hashlib
import linecache
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from btu.errors import ConfigError
from btu.store.files import checksum

__version__ = "0.1.0"
PACKAGE = Path(__file__).resolve().parent.parent
# What decides what a component does. How it is trained and stored has versions of its own.
COMPONENTS = (
    "btu.attacks",
    "btu.rewriting",
    "btu.data",
    "btu.models",
    "btu.defenses",
    "btu.evidence",
)
STANDARD_LIBRARY = Path(os.__file__).parent
LIBRARY_FOLDERS = {"site-packages", "dist-packages"}


class _Module(NamedTuple):
    """A module's file, and the folder that its top-level package lies in."""

    name: str
    path: Path
    root: Path


class _Import(NamedTuple):
    """An import as written: `from ..words import NAMES` has level 2; `import words` no names."""

    level: int
    module: str
    names: tuple[str, ...] | None


def code_of(cls: type[Any]) -> str:
    """The name of a component's code, equal exactly when its code is equal.

    For a class of an installed release it is the release, and no file is read. In a checkout it
    is a hash of the modules that define the class and its bases, and of what they import, also
    inside functions, from the packages in `COMPONENTS`. For a class from outside btu it is the
    same with what is imported from its own top-level package or from beside that, but not from
    installed libraries, whose versions are in the record. Of a class in a notebook it is the
    class with its bases; functions in other cells do not count.

    Files are read when a class is first asked for, soon after its import; a file that is edited
    later counts when its class is imported anew, as what runs is still the old code.

    Raises:
        ConfigError: there is no source, neither in a file nor from a notebook.
    """
    named: Any = cls  # mypy takes a class of dataclasses for not hashable
    return _code_of(named)


@cache
def _code_of(cls: type[Any]) -> str:
    release = f"btu {__version__}"
    if _is_of_btu(cls) and not in_checkout():
        return release
    digest = _digest_of(modules_of(cls))
    return digest if in_checkout() else f"{release} {digest}"


@cache
def code_of_module(name: str) -> str:
    """The same of a module of btu that components rely on without importing it."""
    if not in_checkout():
        return f"btu {__version__}"
    place = PACKAGE.parent.joinpath(*name.split(".")).with_suffix(".py")
    return _digest_of(_read_all([_Module(name, place, PACKAGE.parent)], {}))


def _digest_of(codes: Mapping[str, str]) -> str:
    lines = "\n".join(f"{name} {code}" for name, code in sorted(codes.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def plugin_of(cls: type[Any]) -> dict[str, str | None] | None:
    """What a record says of a class from outside btu: its name, file and checksum; else None.

    The file is named from the folder of its top-level package; a notebook has none.
    """
    if _is_of_btu(cls):
        return None
    module = _module_of(cls)
    if module is None:
        file, digest = None, hashlib.sha256(ast.unparse(_class_in_notebook(cls)).encode())
        sha256 = digest.hexdigest()
    else:
        file, sha256 = module.path.relative_to(module.root).as_posix(), checksum(module.path)
    return {"class": f"{cls.__module__}.{cls.__qualname__}", "file": file, "sha256": sha256}


def plugins_of(components: Iterable[object]) -> list[dict[str, str | None]]:
    """What a record says of those components that are not btu's own."""
    plugins = (plugin_of(type(component)) for component in components)
    return [plugin for plugin in plugins if plugin is not None]


def in_checkout() -> bool:
    """Whether this is btu's repository and no release; edits are made here."""
    return (PACKAGE.parent / ".git").exists()


def modules_of(cls: type[Any]) -> dict[str, str]:
    """A hash of the code of each module that counts for a class, by the module's name.

    Raises:
        ConfigError: there is no source of the class or of a base.
    """
    codes: dict[str, str] = {}
    waiting: list[_Module] = []
    for base in filter(_counts, cls.__mro__):
        module = _module_of(base)
        if module is None:
            name = f"{base.__module__}.{base.__qualname__}"
            codes[name] = _digest(_class_in_notebook(base))
        else:
            waiting.append(module)
    return _read_all(waiting, codes)


def _read_all(waiting: list[_Module], codes: dict[str, str]) -> dict[str, str]:
    """A hash of these modules and of what they import, beside those that are there."""
    while waiting:
        module = waiting.pop()
        if module.name not in codes:
            codes[module.name], imports = _read(module.path.read_bytes())
            waiting += (found for line in imports for found in _find(line, module))
    return codes


def is_library(path: Path) -> bool:
    """Whether a file is Python's own or was installed, and so is not edited by the user."""
    return path.is_relative_to(STANDARD_LIBRARY) or not LIBRARY_FOLDERS.isdisjoint(path.parts)


def _counts(base: type[Any]) -> bool:
    """Whether the code of this base is a component's own; torch.nn.Module's is not."""
    if _is_of_btu(base):
        return in_checkout() and _is_component(base.__module__)
    if base.__module__.partition(".")[0] in sys.stdlib_module_names:
        return False
    module = _module_of(base)
    return module is None or not is_library(module.path) or any(map(_is_of_btu, base.__mro__))


def _is_of_btu(cls: type[Any]) -> bool:
    return cls.__module__.partition(".")[0] == PACKAGE.name


def _is_component(module: str) -> bool:
    return f"{module}.".startswith(tuple(f"{name}." for name in COMPONENTS))


def _module_of(cls: type[Any]) -> _Module | None:
    """Where a class is defined; None where no file is, as in a notebook."""
    module = sys.modules.get(cls.__module__)
    path = Path(getattr(module, "__file__", None) or "")
    if path.suffix != ".py" or not path.is_file():
        return None
    spec = getattr(module, "__spec__", None)  # `python -m my_package.script` is `__main__`
    name = spec.name if spec is not None else cls.__module__
    depth = name.count(".") + (path.name == "__init__.py")
    folders = path.absolute().parents
    return _Module(name, path.absolute(), folders[min(depth, len(folders) - 1)])


def _find(line: _Import, importer: _Module) -> Iterator[_Module]:
    """The modules that an import names, as far as they count."""
    name = line.module
    if line.level:
        up = line.level - (importer.path.name == "__init__.py")
        parts = importer.name.split(".")
        name = ".".join([*parts[: len(parts) - up], *([name] if name else [])])
    if line.names is None:  # `import a.b` names both
        parts = name.split(".")
        wanted = [[".".join(parts[: end + 1])] for end in range(len(parts))]
    else:  # of a package, its module or what its __init__.py holds
        wanted = [[f"{name}.{member}", name] for member in line.names]
    for names in wanted:
        found = (_locate(candidate, importer) for candidate in names)
        yield from [module for module in found if module is not None][:1]


def _locate(name: str, importer: _Module) -> _Module | None:
    top, root = name.partition(".")[0], importer.root
    if top == PACKAGE.name:
        if not in_checkout() or not _is_component(name):
            return None
        root = PACKAGE.parent
    elif top != importer.name.partition(".")[0] and (root == PACKAGE.parent or is_library(root)):
        return None
    place = os.path.join(root, *name.split("."))
    for path in (os.path.join(place, "__init__.py"), f"{place}.py"):
        if os.path.isfile(path):
            return _Module(name, Path(path), root)
    return None


@cache
def _read(source: bytes) -> tuple[str, tuple[_Import, ...]]:
    """A hash of a module's code, and its imports."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):  # edited since it was imported, or imported only when needed
        return hashlib.sha256(source).hexdigest(), ()
    return _digest(tree), tuple(_imports(tree.body))


def _imports(statements: Iterable[ast.AST]) -> Iterator[_Import]:
    for node in statements:
        if isinstance(node, ast.Import):
            yield from (_Import(0, alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names = tuple(alias.name for alias in node.names)
            yield _Import(node.level, node.module or "", names)
        elif isinstance(node, ast.If) and _is_type_checking(node.test):
            yield from _imports(node.orelse)  # what only the type checker imports is not run
        elif not isinstance(node, ast.expr):
            yield from _imports(ast.iter_child_nodes(node))


def _is_type_checking(test: ast.expr) -> bool:
    name = test.attr if isinstance(test, ast.Attribute) else getattr(test, "id", None)
    return name == "TYPE_CHECKING"


def _digest(node: ast.AST) -> str:
    parts: list[str] = []
    _dump(node, parts.append)
    return hashlib.sha256("".join(parts).encode("utf-8", "backslashreplace")).hexdigest()


def _dump(node: object, write: Callable[[str], None]) -> None:
    """Write a syntax tree without docstrings, places and what is empty.

    `ast.dump` writes empty fields before Python 3.13 and not after: the keys of two Pythons would
    differ.
    """
    if isinstance(node, list):
        write("[")
        for item in node:
            if not _is_docstring(item):
                _dump(item, write)
        write("]")
    elif isinstance(node, ast.AST):
        write(f"{type(node).__name__}(")
        for name in node._fields:
            value = getattr(node, name, None)
            if isinstance(value, str):  # most values are names: without a call of their own
                write(f"{name}={value!r},")
            elif value is not None and value != [] and name != "ctx":  # it follows from the place
                write(f"{name}=")
                _dump(value, write)
        write(")")
    else:
        write(f"{node!r},")


def _is_docstring(node: object) -> bool:
    """Whether this is a statement that is a string: it documents a module, a class or a field."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _class_in_notebook(cls: type[Any]) -> ast.ClassDef:
    """The definition of a class whose module has no file.

    IPython keeps the text of each cell in `linecache`. The cell is found through the class's
    functions: `inspect.getsource` asks for the file of the class's module and gives up.
    """
    for file in _files_of_functions(cls):
        try:
            tree = ast.parse("".join(linecache.getlines(file)))
        except (SyntaxError, ValueError):
            continue
        classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
        same_name = [node for node in classes if node.name == cls.__name__]
        if same_name:
            return same_name[-1]
    raise ConfigError(
        f"{cls.__module__}.{cls.__qualname__} has no source that could be read, so nothing could "
        "tell when it was edited. Put the class in a file and import it."
    )


def _files_of_functions(cls: type[Any]) -> Iterator[str]:
    for value in vars(cls).values():
        for name in ("__func__", "fget", "func"):  # class method, property, cached property
            value = getattr(value, name, None) or value
        code = getattr(value, "__code__", None)
        if code is not None:
            yield code.co_filename
