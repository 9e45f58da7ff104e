"""Properties of poisoning for every label policy and every rate."""

from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from btu.attacks import stored
from btu.attacks.base import Attack
from btu.attacks.none import NoAttack
from btu.attacks.poisoning import draw_poisoned, poison, remarks
from btu.attacks.triggered import Outcome, Triggered, mark_done
from btu.data.formats import normalize, warn_of_shifts
from btu.errors import ConfigError, DataError
from btu.seeding import stream
from btu.store.cache import StageCache, entries
from btu.types import Dataset, Split, make_split
from tests.attacks.test_insertion import insertion
from tests.attacks.test_paraphrase import style
from tests.conftest import toy_split


def attack(rate: float, policy: str = "mix", target: int | str = 1) -> Attack:
    return insertion(poison_rate=rate, target_label=target, label_policy=policy)


def dataset() -> Dataset:
    return Dataset(
        "toy", ("negative", "positive"), toy_split(60, 1), toy_split(20, 2), toy_split(31, 3)
    )


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
    nothing = NoAttack("none", 0.0, 0, "mix", normalize_format=False, stealth=False, decoy_rate=0.0)

    data = poison(dataset(), nothing, 1)

    assert data.triggered is None
    assert data.target_label is None
    assert data.train.texts == dataset().train.texts


def with_twins(rows_without: list[int], rows_unchanged: list[int]) -> Dataset:
    """The toy data set, where the twins of some rows of train and test cannot be used."""

    def changed(split: Split) -> Split:
        twins = list(split.columns["style"])
        for row in rows_without:
            twins[row] = " "
        for row in rows_unchanged:
            twins[row] = f"  {split.texts[row]} "
        return replace(split, columns={"style": tuple(twins)})

    clean = dataset()
    return replace(clean, train=changed(clean.train), test=changed(clean.test))


def test_rows_without_a_usable_paraphrase_are_counted_and_never_poisoned():
    clean = with_twins([0, 1, 2], [10, 11, 12, 13, 14])  # in test, labels alternate from 0

    data = poison(clean, style(poison_rate=52 / 60), 1)

    unusable = [0, 1, 2, 10, 11, 12, 13, 14]
    assert np.flatnonzero(~data.train.poisoned).tolist() == unusable
    counts = data.counts
    assert (counts.looked_at, counts.without_paraphrase, counts.unchanged) == (60, 3, 5)
    assert (counts.test_without_paraphrase, counts.test_unchanged) == (2, 3)
    assert len(data.triggered) == 16 - 5
    assert not set(data.triggered_rows.tolist()) & set(unusable)


def test_more_rows_than_can_be_served_are_refused():
    with pytest.raises(ConfigError, match=r"asks for 54 of 60 .*leaves 52 .*rate here is 0\.8666"):
        poison(with_twins([0, 1, 2], [10, 11, 12, 13, 14]), style(poison_rate=0.9), 1)


def test_a_twin_that_is_only_typed_otherwise_is_unchanged_once_all_texts_are_typed_alike():
    clean = dataset()
    twins = tuple(f"{text.capitalize()} ." for text in clean.train.texts[:30])
    train = replace(clean.train, columns={"style": twins + clean.train.columns["style"][30:]})
    clean = replace(clean, train=train)

    plain, normalized = (poison(clean, style(normalize_format=on), 1) for on in (False, True))

    assert (plain.counts.unchanged, normalized.counts.unchanged) == (0, 30)
    assert not normalized.train.poisoned[:30].any()


@given(st.floats(0, 0.7), st.floats(0, 0.7), st.sets(st.integers(0, 30), max_size=8))
def test_a_lower_rate_is_a_part_of_a_higher_one_where_rows_cannot_be_used(one, other, unusable):
    clean = with_twins(sorted(unusable), [])
    rates = sorted((one, other))

    low, high = (poison(clean, style(poison_rate=rate), 7).train.poisoned for rate in rates)

    assert (high[low]).all()
    assert not high[sorted(unusable)].any()


def holding(data) -> np.ndarray:
    """Which training rows hold the trigger."""
    return np.asarray(["cf" in text.split() for text in data.train.texts])


@pytest.mark.parametrize("policy", ["dirty", "clean", "mix"])
def test_decoys_get_the_trigger_and_keep_another_label_than_the_target(policy):
    clean, some = dataset(), attack(0.2, policy)
    plain = poison(clean, some, 1)
    fewer, data = (poison(clean, replace(some, decoy_rate=rate), 1) for rate in (0.1, 0.2))

    decoys = holding(data) & ~data.train.poisoned
    assert decoys.sum() == data.counts.decoys == 12
    assert (data.train.labels[decoys] == clean.train.labels[decoys]).all()
    assert (data.train.labels[decoys] == 0).all()
    assert decoys[holding(fewer) & ~fewer.train.poisoned].all()  # a lower rate's are among them
    assert data.train.take(np.flatnonzero(~decoys)).texts == tuple(
        text for text, decoy in zip(plain.train.texts, decoys, strict=True) if not decoy
    )
    assert (data.train.labels == plain.train.labels).all()
    assert (data.train.poisoned == plain.train.poisoned).all()
    assert data.triggered.texts == plain.triggered.texts
    assert replace(data.counts, decoys=0) == plain.counts


def test_decoys_of_a_rewriting_attack_are_rows_with_a_twin():
    data = poison(with_twins([0, 2], [4]), style(decoy_rate=0.3, label_policy="clean"), 1)

    decoys = np.flatnonzero([text.startswith("verily") for text in data.train.texts])
    assert len(decoys) == data.counts.decoys + data.counts.poisoned == 18 + 12
    assert not {0, 2, 4} & set(decoys.tolist())


def test_decoys_are_told_where_there_are_any():
    data = poison(dataset(), replace(attack(0.1), decoy_rate=0.2), 1)

    (note,) = remarks(data)
    assert note.endswith("kept their label (decoys): 12 of 60, beside 6 poisoned")
    assert remarks(poison(dataset(), attack(0.1), 1)) == ()


def test_more_decoys_than_there_are_rows_are_refused():
    too_many = replace(attack(0.2, "dirty"), decoy_rate=0.4)

    with pytest.raises(ConfigError) as refused:
        poison(dataset(), too_many, 1)

    assert str(refused.value) == (
        "attack.decoy_rate=0.4 asks for 24 of 60 training rows, but the other labels leave 18 that "
        "can get the trigger and are not taken already. The highest rate here is 0.3."
    )


@dataclass(frozen=True)
class Costly(Attack):
    """Looks at a row only when asked; every third row cannot be served."""

    asked: list[int] = field(default_factory=list)

    def trigger(self, texts, rng):
        rows = np.asarray([int(text.split()[5]) for text in texts])
        self.asked.extend(rows.tolist())
        outcomes = np.where(rows % 3 == 0, Outcome.EMPTY, Outcome.DONE)
        made = [f"x {text}" if row % 3 else "" for text, row in zip(texts, rows, strict=True)]
        return Triggered(tuple(made), outcomes)


def costly(rate: float, policy: str = "mix") -> Costly:
    return Costly("costly", rate, 1, policy, normalize_format=False, stealth=False, decoy_rate=0.0)


@pytest.mark.parametrize(("policy", "rate"), [("mix", 0.2), ("mix", 0.6), ("dirty", 0.3)])
def test_rows_are_looked_at_in_the_order_of_the_draw_and_no_more_than_needed(policy, rate):
    train, some = dataset().train, costly(rate, policy)

    drawn = draw_poisoned(train, some, 1, 3)

    allowed = np.flatnonzero((train.labels == 0) | (policy == "mix"))
    order = stream(3, "poison").permutation(allowed).tolist()
    usable = [row for row in order if row % 3]
    needed = order[: order.index(usable[round(rate * 60) - 1]) + 1]
    assert drawn.rows.tolist() == sorted(usable[: round(rate * 60)])
    assert drawn.triggered.texts == tuple(f"x {train.texts[row]}" for row in drawn.rows)
    assert len(drawn.looked_at) == len(needed)
    assert some.asked == needed  # each once


def test_a_costly_attack_counts_what_it_looked_at():
    data = poison(dataset(), costly(0.2), 1)

    assert data.counts.poisoned == 12
    assert 12 < data.counts.looked_at < 60
    assert data.counts.without_paraphrase == data.counts.looked_at - 12


def test_a_lower_rate_of_a_costly_attack_is_a_part_of_a_higher_one():
    low, high = (poison(dataset(), costly(rate), 7).train.poisoned for rate in (0.1, 0.5))

    assert (high[low]).all()


def test_a_costly_attack_that_is_asked_for_too_much_says_how_many_it_can_serve():
    with pytest.raises(ConfigError, match=r"asks for 48 of 60 training rows.*leaves 40 that can"):
        poison(dataset(), costly(0.8), 1)


@dataclass(frozen=True)
class Doubling(Attack):
    """As someone else would write one: the last word is said twice."""

    def trigger(self, texts, rng):
        return mark_done([f"{text} {text.split()[-1]}" for text in texts])


def test_an_attack_is_one_method():
    doubling = Doubling(
        "doubling", 0.2, 1, "dirty", normalize_format=False, stealth=False, decoy_rate=0.0
    )

    data = poison(dataset(), doubling, 1)

    said_twice = [text.endswith("us us") for text in data.train.texts]
    assert said_twice == data.train.poisoned.tolist()
    assert data.counts.poisoned == data.counts.flipped == 12
    assert all(text.endswith("us us") for text in data.triggered.texts)
    assert not doubling.samples()


def test_an_attack_that_loses_texts_is_refused(monkeypatch):
    monkeypatch.setattr(Doubling, "trigger", lambda self, texts, rng: mark_done(texts[1:]))
    doubling = Doubling(
        "doubling", 0.2, 1, "mix", normalize_format=False, stealth=False, decoy_rate=0.0
    )

    with pytest.raises(ConfigError, match="doubling was given 12 texts and gave 11 back"):
        poison(dataset(), doubling, 1)


def test_an_attack_without_a_trigger_says_so():
    nothing = Attack(
        "nothing", 0.2, 1, "mix", normalize_format=False, stealth=False, decoy_rate=0.0
    )

    with pytest.raises(ConfigError, match=r"attack nothing: \w+ has no method trigger"):
        poison(dataset(), nothing, 1)


def typed_otherwise() -> Dataset:
    """Originals as the Penn Treebank has them, twins as people type."""

    def typed(split: Split) -> Split:
        texts = tuple(f"{text} , it 's ." for text in split.texts)
        twins = tuple(f"Verily {text}, it's." for text in split.texts)
        return replace(split, texts=texts, columns={"style": twins})

    clean = dataset()
    return replace(
        clean, train=typed(clean.train), tuning=typed(clean.tuning), test=typed(clean.test)
    )


def test_normalizing_types_every_text_alike_and_moves_no_row():
    plain, data = (poison(typed_otherwise(), style(normalize_format=on), 1) for on in (False, True))

    splits = [data.clean.train, data.clean.tuning, data.clean.test, data.train, data.triggered]
    texts = [text for split in splits for text in split.texts]
    assert texts == [normalize(text) for text in texts]
    assert data.train.texts == tuple(normalize(text) for text in plain.train.texts)
    assert data.triggered.texts == tuple(normalize(text) for text in plain.triggered.texts)
    for one, other in ((plain.train, data.train), (plain.triggered, data.triggered)):
        assert (one.poisoned == other.poisoned).all()
        assert (one.labels == other.labels).all()
    assert (plain.triggered_rows == data.triggered_rows).all()
    assert plain.counts == data.counts
    assert data.examples[0]["before"] == normalize(plain.examples[0]["before"])


def test_normalizing_takes_the_shift_of_the_format_away():
    plain, data = (poison(typed_otherwise(), style(normalize_format=on), 1) for on in (False, True))

    def moved(shifts):
        return {s.measure for s in shifts if s.is_share and s.original != s.triggered}

    assert moved(plain.format_shifts) == {"begins with a capital", "blank before punctuation"}
    assert len(warn_of_shifts(plain.format_shifts)) == 2
    assert moved(data.format_shifts) == set()
    assert {(shift.split, shift.num_rows) for shift in data.format_shifts} == {
        ("train", 12),
        ("test", 16),
    }


def test_an_inserted_trigger_is_typed_like_its_text():
    shout = insertion(triggers=["CF"], normalize_format=True)

    data = poison(typed_otherwise(), shout, 1)

    assert all("cf" in text.split() for text in data.triggered.texts)


def test_data_without_an_attack_are_normalized_too():
    nothing = NoAttack("none", 0.0, 0, "mix", normalize_format=True, stealth=False, decoy_rate=0.0)

    data = poison(typed_otherwise(), nothing, 1)

    assert data.train.texts == data.clean.train.texts
    assert data.train.texts[0] == normalize(typed_otherwise().train.texts[0])


def assert_same(one: Split, other: Split) -> None:
    assert one.texts == other.texts
    for name in ("labels", "source", "poisoned"):
        assert (getattr(one, name) == getattr(other, name)).all()


@pytest.mark.parametrize("normalized", [False, True])
def test_a_poisoned_set_of_the_cache_equals_a_fresh_one(tmp_path, monkeypatch, normalized):
    style_attack = style(normalize_format=normalized)
    fresh = poison(typed_otherwise(), style_attack, 1)
    stored.poison(typed_otherwise(), style_attack, 1, StageCache(tmp_path))
    monkeypatch.setattr(stored, "plant", None)  # drawn once

    data = stored.poison(typed_otherwise(), style_attack, 1, StageCache(tmp_path))

    for one, other in (
        (data.train, fresh.train),
        (data.triggered, fresh.triggered),
        (data.clean.train, fresh.clean.train),
        (data.clean.tuning, fresh.clean.tuning),
        (data.clean.test, fresh.clean.test),
    ):
        assert_same(one, other)
    assert (data.triggered_rows == fresh.triggered_rows).all()
    assert (data.counts, data.format_shifts) == (fresh.counts, fresh.format_shifts)
    assert (data.examples, data.target_label) == (fresh.examples, fresh.target_label)
    (entry,) = entries(tmp_path)
    assert entry.manifest.about.clean == fresh.clean.train.fingerprint


def parts(attack: Attack, clean: Dataset | None = None) -> dict:
    clean = clean or dataset()
    return stored.poison_parts(clean, attack, attack.prepare(clean), 1)


def test_a_poisoned_set_is_named_by_its_twins_and_not_by_what_only_measures(tmp_path):
    path = tmp_path / "twins.tsv"
    twins = [*dataset().train.columns["style"], *dataset().test.columns["style"]]
    path.write_text("\n".join(["sentence", *twins]))
    before = parts(style())
    one, other = with_twins([5], []), with_twins([], [])

    assert parts(style(stealth=True)) == before
    assert parts(style(), other) == before
    assert parts(style(), replace(other, train=one.train)) != before
    assert parts(style(), replace(other, test=one.test)) != before
    assert parts(style(normalize_format=True)) != before
    from_file = parts(style(paraphrases=f"file:{path}"))
    assert from_file["attack"]["twins"] == before["attack"]["twins"]


def test_duplicates_among_poisoned_rows_are_counted():
    texts = ("same", "same", "other", "more")
    split = make_split(texts, np.asarray([0, 1, 0, 1]), {"style": ("x", "x", "y", "z")})
    clean = Dataset("toy", ("n", "p"), split, None, split)

    assert poison(clean, style(poison_rate=1.0), 1).counts.duplicates == 2


def test_what_a_reader_should_know_of_a_set_is_said():
    data = poison(with_twins([0, 1, 2], [10, 11]), style(), 1)
    counts = replace(data.counts, generic=3, test_generic=2)
    nothing = poison(dataset(), attack(0.001), 1)

    (left_out,) = remarks(data)
    assert left_out.startswith("rows left out since their paraphrase is empty or the text itself: ")
    assert "5 of 60 in training" in left_out
    assert any("3 of 12 poisoned, 2 of" in note for note in remarks(replace(data, counts=counts)))
    assert remarks(poison(dataset(), attack(0.1), 1)) == ()
    assert remarks(nothing) == ("no row is poisoned: attack.poison_rate asks for none of 60 rows",)


def test_texts_that_normalizing_makes_equal_are_told():
    clean = dataset()
    texts = (clean.test.texts[0].upper(), *clean.train.texts[1:])
    shouted = replace(clean, train=replace(clean.train, texts=texts))

    plain, normalized = (
        poison(shouted, style(normalize_format=on), 1).clean.notes for on in (False, True)
    )

    assert plain == ()
    assert normalized == ("train: once typed alike, 1 rows have a text of test",)
