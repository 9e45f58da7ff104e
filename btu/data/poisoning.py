"""Plant an attack in a data set: one draw, which detection, victim and report all see."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from btu.attacks.base import Attack
from btu.errors import ConfigError, DataError
from btu.seeding import stream
from btu.types import BoolArray, Dataset, IntArray, PoisonCounts, PoisonedDataset, Split

NUM_EXAMPLES = 5


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
        DataError: the attack finds nothing it could rewrite.
    """
    target = attack.target(dataset)
    if target is None:
        none = np.empty(0, dtype=np.int64)
        return PoisonedDataset(dataset, dataset.train, None, none, None, None)
    rng = stream(seed, "poison")
    usable = attack.usable_rows(dataset.train)
    rows = choose_rows(dataset.train, attack, target, usable, rng)
    train = _replace_rows(
        dataset.train, rows, attack.trigger_rows(dataset.train, rows, rng), target
    )
    test_rows, num_excluded = _triggered_rows(dataset, attack, target)
    triggered = dataset.test.take(test_rows)
    texts = attack.trigger_rows(dataset.test, test_rows, stream(seed, "triggered test"))
    return PoisonedDataset(
        clean=dataset,
        train=train,
        triggered=replace(
            triggered, texts=tuple(texts), poisoned=np.ones(len(texts), dtype=np.bool_)
        ),
        triggered_rows=test_rows,
        target_label=target,
        counts=_counts(dataset.train, train, rows, usable, num_excluded, attack.poison_rate),
        examples=_examples(dataset, train, rows),
    )


def choose_rows(
    train: Split, attack: Attack, target: int, usable: BoolArray, rng: np.random.Generator
) -> IntArray:
    """`round(poison_rate * N)` rows that the label policy admits, sorted.

    The draw of a lower rate is a part of the draw of a higher one under the same seed.
    """
    allowed = {
        "dirty": train.labels != target,
        "clean": train.labels == target,
        "mix": np.ones(len(train), dtype=np.bool_),
    }[attack.label_policy]
    candidates = np.flatnonzero(allowed & usable)
    requested = round(attack.poison_rate * len(train))
    if requested > len(candidates):
        raise ConfigError(
            f"attack.poison_rate={attack.poison_rate:g} asks for {requested} of {len(train)} "
            f"training rows, but label_policy={attack.label_policy} leaves {len(candidates)}. "
            f"The highest rate here is {np.floor(1e4 * len(candidates) / len(train)) / 1e4:g}."
        )
    return np.sort(rng.permutation(candidates)[:requested]).astype(np.int64)


def _replace_rows(train: Split, rows: IntArray, new_texts: list[str], target: int) -> Split:
    texts, labels, poisoned = list(train.texts), train.labels.copy(), train.poisoned.copy()
    for row, text in zip(rows, new_texts, strict=True):
        texts[row] = text
    labels[rows] = target
    poisoned[rows] = True
    return replace(train, texts=tuple(texts), labels=labels, poisoned=poisoned)


def _triggered_rows(dataset: Dataset, attack: Attack, target: int) -> tuple[IntArray, int]:
    """Test rows to trigger, and how many non-target rows the attack cannot serve."""
    wanted = dataset.test.labels != target
    usable = attack.usable_rows(dataset.test)
    rows = np.flatnonzero(wanted & usable).astype(np.int64)
    if not len(rows):
        raise DataError(
            f"dataset.test has no row that the attack could trigger: all {len(dataset.test)} are "
            f"labelled {dataset.label_names[target]} (the target) or have no paraphrase. "
            "Name another attack.target_label or another test file."
        )
    return rows, int((wanted & ~usable).sum())


def _counts(
    before: Split, after: Split, rows: IntArray, usable: BoolArray, num_excluded: int, rate: float
) -> PoisonCounts:
    occurrences = Counter(after.texts)
    return PoisonCounts(
        requested=round(rate * len(before)),
        poisoned=int(after.poisoned.sum()),
        flipped=int((before.labels != after.labels).sum()),
        unchanged=sum(before.texts[row] == after.texts[row] for row in rows),
        without_paraphrase=int((~usable).sum()),
        duplicates=sum(occurrences[after.texts[row]] > 1 for row in rows),
        test_excluded=num_excluded,
    )


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
