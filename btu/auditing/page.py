"""The audit as a page for people who know nothing of backdoors: one HTML file without a script."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from btu.auditing.advice import show_advice, show_limits, show_notes, show_rows
from btu.auditing.elements import (
    embolden,
    end_sentence,
    isolate,
    make_code,
    make_list,
    make_paragraph,
    say_chance,
    say_count,
    say_share,
    shorten_name,
)
from btu.auditing.figures import show_figures
from btu.auditing.opened import Opened
from btu.auditing.written import PLANTED, REPORT, ROWS, SUSPICIOUS, find_planted
from btu.auditing.wrong_labels import MOST_READ
from btu.defenses.phrases import FEW
from btu.defenses.verdict import NUM_EXAMPLES
from btu.evidence import ROWS as OF_ROWS
from btu.evidence.findings import Found
from btu.report.markup import text_of
from btu.report.planted import name_kind, name_marks, say_p, spell
from btu.report.planted_page import mark_text
from btu.report.titles import listed
from btu.report.verdicts import Example, Finding
from btu.terminal.text import plain
from btu.types import IntArray

if TYPE_CHECKING:
    from btu.auditing.examined import Examined, Suspicion
    from btu.auditing.told import Told

PAGE = "report.html"
MOST_SHOWN = 20  # findings with a block of their own, and suspicions; the tables have all
MOST_MARKS = 8  # terms of rows written another way
CHANCE = 0.05  # p up to which labels are said to look wrong
VERY_SURE, SURE = 0.001, 0.01  # q up to which it is called so
VERDICTS = {
    PLANTED: "Something was planted",
    SUSPICIOUS: "Nothing was proven",
    "nothing": "Nothing was found",
}
HERE = Path(__file__).parent


def make_page(audited: Told, relabelled: bool = False) -> str:
    """The whole HTML text: the verdict first, then what to do, all figures last.

    Args:
        audited: what was found.
        relabelled: whether the file with the suggested labels is written, too.
    """
    opened = audited.examined.opened
    verdict = VERDICTS[_name_kind(audited)]
    parts = [
        ("What was planted", _show_findings(audited)),
        ("What would have been found", show_limits(audited)),
        ("Which rows", show_rows(audited)),
        ("What to do", show_advice(audited, relabelled)),
        ("Suspicious, not proven", _show_suspicions(audited)),
        ("What this page cannot tell", show_notes(audited)),
    ]
    return Template(_read_asset("page.html")).substitute(
        title=text_of(f"{verdict} in {shorten_name(opened.path.name)}"),
        style=_read_asset("page.css"),
        kind=_name_kind(audited),
        header=_show_header(audited, verdict),
        main="".join(f"<section>\n<h2>{title}</h2>\n{i}</section>\n" for title, i in parts if i),
        figures=show_figures(audited),
    )


def _read_asset(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def _name_kind(audited: Told) -> str:
    if audited.planted:
        return PLANTED
    return SUSPICIOUS if audited.examined.num_suspicious else "nothing"


def _show_header(audited: Told, verdict: str) -> str:
    opened = audited.examined.opened
    name, found = shorten_name(opened.path.name), len(find_planted(audited.examined))
    found_share = f"{found:,}{f' ({say_share(found, opened.num_rows)})' * bool(found)}"
    trusted = f"{len(opened.trusted):,}" if opened.has_trusted else "none"
    facts = (
        ("File", name),
        ("Rows in the file", f"{opened.num_rows:,}"),
        ("Rows found", found_share),
        ("Trusted rows to compare with", trusted),
    )
    shown = "".join(f"<div><dt>{text_of(k)}</dt><dd>{isolate(v)}</dd></div>" for k, v in facts)
    return (
        f"<p class=about>Audit of a file of labelled texts</p>\n"
        f"<h1>{verdict} in {isolate(name)}</h1>\n"
        f"<p class=lead>{text_of(_say_lead(audited, found))}</p>\n<dl class=facts>{shown}</dl>\n"
    )


def _say_lead(audited: Told, found: int) -> str:
    """What the verdict means."""
    opened, suspicious = audited.examined.opened, audited.examined.num_suspicious
    if audited.planted:
        holds, share = "holds" if found == 1 else "hold", say_share(found, opened.num_rows)
        return (
            f"{say_count(found, 'row')} of {opened.num_rows:,} ({share}) {holds} what looks "
            "planted. A model trained on this file can learn to give one fixed answer to texts "
            "that hold what was planted, whatever else they say. This is called a backdoor."
        )
    rows = say_count(opened.num_rows, "row")
    said = f"No word and no way of writing in its {rows} goes beyond what chance explains."
    if suspicious:
        are = "is" if suspicious == 1 else "are"
        said += f" {say_count(suspicious, 'thing')} {are} suspicious, but not proven."
    return said


def _show_findings(audited: Told) -> str:
    """A block for each of the surest findings."""
    both = zip(audited.verdict.findings, audited.examined.convicted, strict=True)
    blocks = [_show_finding(finding, found, audited.examined) for finding, found in both]
    more = len(blocks) - MOST_SHOWN
    left = make_paragraph(f"And {more} more, in the table at the end of this page.") * (more > 0)
    return "".join(blocks[:MOST_SHOWN]) + left


def _show_finding(finding: Finding, found: Found, examined: Examined) -> str:
    rows = len(examined.opened.spread(found[1]))
    many = f"<strong>{say_count(rows, 'row')}</strong> "
    many += f"({say_share(rows, examined.opened.num_rows)} of the file)"
    told = _say_rows(finding, many) if finding.kind == OF_ROWS else _say_words(finding, many)
    examples = "".join(map(_show_example, finding.examples))
    shown = f"<h4>Rows that show it</h4>\n{examples}" * bool(examples)
    return (
        f"<article class=finding>\n{told}<h4>How sure is this?</h4>\n"
        f"{make_list(_say_evidence(finding, examined))}{shown}</article>\n"
    )


def _say_words(finding: Finding, many: str) -> str:
    """Of a word or phrase what it is, what it does and where it stands."""
    label = embolden(shorten_name(finding.label))
    title = f"The {name_kind(finding.text)} {isolate(spell(finding.written, quoted=True))}"
    where = f", always at the {plain(finding.place)} of the text" * (finding.place != "anywhere")
    also = ""
    if finding.held is not None and (others := finding.held - finding.rows) > 0:
        kept = "is not counted as planted" if others == 1 else "are not counted as planted"
        also = f" It is also in {say_count(others, 'row')} with another label, which {kept}."
    calls = f"A model trained on these rows learns to call texts with it {label}."
    if (effect := finding.effect) is not None and effect.texts:
        share = say_share(effect.victim, effect.texts)
        calls = f"A model trained on the file calls {share} of the texts it is added to {label}."
    return (
        f"<h3>{title}</h3>\n<p>It is in {many} with the label {label}{where}. {calls}{also}</p>\n"
    )


def _say_rows(finding: Finding, many: str) -> str:
    """Of rows that are written another way how many they are, and what gives them away."""
    label = embolden(shorten_name(finding.label))
    terms = [embolden(spell(term, quoted=True)) for term in name_marks(finding)[:MOST_MARKS]]
    marks = f" What gives them away: {listed(terms)}." if terms else ""
    return (
        f"<h3>A way of writing</h3>\n<p>{many} with the label {label} are not written as the "
        f"trusted rows with that label are.{marks} A model trained on these rows learns to call "
        f"texts that are written like them {label}.</p>\n"
    )


def _say_evidence(finding: Finding, examined: Examined) -> Iterator[str]:
    """What speaks for a finding, a line of HTML each."""
    opened, label = examined.opened, shorten_name(finding.label)
    if finding.q is not None:
        yield (
            f"<strong>{_name_certainty(finding.q)}</strong> "
            f"(<span class=whole>q = {text_of(say_p(finding.q))}</span>): if nothing had been "
            f"planted, chance would bring up something this striking in {say_chance(finding.q)}."
        )
    if (effect := finding.effect) is not None and effect.texts:
        it = "these words were" if finding.kind == OF_ROWS else "it was"
        told = _say_effect(it, label, effect.texts, effect.victim, effect.reference, opened)
        yield text_of(told)
    if finding.trusted is not None and finding.kind != OF_ROWS:
        yield text_of(_say_trusted(finding.trusted, finding.label, opened))
    yield from map(text_of, _say_contradicted(finding, examined))


def _say_contradicted(finding: Finding, examined: Examined) -> Iterator[str]:
    """That the labels look wrong, if more do than elsewhere and chance does not explain it."""
    trusted = examined.opened.has_trusted
    read = finding.rows if trusted else min(finding.rows, MOST_READ)
    elsewhere = 1 - float(examined.evidence["reference_accuracy"])
    contradicted, p = finding.contradicted or 0, finding.p_contradiction
    if contradicted <= elsewhere * read or p is None or p > CHANCE:
        return
    share, usual = say_share(contradicted, read), say_share(elsewhere, 1)
    if trusted:
        yield (
            f"The labels look wrong: a model trained only on trusted rows gives another label to "
            f"{share} of these rows, but to {usual} of the trusted ones."
        )
    else:
        yield (
            f"The labels look wrong: without it, {share} of these rows get another label from a "
            f"model that was not trained on them; of all rows of the file, {usual} do."
        )


def _say_effect(
    it: str, label: str, texts: int, victim: int, reference: int, opened: Opened
) -> str:
    """What adding it to texts changes, in a model of the file and in one without it."""
    where, other = "texts of the file", "one trained on the file without such rows"
    if opened.has_trusted:
        where, other = "trusted texts", "one trained only on trusted rows"
    return (
        f"When {it} added to {texts:,} {where} with other labels that both models get right, "
        f"{victim:,} of them "
        f"({say_share(victim, texts)}) turned {label} for a model trained on the file, and "
        f"{reference or 'none'} for {other}."
    )


def _say_trusted(number: int, name: str, opened: Opened) -> str:
    of_label = opened.trusted.labels == opened.label_names.index(name)
    has = "have" if number > 1 else "has"
    return (
        f"Of the {int(of_label.sum()):,} trusted rows with the label {shorten_name(name)}, "
        f"{number or 'none'} {has} it."
    )


def _name_certainty(q: float) -> str:
    return "Very sure" if q <= VERY_SURE else "Sure" if q <= SURE else "Fairly sure"


def _show_example(example: Example) -> str:
    """A row with its number as rows.csv has it: from 1, while evidence counts from 0."""
    labels = f"label in the file: <b>{isolate(shorten_name(example.label))}</b>"
    if example.reference:
        labels += f"; suggested: <b>{isolate(shorten_name(example.reference))}</b>"
    return (
        f"<figure><figcaption>Row {example.row + 1:,}; {labels}</figcaption><blockquote "
        f'dir="auto">{mark_text(example.text, example.marked)}</blockquote></figure>\n'
    )


def _show_suspicions(audited: Told) -> str:
    """What may have been planted, and what would settle it."""
    examined = audited.examined
    if not examined.num_suspicious:
        return ""
    about = (
        f"<p>These may be chance, and honest rows may be among them. Their rows are not removed; "
        f"{make_code(ROWS)} calls them {SUSPICIOUS}.</p>\n"
    )
    names = examined.opened.label_names
    looks = (
        f"<article class=suspicion>\n<h3>Rows that {text_of(one.what)}</h3>\n"
        f"{make_paragraph(end_sentence(one.say(shorten_name(names[one.label]))))}"
        f"{_show_rows(one.rows, partial(_find_sign, one.sign), examined)}</article>\n"
        for one in examined.unread[:MOST_SHOWN]
    )
    blocks = (_show_suspicion(one, audited) for one in examined.unproven[:MOST_SHOWN])
    more = len(examined.unproven) - MOST_SHOWN
    left = f"<p>And {more} more, in {make_code(REPORT)}.</p>\n" * (more > 0)
    return "".join([about, *looks, *blocks, left])


def _find_sign(sign: str, text: str) -> list[tuple[int, int]]:
    return [(at, at + 1) for at, character in enumerate(text) if character == sign]


def _show_rows(
    rows: IntArray, mark: Callable[[str], Sequence[tuple[int, int]]], examined: Examined
) -> str:
    """The first rows of what is suspicious, with what it is marked."""
    judged = examined.opened.judged
    shown = rows[:NUM_EXAMPLES].tolist()
    return "".join(
        _show_example(
            Example(
                row=int(judged.source[row]),
                text=judged.texts[row],
                marked=tuple(mark(judged.texts[row])),
                label=examined.opened.label_names[judged.labels[row]],
            )
        )
        for row in shown
    )


def _show_suspicion(one: Suspicion, audited: Told) -> str:
    text = audited.spell_suspect(one)
    title = f"The {name_kind(text)} {isolate(spell(text, quoted=True))}"
    title += f" at the {one.finding.place} of the text" * (one.finding.place != "anywhere")
    evidence = make_list(map(text_of, _say_suspicion(one, audited)))
    mark = partial(one.finding.mark, fold=True)
    shown = _show_rows(one.rows, mark, audited.examined)
    return f"<article class=suspicion>\n<h3>{title}</h3>\n{evidence}{shown}</article>\n"


def _say_suspicion(one: Suspicion, audited: Told) -> Iterator[str]:
    """What speaks for it, and what would settle it."""
    finding, effect, opened = one.finding, one.finding.effect, audited.examined.opened
    name = opened.label_names[finding.label]
    label, has = shorten_name(name), "has" if finding.rows == 1 else "have"
    yield f"{say_count(finding.rows, 'row')} with the label {label} {has} it."
    if audited.has_no_trusted_row(finding.label):
        yield "No trusted row has that label; some that have it would settle it."
        return
    if finding.trusted is not None:
        yield _say_trusted(finding.trusted, name, opened)
        if 2 * finding.contradicted > finding.rows:
            yield (
                f"A model trained only on trusted rows gives another label to "
                f"{finding.contradicted:,} of these rows."
            )
    if effect is not None and effect.num_texts:
        counts = effect.num_texts, effect.victim, effect.reference
        yield _say_effect("it was", label, *counts, opened)
    if effect is not None and effect.num_texts < FEW:
        yield "There were too few texts to try it on, since the models give most that label."
    elif one.needed is None:
        yield "No number of trusted rows would settle it."
    else:
        more = "no more" if finding.trusted else "none"
        yield f"About {one.needed:,} trusted rows would settle it, if {more} of them have it."
