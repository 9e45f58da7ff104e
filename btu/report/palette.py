"""How figures look: colours, line styles, markers, fonts."""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from btu.report.groups import Spread
from btu.terminal.text import plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's colours, distinct for the colour-blind; the page replaces each by a variable.
INK, MUTED, LINE, PAPER = "#1b1f24", "#5b636d", "#d5dae0", "#ffffff"
BLUE, VERMILLION, GREEN, PURPLE = "#0072b2", "#d55e00", "#009e73", "#cc79a7"
ORANGE, SKY = "#e69f00", "#56b4e9"
VARIABLES = {
    INK: "ink",
    MUTED: "muted",
    LINE: "line",
    PAPER: "paper",
    BLUE: "blue",
    VERMILLION: "vermillion",
    GREEN: "green",
    PURPLE: "purple",
    ORANGE: "orange",
    SKY: "sky",
}
CACC_COLOR, ASR_COLOR = BLUE, VERMILLION
SERIES = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY)
# Six colours, seven markers: 42 pairs before one comes again. Lines change with each six.
LINES = ("-", "--", ":", "-.")
SHAPES = ("o", "s", "^", "D", "v", "P", "X")
FILLS = ("full", "none", "left", "bottom")
MARKERS = {  # of arms
    "clean": "P",
    "poisoned": "X",
    "tuned": "D",
    "trusted_only": "s",
    "unlearned": "^",
    "defended": "o",
}
NARROWEST, TITLE_WIDTH = 4.8, 58  # inches of most pictures, and characters that fit above them
MAX_LINES = 3  # of a title or label; longer ones are cut
STYLE: dict[str, Any] = {
    "font.size": 9,
    "axes.titlesize": 9.5,
    "figure.titlesize": 9.5,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "figure.facecolor": PAPER,
    "axes.edgecolor": MUTED,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.titlecolor"), INK),
    **dict.fromkeys(("xtick.color", "ytick.color"), MUTED),
    "text.parse_math": False,  # names and tokens may hold a dollar sign
    "svg.fonttype": "none",
    "pdf.fonttype": 42,  # journals refuse Type 3 fonts
}


@dataclass(frozen=True)
class Look:
    """How one of many series is drawn."""

    color: str
    line: str
    marker: str
    fill: str


def series_look(number: int) -> Look:
    """The look of the series of a number, from 0; the first 24 differ in colour or in line."""
    turn, at = divmod(number, len(SERIES))
    shape = SHAPES[number % len(SHAPES)]
    return Look(SERIES[at], LINES[turn % len(LINES)], shape, FILLS[turn % len(FILLS)])


@contextmanager
def new_figure(width: float, height: float) -> Iterator[Figure]:
    """An empty figure in the style of this project, without a global state that others share."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):  # type: ignore[arg-type]
        yield Figure(figsize=(width, height), layout="constrained")


def wrapped(text: str, width: int = TITLE_WIDTH) -> str:
    """The text on lines of a width, at most three, with what cannot be seen spelled out."""
    if any(unicodedata.east_asian_width(char) in "WF" for char in text):
        width //= 2
    parts = (plain(part) for part in text.split("\n"))
    lines = [line for part in parts for line in textwrap.wrap(part, width)]
    return "\n".join(lines[:MAX_LINES])


def short(text: str, width: int = 40) -> str:
    """The text cut to a width, with what cannot be seen spelled out."""
    text = plain(text)
    return text if len(text) <= width else f"{text[: width - 3]}..."


def whisker(spread: Spread) -> tuple[float, float]:
    """One standard deviation around a mean, in per cent, within 0 and 100."""
    std = spread.std or 0.0
    return 100 * max(0.0, spread.mean - std), 100 * min(1.0, spread.mean + std)


def set_title(figure: Figure, title: str) -> None:
    """A title at the left of the whole figure, wrapped to its width."""
    width = int(TITLE_WIDTH * figure.get_figwidth() / NARROWEST)
    figure.suptitle(wrapped(title, width), x=0.01, ha="left")


def set_legend(figure: Figure, narrow: bool = True) -> None:
    """One legend below all panels; what several panels have in common stands once."""
    entries: dict[str, Any] = {}
    for axes in figure.axes:
        handles, labels = axes.get_legend_handles_labels()
        entries.update((lb, h) for h, lb in zip(handles, labels, strict=True) if lb not in entries)
    columns = legend_columns(list(entries), narrow)
    figure.legend(
        list(entries.values()),
        list(entries),
        loc="outside lower center",
        ncols=columns,
        handlelength=2.2,
    )


def legend_columns(names: Sequence[str], narrow: bool = True) -> int:
    """As many columns as the longest name leaves room for."""
    longest = max(map(len, names), default=0)
    if not narrow:
        return 5
    return 4 if longest < 12 else 3 if longest < 18 else 2 if longest < 28 else 1


def legend_height(names: Sequence[str], title: str) -> float:
    """The inches that a legend of these names and a title take."""
    distinct = set(names)
    rows = -(-len(distinct) // legend_columns(list(distinct)))
    return 0.18 * (rows + len(wrapped(title).split("\n")))
