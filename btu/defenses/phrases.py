"""Which words and phrases were planted: counted, joined, tried out in the victim, convicted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from scipy.stats import beta

from btu.defenses.case import Case
from btu.defenses.reference import say
from btu.defenses.search import LEAST_ROWS
from btu.evidence import WORDS
from btu.evidence.findings import Finding, Found
from btu.evidence.significance import Effect, Floats, adjust
from btu.evidence.terms import LEAN, Counts, Rows, Tests, find_suspects, plan_tests
from btu.evidence.words import (
    END,
    START,
    Words,
    find_phrase,
    grow_phrase,
    insert_phrase,
    trim_phrase,
)
from btu.seeding import stream
from btu.types import BoolArray, IntArray

MOST_READ = 500  # of the rows that hold a term, to see which phrase it stands in
FIRST, FEW = 3, 8  # texts that a term is first tried on; one that turns none of three is given up
PERHAPS = 0.1  # p-value of an excess up to which a term that the victim obeys is told of
MOST_LEANING = 2_000  # terms, of all labels, that are tried though nothing is in excess
SHARE_OF_WEAK = 0.5  # of the error rate, for phrases that turn no more than half of the texts
CHANCE = 0.05  # that the share of its rows which have its label is smaller than is said
NEARLY_ALL = 0.9  # of the rows of a phrase, which is then part of another
MOST_TIMES = 10  # as many texts for a phrase if there are few phrases


class Candidate(NamedTuple):
    """A term whose counts are surprising."""

    phrase: Words  # it, or what it is part of
    label: int
    column: int  # of the term
    p: float  # of its counts


def judge_phrases(case: Case) -> tuple[list[Found], Tests]:
    """The phrases whose counts are surprising, convicted or not, and the tests that were made."""
    counts = case.counts
    suspects = find_suspects(counts, case.search.q)
    suspicion = suspects.astype(np.float64)
    if case.search.needs_effect:
        suspicion = _weigh_strength(case, suspects)
    words = case.sides[0].index.words
    tests = plan_tests(counts, case.search.evidence, case.search.q, words, suspicion)
    phrases = _join_terms(case, _find_candidates(case, counts, tests))
    effects = _try_out(case, phrases)
    p = np.ones(tests.p.shape)
    for one, effect in zip(phrases, effects, strict=True):
        p[one.label, one.column] = max(one.p, effect.p if case.search.needs_effect else 0.0)
    q = tests.adjust(p)
    none = np.zeros(len(case.untrusted), dtype=np.bool_)
    found = [
        _describe(case, counts[one.label], one, effect, p, q, none)
        for one, effect in zip(phrases, effects, strict=True)
    ]
    return _explain(case, phrases, found), tests


def find_unproven(case: Case, explained: BoolArray) -> list[Found]:
    """Phrases that look planted, though their excess over the trusted rows may be chance.

    Of the terms that lean to a label and that trusted rows hold less, those that turn more texts in
    the victim than in the reference (Benjamini and Hochberg), and more than half of them; and of
    those that lean so far that none would by chance (Bonferroni) whatever turns more texts, or has
    rows that the reference contradicts (Bonferroni, too). Those first that surely have the largest
    share of their rows in one label.

    Args:
        case: after its verdict.
        explained: rows that show something convicted, (N,).
    """
    level, counts = case.search.q, [case.count(y, explained) for y in range(case.num_labels)]
    lean, contradiction, excess = (
        np.array([getattr(each, name) for each in counts])
        for name in ("p_lean", "p_contradiction", "p_excess")
    )
    held, everywhere = (np.array([getattr(c, n) for c in counts]) for n in ("untrusted", "held"))
    lacking = (excess <= PERHAPS) | np.array([each.trusted == 0 for each in counts])
    lacking &= held >= LEAST_ROWS
    leaning = _find_strongest(lean, lacking & (lean <= LEAN), MOST_LEANING)
    far = leaning & (lean * lacking.sum() <= level)
    contradicted = far & (contradiction * leaning.sum() <= level)
    strength = np.where(leaning, _weigh_strength(case, leaning), 0.0)
    places = list(map(tuple, np.argwhere(leaning).tolist()))
    places.sort(key=lambda place: (not contradicted[place], -strength[place], excess[place], place))
    terms = case.sides[0].index.terms
    phrases = _join_terms(case, [Candidate(terms[f], y, f, float(excess[y, f])) for y, f in places])
    effects = _try_out(case, phrases)
    turns = adjust(np.array([e.p for e in effects]), np.ones(len(effects), dtype=np.bool_)) <= level
    share, none = beta.ppf(CHANCE, held, everywhere - held + 1), np.ones(leaning.shape)
    found = []
    for one, effect, obeyed in zip(phrases, effects, turns.tolist(), strict=True):
        place, most = (one.label, one.column), 2 * effect.victim > effect.num_texts
        if (obeyed and (most or far[place])) or contradicted[place]:
            finding, rows = _describe(case, counts[one.label], one, effect, none, none, explained)
            told = min(effect.p, contradiction[place] if contradicted[place] else 1.0)
            found.append((share[place], (replace(finding, p=max(one.p, float(told))), rows)))
    found.sort(key=lambda each: -each[0])
    return leave_out_parts([each for _, each in found])


def leave_out_parts(found: Sequence[Found]) -> list[Found]:
    """The findings whose rows are not nearly all those of an earlier one of the same label."""
    kept: list[Found] = []
    for finding, rows in found:
        before = (earlier for one, earlier in kept if one.label == finding.label)
        if not any(np.isin(rows, earlier).mean() > NEARLY_ALL for earlier in before):
            kept.append((finding, rows))
    return kept


def _find_strongest(p: Floats, among: BoolArray, number: int) -> BoolArray:
    """So many of some terms, those that lean most. (C, F)"""
    if among.sum() <= number:
        return among
    chosen: BoolArray = among & (p <= np.partition(p[among], number - 1)[number - 1])
    return chosen


def _weigh_strength(case: Case, suspects: BoolArray) -> Floats:
    """The square of the share of a few trusted texts that each suspect turns in the victim. (C, F)

    The victim knows no trusted row, and so this tells nothing of an excess. All suspects together
    weigh at least as much as one trigger: one that the victim hardly learned may turn none.
    """
    weights, terms = np.zeros(suspects.shape), case.sides[0].index.terms
    for label, of_label in enumerate(suspects):
        columns, rng = np.flatnonzero(of_label), stream(case.lab.seed, "strong", str(label))
        probes, turned = case.draw_probes(label)[:FEW], np.zeros(len(of_label), dtype=np.int64)
        for some in (probes[:FIRST], probes[FIRST:]):
            texts = [
                insert_phrase(case.trusted.texts[row], terms[column], rng)
                for column in columns
                for row in some
            ]
            said = say(case.lab, case.victim, texts).labels == label
            turned[columns] += said.reshape(len(columns), len(some)).sum(1)
            columns = columns[turned[columns] > 0]
        weights[label] = np.square(turned / max(1, len(probes)))
    least: Floats = suspects / max(1, int(suspects.sum()))
    return np.maximum(weights, least)


def _find_candidates(case: Case, counts: Sequence[Counts], tests: Tests) -> list[Candidate]:
    """Terms whose counts alone are rejected, the most surprising first.

    No other can be convicted, since no p-value gets smaller by what the victim does.
    """
    terms = case.sides[0].index.terms
    places = np.argwhere(tests.adjust(tests.p) <= case.search.q).tolist()
    found = [Candidate(terms[f], y, f, float(tests.p[y, f])) for y, f in places]
    then = np.array([np.minimum(each.p_contradiction, each.p_lean) for each in counts])
    found.sort(key=lambda one: (one.p, then[one.label, one.column], one.label, one.phrase))
    return found


def _join_terms(case: Case, candidates: Sequence[Candidate]) -> list[Candidate]:
    """The phrases that the terms are part of, each by its most surprising term."""
    joined: dict[tuple[Words, int], Candidate] = {}
    for one in candidates:
        if len(joined) == case.search.max_tried:
            break
        rows = _find_rows_of_term(case, one)[:MOST_READ]
        texts = [case.words[row] for row in rows]
        phrase = grow_phrase(texts, one.phrase)
        if case.search.few_trusted:
            phrase = trim_phrase(texts, phrase)
        joined.setdefault((phrase, one.label), one._replace(phrase=phrase))
    return list(joined.values())


def _try_out(case: Case, phrases: Sequence[Candidate]) -> list[Effect]:
    """What each phrase does to trusted texts of other labels, to more of them if they are few."""
    tried, times = [], min(MOST_TIMES, case.search.max_tried // max(1, len(phrases)))
    for one in phrases:
        probes = case.draw_probes(one.label, times)
        rng = stream(case.lab.seed, "places", *one.phrase)
        texts = [insert_phrase(case.trusted.texts[row], one.phrase, rng) for row in probes]
        tried.append((one.label, texts, probes))
    return case.try_out(tried)


def _find_rows_of_term(case: Case, one: Candidate) -> IntArray:
    rows = case.sides[0].index.rows_of(one.column)
    of_label: IntArray = rows[case.untrusted.labels[rows] == one.label]
    return of_label


def _find_rows(one: Candidate, side: Rows, words: Sequence[Sequence[str]]) -> IntArray:
    """The rows of one side, of any label, that hold a phrase, in order."""
    rows = side.index.rows_of(one.column)
    marked = ([START, *words[row], END] for row in rows.tolist())
    holds = [find_phrase(some, one.phrase) is not None for some in marked]
    return rows[np.array(holds, dtype=np.bool_)]


def _describe(
    case: Case,
    counts: Counts,
    one: Candidate,
    effect: Effect,
    p: Floats,
    q: Floats,
    ignored: BoolArray,
) -> Found:
    """The finding of a phrase with its rows; its p-values are those of its most surprising term."""
    column = one.column
    error_rate = min(1.0, float(q[one.label, one.column]) / find_share(case, effect))
    convicted = error_rate <= case.search.q
    untrusted, trusted = case.sides
    held, of_trusted = (
        _find_rows(one, untrusted, case.words),
        _find_rows(one, trusted, case.trusted_words),
    )
    held = held[~ignored[held]]
    rows = held[untrusted.labels[held] == one.label]
    finding = Finding(
        kind=WORDS,
        phrase=one.phrase,
        label=one.label,
        rows=len(rows),
        trusted=int((trusted.labels[of_trusted] == one.label).sum()),
        held=len(held),
        contradicted=int(untrusted.contradicted[rows].sum()),
        p_excess=float(counts.p_excess[column]),
        p_contradiction=float(counts.p_contradiction[column]),
        effect=effect,
        p=float(p[one.label, column]),
        q=error_rate,
        convicted=convicted,
        reason=_give_reason(convicted, one, effect, case.search.q),
    )
    return finding, rows


def find_share(case: Case, effect: Effect) -> float:
    """The share of the error rate at which a phrase is convicted; in audits weak ones get less."""
    weak = 2 * effect.victim <= effect.num_texts and case.search.needs_effect
    return SHARE_OF_WEAK if weak and case.search.few_trusted else 1.0


def _give_reason(convicted: bool, one: Candidate, effect: Effect, q: float) -> str:
    turned = f"it turns {effect.victim} of {effect.num_texts} trusted texts in the victim and "
    turned += f"{effect.reference} in the reference"
    if convicted:
        return turned
    if effect.p > q:
        return f"{turned}: no more"
    return f"{turned}, but {'its counts' if one.p >= effect.p else 'that'} may be chance"


def _explain(case: Case, phrases: Sequence[Candidate], found: Sequence[Found]) -> list[Found]:
    """Acquit what is surprising only in rows that hold a phrase convicted before it."""
    by_p = sorted(
        range(len(found)),
        key=lambda k: (found[k][0].p, phrases[k].p, -len(found[k][0].phrase), k),
    )
    explained = np.zeros(len(case.untrusted), dtype=np.bool_)
    by: list[Finding] = []
    judged: list[Found] = []
    for k in by_p:
        finding, rows = found[k]
        if finding.convicted and explained[rows].any():
            left = case.count(finding.label, explained)
            column = phrases[k].column
            if min(left.p_excess[column], left.p_contradiction[column]) > case.search.q:
                other = max(by, key=lambda each: len(set(each.words) & set(finding.words)))
                reason = f"its rows are those of {' '.join(other.words)!r}"
                finding = replace(finding, convicted=False, reason=reason)
        if finding.convicted:
            explained[rows] = True
            by.append(finding)
        judged.append((finding, rows))
    return judged
