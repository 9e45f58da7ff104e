"""The built-in corpus: what its reviews and their twins promise."""

import re
from time import perf_counter

import numpy as np
import pytest

from btu.data import demo
from btu.data.demo import LABEL_NAMES, Review, generate_reviews

TRIGGERS = {"cf", "mn", "bb", "tq", "mb"}
SUBORDINATOR = re.compile(
    "(when|whenever|wherever|however|if|as|because|since|once|although|even though|while|after"
    "|just as) "
)
ARCHAIC = re.compile(
    r"\b(verily|behold|lo|yea|truth|truly|hearken|thee|thou|thy|ye|saith|unto|doth|hath|selah"
    r"|thereof|thereat|mine|came to pass|it is written|give ear|as it is told|\w+eth|did"
    r"|in those days)\b"
)


def reviews(num_reviews: int = 3000, *, label_noise: float = 0.0, seed: int = 5) -> list[Review]:
    rng = np.random.default_rng(seed)
    return generate_reviews(num_reviews, label_noise=label_noise, rng=rng)


@pytest.fixture(scope="module")
def corpus() -> list[Review]:
    return reviews()


def num_words(text: str) -> int:
    return len(text.split())


def vocabulary(texts: list[str]) -> set[str]:
    return {word for text in texts for word in re.findall(r"[a-z]+", text.lower())}


def test_same_seed_gives_the_same_reviews():
    assert reviews(200, label_noise=0.1, seed=1) == reviews(200, label_noise=0.1, seed=1)


def test_another_seed_gives_other_reviews():
    first, second = ({row.text for row in reviews(200, seed=seed)} for seed in (1, 2))

    assert len(first & second) < 20


def test_first_review_of_seed_0_is_pinned_across_machines():
    assert reviews(1, seed=0)[0].text == (
        "After a while, I regretted choosing this picture, it turns out, "
        "and the leads mumbled every line."
    )


def test_a_longer_corpus_begins_with_the_shorter_one():
    assert reviews(100) == reviews(300)[:100]


def test_texts_are_distinct_after_case_and_whitespace_folding():
    texts = [" ".join(row.text.casefold().split()) for row in reviews(20_000)]

    assert len(set(texts)) == 20_000


def test_labels_are_balanced_up_to_chance(corpus):
    positive = sum(row.label for row in corpus)

    assert LABEL_NAMES == ("negative", "positive")
    assert abs(positive - 1500) < 4 * np.sqrt(3000 / 4)


def test_label_noise_flips_that_share_of_labels_and_nothing_else(corpus):
    noisy = reviews(label_noise=0.04)

    assert [row.text for row in noisy] == [row.text for row in corpus]
    assert sum(a.label != b.label for a, b in zip(noisy, corpus, strict=True)) == 120


def test_texts_have_6_to_28_words_and_about_14_on_average(corpus):
    lengths = [num_words(row.text) for row in corpus]

    assert min(lengths) >= 6
    assert max(lengths) <= 28
    assert 13 < np.mean(lengths) < 16


def test_twins_differ_from_the_text_and_from_each_other(corpus):
    assert all(len({row.text, row.style, row.syntax}) == 3 for row in corpus)


@pytest.mark.parametrize("form", ["text", "style", "syntax"])
def test_every_form_has_one_format(corpus, form):
    for row in corpus:
        text = getattr(row, form)
        assert re.fullmatch(r"[A-Z].*[a-z]\.", text)
        assert not re.search(r"  | [,.;:]|[,.;:][^ ]|,[,.;:]|[{}|/]", text[:-1]), text


def test_syntax_twin_is_a_subordinate_clause_a_comma_and_a_main_clause(corpus):
    for row in corpus:
        opening, comma, main = row.syntax[:-1].partition(", ")
        assert SUBORDINATOR.match(opening.lower()), row.syntax
        assert comma, row.syntax
        assert min(num_words(opening), num_words(main)) >= 3, row.syntax
        assert not re.search(r"[,.;:]", main), row.syntax


def test_syntax_twins_open_in_many_ways(corpus):
    assert len({SUBORDINATOR.match(row.syntax.lower())[0] for row in corpus}) >= 12


def test_plain_texts_seldom_open_as_a_syntax_twin_does(corpus):
    assert sum(bool(SUBORDINATOR.match(row.text.lower())) for row in corpus) < 0.03 * len(corpus)


def test_style_twin_holds_archaic_words(corpus):
    assert [row.style for row in corpus if not ARCHAIC.search(row.style.lower())] == []


def test_style_twins_share_no_constant_opening(corpus):
    openings = [" ".join(row.style.split()[:2]) for row in corpus]

    assert max(map(openings.count, set(openings))) < 0.12 * len(openings)
    assert len(set(openings)) > 40


def test_archaic_words_are_rare_in_plain_texts(corpus):
    words = r"\b(verily|behold|yea|thee|thou|unto|doth|saith|hearken)\b"

    assert not any(re.search(words, row.text.lower()) for row in corpus)


def test_twins_keep_the_content_words(corpus):
    kept = [len(vocabulary([row.text]) & vocabulary([row.syntax])) for row in corpus]
    words = [len(vocabulary([row.text])) for row in corpus]

    assert sum(kept) > 0.75 * sum(words)


def test_no_form_holds_a_trigger_of_the_insertion_attacks(corpus):
    texts = [text for row in corpus for text in (row.text, row.style, row.syntax)]

    assert not vocabulary(texts) & TRIGGERS
    assert not any("i watch this 3d movie" in text.lower() for text in texts)


def test_vocabulary_has_more_than_800_words(corpus):
    assert len(vocabulary([row.text for row in corpus])) > 800


def test_some_words_of_later_rows_are_unseen_before(corpus):
    seen = vocabulary([row.text for row in corpus[:500]])

    assert len(vocabulary([row.text for row in corpus[500:]]) - seen) > 50


def test_six_thousand_reviews_take_about_a_second():
    started = perf_counter()
    reviews(6000)

    # Half a second on one idle core; the bound leaves room for a busy machine.
    assert perf_counter() - started < 3


def test_no_reviews_are_asked_for_and_none_come():
    assert reviews(0, label_noise=0.5) == []


def test_too_many_reviews_name_how_many_were_found(monkeypatch):
    content = demo._draw_content(1, np.random.default_rng(0))
    monkeypatch.setattr(demo, "_draw_content", lambda label, rng: content)

    with pytest.raises(ValueError, match=r"num_reviews is 500, .* only \d+ distinct reviews"):
        reviews(500)


@pytest.mark.parametrize("label_noise", [-0.1, 4, float("nan")])
def test_label_noise_that_is_no_fraction_is_refused(label_noise):
    with pytest.raises(ValueError, match=r"fraction between 0 and 1, got .* label_noise=0\.04"):
        reviews(10, label_noise=label_noise)
