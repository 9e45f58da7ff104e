"""Labels as files spell them: what becomes a class, in which order, and what is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from btu.data.labels import MAX_CLASSES, find_classes, parse_labels, spell
from btu.errors import DataError


def classes_of(labels, names=None, first_label=0):
    found = find_classes(labels, names, first_label, "x.tsv")
    parsed = parse_labels(labels, found, "x.tsv", np.arange(len(labels)))
    return found.names, parsed.tolist(), found.note


@pytest.mark.parametrize(
    ("labels", "names", "numbers"),
    [
        (["4", "0", "4"], ("0", "4"), [1, 0, 1]),  # Sentiment140
        (["1", "-1", "+1"], ("-1", "1"), [1, 0, 1]),
        (["5", "1", "2", "4"], ("1", "2", "4", "5"), [3, 0, 1, 2]),  # stars, none has three
        (["0.5", "10", "2.50", "2.5"], ("0.5", "2.5", "10"), [0, 2, 1, 1]),
        (["1", "2"], ("1", "2"), [0, 1]),
    ],
)
def test_numbers_with_a_gap_are_classes_in_order_named_by_themselves(labels, names, numbers):
    found, parsed, note = classes_of(labels)

    assert (found, parsed) == (names, numbers)
    assert note == f"the labels {', '.join(names)} are the classes 0 to {len(names) - 1}, in order"


@pytest.mark.parametrize(
    ("labels", "first_label"),
    [(["0", "1"], 0), (["0.0", "1.0"], 0), (["00", " 01 "], 0), (["-0", "1"], 0), (["1", "2"], 1)],
)
def test_numbers_without_a_gap_are_the_classes_as_they_are(labels, first_label):
    assert classes_of(labels, first_label=first_label) == (("0", "1"), [0, 1], "")


@pytest.mark.parametrize("labels", [["True", "False"], ["spam", "ham"], ["no", "Aye"]])
def test_words_are_classes_in_the_order_of_the_alphabet(labels):
    assert classes_of(labels) == (tuple(sorted(labels)), [1, 0], "")


def test_an_accent_that_is_written_in_two_ways_is_one_label():
    assert classes_of(["caf\u00e9", "cafe\u0301", "bar"])[:2] == (("bar", "caf\u00e9"), [1, 1, 0])


@pytest.mark.parametrize(
    ("labels", "names", "first_label", "numbers"),
    [
        (["0", "4"], ["bad", "good"], 0, [0, 1]),
        (["bad", "1"], ["bad", "good"], 0, [0, 1]),
        (["2", "1"], ["bad", "good"], 1, [1, 0]),
        (["1", "0"], ["1", "0"], 0, [0, 1]),  # names, not places
        (["0", "1"], ["1", "2"], 0, [0, 1]),  # places, as 0 is no name
        (["4"], ["0", "4"], 0, [1]),
    ],
)
def test_named_classes_are_given_by_name_by_place_or_in_order(labels, names, first_label, numbers):
    assert classes_of(labels, names, first_label)[:2] == (tuple(names), numbers)


def test_numbers_taken_in_order_for_given_names_are_noted():
    note = classes_of(["0", "4"], ["bad", "good"])[2]

    assert note == "the labels 0, 4 are bad, good, in order"


FAULTS = {
    "many words": ([f"y {n}" for n in range(200)], r"200 different labels such as 'y 0' look like"),
    "many numbers": ([str(n / 7) for n in range(300)], r"300 different labels such as '0' look"),
    "a serial number": (
        ["0", "1", "9" * 5000],
        r"row 3: label '9{57}\.\.\.' is not a number of at most",
    ),
    "a word among numbers": (["0", "1", "good"], r"row 3: label 'good' is not a number of at most"),
    "case": (["spam", "Spam", "ham"], r"labels 'Spam', 'spam' differ in case only"),
    "missing": (["0", "1", " ", ""], r"row 3 has no label \(nor have 1 more\)\. Give it one"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_column_that_holds_no_classes_is_refused(fault):
    labels, sentence = FAULTS[fault]

    with pytest.raises(DataError, match=sentence) as error:
        classes_of(labels)

    assert len(str(error.value)) < 400


def test_one_huge_label_takes_no_memory():
    names, numbers, _ = classes_of(["0", "1", "9" * 15])

    assert (names, numbers) == (("0", "1", "9" * 15), [0, 1, 2])


def test_classes_that_differ_in_case_may_be_named():
    assert classes_of(["a", "A"], ["A", "a"])[1] == [1, 0]


@given(st.lists(st.text(max_size=6), min_size=1, max_size=MAX_CLASSES + 5))
def test_any_labels_become_classes_or_a_sentence(labels):
    try:
        names, numbers, _ = classes_of(labels)
    except DataError:
        return
    assert len(names) == len(set(map(spell, labels)))
    assert sorted(set(numbers)) == list(range(len(names)))
