"""Whether a way of writing would be found: rows of the file are rewritten, and looked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from btu.auditing.linear import LinearLab
from btu.defenses.case import Case
from btu.defenses.reference import Reference
from btu.defenses.verdict import Verdict, judge
from btu.rewriting.base import rewrite_all
from btu.rewriting.styles import STYLES
from btu.seeding import stream
from btu.types import IntArray, Split

STYLE, NAME = "bible", "Bible English"
INTENSITY, OPENINGS = 1.0, 0.5  # as `attack=style` has them
RATES = (0.1, 0.2)  # of the rows of the file
LEAST_CHANGED = 0.5  # of the rows that are to be rewritten; else they are not English
LEAST_FOUND = 0.5  # of those that were
MOST_ROWS = 5_000  # of a file in which this is tried, as each trial is an audit of its own


def say_style_power(case: Case) -> str | None:
    """Whether a tenth or a fifth of the rows in another style would have been found, as a clause.

    Rows of other labels are rewritten and get the commonest label; linear models judge the file.

    Returns:
        None where it is not tried: in long files, where other labels have too few rows, and where
        the rewriter leaves most of them as they are.
    """
    untrusted, trusted = case.untrusted, case.trusted
    number, label = len(untrusted), int(np.bincount(untrusted.labels).argmax())
    others = np.flatnonzero(untrusted.labels != label)
    others = stream(case.lab.seed, "rewritten").permutation(others)
    said = None
    for rate in RATES:
        rows = others[: round(rate * number)]
        if number > MOST_ROWS or len(rows) < round(rate * number):
            break
        rewritten = rewrite_rows(untrusted, rows, label, trusted)
        if rewritten is None:
            break
        verdict = _judge(case, rewritten)
        found = int(np.isin(rows, verdict.rows).sum())
        name, many = case.lab.label_names[label], f"{len(rows):,} rows ({100 * rate:g} %)"
        said = f"as a trial, {many} were rewritten in {NAME} and called {name}: "
        said += f"{found or 'none'} of them were found"
        if found >= LEAST_FOUND * len(rows):
            break
    return said


def rewrite_rows(split: Split, rows: IntArray, label: int, like: Split) -> Split | None:
    """The split with some rows in another style and with one label.

    Args:
        split: N rows.
        rows: those to rewrite.
        label: that they get.
        like: how texts are typed where they do not show it.

    Returns:
        None if most of them are as before.
    """
    texts, labels = list(split.texts), split.labels.copy()
    before = [texts[row] for row in rows.tolist()]
    after = rewrite_all(STYLES[STYLE](INTENSITY, OPENINGS), before, like.texts)
    both = zip(before, after, strict=True)
    changed = sum(old != new.text and not new.is_generic for old, new in both)
    if changed < LEAST_CHANGED * len(rows):
        return None
    for row, new in zip(rows.tolist(), after, strict=True):
        texts[row] = new.text
    labels[rows] = label
    return replace(split, texts=tuple(texts), labels=labels)


def _judge(case: Case, untrusted: Split) -> Verdict:
    """What linear models find in other rows of the same task."""
    lab = LinearLab(case.lab.seed, case.lab.label_names)
    return judge(
        replace(
            case,
            lab=lab,
            untrusted=untrusted,
            victim=lab.train(untrusted, lab.training),
            reference=Reference(lab, case.trusted, None),
            fold=lab.ignores_case,
        )
    )
