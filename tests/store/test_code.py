"""A component's name in keys changes with its code, and with nothing else."""

import importlib
import linecache
import os
import shutil
import subprocess
import sys
import types
from pathlib import Path

import pytest
import yaml

from btu import __version__
from btu.attacks.base import Attack
from btu.cli import CONF
from btu.errors import ConfigError
from btu.store import code
from btu.store.code import code_of, modules_of, plugin_of

GROUPS = ("dataset", "attack", "model", "defense")
TARGETS = sorted(
    {
        settings["_target_"]
        for group in GROUPS
        for path in (CONF / group).glob("*.yaml")
        for loaded in [yaml.safe_load(path.read_text())]
        for settings in [loaded, *(v for v in loaded.values() if isinstance(v, dict))]
        if "_target_" in settings
    }
)


def class_of(target):
    module, _, name = target.rpartition(".")
    return getattr(importlib.import_module(module), name)


def own_modules(target):
    return {name.removeprefix("btu.") for name in modules_of(class_of(target))}


@pytest.mark.parametrize("target", TARGETS)
def test_every_component_of_a_checkout_has_a_code(target, monkeypatch):
    monkeypatch.setattr(code, "in_checkout", lambda: True)
    code._code_of.cache_clear()

    found = code_of(class_of(target))

    assert len(found) == 64
    assert target.rpartition(".")[0] in modules_of(class_of(target))


def test_different_components_have_different_codes():
    assert len({code_of(class_of(target)) for target in TARGETS}) == len(TARGETS)


def test_only_what_a_component_imports_counts(monkeypatch):
    monkeypatch.setattr(code, "in_checkout", lambda: True)

    insertion = own_modules("btu.attacks.insertion.Insertion")
    style = own_modules("btu.attacks.style.Style")

    assert insertion == {"attacks.base", "attacks.insertion", "attacks.triggered", "data.formats"}
    assert {"rewriting.tweet", "rewriting.generation"} <= style  # one is imported in a function
    assert "rewriting.syntax" not in style
    assert not any(name.startswith("attacks") for name in own_modules("btu.models.tiny.TinyModel"))


@pytest.fixture
def checkout(tmp_path):
    """The code of a class in a copy of btu that may be edited, in a process of its own."""
    shutil.copytree(Path(code.PACKAGE), tmp_path / "btu")
    (tmp_path / ".git").mkdir()

    def ask(target="btu.attacks.syntax.Syntax"):
        module, _, name = target.rpartition(".")
        line = f"from btu.store.code import code_of; from {module} import {name}"
        done = subprocess.run(
            [sys.executable, "-c", f"{line}; print(code_of({name}))"],
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    ask.folder = tmp_path / "btu"
    return ask


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    "module",
    [
        "attacks/syntax.py",  # its own
        "attacks/base.py",  # its base's base's
        "rewriting/words.py",  # imported by what it imports
        "rewriting/generation.py",  # imported inside a function
    ],
)
def test_an_edit_of_what_a_class_uses_changes_its_code(checkout, module):
    before = checkout()

    with (checkout.folder / module).open("a") as file:
        file.write("\nONE_MORE = 1\n")

    assert checkout() != before


def test_an_edit_of_text_for_people_or_of_another_module_changes_nothing(checkout):
    before = checkout()
    own = checkout.folder / "attacks" / "syntax.py"

    own.write_text("# A comment\n\n" + own.read_text().replace('"""', '"""Or so: ', 1))
    for other in ("attacks/style.py", "data/base.py", "report/page.py", "types.py"):
        with (checkout.folder / other).open("a") as file:
            file.write("\nONE_MORE = 1\n")

    assert checkout() == before


def test_a_release_names_its_version_and_reads_no_file(checkout, monkeypatch):
    (checkout.folder.parent / ".git").rmdir()
    edit(checkout.folder / "store" / "code.py", "def modules_of(", "def not_asked_for(")

    assert checkout() == f"btu {__version__}"


PLUGIN = '''
from dataclasses import dataclass
import numpy
from btu.attacks.insertion import Insertion
{imports}

@dataclass(frozen=True)
class Mine(Insertion):
    """What it does."""

    word: str  # a field

    def mark(self):
        {body}
'''


def write_plugin(folder, module="mine.py", imports="", body="return 1", **others):
    others[module] = PLUGIN.format(imports=imports, body=body)
    for name, text in others.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def forget():
    for name in [n for n in sys.modules if n.partition(".")[0] in ("mine", "helper", "my_package")]:
        del sys.modules[name]


@pytest.fixture
def plugin(monkeypatch):
    """Import a class from a folder, as a process of its own would."""

    def load(folder, target="mine.Mine"):
        forget()
        importlib.invalidate_caches()
        with monkeypatch.context() as patch:
            patch.syspath_prepend(folder)
            return class_of(target)

    yield load
    forget()


def test_an_outside_class_counts_with_what_lies_beside_it(plugin, tmp_path):
    imports = "import helper"
    plain = write_plugin(tmp_path / "a", imports=imports, **{"helper.py": "ONE = 1"})
    other_helper = write_plugin(tmp_path / "b", imports=imports, **{"helper.py": "ONE = 2"})
    other_body = write_plugin(
        tmp_path / "c", imports=imports, body="return 2", **{"helper.py": "ONE = 1"}
    )
    commented = write_plugin(
        tmp_path / "d",
        imports=imports,
        body="'''Say.'''\n        # it\n        return 1",
        **{"helper.py": "# one\nONE = 1", "unrelated.py": "ONE = 1"},
    )

    codes = [code_of(plugin(f)) for f in (plain, other_helper, other_body, commented)]

    assert len(set(codes[:3])) == 3
    assert codes[3] == codes[0]
    assert "numpy" not in modules_of(plugin(plain))
    assert {"mine", "helper", "btu.attacks.insertion"} <= set(modules_of(plugin(plain)))


def test_a_package_counts_as_far_as_it_is_imported(plugin, tmp_path):
    lines = (
        "from . import words\nfrom .more import deep\nfrom typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from my_package import only_types"
    )
    others = {
        "my_package/__init__.py": "from my_package.attack import Mine",
        "my_package/words.py": "def late():\n    from my_package.late import X",
        "my_package/late.py": "X = 1",
        "my_package/more/__init__.py": "from ..words import late as deep",
        "my_package/only_types.py": "",
        "my_package/other.py": "",
    }
    folder = write_plugin(tmp_path, "my_package/attack.py", imports=lines, **others)

    cls = plugin(folder, "my_package.Mine")

    found = {name for name in modules_of(cls) if name.startswith("my_package")}
    assert found == {f"my_package.{name}" for name in ("attack", "words", "late", "more")}
    record = plugin_of(cls)
    assert record["class"] == "my_package.attack.Mine"
    assert record["file"] == "my_package/attack.py"
    assert len(record["sha256"]) == 64


def test_an_outside_class_in_a_release_names_both(plugin, tmp_path, monkeypatch):
    monkeypatch.setattr(code, "in_checkout", lambda: False)

    cls = plugin(write_plugin(tmp_path))

    assert code_of(cls).startswith(f"btu {__version__} ")
    assert set(modules_of(cls)) == {"mine"}


def test_an_installed_plugin_counts_but_not_the_libraries_beside_it(plugin, tmp_path):
    folder = write_plugin(
        tmp_path / "site-packages", imports="import helper", **{"helper.py": "ONE = 1"}
    )

    modules = set(modules_of(plugin(folder)))

    assert "mine" in modules
    assert "helper" not in modules


def test_btus_own_classes_are_no_plugins():
    assert plugin_of(Attack) is None


def notebook_class(text, cell, monkeypatch):
    """A class as IPython makes it: in a module without a file, its cell in linecache."""
    file = f"<ipython-input-{cell}>"
    lines = text.splitlines(keepends=True)
    monkeypatch.setitem(linecache.cache, file, (len(text), None, lines, file))
    module = types.ModuleType("a_notebook")
    monkeypatch.setitem(sys.modules, "a_notebook", module)
    exec(compile(text, file, "exec"), vars(module))
    return module.Mine


def test_a_class_in_a_notebook_counts_as_its_cell_has_it(monkeypatch):
    first = PLUGIN.format(imports="", body="return 1")
    texts = [first, first + "\nx = 1  # the rest of the cell", first.replace("return 1", "pass")]

    classes = [notebook_class(text, cell, monkeypatch) for cell, text in enumerate(texts)]

    one, same, other = map(code_of, classes)
    assert one == same != other
    assert plugin_of(classes[0])["file"] is None


def test_a_class_without_any_source_says_what_to_do(monkeypatch):
    made = type("Mine", (Attack,), {"__module__": "nowhere"})

    with pytest.raises(ConfigError, match=r"nowhere\.Mine has no source .* Put the class in a"):
        code_of(made)
