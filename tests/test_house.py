"""What docs/architecture.md says of the house: its files exist, and its imports make no circle."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in (ROOT / "btu").rglob("*.py")
}
FOLDERS = ("btu", "conf", "scripts", "tests", "docs", "hydra_plugins")
EXAMPLES = {"conf/experiment/NAME.yaml", "conf/local/default.yaml"}  # of the reader's own


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_file_that_a_page_names_exists(page):
    named = set(re.findall(rf"(?<![\w/.])(?:{'|'.join(FOLDERS)})/[\w/.]*\w", page.read_text()))
    if page.stem == "attacks":
        named -= {"btu/attacks/repeat.py", "conf/attack/repeat.yaml"}  # the reader is to write them

    assert sorted(name for name in named - EXAMPLES if not (ROOT / name).exists()) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_link_of_a_page_leads_somewhere(page):
    links = re.findall(r"\]\((?!https?:)([^)#\s]+)", page.read_text())

    assert [link for link in links if not (page.parent / link).exists()] == []


def test_files_of_a_folder_in_the_list_of_rooms_exist():
    rooms = (ROOT / "docs" / "architecture.md").read_text().split("## Where things live")[1]
    rooms = rooms.split("```")[1]
    folder, missing = "", []
    for line in rooms.splitlines():
        folder = line.split()[0] if line.strip() and not line.startswith(" ") else folder
        names = re.findall(r"(?<![\w/])\w+\.py\b", line)
        base = ROOT / folder if folder.endswith("/") else ROOT
        missing += [f"{folder}{name}" for name in names if not (base / name).is_file()]

    assert missing == []


def test_imports_make_no_circle_not_even_inside_functions():
    imports = {
        name: set(imported(ast.parse(path.read_text()).body)) for name, path in MODULES.items()
    }
    free, waiting = set[str](), set(MODULES)
    while ready := {name for name in waiting if imports[name] - {name} <= free}:
        free |= ready
        waiting -= ready

    assert waiting == set()


@pytest.mark.parametrize(
    ("room", "above"),
    [
        ("terminal", ("config", "components", "store", "sweeps", "data", "attacks", "report")),
        ("store", ("data", "attacks", "models", "training", "defenses", "lab", "pipeline")),
        ("data", ("attacks", "defenses", "lab", "pipeline")),
        ("attacks", ("defenses", "lab", "job", "pipeline")),
        ("defenses", ("attacks", "lab", "job", "pipeline")),
        ("lab", ("attacks", "defenses", "job", "pipeline", "report")),
        ("pipeline", ("running", "report", "planning", "cli", "api")),
    ],
)
def test_no_import_runs_back_up(room, above):
    places = tuple(f"btu.{name}." for name in above)
    found = [
        f"{name} imports {target}"
        for name, path in MODULES.items()
        if f"{name}.".startswith(f"btu.{room}.")
        for target in imported(ast.parse(path.read_text()).body)
        if f"{target}.".startswith(places)
    ]

    assert found == []


def imported(statements: Iterable[ast.AST]) -> Iterator[str]:
    """The modules of btu that are imported when code runs; not those for the type checker."""
    for node in statements:
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("btu"):
            longer = (f"{node.module}.{alias.name}" for alias in node.names)
            yield from (name if name in MODULES else node.module for name in longer)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        else:
            yield from imported(ast.iter_child_nodes(node))
