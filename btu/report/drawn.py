"""A picture as files: PNG, SVG and PDF, and the SVG in the colours of the page."""

from __future__ import annotations

import io
import logging
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from btu.report.formats import slug
from btu.report.palette import VARIABLES, new_figure
from btu.terminal.text import plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

logging.getLogger("fontTools").setLevel(logging.WARNING)  # it tells of every glyph of a PDF
FORMATS = ("png", "svg", "pdf")
WIDTH = 1600  # pixels of a PNG


@dataclass(frozen=True)
class Picture:
    """A picture that can be drawn: what it shows, in words, and for which choices."""

    section: str
    title: str
    parts: tuple[str, ...]  # of the file's name
    alt: str
    labels: dict[str, tuple[str, ...]]  # dataset, attack, model, defense
    size: tuple[float, float]  # inches
    draw: Callable[[Figure], None]


@dataclass(frozen=True)
class Drawn:
    """A picture as files: their name without its ending, and the SVG of the page."""

    picture: Picture
    name: str
    svg: str


def draw(picture: Picture, name: str, folder: Path) -> Drawn:
    """Write PNG, SVG and PDF; give the SVG with colours as variables and ids of its own."""
    import matplotlib as mpl

    buffer = io.StringIO()
    with (
        new_figure(*picture.size) as figure,
        mpl.rc_context({"svg.hashsalt": name}),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # tokens of any script
        picture.draw(figure)
        figure.draw_without_rendering()
        figure.set_layout_engine(None)  # computed once: it, and a draw for it, are half the work
        dpi = WIDTH / picture.size[0]
        figure.savefig(folder / f"{name}.png", dpi=dpi, metadata={"Software": None})
        figure.savefig(folder / f"{name}.pdf", metadata={"CreationDate": None})
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    (folder / f"{name}.svg").write_text(buffer.getvalue(), encoding="utf-8")
    return Drawn(picture, name, themed(buffer.getvalue(), picture.alt))


def names(chosen: Sequence[Picture]) -> list[str]:
    """A file name for each picture, distinct also on systems that ignore case."""
    taken: dict[str, int] = {}
    given = []
    for picture in chosen:
        name = slug(picture.section, *picture.parts)
        taken[name.lower()] = taken.get(name.lower(), 0) + 1
        number = taken[name.lower()]
        given.append(name if number == 1 else f"{name}-{number}-")
    return given


def themed(svg: str, alt: str) -> str:
    """An SVG for a page: no head, no metadata, the page's colours and fonts, a title."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.S)
    head, body = svg.split(">", 1)
    view = re.search(r'viewBox="[^"]*"', head)
    body = re.sub(r'<g id="[^"]*"', "<g", body)
    body = re.sub(r' xlink:href="#', ' href="#', body)
    body = re.sub(r'( (?:d|x|y|transform|points)=")([^"]*)', _shorter, body)
    body = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", body)
    for color, variable in VARIABLES.items():
        body = re.sub(rf"((?:fill|stroke): ){color}\b", rf"\1var(--{variable})", body)
    title = escape(plain(alt))
    return (
        f'<svg role="img" {view.group(0) if view else ""} aria-label="{title}">'
        f"<title>{title}</title>{body.strip()}"
    )


def _shorter(match: re.Match[str]) -> str:
    return match.group(1) + re.sub(r"(\.\d\d)\d+", r"\1", match.group(2))
