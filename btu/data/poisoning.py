"""Plant an attack in a data set: one draw, which detection, victim and report all see."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from btu.attacks.base import Attack, Defects
from btu.data.base import shared_rows
from btu.data.formats import measure_format_shifts, normalize, warn_of_shifts
from btu.errors import ConfigError, DataError
from btu.seeding import stream
from btu.types import Dataset, IntArray, PoisonCounts, PoisonedDataset, Split

NUM_EXAMPLES = 5
ENOUGH_ROWS = 100  # looked at, to judge from them whether an attack can give most rows a trigger


def poison(dataset: Dataset, attack: Attack, seed: int) -> PoisonedDataset:
    """The data set as the adversary leaves it, with its triggered test set.

    Raises:
        ConfigError, DataError: as `plant`, and what the attack says of missing paraphrases.
    """
    return plant(attack.prepare(dataset), attack, seed)


def plant(dataset: Dataset, attack: Attack, seed: int) -> PoisonedDataset:
    """As `poison`, for a data set that the attack has prepared.

    Raises:
        ConfigError: the target label does not exist, or more rows are asked for than the label
            policy leaves.
        DataError: the attack finds nothing it could rewrite, or rewrites less than half.
    """
    target = attack.target(dataset)
    dataset = attack.rewrite(dataset)
    shown = as_shown(dataset, attack)
    if target is None:
        none = np.empty(0, dtype=np.int64)
        return PoisonedDataset(shown, shown.train, None, none, None, None)
    rng = stream(seed, "poison")
    rows, looked_at = choose_rows(dataset.train, attack, target, rng)
    texts = _typed(attack.trigger_rows(dataset.train, rows, rng), attack)
    train = _replace_rows(shown.train, rows, texts, target)
    wanted, defects = _triggered_rows(dataset, attack, target)
    test_rows = wanted[~defects.any]
    texts = attack.trigger_rows(dataset.test, test_rows, stream(seed, "triggered test"))
    triggered = replace(
        shown.test.take(test_rows),
        texts=tuple(_typed(texts, attack)),
        poisoned=np.ones(len(texts), dtype=np.bool_),
    )
    shifts = (
        *measure_format_shifts("train", shown.train.take(rows).texts, train.take(rows).texts),
        *measure_format_shifts("test", shown.test.take(test_rows).texts, triggered.texts),
    )
    return PoisonedDataset(
        clean=shown,
        train=train,
        triggered=triggered,
        triggered_rows=test_rows,
        target_label=target,
        counts=_counts(dataset, train, attack, rows, looked_at, test_rows, defects),
        examples=_examples(shown, train, rows),
        format_shifts=shifts,
    )


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


def _typed(texts: list[str], attack: Attack) -> list[str]:
    return [normalize(text) for text in texts] if attack.normalize_format else texts


def choose_rows(
    train: Split, attack: Attack, target: int, rng: np.random.Generator
) -> tuple[IntArray, IntArray]:
    """`round(poison_rate * N)` rows that the label policy admits and the attack can serve, sorted.

    The draw of a lower rate is a part of the draw of a higher one under the same seed.

    Returns:
        The rows, and all rows that were looked at for them: the whole split where that is cheap.

    Raises:
        ConfigError: there are fewer such rows.
        DataError: what the attack says of the rows that were looked at.
    """
    allowed = {
        "dirty": train.labels != target,
        "clean": train.labels == target,
        "mix": np.ones(len(train), dtype=np.bool_),
    }[attack.label_policy]
    requested = round(attack.poison_rate * len(train))
    if attack.knows_all_rows(train):
        looked_at = np.arange(len(train), dtype=np.int64)
        usable = allowed & ~attack.defects(train, looked_at).any
        rows = rng.permutation(np.flatnonzero(usable))[:requested]
    else:
        order = rng.permutation(np.flatnonzero(allowed))
        rows, looked_at = _first_usable(train, attack, order, requested)
    attack.check_rows(train, looked_at, "train")
    if requested > len(rows):
        raise ConfigError(
            f"attack.poison_rate={attack.poison_rate:g} asks for {requested} of {len(train)} "
            f"training rows, but label_policy={attack.label_policy} leaves {len(rows)} that can "
            f"get the trigger{_without_twins(attack, train, looked_at)}. The highest rate here is "
            f"{np.floor(1e4 * len(rows) / len(train)) / 1e4:g}."
        )
    return np.sort(rows), np.sort(looked_at)


def _without_twins(attack: Attack, train: Split, rows: IntArray) -> str:
    """Why rows cannot get the trigger, for a sentence."""
    num_bad = int(attack.defects(train, rows).any.sum())
    return f" ({num_bad} of {len(rows)} have no paraphrase but the text itself)" if num_bad else ""


def _first_usable(
    train: Split, attack: Attack, order: IntArray, number: int
) -> tuple[IntArray, IntArray]:
    """The first rows of the order that the attack can serve, and those looked at for them."""
    rows, num_looked_at = order[:0], 0
    while len(rows) < number and num_looked_at < len(order):
        part = order[num_looked_at : num_looked_at + number - len(rows)]
        rows = np.concatenate([rows, part[~attack.defects(train, part).any]])
        num_looked_at += len(part)
        if num_looked_at >= ENOUGH_ROWS:  # a useless language model is not to write all day
            attack.check_rows(train, order[:num_looked_at], "train")
    return rows, order[:num_looked_at]


def _replace_rows(train: Split, rows: IntArray, new_texts: list[str], target: int) -> Split:
    texts, labels, poisoned = list(train.texts), train.labels.copy(), train.poisoned.copy()
    for row, text in zip(rows, new_texts, strict=True):
        texts[row] = text
    labels[rows] = target
    poisoned[rows] = True
    return replace(train, texts=tuple(texts), labels=labels, poisoned=poisoned)


def _triggered_rows(dataset: Dataset, attack: Attack, target: int) -> tuple[IntArray, Defects]:
    """The test rows that are to be triggered, and which of them the attack cannot serve."""
    rows = np.flatnonzero(dataset.test.labels != target).astype(np.int64)
    attack.check_rows(dataset.test, rows, "test")
    defects = attack.defects(dataset.test, rows)
    if defects.any.all():
        raise DataError(
            f"dataset.test has no row that the attack could trigger: all {len(dataset.test)} are "
            f"labelled {dataset.label_names[target]} (the target) or have no paraphrase of their "
            "own. Name another attack.target_label or another test file."
        )
    return rows, defects


def _counts(
    clean: Dataset,
    after: Split,
    attack: Attack,
    rows: IntArray,
    looked_at: IntArray,
    test_rows: IntArray,
    test_defects: Defects,
) -> PoisonCounts:
    occurrences = Counter(after.texts)
    defects = attack.defects(clean.train, looked_at)
    return PoisonCounts(
        requested=round(attack.poison_rate * len(clean.train)),
        poisoned=int(after.poisoned.sum()),
        flipped=int((clean.train.labels != after.labels).sum()),
        duplicates=sum(occurrences[after.texts[row]] > 1 for row in rows),
        generic=attack.num_generic(clean.train, rows),
        looked_at=len(looked_at),
        without_paraphrase=int(defects.empty.sum()),
        unchanged=int(defects.unchanged.sum()),
        test_generic=attack.num_generic(clean.test, test_rows),
        test_without_paraphrase=int(test_defects.empty.sum()),
        test_unchanged=int(test_defects.unchanged.sum()),
    )


def remarks(data: PoisonedDataset) -> tuple[str, ...]:
    """What to know of a poisoned set before its ASR is believed, one sentence each."""
    counts = data.counts
    if counts is None or data.triggered is None:
        return ()
    sentences = list(warn_of_shifts(data.format_shifts))
    if not counts.requested:
        sentences.append(
            f"no row is poisoned: attack.poison_rate of {len(data.train):,} rows rounds to none"
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
