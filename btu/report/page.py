"""The page: one HTML file that holds tables, pictures, style and script and loads nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

from btu.report.best import ABOUT_SPREAD, RULE, RULE_BLIND
from btu.report.chosen import ABOUT_CHOSEN, ABOUT_COST
from btu.report.drawn import Drawn, Picture
from btu.report.format_table import ABOUT_FORMAT
from btu.report.grids import Grid
from btu.report.markup import box, constant_columns, data_of, table, text_of
from btu.report.pictures import ABOUT, PER_SECTION, SECTIONS
from btu.report.planted_page import ABOUT_PLANTED
from btu.report.published import ABOUT_PUBLISHED
from btu.report.summary import PLURALS, Summary
from btu.store.records import CHOICES
from btu.terminal.text import plain

NAV = {
    "overview": "Overview",
    "ablations": "Ablations",
    "curves": "Curves",
    "fronts": "Fronts",
    "trade-offs": "Trade-offs",
    "heat-maps": "Heat maps",
    "distances": "Distances",
}
NARROW = 5.0  # inches; a wider picture gets a row of its own
HERE = Path(__file__).parent


@dataclass(frozen=True)
class Contents:
    """What the page shows."""

    title: str
    finding: Sequence[str]  # its sentences
    summary: Summary
    main: Grid
    complete: Grid
    chosen: Grid
    sources: Sequence[str]  # of published figures
    planted: str  # HTML; empty where no defense convicts
    suspects: Grid
    left_out: Grid
    jobs: Grid
    typed: Grid
    provenance: Grid
    drawn: Sequence[Drawn]
    undrawn: Sequence[Picture]


@dataclass(frozen=True)
class Section:
    """One part of the page: its anchor, its name in the navigation, its heading, its HTML."""

    key: str
    name: str
    heading: str
    inner: str


def page(contents: Contents) -> str:
    """The whole HTML text."""
    sections = _sections(contents)
    return Template(_asset("page.html")).substitute(
        title=text_of(contents.title),
        lead=_lead(contents),
        style=_asset("page.css") + _hidden(contents),
        script=_asset("page.js"),
        filters=_filters(contents.complete),
        nav="".join(f'<a href="#{s.key}">{text_of(s.name)}</a>' for s in sections),
        body="".join(map(_section, sections)),
        data=_json({name: _packed(getattr(contents, name)) for name in ("complete", "suspects")}),
    )


def _lead(contents: Contents) -> str:
    """The finding, and the picture of what was varied, or else of all attacks."""
    first, *others = contents.finding
    words = f"<p class=finding>{text_of(first)}</p>" + "".join(
        f"<p>{text_of(o)}</p>" for o in others
    )
    svg = "".join(d.svg for d in _leading(contents))
    return f'<div class="words">{words}</div>' + f'<div class="picture">{svg}</div>' * bool(svg)


def _leading(contents: Contents) -> list[Drawn]:
    of = {d.picture.section: d for d in reversed(contents.drawn)}
    return [of[section] for section in ("ablations", "overview") if section in of][:1]


def _asset(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def _sections(contents: Contents) -> list[Section]:
    captions = _about(ABOUT_SPREAD, f"{RULE} {RULE_BLIND}")
    sections = [
        Section("summary", "Summary", "Summary", _summary(contents)),
        Section("results", "Results", "Results", captions + table(contents.main, "main")),
    ]
    if contents.chosen.lines:
        heading = "What a defender could have chosen"
        sections.append(Section("chosen", "Choices", heading, _chosen(contents)))
    if contents.planted:
        inner = _about(ABOUT_PLANTED) + contents.planted
        sections.append(Section("planted", "Planted", "What was planted", inner))
    for key, name in SECTIONS.items():
        inner = _pictures(key, contents)
        if inner:
            sections.append(Section(key, NAV[key], name, inner))
    if contents.suspects.lines:
        about = (
            "Tokens that most seeds flag, of each defense's best row: at most ten, by how many "
            "seeds flag them, then by their best rank."
        )
        inner = _about(about) + _packed_table(contents.suspects, "suspects")
        sections.append(Section("suspects", "Suspects", "Suspect tokens", inner))
    if contents.typed.lines:
        inner = _about(ABOUT_FORMAT) + table(contents.typed, "format")
        sections.append(Section("format", "Format", "How attacked rows are typed", inner))
    every = _packed_table(contents.complete, "complete")
    made_by = table(contents.provenance, "versions")
    sections.append(Section("complete", "All rows", "All rows, every threshold", every))
    sections.append(Section("provenance", "Provenance", "Provenance", made_by))
    return sections


def _about(*texts: str) -> str:
    """A paragraph of small print for each text."""
    return "".join(f"<p class=about>{text_of(text)}</p>" for text in texts)


def _chosen(contents: Contents) -> str:
    """How a defender would choose, what comes of it, and where published figures are from."""
    told = "published" in contents.chosen.titles
    sources = _about(ABOUT_PUBLISHED, *contents.sources) * told
    return _about(ABOUT_CHOSEN, ABOUT_COST) + table(contents.chosen, "chosen") + sources


def _section(section: Section) -> str:
    empty = '<p class="nothing" hidden>Nothing here matches the filter.</p>'
    heading = f"<h2>{text_of(section.heading)}</h2>"
    return f'<section id="{section.key}">{heading}{section.inner}{empty}</section>\n'


def _summary(contents: Contents) -> str:
    facts = "".join(
        f"<div><dt>{text_of(name)}</dt><dd>{text_of(value)}</dd></div>"
        for name, value in contents.summary.facts
    )
    leaky = contents.summary.leaky
    warning = f"<p class=warning>LEAKY: {leaky} records have splits that overlap.</p>"
    jobs = "<h3>Jobs that did not finish</h3>" + table(contents.jobs, "jobs")
    files = "<h3>Left out</h3>" + table(contents.left_out, "left-out")
    return (
        f"<dl class=facts>{facts}</dl>"
        + warning * bool(leaky)
        + jobs * bool(contents.jobs.lines)
        + files * bool(contents.left_out.lines)
    )


def _pictures(section: str, contents: Contents) -> str:
    shown = [d for d in contents.drawn if d.picture.section == section]
    drawn = [_figure(d) for d in shown if d not in _leading(contents)]
    undrawn = [p.title for p in contents.undrawn if p.section == section]
    more = (
        f"<details><summary>{len(undrawn)} more are not drawn: a section draws the first "
        f"{PER_SECTION}.</summary><ul>{''.join(f'<li>{text_of(t)}</li>' for t in undrawn)}</ul>"
        "</details>"
    )
    if not drawn:
        return ""
    return (
        f'{_about(ABOUT[section])}<div class="figures">{"".join(drawn)}</div>{more * bool(undrawn)}'
    )


def _figure(drawn: Drawn) -> str:
    labels = {name: json.dumps(values) for name, values in drawn.picture.labels.items()}
    wide = ' class="wide"' if drawn.picture.size[0] > NARROW else ""
    width = f' style="--width: {drawn.picture.size[0]:.2f}"'
    return (
        f'<figure id="{drawn.name}"{wide}{width}{data_of(labels)}><div>{drawn.svg}</div></figure>\n'
    )


def _hidden(contents: Contents) -> str:
    grids = {name: getattr(contents, name) for name in ("main", "complete", "chosen", "suspects")}
    rules = (
        f"#table-{name} :is(th, td):nth-child({at + 1}) {{ display: none !important; }}\n"
        for name, grid in grids.items()
        for at in constant_columns(grid)
    )
    return "".join(rules)


def _packed_table(grid: Grid, name: str) -> str:
    """A table whose rows the script makes from the data of the page."""
    more = '<p><button type="button" class="more" hidden></button></p>'
    none = "<noscript><p>This table needs JavaScript; report.csv does not.</p></noscript>"
    return box(grid, name, "") + more + none


def _packed(grid: Grid) -> dict[str, Any]:
    """The rows as lists of texts, the numbers of the bold cells at their end."""
    return {
        "labels": [grid.titles.index(name) for name in CHOICES],
        "numeric": list(grid.numeric),
        "rows": [
            [*(plain(c.text) for c in line.cells), [i for i, c in enumerate(line.cells) if c.bold]]
            for line in grid.lines
        ],
    }


def _filters(grid: Grid) -> str:
    """A menu per choice, with the values that the study has."""
    menus = []
    for name in CHOICES:
        values = dict.fromkeys(line.labels[name] for line in grid.lines)
        options = "".join(
            f'<option value="{text_of(v)}">{text_of(v)}</option>'
            for v in values
            if name != "defense" or v != "none"
        )
        menus.append(
            f'<label><span>{name}</span><select name="{name}">'
            f'<option value="">all {PLURALS[name]}</option>{options}</select></label>'
        )
    return "".join(menus)


def _json(value: Any) -> str:
    """JSON that cannot end the script element it stands in."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for char in ("<", ">", "&", "\u2028", "\u2029"):
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text
