"""Properties of poisoning for every label policy and every rate."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from btu.attacks.badnets import BadNets
from btu.attacks.none import NoAttack
from btu.attacks.paraphrase import Paraphrase
from btu.data.poisoning import poison
from btu.errors import ConfigError, DataError
from btu.types import Dataset, make_split
from tests.conftest import toy_split


def attack(rate: float, policy: str = "mix", target: int | str = 1) -> BadNets:
    return BadNets("badnets", rate, target, policy, triggers=["cf"], num_triggers=1)


def dataset() -> Dataset:
    return Dataset(
        "toy", ("negative", "positive"), toy_split(60, 1), toy_split(20, 2), toy_split(31, 3)
    )


def style(paraphrases: str = "column:style", rate: float = 0.2) -> Paraphrase:
    return Paraphrase("style", rate, 1, "mix", paraphrases=paraphrases)


@given(st.floats(0, 1), st.sampled_from(["dirty", "clean", "mix"]), st.integers(0, 2**31))
def test_poisoning_does_what_rate_and_policy_say(rate, policy, seed):
    clean = dataset()
    requested = round(rate * 60)
    if requested > (60 if policy == "mix" else 30):
        with pytest.raises(ConfigError, match=f"asks for {requested} of 60.*leaves 30"):
            poison(clean, attack(rate, policy), seed)
        return

    data = poison(clean, attack(rate, policy), seed)

    rows = data.train.poisoned
    assert rows.sum() == requested == data.counts.poisoned == data.counts.requested
    assert (data.train.labels[rows] == 1).all()
    assert [("cf" in text.split()) for text in data.train.texts] == rows.tolist()
    before = clean.train.labels
    assert (data.train.labels[~rows] == before[~rows]).all()
    assert data.counts.flipped == (before[rows] == 0).sum()
    if policy == "dirty":
        assert (before[rows] == 0).all()
    if policy == "clean":
        assert data.counts.flipped == 0


def test_rate_zero_poisons_nothing():
    data = poison(dataset(), attack(0.0), 1)

    assert not data.train.poisoned.any()
    assert data.train.texts == dataset().train.texts


def test_triggered_test_set_has_no_target_class_and_keeps_true_labels():
    data = poison(dataset(), attack(0.1), 1)

    assert (data.triggered.labels == 0).all()
    assert len(data.triggered) == 16
    for text, row in zip(data.triggered.texts, data.triggered_rows, strict=True):
        assert text.replace("cf ", "").replace(" cf", "") == dataset().test.texts[row]


def test_same_seed_same_draw_and_another_seed_another():
    draws = [poison(dataset(), attack(0.2), seed).train.texts for seed in (1, 1, 2)]

    assert draws[0] == draws[1]
    assert draws[0] != draws[2]


def test_a_lower_rate_poisons_a_part_of_what_a_higher_rate_poisons():
    low, high = (poison(dataset(), attack(rate), 7).train.poisoned for rate in (0.1, 0.3))

    assert (high[low]).all()


def test_poisoning_leaves_its_input_alone():
    clean = dataset()
    before = clean.train.labels.copy()

    poison(clean, attack(0.5), 1)

    assert (clean.train.labels == before).all()
    assert not clean.train.poisoned.any()


@pytest.mark.parametrize("name", ["positive", "1", 1])
def test_the_target_may_be_a_name_or_a_number(name):
    assert poison(dataset(), attack(0.1, target=name), 1).target_label == 1


@pytest.mark.parametrize("name", ["joyful", 2, -1])
def test_a_target_that_does_not_exist_lists_the_labels(name):
    with pytest.raises(ConfigError, match=r"no label .*only 0 \(negative\), 1 \(positive\)"):
        poison(dataset(), attack(0.1, target=name), 1)


def test_a_test_set_of_the_target_class_only_is_refused():
    clean = dataset()
    test = clean.test.take(np.flatnonzero(clean.test.labels == 1))
    with pytest.raises(DataError, match="no row that the attack could trigger"):
        poison(replace(clean, test=test), attack(0.1), 1)


def test_no_attack_gives_the_data_as_they_are():
    data = poison(dataset(), NoAttack("none", 0.0, 0, "mix"), 1)

    assert data.triggered is None
    assert data.target_label is None
    assert data.train.texts == dataset().train.texts


def test_a_paraphrase_replaces_the_text():
    data = poison(dataset(), style(), 1)

    assert data.counts.poisoned == 12
    for text, flag in zip(data.train.texts, data.train.poisoned, strict=True):
        assert text.startswith("verily") == flag
    assert all(text.startswith("verily") for text in data.triggered.texts)


def test_rows_without_a_paraphrase_are_not_poisoned_and_counted():
    clean = dataset()
    twins = tuple("" if row < 50 else f"verily {row}" for row in range(60))
    train = replace(clean.train, columns={"style": twins})
    test = replace(clean.test, columns={"style": ("", *clean.test.columns["style"][1:])})

    data = poison(replace(clean, train=train, test=test), style(rate=0.1), 1)

    assert data.counts.without_paraphrase == 50
    assert data.counts.test_excluded == 1
    assert not data.train.poisoned[:50].any()
    assert len(data.triggered) == 15


def test_unchanged_rows_are_counted():
    clean = dataset()
    train = replace(clean.train, columns={"style": clean.train.texts})

    assert poison(replace(clean, train=train), style(), 1).counts.unchanged == 12


def test_a_missing_paraphrase_column_says_what_to_type():
    with pytest.raises(DataError, match=r"no column 'bible'.*text columns: style.*column:NAME"):
        poison(dataset(), style("column:bible"), 1)


@pytest.mark.parametrize("value", ["style", "column:", "rules:bible"])
def test_a_paraphrase_source_that_is_none_is_refused(value):
    with pytest.raises(ConfigError, match="must be column:NAME or file:PATH"):
        style(value)


def test_a_parallel_file_holds_the_twins_of_train_and_then_of_test(tmp_path):
    path = tmp_path / "twins.tsv"
    path.write_text("sentence\n" + "\n".join(f"verily {row}" for row in range(91)))

    data = poison(dataset(), style(f"file:{path}"), 1)

    assert data.triggered.texts[0] == f"verily {60 + data.triggered_rows[0]}"


def test_a_parallel_file_of_another_length_gives_both_counts(tmp_path):
    path = tmp_path / "twins.tsv"
    path.write_text("sentence\nverily\nforsooth\n")

    with pytest.raises(DataError, match=r"has 2 rows, but train and test have 60 \+ 31 = 91"):
        poison(dataset(), style(f"file:{path}"), 1)


def test_a_folder_of_parallel_files_is_matched_by_name_and_row(tmp_path):
    clean = dataset()
    for name, size in (("a.tsv", 60), ("b.tsv", 31)):
        rows = [f"{name} {row}" for row in range(size)]
        (tmp_path / name).write_text("\n".join(["sentence", *rows]))
    named = replace(
        clean, train=replace(clean.train, path="x/a.tsv"), test=replace(clean.test, path="x/b.tsv")
    )

    data = poison(named, style(f"file:{tmp_path}"), 1)

    row = int(np.flatnonzero(data.train.poisoned)[0])
    assert data.train.texts[row] == f"a.tsv {row}"
    assert data.triggered.texts[0] == f"b.tsv {data.triggered_rows[0]}"


def test_duplicates_among_poisoned_rows_are_counted():
    texts = ("same", "same", "other", "more")
    split = make_split(texts, np.asarray([0, 1, 0, 1]), {"style": ("x", "x", "y", "z")})
    clean = Dataset("toy", ("n", "p"), split, None, split)

    assert poison(clean, style(rate=1.0), 1).counts.duplicates == 2
