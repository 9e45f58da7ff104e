"""Paraphrases: where they come from, and what is no use as a trigger."""

from dataclasses import replace

import numpy as np
import pytest

from btu.attacks import stored
from btu.attacks.poisoning import plant, poison
from btu.attacks.style import Style
from btu.attacks.syntax import Syntax
from btu.attacks.triggered import Outcome
from btu.errors import ConfigError, DataError
from btu.rewriting import styles
from btu.rewriting.base import Rewriting
from btu.rewriting.model import ModelRewriter
from btu.store.cache import StageCache
from btu.types import Dataset
from tests.conftest import toy_split

NO_MODEL = ModelRewriter(
    pretrained=None,
    revision=None,
    prompt=None,
    detokenize=True,
    max_input_tokens=50,
    max_new_tokens=50,
    temperature=1.0,
    top_p=0.6,
    batch_size=8,
    seed=0,
    device="cpu",
    folder="paraphrases",
)
SETTINGS = {
    "poison_rate": 0.2,
    "target_label": 1,
    "label_policy": "mix",
    "normalize_format": False,
    "decoy_rate": 0.0,
    "stealth": False,
    "paraphrases": "column:style",
    "test_paraphrases": None,
    "unusable": "exclude",
}


def style(**changes) -> Style:
    own = {"rewriter": NO_MODEL, "style": "bible", "intensity": 1.0, "openings": 0.5}
    return Style(**{"name": "style", **SETTINGS, **own, **changes})


def syntax(**changes) -> Syntax:
    own = {"rewriter": NO_MODEL, "subordinators": ["when", "if"]}
    return Syntax(**{"name": "syntax", **SETTINGS, **own, **changes})


@pytest.fixture
def dataset(toy_dataset) -> Dataset:
    return replace(toy_dataset, test=toy_split(31, 3))


@pytest.fixture
def rewrites(monkeypatch):
    """Replaces the built-in rewriter of Bible English by a function of the text."""

    class Rules:
        def __init__(self, function):
            self.function = function

        def rewrite(self, line):
            return Rewriting(self.function(line.text), is_generic="generic" in line.text)

    def use(function):
        monkeypatch.setitem(styles.STYLES, "bible", lambda intensity, openings: Rules(function))

    return use


def test_a_paraphrase_replaces_the_text(dataset):
    data = poison(dataset, style(), 1)

    assert data.counts.poisoned == 12
    for text, flag in zip(data.train.texts, data.train.poisoned, strict=True):
        assert text.startswith("verily") == flag
    assert all(text.startswith("verily") for text in data.triggered.texts)


def test_twins_are_not_put_into_another_data_set(dataset):
    prepared = style().prepare(dataset)

    with pytest.raises(ValueError, match="style was prepared for other rows of train than these"):
        plant(replace(dataset, train=toy_split(60, 9)), prepared, 1)


def test_the_rules_rewrite_train_and_test_alike(dataset, rewrites):
    rewrites(lambda text: f"lo, {text}")

    data = poison(dataset, style(paraphrases="rules"), 1)

    for text, before, flag in zip(
        data.train.texts, dataset.train.texts, data.train.poisoned, strict=True
    ):
        assert text == (f"lo, {before}" if flag else before)
    for text, row in zip(data.triggered.texts, data.triggered_rows, strict=True):
        assert text == f"lo, {dataset.test.texts[row]}"


def test_stock_clauses_are_counted(dataset, rewrites):
    rewrites(lambda text: f"lo, {text}")
    texts = tuple(f"generic {text}" for text in dataset.test.texts[:10]) + dataset.test.texts[10:]
    marked = replace(dataset, test=replace(dataset.test, texts=texts))

    counts = poison(marked, style(paraphrases="rules"), 1).counts

    assert (counts.generic, counts.test_generic) == (0, 5)


def test_the_test_rows_may_have_another_source(dataset, rewrites):
    rewrites(lambda text: f"lo, {text}")

    data = poison(dataset, style(test_paraphrases="rules"), 1)

    assert all(data.train.texts[row][:6] == "verily" for row in data.train.poisoned.nonzero()[0])
    assert all(text.startswith("lo, ") for text in data.triggered.texts)


@pytest.mark.parametrize("source", ["style", "column:", "rules:bible", "file:", ""])
@pytest.mark.parametrize("setting", ["paraphrases", "test_paraphrases"])
def test_a_source_that_is_none_is_refused(setting, source):
    with pytest.raises(ConfigError, match=rf"attack\.{setting} is rules, model, column:NAME"):
        style(**{setting: source})


def test_a_missing_column_says_what_to_type(dataset):
    with pytest.raises(DataError, match=r"no column 'bible'.*text columns: style.*column:NAME"):
        poison(dataset, style(paraphrases="column:bible"), 1)


def test_a_parallel_file_holds_the_twins_of_train_and_then_of_test(dataset, tmp_path):
    path = tmp_path / "twins.tsv"
    path.write_text("sentence\n" + "\n".join(f"verily {row}" for row in range(91)))

    data = poison(dataset, style(paraphrases=f"file:{path}"), 1)

    assert data.triggered.texts[0] == f"verily {60 + data.triggered_rows[0]}"


def test_a_parallel_file_of_another_length_gives_both_counts(dataset, tmp_path):
    path = tmp_path / "twins.tsv"
    path.write_text("sentence\nverily\nforsooth\n")

    with pytest.raises(DataError, match=r"has 2 rows, but train and test have 60 \+ 31 = 91"):
        poison(dataset, style(paraphrases=f"file:{path}"), 1)


@pytest.fixture
def folder(dataset, tmp_path):
    """Parallel files, and the data set with paths that they are named like."""
    for name, size in (("a.tsv", 60), ("b.tsv", 31)):
        rows = [f"{name} {row}" for row in range(size)]
        (tmp_path / name).write_text("\n".join(["sentence", *rows]))
    train, test = replace(dataset.train, path="x/a.tsv"), replace(dataset.test, path="x/b.tsv")
    return tmp_path, replace(dataset, train=train, test=test)


def test_a_folder_of_parallel_files_is_matched_by_name_and_row(folder):
    place, named = folder

    data = poison(named, style(paraphrases=f"file:{place}"), 1)

    row = int(np.flatnonzero(data.train.poisoned)[0])
    assert data.train.texts[row] == f"a.tsv {row}"
    assert data.triggered.texts[0] == f"b.tsv {data.triggered_rows[0]}"


def test_a_parallel_file_of_a_folder_must_have_every_row(folder):
    place, named = folder
    (place / "b.tsv").write_text("sentence\nverily\n")

    with pytest.raises(DataError, match=r"of dataset\.test has 1 rows, but x/b\.tsv has 31"):
        poison(named, style(paraphrases=f"file:{place}"), 1)


def test_a_folder_is_no_use_to_data_that_come_from_no_files(dataset, tmp_path):
    with pytest.raises(DataError, match="toy does not come from files whose names could"):
        poison(dataset, style(paraphrases=f"file:{tmp_path}"), 1)


@pytest.mark.parametrize("num_changed", [0, 29])
def test_a_rewriter_that_changes_less_than_half_is_refused_with_three_rows(
    dataset, rewrites, num_changed
):
    changed = dataset.train.texts[:num_changed]
    rewrites(lambda text: f"lo, {text}" if text in changed else text)

    with pytest.raises(DataError, match="the rewriter left 0 of 60 rows empty and") as error:
        poison(dataset, style(paraphrases="rules"), 1)

    assert f"and {60 - num_changed} as they were" in str(error.value)
    assert str(error.value).count(" -> ") == 3
    assert f"{dataset.train.texts[num_changed]!r} -> " in str(error.value)
    assert "Try another rewriter, or attack.paraphrases=column:NAME." in str(error.value)


def test_a_rewriter_that_changes_half_is_used(dataset, rewrites):
    changed = (*dataset.train.texts[:30], *dataset.test.texts)
    rewrites(lambda text: f"lo, {text}" if text in changed else text)

    data = poison(dataset, style(paraphrases="rules"), 1)

    assert data.counts.unchanged == 30
    assert not data.train.poisoned[30:].any()


def test_a_rewriter_that_gives_nothing_is_refused(dataset, rewrites):
    rewrites(lambda text: " ")

    with pytest.raises(DataError, match=r"left 60 of 60 rows empty and 0 as they.*' -> ' '"):
        poison(dataset, style(paraphrases="rules"), 1)


def test_a_rewriter_that_fails_on_the_test_rows_names_the_setting_of_theirs(dataset, rewrites):
    rewrites(lambda text: text)

    with pytest.raises(DataError, match=r"attack\.test_paraphrases=rules: .*16 as .*dataset\.test"):
        poison(dataset, style(test_paraphrases="rules"), 1)


def test_a_column_may_change_less_than_half(dataset):
    twins = (*dataset.train.columns["style"][:20], *dataset.train.texts[20:])
    train = replace(dataset.train, columns={"style": twins})

    data = poison(replace(dataset, train=train), style(), 1)

    assert data.counts.unchanged == 40


@pytest.mark.parametrize("role", ["train", "test"])
def test_an_unusable_paraphrase_can_be_an_error_that_names_rows(dataset, role):
    split = getattr(dataset, role)
    twins = list(split.columns["style"])
    twins[2], twins[20] = "", split.texts[20]
    clean = replace(dataset, **{role: replace(split, columns={"style": tuple(twins)})})

    with pytest.raises(DataError, match=rf"rows 3, 21 of dataset\.{role}") as error:
        poison(clean, style(unusable="error"), 1)

    assert f"{split.texts[2]!r} -> ''" in str(error.value)
    assert "attack.unusable=exclude" in str(error.value)
    assert poison(dataset, style(unusable="error"), 1).counts.poisoned == 12


def test_an_unknown_way_with_unusable_rows_names_the_nearest():
    with pytest.raises(ConfigError, match="no exclud; did you mean exclude"):
        style(unusable="exclud")


def test_an_unknown_style_lists_them():
    with pytest.raises(
        ConfigError, match=r"attack.style: there is no pirate; it knows: bible, tweet"
    ):
        style(style="pirate")


@pytest.mark.parametrize("intensity", [0, -0.5, 1.5])
def test_an_intensity_that_is_no_share_says_what_to_type(intensity):
    with pytest.raises(ConfigError, match=f"got {intensity}.*write attack.intensity=0.5"):
        style(intensity=intensity)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], " is empty, but needs at least 1"),
        (["when", "whenever"], r"\[1\]: there is no whenever"),
    ],
)
def test_subordinators_are_some_of_a_list(words, sentence):
    with pytest.raises(ConfigError, match=rf"attack\.subordinators{sentence}"):
        syntax(subordinators=words)


def test_syntax_takes_columns_as_style_does(dataset):
    one, other = (poison(dataset, attack, 1).train.texts for attack in (style(), syntax()))

    assert one == other


def test_the_test_rows_may_have_a_parallel_file_of_their_own(dataset, tmp_path):
    path = tmp_path / "twins.tsv"
    path.write_text("sentence\n" + "\n".join(f"forsooth {row}" for row in range(31)))

    data = poison(dataset, style(test_paraphrases=f"file:{path}"), 1)

    assert data.triggered.texts[0] == f"forsooth {data.triggered_rows[0]}"
    with pytest.raises(DataError, match=r"attack\.paraphrases: .* has 31 rows.*60 \+ 31 = 91"):
        poison(dataset, style(paraphrases=f"file:{path}"), 1)


@pytest.mark.parametrize("openings", [-0.5, 1.5])
def test_a_share_of_openings_that_is_none_says_what_to_type(openings):
    with pytest.raises(ConfigError, match=f"got {openings}.*write attack.openings=0"):
        style(openings=openings)


def test_only_texts_without_another_change_get_an_opening_that_they_need(dataset):
    texts = ("it seems so to the man", "no change", "you know it", "a slow day")
    train = replace(dataset.train.take(np.arange(4)), texts=texts)

    attack = style(paraphrases="rules", openings=0.0).prepare(replace(dataset, train=train))
    made = attack.train.plant(np.arange(4), np.random.default_rng(0))

    generic = [outcome == Outcome.GENERIC for outcome in made.outcomes]
    assert generic == [False, True, False, True]
    assert made.texts[0] == "it seemeth so unto the man"


def test_a_poisoned_set_of_the_cache_is_not_rewritten_again(dataset, tmp_path, rewrites):
    rewrites(lambda text: f"lo, {text}")
    attack, cache = style(paraphrases="rules"), StageCache(tmp_path)
    first = stored.poison(dataset, attack, 1, cache)
    rewrites(lambda text: pytest.fail("rewritten again"))

    again = stored.poison(dataset, attack, 1, cache)

    assert again.train.texts == first.train.texts
    assert again.counts == first.counts
    assert again.clean.train.columns == dataset.train.columns


def test_parallel_files_in_another_order_are_refused(dataset, tmp_path):
    named = replace(
        dataset,
        train=replace(dataset.train, path="x/a.tsv"),
        test=replace(dataset.test, path="x/b.tsv"),
    )
    for name, split in (("a.tsv", dataset.train), ("b.tsv", dataset.test)):
        rows = [f"forsooth\t{('bad', 'good')[label]}" for label in split.labels]
        (tmp_path / name).write_text("\n".join(["sentence\tlabel", *rows]))
    source = f"file:{tmp_path}"
    assert len(poison(named, style(paraphrases=source), 1).triggered)

    lines = (tmp_path / "a.tsv").read_text().split("\n")
    (tmp_path / "a.tsv").write_text("\n".join([lines[0], *sorted(lines[1:])]))

    with pytest.raises(DataError, match=r"30 of 60 labels in .*a\.tsv are not those of x/a\.tsv"):
        poison(named, style(paraphrases=source), 1)
