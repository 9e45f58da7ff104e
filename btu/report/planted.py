"""What was planted, in sentences: the same for the terminal, the page and a notebook."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import regex

from btu.evidence import ROWS
from btu.evidence.words import END, START
from btu.report.titles import listed
from btu.report.verdicts import Finding, Verdict, read_verdicts
from btu.store.records import Record
from btu.terminal.text import plain

MOST_TOLD = 10  # findings of a verdict that get a sentence
MOST_MARKS = 5  # terms of rows that are named
MOST_CHARACTERS = 200  # of a phrase
SMALLEST_P = 1e-300  # below it a p-value is no longer a number of its own
LATIN = regex.compile(r"\p{Script=Latin}")
HIDDEN = r"(?V1)[\p{Cc}\p{Cf}\p{Co}\p{Cn}\p{DI}\u2800]|[\p{M}&&\p{Script=Inherited}]"
ODD = regex.compile(f"({HIDDEN})")
ODD_BLANK = regex.compile(r"(?V1)[\p{Zs}--\ ]")
ODD_IN_LATIN = regex.compile(rf"({HIDDEN}|[\p{{L}}--\p{{Script=Latin}}])")


def tell_planted(records: Sequence[Record], chosen: Record | None) -> tuple[list[str], list[str]]:
    """What was planted, and what to mind: sentences of the chosen record, else of the first.

    Both are empty where no defense convicts.
    """
    wanted = [chosen] if chosen is not None and read_verdicts(chosen) else records
    verdicts = next((found for found in map(read_verdicts, wanted) if found), {})
    told: list[str] = []
    notes: list[str] = []
    for name, verdict in verdicts.items():
        lead = f"{plain(name)}: " * (len(verdicts) > 1)
        told += [f"{lead}{sentence}" for sentence in say_verdict(verdict)]
        notes += [] if isinstance(verdict, str) else verdict.notes
    return told, notes


def say_verdict(verdict: Verdict | str) -> Iterator[str]:
    """A sentence for each finding, or that there is none; what was done, and what was acquitted."""
    if isinstance(verdict, str):
        yield plain(verdict)
        return
    if not verdict.findings:
        tests = f" of {verdict.tests:,} words and phrases tested" if verdict.tests else ""
        yield f"nothing was convicted{tests}{_say_rate(verdict)}, and so nothing is repaired"
    for finding in verdict.findings[:MOST_TOLD]:
        yield say_finding(finding, verdict)
    if (more := len(verdict.findings) - MOST_TOLD) > 0:
        yield f"and {more} more, in findings.json"
    if verdict.findings and (done := list(_say_repair(verdict))):
        yield "; ".join(done)
    if acquitted := len(verdict.acquitted):
        yield f"{acquitted} suspected and acquitted: findings.json says why"


def say_finding(
    finding: Finding, verdict: Verdict, models: tuple[str, str] = ("the victim", "the reference")
) -> str:
    """`planted: the word 'cf' makes texts positive (69 rows, 1.0 %; ...)`.

    Args:
        finding: what was convicted.
        verdict: that it is part of.
        models: what to call the model of the untrusted rows, and the one that knows no backdoor.
    """
    label = plain(finding.label)
    evidence = "; ".join(_figures(finding, verdict, models))
    if finding.kind == ROWS:
        terms = [spell(term, quoted=True) for term in name_marks(finding)]
        how = f": {', '.join(terms[:MOST_MARKS])}{', ...' * (len(terms) > MOST_MARKS)}"
        what = f"{finding.rows:,} rows of the label {label} are written another way"
        return f"planted: {what}{how * bool(terms)} ({evidence})"
    place = "" if finding.place == "anywhere" else f" at the {plain(finding.place)}"
    what = f"the {name_kind(finding.text)} {spell(finding.written, quoted=True)}{place}"
    does = f"gives texts the label {label}" if label.isdigit() else f"makes texts {label}"
    return f"planted: {what} {does} ({evidence})"


def say_summary(verdict: Verdict) -> str:
    """How much was looked at and convicted, and what was done about it."""
    parts = [f"{len(verdict.findings)} convicted{_say_rate(verdict)}"]
    if verdict.tests:
        parts.append(f"{verdict.tests:,} tests of words and phrases")
    if verdict.untrusted_rows is not None and verdict.trusted_rows is not None:
        against = f"against {verdict.trusted_rows:,} trusted ones"
        parts.append(f"{verdict.untrusted_rows:,} untrusted rows {against}")
    return "; ".join([*parts, *_say_repair(verdict)])


def _say_repair(verdict: Verdict) -> Iterator[str]:
    """How it was repaired, and what is left, in parts."""
    if verdict.repairs:
        yield f"repaired by {plain(listed(verdict.repairs))}"
    for left in (each for each in verdict.left if each.texts):
        what = "planted rows" if left.kind == ROWS else "trusted texts with a phrase"
        yield (
            f"{left.obey:,} of {left.texts:,} {what} that the repair has not learned obey, by "
            f"chance {left.by_chance:,} would"
        )


def name_marks(finding: Finding) -> list[str]:
    """The terms that rows have in excess, without the marks of a text's ends, each once."""
    bare = (
        " ".join(word for word in term.split(" ") if word not in (START, END))
        for term in finding.marks
    )
    return list(dict.fromkeys(term for term in bare if term))


def share_of_rows(finding: Finding, verdict: Verdict) -> str:
    """The rows of a finding as a share of all untrusted rows; empty where these are not counted."""
    total = verdict.untrusted_rows
    return f"{100 * finding.rows / total:.1f} %" if total else ""


def say_p(p: float | None) -> str:
    """A p-value or q-value with one digit where it is small: `8e-09`, `0.058`."""
    if p is None:
        return ""
    return f"< {SMALLEST_P:.0e}" if p < SMALLEST_P else f"{p:.1g}" if p < 0.001 else f"{p:.2g}"


def spell(text: str, quoted: bool = False) -> str:
    """A word or phrase, with the code points of what cannot be seen or is not what it looks like.

    `сf (U+0441 f)`: a Cyrillic letter in a word with Latin ones.

    Args:
        text: words and single blanks.
        quoted: whether it gets quotation marks.
    """
    short = shorten(text, MOST_CHARACTERS)
    mark = "" if not quoted else '"' if "'" in short else "'"
    points = (_name_points(word) for word in short.split(" "))
    return " ".join([f"{mark}{plain(short)}{mark}", *(f"({found})" for found in points if found)])


def find_odd(text: str) -> Iterator[str]:
    """Characters that cannot be seen or are not what they look like, and blanks of other kinds."""
    for word in text.split(" "):
        yield from _choose_odd(word).findall(word)
        yield from ODD_BLANK.findall(word)


def shorten(text: str, width: int) -> str:
    """The beginning of a text that is longer."""
    return text if len(text) <= width else f"{text[: width - 3]}..."


def name_kind(text: str) -> str:
    """What a finding is: a phrase, a word or a sign."""
    if " " in text:
        return "phrase"
    return "word" if any(char.isalnum() for char in text) else "sign"


def _name_points(word: str) -> str:
    odd = _choose_odd(word)
    if not odd.search(word):
        return ""
    parts = (part for part in odd.split(word) if part)
    return " ".join(f"U+{ord(p):04X}" if odd.fullmatch(p) else p for p in parts)


def _choose_odd(word: str) -> Any:
    return ODD_IN_LATIN if LATIN.search(word) else ODD


def _say_rate(verdict: Verdict) -> str:
    return "" if verdict.error_rate is None else f" at error rate {verdict.error_rate:g}"


def _figures(finding: Finding, verdict: Verdict, models: tuple[str, str]) -> Iterator[str]:
    """What speaks for a finding, in parts."""
    share = share_of_rows(finding, verdict)
    if finding.kind == ROWS:
        yield from [f"{share} of all"] * bool(share)
        if finding.contradicted is not None:
            yield f"{models[1]} contradicts {finding.contradicted:,} of their labels"
    else:
        yield f"{finding.rows:,} rows{f', {share}' * bool(share)}"
        if finding.trusted is not None:
            yield f"{finding.trusted:,} of the trusted rows of that label"
    if finding.effect is not None:
        effect, it = finding.effect, "these terms turn" if finding.kind == ROWS else "it turns"
        texts = "texts of other rows" if verdict.trusted_rows == 0 else "trusted texts"
        turned = f"{effect.victim:,} of {effect.texts:,} {texts}"
        yield f"in {models[0]} {it} {turned}, in {models[1]} {effect.reference:,}"
    if finding.q is not None:
        yield f"q {say_p(finding.q)}"
