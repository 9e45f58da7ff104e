"""What comes from records cannot break out of a format."""

import pytest

from btu.report.formats import escape_markdown, markdown, slug
from btu.report.grids import Cell, Grid, Line
from btu.report.latex import escape_latex
from btu.terminal.text import plain


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("a_b&c%d#e$f", r"a\_b\&c\%d\#e\$f"),
        (r"\input{x}", r"\textbackslash{}input\{x\}"),
        ("~^<|>", r"\textasciitilde{}\textasciicircum{}\textless{}\textbar{}\textgreater{}"),
        ("84.1 ± 1.2", r"84.1 $\pm$ 1.2"),
        (
            "Ġcf 中 đ",
            "Ġcf {[}U+4E2D{]} {[}U+0111{]}",
        ),  # pdflatex has no đ without a further package
        ("a--b", "a-{}-{}b"),
    ],
)
def test_latex_sets_the_text_as_it_is(text, escaped):
    assert escape_latex(text) == escaped


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("a|b", r"a\|b"),
        ("<script>", "&lt;script&gt;"),
        ("[x](y) `z` *w* _v_", r"\[x\](y) \`z\` \*w\* \_v\_"),
        ("one\ntwo", r"one\\u000atwo"),
        ("https://x", "https&#58;//x"),
        ("AT&amp;T", "AT&amp;amp;T"),
    ],
)
def test_markdown_shows_the_text_as_it_is(text, escaped):
    assert escape_markdown(text) == escaped


def test_a_pipe_in_a_cell_adds_no_column():
    grid = Grid(("token", "n"), (False, True), (Line((Cell("a|b", bold=True), Cell("1"))),))

    assert markdown(grid).splitlines()[2] == r"| **a\|b** | 1 |"


def test_what_cannot_be_seen_is_spelled_out():
    assert plain("a\x00b‮c\td") == "a\\u0000b\\u202ec\\u0009d"


@pytest.mark.parametrize("name", ["../../x", "a b/c", "..", "", "<&>", "é"])
def test_names_of_files_hold_nothing_a_path_or_page_would_read(name):
    assert all(c.isascii() and (c.isalnum() or c in ".-") for c in slug(name))
    assert not slug(name).startswith(".")
    assert slug(name)
