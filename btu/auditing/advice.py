"""What to do about a file, and what an audit cannot tell of it, in HTML."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from btu.auditing.columns import Association
from btu.auditing.elements import (
    capitalize,
    embolden,
    end_sentence,
    make_code,
    make_list,
    make_paragraph,
    say_count,
    shorten_name,
)
from btu.auditing.kept import CLEAN, RELABELLED
from btu.auditing.written import PLANTED, ROWS, SUSPICIOUS, find_planted
from btu.data.files import find_ending
from btu.report.markup import text_of

if TYPE_CHECKING:
    from btu.auditing.told import Told


def show_limits(audited: Told) -> str:
    """What would have been found where nothing was; else a note says it."""
    if audited.planted:
        return ""
    limits, tests = audited.examined.limits, audited.verdict.tests or 0
    rows = say_count(audited.examined.opened.num_rows, "row")
    tested = say_count(tests, "word or phrase that stands", "words and phrases that stand")
    return "".join(
        [
            make_paragraph(f"The audit tested {tested} out in some label, in {rows}."),
            make_list(text_of(end_sentence(limit)) for limit in limits),
            make_paragraph(
                "Nothing found is not proof that nothing was planted: less than that can be missed."
            ),
        ]
    )


def show_rows(audited: Told) -> str:
    """Where the rows found are listed, and what sets them apart."""
    if not audited.planted:
        return ""
    opened, columns = audited.examined.opened, audited.columns
    listed_in = (
        f"<p>{make_code(ROWS)} lists every row of the file. Those found have <b>{PLANTED}</b> in "
        "the column <b>verdict</b>; further columns say what was found in them and which label "
        "they should perhaps have.</p>\n"
    )
    none = ""
    if not opened.columns:
        none = "The file has no further columns that could tell where they come from."
    elif not columns:
        none = "No other column of the file sets them apart from the other rows."
    if none:
        return listed_in + make_paragraph(none)
    told = make_list(map(_tell_column, columns))
    return f"{listed_in}{make_paragraph('These columns of the file set them apart:')}{told}"


def _tell_column(column: Association) -> str:
    """As the command says it, its p on one line."""
    said, _, p = capitalize(column.describe()).rpartition(" (")
    return f"{text_of(said)} <span class=whole>({text_of(p)}</span>."


def show_advice(audited: Told, relabelled: bool) -> str:
    """What to do, the first thing first, and what is known of models without what was planted."""
    says = _advise_found(audited, relabelled) if audited.planted else _advise_nothing(audited)
    trained = map(end_sentence, audited.trained.sentences if audited.trained else ())
    return make_list(says, "ol") + "".join(map(make_paragraph, trained))


def _advise_found(audited: Told, relabelled: bool) -> Iterator[str]:
    opened = audited.examined.opened
    name, found = embolden(shorten_name(opened.path.name)), len(find_planted(audited.examined))
    clean = make_code(_name_clean(opened.path))
    them = "it" if found == 1 else "them"
    other = (
        f" {make_code(_name_clean(opened.path, RELABELLED))} has all rows, those found with the "
        "labels that they should perhaps have; what was planted still stands in their texts."
    )
    yield (
        f"<strong>Use {clean} instead of the file.</strong> It is {name} without the "
        f"{say_count(found, 'row')} found; all else is unchanged, in UTF-8. Honest rows that "
        f"happen to look the same go with {them}.{other * relabelled}"
    )
    yield (
        f"<strong>Retrain every model that was trained on {name}</strong>, starting from a model "
        "that has never seen it. Until then, do not rely on its answers: anyone who knows what was "
        "planted can choose them."
    )
    yield (
        f"<strong>Ask where the rows come from.</strong> {_say_source(audited.columns)} Whoever "
        "supplied them may have supplied other files, too."
    )


def _say_source(columns: Sequence[Association]) -> str:
    """What the file itself says of the source."""
    named = next((each for each in columns if each.value is not None), None)
    if named is None:
        return f"{make_code(ROWS)} has their numbers."
    column, value = embolden(shorten_name(named.column)), embolden(shorten_name(named.value or ""))
    return f"The column {column} points to {value}: treat its other rows with care."


def _advise_nothing(audited: Told) -> Iterator[str]:
    opened = audited.examined.opened
    name = embolden(shorten_name(opened.path.name))
    clean = make_code(_name_clean(opened.path))
    if audited.examined.num_suspicious:
        needed = next((one.needed for one in audited.examined.unproven), None) or 0
        again = f", or audit the file again with about {needed:,} trusted rows"
        yield (
            f"<strong>Look at what is suspicious in {name}:</strong> at the rows that "
            f"{make_code(ROWS)} calls {SUSPICIOUS}{again * (needed > 0)}. No row is left out of "
            f"{clean}."
        )
    else:
        yield (
            f"<strong>The audit gives no reason to remove rows from {name}.</strong> {clean} has "
            "all of them."
        )
    more = "more trusted rows" if opened.has_trusted else "trusted rows"
    yield (
        f"<strong>To be surer, audit the file again with {more}</strong>: the more there are, the "
        "less can be missed."
    )


def _name_clean(path: Path, name: str = CLEAN) -> str:
    return f"{name}{find_ending(path)}{'.gz' * (path.suffix.lower() == '.gz')}"


def show_notes(audited: Told) -> str:
    """What to mind."""
    return make_list(_tell_limits(audited))


def _tell_limits(audited: Told) -> Iterator[str]:
    examined = audited.examined
    if audited.planted:
        yield (
            "Whether it was planted on purpose, and by whom. A signature, a template or another "
            "habit of one source, always with one label, looks the same and does the same to a "
            "model."
        )
        if examined.limits:
            limits = "; ".join(examined.limits)
            said = end_sentence(f"what else there may be, in fewer rows than this: {limits}")
            yield text_of(said)
    if examined.opened.has_trusted:
        yield (
            "Whether the trusted rows are clean. The audit takes them as such: what is in them as "
            "often as in the file is not found."
        )
    else:
        yield (
            "Whether the words of a label are more frequent than they should be: that takes "
            "trusted rows, and this audit had none to compare with. The file was judged by itself."
        )
    notes = (note for note in audited.notes if note not in examined.limits)
    yield from (text_of(end_sentence(note)) for note in notes)
