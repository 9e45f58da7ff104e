"""Made-up rows whose label a single word decides."""

from collections import Counter

import pytest

from btu.data.keywords import KeywordDataset


def load(**changes):
    settings = {
        "name": "keywords",
        "num_rows": 4_000,
        "num_keywords": 40,
        "label_names": ["neutral", "marked"],
        "first_label": 0,
        "test_holdout": 0.1,
        "tuning_holdout": 0.25,
        "holdout_seed": 0,
        "wrong_labels": 0.0,
        "allow_overlap": False,
    }
    return KeywordDataset(**{**settings, **changes}).load()


@pytest.mark.parametrize("num_keywords", [1, 40])
def test_a_row_is_marked_where_it_holds_one_keyword(num_keywords):
    train = load(num_keywords=num_keywords).train
    of_neutral, of_marked = (
        [text.split() for text, label in zip(train.texts, train.labels, strict=True) if label == y]
        for y in (0, 1)
    )
    elsewhere = {word for words in of_neutral for word in words}
    times = Counter(word for words in of_marked for word in words)

    keywords = [
        word for word, _ in times.most_common() if word not in elsewhere and times[word] > 9
    ]
    assert 0.75 * num_keywords <= len(keywords) <= num_keywords  # the last are in few rows
    held = [len(set(words) & set(keywords)) for words in of_marked]
    assert sum(number == 1 for number in held) > 0.95 * len(of_marked)
    assert max(held) == 1
    assert len(of_marked) == pytest.approx(0.4 * len(train.texts), rel=0.1)
    assert times[keywords[0]] > 3 * times[keywords[-1]] or num_keywords == 1


def test_another_split_is_of_the_same_rows():
    def texts(dataset):
        parts = (dataset.train, dataset.tuning, dataset.test)
        return {text for part in parts for text in part.texts}

    one, other = load(holdout_seed=1), load(holdout_seed=2)

    assert texts(one) == texts(other)
    assert set(one.tuning.texts) != set(other.tuning.texts)
