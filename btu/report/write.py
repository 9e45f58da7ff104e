"""A report as files: the page, the tables in three formats, the figures in three."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from btu.errors import DataError
from btu.report.best import (
    ABOUT_SPREAD,
    RULE,
    RULE_BLIND,
    all_rows,
    best_repairs,
    main_rows,
    studies,
)
from btu.report.chosen import ABOUT_CHOSEN, ABOUT_COST, chosen_grid, chosen_rows
from btu.report.drawn import FORMATS, Drawn, Picture, draw, names
from btu.report.finding import find
from btu.report.format_table import ABOUT_FORMAT, format_grid
from btu.report.formats import (
    escape_markdown,
    markdown,
    write_chosen_csv,
    write_csv,
    write_seeds_csv,
)
from btu.report.grids import score_grid, suspect_grid
from btu.report.groups import Group, group_records
from btu.report.latex import long_tables, paper_tables
from btu.report.page import Contents, page
from btu.report.pictures import PER_SECTION, SECTIONS, pictures
from btu.report.planted_page import count_convictions, list_planted, show_planted
from btu.report.published import ABOUT_PUBLISHED, list_sources
from btu.report.study import Study, read_study
from btu.report.summary import Summary, job_grid, left_out_grid, provenance_grid, summarize

TITLE = "Backdoor study"
FOLDER = "figures"


@dataclass(frozen=True)
class Report:
    """A written report: its page and the study that it shows."""

    page: Path
    study: Study


def write_report(sources: Sequence[Path], out: Path) -> Report:
    """Write the page, tables and figures (docs/report.md) about all records of the sources.

    A source is a folder of records, a single record, or the folder of a run or of a sweep.

    Raises:
        DataError: a source holds nothing to read, records contradict each other, none is left, or
            the folder cannot be written.
    """
    study = read_study(sources)
    groups = group_records(study)
    try:
        return _write(study, groups, out)
    except OSError as error:
        raise DataError(
            f"the report cannot be written to {out} ({error.strerror}). Name another folder with "
            "--out."
        ) from error


def _write(study: Study, groups: Sequence[Group], out: Path) -> Report:
    drawn, undrawn = _draw(groups, out / FOLDER)
    chosen = chosen_rows(groups)
    contents = Contents(
        title=TITLE,
        finding=find(groups),
        summary=summarize(study, groups),
        main=score_grid(main_rows(groups)),
        complete=score_grid(all_rows(groups)),
        chosen=chosen_grid(chosen),
        sources=list_sources(groups),
        planted=show_planted(best_repairs(groups)),
        suspects=suspect_grid(best_repairs(groups)),
        left_out=left_out_grid(study),
        jobs=job_grid(study),
        typed=format_grid(groups),
        provenance=provenance_grid(study.records),
        drawn=drawn,
        undrawn=undrawn,
    )
    write_csv(out / "report.csv", all_rows(groups))
    write_chosen_csv(out / "chosen.csv", chosen)
    (out / "report.md").write_text(_markdown(contents, groups), encoding="utf-8")
    write_seeds_csv(out / "report_seeds.csv", groups)
    (out / "report.tex").write_text(paper_tables(groups), encoding="utf-8")
    (out / "report_long.tex").write_text(long_tables(groups), encoding="utf-8")
    (out / "report.html").write_text(page(contents), encoding="utf-8")
    return Report(out / "report.html", study)


def _draw(groups: Sequence[Group], folder: Path) -> tuple[list[Drawn], list[Picture]]:
    """Draw the first pictures of each section, in place of those of an earlier report."""
    folder.mkdir(parents=True, exist_ok=True)
    for section in SECTIONS:
        for ending in FORMATS:
            for old in folder.glob(f"{section}-*.{ending}"):
                old.unlink()
    every = pictures(groups)
    chosen = [p for key in SECTIONS for p in [p for p in every if p.section == key][:PER_SECTION]]
    drawn = [draw(p, name, folder) for p, name in zip(chosen, names(chosen), strict=True)]
    return drawn, [p for p in every if not any(p is c for c in chosen)]


def _markdown(contents: Contents, groups: Sequence[Group]) -> str:
    finding = " ".join(contents.finding)
    parts = [f"# {contents.title}\n", f"{escape_markdown(finding)}\n", _facts(contents.summary)]
    if contents.jobs.lines:
        parts += ["## Jobs that did not finish\n", markdown(contents.jobs)]
    if contents.left_out.lines:
        parts += ["## Left out\n", markdown(contents.left_out)]
    parts += ["## Results\n", f"{escape_markdown(f'{ABOUT_SPREAD} {RULE} {RULE_BLIND}')}\n"]
    for name, rows in studies(groups).items():
        grid = score_grid(main_rows(rows), without=("dataset", "model"))
        parts += [f"### {escape_markdown(' / '.join(name))}\n", markdown(grid)]
    parts += _markdown_chosen(contents, groups)
    parts += _markdown_planted(groups)
    parts += _markdown_pictures(contents)
    if contents.suspects.lines:
        parts += ["## Suspect tokens\n", markdown(contents.suspects)]
    if contents.typed.lines:
        parts += ["## Format\n", f"{escape_markdown(ABOUT_FORMAT)}\n", markdown(contents.typed)]
    parts += ["## Provenance\n", markdown(contents.provenance)]
    return "\n".join(parts)


def _markdown_chosen(contents: Contents, groups: Sequence[Group]) -> list[str]:
    if not contents.chosen.lines:
        return []
    parts = ["## What a defender could have chosen\n", *_paragraphs(ABOUT_CHOSEN, ABOUT_COST)]
    for name, rows in studies(groups).items():
        grid = chosen_grid(chosen_rows(rows), without=("dataset", "model"))
        parts += [f"### {escape_markdown(' / '.join(name))}\n", markdown(grid)]
    told = "published" in contents.chosen.titles
    return parts + _paragraphs(ABOUT_PUBLISHED, *contents.sources) * told


def _paragraphs(*texts: str) -> list[str]:
    return [f"{escape_markdown(text)}\n" for text in texts]


def _markdown_planted(groups: Sequence[Group]) -> list[str]:
    repairs = best_repairs(groups)
    counts = "".join(f"- {escape_markdown(told)}\n" for _, told in count_convictions(repairs))
    parts = [counts] * bool(counts)
    for title, sentences in list_planted(repairs):
        lines = "".join(f"- {escape_markdown(sentence)}\n" for sentence in sentences)
        parts += [f"### {escape_markdown(title)}\n", lines]
    return ["## What was planted\n", *parts] if parts else []


def _markdown_pictures(contents: Contents) -> list[str]:
    parts = []
    for section, title in SECTIONS.items():
        drawn = [d for d in contents.drawn if d.picture.section == section]
        images = [f"![{escape_markdown(d.picture.title)}]({FOLDER}/{d.name}.png)\n" for d in drawn]
        undrawn = sum(p.section == section for p in contents.undrawn)
        more = [f"{undrawn} more are not drawn; the page names them.\n"] * bool(undrawn)
        parts += [f"## {title}\n", *images, *more] if images else []
    return parts


def _facts(summary: Summary) -> str:
    lines = [f"- {name}: {escape_markdown(value)}" for name, value in summary.facts]
    if summary.leaky:
        lines.append(f"- **LEAKY**: {summary.leaky} records have splits that overlap")
    return "\n".join(lines) + "\n"
