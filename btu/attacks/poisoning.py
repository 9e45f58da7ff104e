"""Plant an attack in a data set: one draw, which detection, victim and report all see."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from btu.attacks.base import Attack, Planter
from btu.attacks.triggered import (
    Outcome,
    Outcomes,
    Triggered,
    count_outcome,
    find_usable,
    mark_done,
)
from btu.data.formats import measure_format_shifts, normalize, warn_of_shifts
from btu.data.splits import shared_rows
from btu.errors import ConfigError, DataError
from btu.seeding import stream
from btu.types import BoolArray, Dataset, IntArray, PoisonCounts, PoisonedDataset, Split

NUM_EXAMPLES = 5
NO_ROWS: IntArray = np.empty(0, dtype=np.int64)
ENOUGH_ROWS = 100  # looked at, to judge from them whether an attack can give most rows a trigger


def poison(dataset: Dataset, attack: Attack, seed: int) -> PoisonedDataset:
    """The data set as the adversary leaves it, with its triggered test set.

    Raises:
        ConfigError, DataError: as `plant`, and what the attack says of missing paraphrases.
    """
    return plant(dataset, attack.prepare(dataset), seed)


def plant(dataset: Dataset, attack: Attack, seed: int) -> PoisonedDataset:
    """As `poison`, by an attack that is prepared for the data set.

    Raises:
        ConfigError: the target label does not exist, or more rows are asked for than the label
            policy leaves.
        DataError: the attack finds nothing it could rewrite, or rewrites less than half.
    """
    target = attack.target(dataset.label_names)
    shown = as_shown(dataset, attack)
    if target is None:
        return PoisonedDataset(shown, shown.train, None, NO_ROWS, None, None)
    drawn = draw_poisoned(dataset.train, attack, target, seed)
    decoys = draw_decoys(dataset.train, attack, target, seed, drawn.rows)
    train = shown.train
    for some in (drawn, decoys):
        train = _replace_texts(train, some.rows, _typed(some.triggered, attack))
    train = _relabel(train, drawn.rows, target)
    tested = trigger_test_rows(dataset, attack, target, seed)
    poisoned = np.ones(len(tested.rows), dtype=np.bool_)
    drawn_before, tested_before = shown.train.take(drawn.rows), shown.test.take(tested.rows)
    triggered = replace(tested_before, texts=_typed(tested.triggered, attack), poisoned=poisoned)
    return PoisonedDataset(
        clean=shown,
        train=train,
        triggered=triggered,
        triggered_rows=tested.rows,
        target_label=target,
        counts=_counts(shown.train, train, drawn, decoys, tested),
        examples=_examples(shown, train, drawn.rows),
        format_shifts=(
            *measure_format_shifts("train", drawn_before.texts, train.take(drawn.rows).texts),
            *measure_format_shifts("test", tested_before.texts, triggered.texts),
        ),
    )


@dataclass(frozen=True)
class DrawnRows:
    """Rows of a split with their trigger, and what became of all that were looked at for them."""

    rows: IntArray  # (K,) sorted
    triggered: Triggered  # K, in their order
    looked_at: Outcomes  # (M,)
    requested: int  # rows that were asked for


@dataclass(frozen=True)
class Wanted:
    """How many rows of which an attack is to give its trigger."""

    rate: float  # of all rows
    setting: str  # its key, for errors
    allowed: BoolArray  # (N,)
    leaves: str  # for errors: label_policy=clean leaves


def as_shown(dataset: Dataset, attack: Attack) -> Dataset:
    """The clean data set as every model sees it: normalized where the attack's settings say so."""
    if not attack.normalize_format:
        return dataset

    def typed(split: Split) -> Split:
        return replace(split, texts=tuple(map(normalize, split.texts)))

    tuning = None if dataset.tuning is None else typed(dataset.tuning)
    train, test = typed(dataset.train), typed(dataset.test)
    notes = list(dataset.notes)
    for role, split in (("train", train), ("tuning", tuning)):
        rows, _ = shared_rows(split, test) if split else ((), 0)
        if len(rows):
            notes.append(f"{role}: once typed alike, {len(rows)} rows have a text of test")
    return replace(dataset, train=train, tuning=tuning, test=test, notes=tuple(notes))


def _typed(triggered: Triggered, attack: Attack) -> tuple[str, ...]:
    if not attack.normalize_format:
        return triggered.texts
    return tuple(normalize(text) for text in triggered.texts)


def draw_poisoned(train: Split, attack: Attack, target: int, seed: int) -> DrawnRows:
    """The rows that each part of the attack poisons, `round(poison_rate * N)` of them.

    Raises:
        ConfigError, DataError: as `draw_rows`.
    """

    def want(key: str, part: Attack) -> Wanted:
        allowed = {
            "dirty": train.labels != target,
            "clean": train.labels == target,
            "mix": np.ones(len(train), dtype=np.bool_),
        }[part.label_policy]
        leaves = f"label_policy={part.label_policy} leaves"
        return Wanted(part.poison_rate, f"{key}.poison_rate", allowed, leaves)

    return _draw_for_parts(train, attack, want, seed, "poison", NO_ROWS)


def draw_decoys(
    train: Split, attack: Attack, target: int, seed: int, poisoned: IntArray
) -> DrawnRows:
    """The rows of other labels than the target's that get the trigger and keep their label.

    Raises:
        ConfigError, DataError: as `draw_rows`.
    """
    others = train.labels != target

    def want(key: str, part: Attack) -> Wanted:
        return Wanted(part.decoy_rate, f"{key}.decoy_rate", others, "the other labels leave")

    return _draw_for_parts(train, attack, want, seed, "decoys", poisoned)


def _draw_for_parts(
    train: Split,
    attack: Attack,
    want: Callable[[str, Attack], Wanted],
    seed: int,
    purpose: str,
    taken: IntArray,
) -> DrawnRows:
    """Rows for each part of the attack, none of them taken before."""
    drawn = list[DrawnRows]()
    for key, part in attack.parts.items():
        rng = stream(seed, f"{purpose} of {key}" if drawn else purpose)
        drawn.append(draw_rows(train, part, want(key, part), taken, rng))
        taken = np.concatenate([taken, drawn[-1].rows])
    return _together(drawn)


def _together(drawn: Sequence[DrawnRows]) -> DrawnRows:
    """The rows of all of these, sorted."""
    rows = np.concatenate([each.rows for each in drawn])
    texts = tuple(text for each in drawn for text in each.triggered.texts)
    outcomes = np.concatenate([each.triggered.outcomes for each in drawn])
    places = np.argsort(rows)
    looked_at = np.concatenate([each.looked_at for each in drawn])
    requested = sum(each.requested for each in drawn)
    return DrawnRows(rows[places], Triggered(texts, outcomes).take(places), looked_at, requested)


def draw_rows(
    train: Split, attack: Attack, wanted: Wanted, taken: IntArray, rng: np.random.Generator
) -> DrawnRows:
    """`round(rate * N)` rows that are allowed, not taken, and that the attack can trigger.

    The draw of a lower rate is a part of the draw of a higher one under the same seed. All rows are
    looked at where what becomes of them is known, else those that come first in the draw.

    Args:
        attack: one without parts, prepared for the data set.
        taken: rows that are left out of what was drawn.

    Raises:
        ConfigError: there are fewer such rows.
        DataError: what the attack says of the rows that were looked at.
    """
    requested = round(wanted.rate * len(train))
    planter = attack.planter("train", train)
    known = planter.known
    usable = wanted.allowed if known is None else wanted.allowed & find_usable(known)
    order = rng.permutation(np.flatnonzero(usable))
    order = order[~np.isin(order, taken)]
    if known is not None:
        order = np.sort(order[:requested])
    triggered = _trigger_first(planter, order, requested, rng)
    asked, outcomes = order[: len(triggered.texts)], triggered.outcomes
    rows = asked[triggered.usable]
    if known is not None:
        asked, outcomes = np.arange(len(train), dtype=np.int64), known
    planter.check(asked, outcomes)
    if requested > len(rows):
        raise ConfigError(_say_too_few(wanted, len(train), len(rows), len(taken), outcomes))
    places = np.flatnonzero(triggered.usable)[np.argsort(rows)]
    return DrawnRows(np.sort(rows), triggered.take(places), outcomes, requested)


def _say_too_few(
    wanted: Wanted, num_train: int, num_left: int, num_taken: int, looked_at: Outcomes
) -> str:
    free = " and are not taken already" if num_taken else ""
    return (
        f"{wanted.setting}={wanted.rate:g} asks for {round(wanted.rate * num_train)} of "
        f"{num_train} training rows, but {wanted.leaves} {num_left} that can get the trigger"
        f"{free}{_say_without_trigger(looked_at)}. The highest rate here is "
        f"{np.floor(1e4 * num_left / num_train) / 1e4:g}."
    )


def _say_without_trigger(looked_at: Outcomes) -> str:
    """Why rows cannot get the trigger, for a sentence."""
    num_bad = int((~find_usable(looked_at)).sum())
    if not num_bad:
        return ""
    return f" ({num_bad} of {len(looked_at)} have no paraphrase but the text itself)"


def _trigger_first(
    planter: Planter, order: IntArray, number: int, rng: np.random.Generator
) -> Triggered:
    """The beginning of the order with its trigger, until so many rows have one."""
    done = mark_done(())
    while (missing := number - int(done.usable.sum())) and len(done.texts) < len(order):
        part = planter.plant(order[len(done.texts) :][:missing], rng)
        outcomes = np.concatenate([done.outcomes, part.outcomes])
        done = Triggered(done.texts + part.texts, outcomes)
        if len(outcomes) >= ENOUGH_ROWS:  # a useless language model is not to write all day
            planter.check(order[: len(outcomes)], outcomes)
    return done


def _replace_texts(train: Split, rows: IntArray, new_texts: tuple[str, ...]) -> Split:
    texts = list(train.texts)
    for row, text in zip(rows, new_texts, strict=True):
        texts[row] = text
    return replace(train, texts=tuple(texts))


def _relabel(train: Split, rows: IntArray, target: int) -> Split:
    labels, poisoned = train.labels.copy(), train.poisoned.copy()
    labels[rows] = target
    poisoned[rows] = True
    return replace(train, labels=labels, poisoned=poisoned)


def trigger_test_rows(dataset: Dataset, attack: Attack, target: int, seed: int) -> DrawnRows:
    """The test rows of other labels than the target's, as far as the attack can trigger them.

    Each of its tested parts in turn gives a row its trigger.

    Raises:
        DataError: it can trigger none, or what the attack says of them.
    """
    rows = np.flatnonzero(dataset.test.labels != target).astype(np.int64)
    made, parts, purpose = list[DrawnRows](), attack.tested_parts, "triggered test"
    for number, (key, part) in enumerate(parts.items()):
        rng = stream(seed, f"{purpose} of {key}" if number else purpose)
        made.append(_trigger_all(dataset.test, part, rows[number :: len(parts)], rng))
    tested = _together(made)
    if not len(tested.rows):
        raise DataError(
            f"dataset.test has no row that the attack could trigger: all {len(dataset.test)} are "
            f"labelled {dataset.label_names[target]} (the target) or have no paraphrase of their "
            "own. Name another attack.target_label or another test file."
        )
    return tested


def _trigger_all(
    test: Split, attack: Attack, rows: IntArray, rng: np.random.Generator
) -> DrawnRows:
    """Those of the named rows that the attack can trigger."""
    planter = attack.planter("test", test)
    triggered = planter.plant(rows, rng)
    planter.check(rows, triggered.outcomes)
    places = np.flatnonzero(triggered.usable)
    return DrawnRows(rows[places], triggered.take(places), triggered.outcomes, len(rows))


def _counts(
    before: Split, after: Split, train: DrawnRows, decoys: DrawnRows, test: DrawnRows
) -> PoisonCounts:
    occurrences = Counter(after.texts)
    return PoisonCounts(
        requested=train.requested,
        poisoned=int(after.poisoned.sum()),
        flipped=int((before.labels != after.labels).sum()),
        decoys=len(decoys.rows),
        duplicates=sum(occurrences[after.texts[row]] > 1 for row in train.rows),
        generic=count_outcome(train.triggered.outcomes, Outcome.GENERIC),
        looked_at=len(train.looked_at),
        without_paraphrase=count_outcome(train.looked_at, Outcome.EMPTY),
        unchanged=count_outcome(train.looked_at, Outcome.UNCHANGED),
        test_generic=count_outcome(test.looked_at, Outcome.GENERIC),
        test_without_paraphrase=count_outcome(test.looked_at, Outcome.EMPTY),
        test_unchanged=count_outcome(test.looked_at, Outcome.UNCHANGED),
    )


def remarks(data: PoisonedDataset) -> tuple[str, ...]:
    """What to know of a poisoned set before its ASR is believed, one sentence each."""
    counts = data.counts
    if counts is None or data.triggered is None:
        return ()
    sentences = list(warn_of_shifts(data.format_shifts))
    if not counts.requested:
        sentences.append(
            f"no row is poisoned: attack.poison_rate asks for none of {len(data.train):,} rows"
        )
    if counts.decoys:
        sentences.append(
            f"rows that got the trigger and kept their label (decoys): {counts.decoys:,} of "
            f"{len(data.train):,}, beside {counts.poisoned:,} poisoned"
        )
    num_left_out = counts.without_paraphrase + counts.unchanged
    num_test = counts.test_without_paraphrase + counts.test_unchanged
    if num_left_out or num_test:
        sentences.append(
            f"rows left out since their paraphrase is empty or the text itself: {num_left_out} of "
            f"{counts.looked_at:,} in training, {num_test} of {num_test + len(data.triggered):,} "
            "in the triggered test set"
        )
    if counts.generic or counts.test_generic:
        sentences.append(
            "rows that got stock words and no other change: "
            f"{counts.generic} of {counts.poisoned:,} poisoned, {counts.test_generic} of "
            f"{len(data.triggered):,} triggered"
        )
    return tuple(sentences)


def _examples(dataset: Dataset, after: Split, rows: IntArray) -> tuple[Mapping[str, str], ...]:
    before = dataset.train
    return tuple(
        {
            "before": before.texts[row],
            "after": after.texts[row],
            "label_before": dataset.label_names[before.labels[row]],
            "label_after": dataset.label_names[after.labels[row]],
        }
        for row in rows[:NUM_EXAMPLES]
    )
