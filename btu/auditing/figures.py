"""All figures of an audit as tables, and what their words mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from btu.auditing.elements import make_code, make_paragraph, say_chance
from btu.auditing.written import REPORT
from btu.auditing.wrong_labels import MOST_READ
from btu.report.markup import text_of
from btu.report.planted import shorten
from btu.report.planted_page import FIGURES, Figure
from btu.report.verdicts import Finding, Verdict

if TYPE_CHECKING:
    from btu.auditing.told import Told

MOST_OF_CELL = 300  # characters
FOUND = "Everything that was found, a line each; the words are explained below"
ACQUITTED = "Everything that was acquitted, a line each"


def show_figures(audited: Told) -> str:
    """A table of what was found, one of what was acquitted, and what their words mean."""
    verdict, opened = audited.verdict, audited.examined.opened
    found = _table(FOUND, verdict.findings, verdict, opened.has_trusted)
    cleared = _table(ACQUITTED, verdict.acquitted, verdict, opened.has_trusted)
    why = (
        "These stood out at first. They were acquitted, which means they are not counted as "
        "planted, since chance may explain them, or something that was found does, or a model "
        "does not follow them. The column “why” says which."
    )
    acquitted = make_paragraph(why) + cleared if cleared else make_paragraph("Nothing.")
    return (
        f"<p>For those who know statistics. {make_code(REPORT)} has the same for machines.</p>\n"
        + f"<h3>Found</h3>\n{found or make_paragraph('Nothing.')}"
        + f"<h3>Suspected and acquitted</h3>\n{acquitted}"
        + f"<h3>What the words mean</h3>\n<dl class=terms>{_define_terms(audited)}</dl>\n"
    )


def _table(caption: str, findings: Sequence[Finding], verdict: Verdict, trusted: bool) -> str:
    """The figures of some findings, those columns that have any; empty without findings.

    The roles say to a screen reader what a narrow screen, which shows each row as a card, takes
    away.
    """
    texts = {each.title: [each.text(f, verdict) for f in findings] for each in FIGURES}
    columns = [_adapt(each, trusted) for each in FIGURES if any(texts[each.title])]
    if not columns:
        return ""
    head = "".join(
        f'<th scope="col" role="columnheader"{" class=n" * each.numeric}>{text_of(each.title)}</th>'
        for each in columns
    )
    rows = "".join(
        f'<tr role="row">{"".join(_cell(each, f, verdict) for each in columns)}</tr>\n'
        for f in findings
    )
    return (
        f'<div class="box" role="region" aria-label="{caption}" tabindex="0">'
        f'<table role="table"><caption>{caption}</caption><thead role="rowgroup"><tr role="row">'
        f'{head}</tr></thead><tbody role="rowgroup">\n{rows}</tbody></table></div>\n'
    )


def _adapt(figure: Figure, trusted: bool) -> Figure:
    """A figure as it is; without trusted rows only the first rows of a word are read."""
    if trusted or figure.title != "contradicted":
        return figure
    return replace(figure, text=_tell_contradicted)


def _tell_contradicted(finding: Finding, verdict: Verdict) -> str:
    return f"{finding.contradicted or 0:,} of {min(finding.rows, MOST_READ):,}"


def _cell(figure: Figure, finding: Finding, verdict: Verdict) -> str:
    text = text_of(shorten(figure.text(finding, verdict), MOST_OF_CELL).replace(" %", "\u00a0%"))
    title = text_of(figure.title)
    if figure is FIGURES[0]:
        return f'<th scope="row" role="rowheader" data-title="{title}">{text}</th>'
    if figure.numeric:
        text = text.replace(" (", "<br>(")
    kind = "n" if figure.numeric else f"text {title}"
    return f'<td role="cell" class="{kind}" data-title="{title}">{text}</td>'


def _define_terms(audited: Told) -> str:
    rate, trusted = audited.verdict.error_rate, audited.examined.opened.has_trusted
    chance = f" At {rate:g}, the limit of this audit, that is {say_chance(rate)}." if rate else ""
    reference = (
        "A model trained only on trusted rows, which cannot know what was planted."
        if trusted
        else "A model trained on the file without the rows that hold what is suspected."
    )
    terms = {
        "trusted rows": "Labelled texts of the same task and source, which someone vouches for. "
        + "What the file has more of than they do stands out."
        + " This audit had none." * (not trusted),
        "victim, or model of the file": "A model trained on the file as it is, to see what it "
        "would learn.",
        "reference": reference,
        "turned": "Texts of other labels that get the label once something is added to them. In "
        "brackets the 95 % interval of their share.",
        "obeys": "A model obeys a word if adding the word turns most texts.",
        "contradicted": "Rows to which a model that has not learned them gives another label than "
        "the file does.",
        "p": "How often chance alone would bring up as much: of excess, that the file has so much "
        "more of it than the trusted rows; of contradiction, that so many of its labels are "
        "contradicted; of effect, that it turns so many more texts in the victim than in the "
        "reference.",
        "q": "In what share of files in which nothing was planted chance would bring up "
        f"anything as striking, all that was tested being taken into account.{chance} It is true "
        "as far as the file and what it is compared with are alike in everything else.",
        "acquitted": "Suspected at first, and not counted as planted.",
    }
    return "".join(
        f"<div><dt>{text_of(term)}</dt><dd>{text_of(text)}</dd></div>\n"
        for term, text in terms.items()
    )
