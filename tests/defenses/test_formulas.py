"""The core formula of each defense of the field against an example worked out by hand."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from btu.defenses import abl, rga
from btu.defenses.bki import judge_keywords, leave_out, pick_words
from btu.defenses.cube import NOISE, judge_clusters
from btu.defenses.forgetting import make_level_loss
from btu.defenses.merge import Merge
from btu.defenses.onion import remove_words, take_drops
from btu.defenses.strip import mean_entropy, swap_words
from btu.defenses.zscore import judge_rows, score_words
from btu.job import build_job
from btu.models.ngram import NGramModel
from btu.models.soft_word import SoftWord, miss_drop
from tests.conftest import composed


def test_a_word_of_four_rows_that_all_have_one_label_of_two():
    counts = np.array([[0.0, 4.0], [2.0, 2.0]])

    z = score_words(counts, np.array([0.5, 0.5]))

    assert z.tolist() == [[-2, 2], [0, 0]]  # (1 - 0.5) / sqrt(0.25 / 4) = 2


def test_chance_is_the_share_of_the_label_not_one_over_the_number_of_labels():
    counts = np.array([[1.0, 9.0]])

    z = score_words(counts, np.array([0.1, 0.9]))

    assert z == pytest.approx(np.zeros((1, 2)))
    assert score_words(counts, np.array([0.0, 1.0])).tolist() == [[0, 0]]


def test_a_row_has_the_z_score_of_its_strongest_word_for_its_own_label():
    words = [{"cf", "a"}, {"cf", "b"}, {"a"}, {"b"}, set()]
    labels = np.array([1, 1, 0, 0, 0])

    found = judge_rows(words, labels, 2)

    chance = np.array([0.6, 0.4])
    z = score_words(np.array([[1.0, 1], [1, 1], [0, 2]]), chance)  # a, b, cf
    expected = (np.array([z[2, 1], z[2, 1], z[0, 0], z[1, 0]]) - z.mean()) / z.std()
    assert found[:4] == pytest.approx(expected)
    assert found[4] < found[:4].min()


def test_a_cluster_counts_by_its_share_of_the_class_and_noise_is_none():
    labels = np.array([0] * 10 + [1] * 4)
    clusters = np.array([NOISE] * 5 + [7] * 3 + [2] * 2 + [2, 2, 2, 7])

    found = judge_clusters(clusters, labels)

    assert found[:10] == pytest.approx([1] * 5 + [0] * 3 + [0.8] * 2)  # noise is the largest
    assert found[10:] == pytest.approx([0, 0, 0, 0.75])


def test_a_class_without_any_cluster_keeps_its_rows():
    assert judge_clusters(np.array([NOISE, NOISE, 3]), np.array([0, 0, 1])).tolist() == [0, 0, 0]


def test_the_words_that_move_the_state_most_count_once():
    assert leave_out(["a", "b", "a"]) == [["b", "a"], ["a", "a"], ["a", "b"]]
    moved = np.array([0.5, 0.1, 0.9])
    assert pick_words(["a", "b", "a"], moved, 2) == {"a": 0.9}
    assert pick_words(["a", "b", "a"], moved, 3) == {"a": 0.9, "b": 0.1}
    assert pick_words([], np.zeros(0), 3) == {}


def test_keywords_are_ranked_by_the_log_of_their_rows_times_the_mean_change():
    found = [{"cf": 0.5, "film": 0.9}, {"cf": 0.7}, {"bad": 0.8}, {"bad": 0.2}, {}]
    # cf: log10(2) * 0.6, bad: log10(2) * 0.5, film: log10(1) * 0.9 = 0

    assert judge_keywords(found, 5) == pytest.approx([1, 1, 2 / 3, 2 / 3, 0])


def test_a_drop_is_of_the_whole_text_and_an_only_word_stays():
    drops = take_drops(np.array([100.0, 90.0, 40.0]))

    assert drops.tolist() == [10, 60]
    assert remove_words("a  cf", ["a", "cf"], drops, 10) == "a"  # not where it is equal
    assert remove_words("a  cf", ["a", "cf"], drops, 60) == "a  cf"
    assert take_drops(np.array([100.0, 5.0])).tolist() == [-math.inf]
    assert take_drops(np.array([1.0])).tolist() == []


def test_perplexity_of_bigrams_by_witten_and_bell():
    model = NGramModel(["a b", "a b"], 2)
    # P(a | start) = 2/3 * 1 + 1/3 * 2/8: one kind of word followed start, twice
    each = 2 / 3 + 1 / 3 * 2 / 8

    found = model.perplexities(["a b", "b a", "A, b."], 1).values

    assert found[0] == pytest.approx(1 / each)
    other = 1 / 3 * 2 / 8  # never seen after the word before it
    assert found[1] == pytest.approx(other**-1)
    assert found[2] == found[0]  # capitals and signs at the ends do not count


def test_an_unknown_word_is_one_of_those_that_were_seen_once():
    model = NGramModel(["a b x", "a b y"], 2)
    names_for_x = model._measure(("a", "<UNK>"))

    assert model.num_rare == 2
    assert names_for_x == pytest.approx(math.log(model.model.score("<UNK>", ["a"]) / 2))
    assert math.isfinite(NGramModel(["a b", "a b"], 2).perplexities(["q"], 1).values[0])


def test_entropies_are_averaged_over_the_perturbations_of_one_text():
    sure, undecided = [1.0, 0.0], [0.5, 0.5]
    probabilities = np.array([sure, undecided, sure, sure], dtype=np.float32)

    assert mean_entropy(probabilities, 2).tolist() == [0.5, 0]  # bits; 0 log 0 is 0


def test_half_of_the_words_are_replaced_and_none_twice():
    rng = np.random.default_rng(0)

    swapped = [swap_words("a b c d e", ["x", "y"], 0.5, rng).split() for _ in range(20)]

    assert all(sum(word in "xy" for word in words) == 3 for words in swapped)  # 2.5, rounded up
    assert all(
        word in ("xy" + own) for words in swapped for word, own in zip(words, "abcde", strict=True)
    )
    assert swap_words("", ["x"], 0.5, rng) == ""


def test_ascent_is_bounded_at_the_loss_of_chance():
    logits = torch.tensor([[0.0, 2.0], [0.0, 2.0], [0.0, 9.0]], requires_grad=True)
    labels, forgotten = torch.tensor([1, 1, 0]), torch.tensor([False, True, True])
    sure, wrong = math.log(1 + math.exp(-2)), math.log(1 + math.exp(9))

    each = abl.weigh(logits, labels, forgotten, math.log(2))

    assert each.tolist() == pytest.approx([sure, -sure, -math.log(2)])
    assert wrong > math.log(2)
    each.sum().backward()
    assert logits.grad[2].tolist() == [0, 0]  # it is forgotten already


def test_robust_ascent_fades_as_a_row_moves_away_from_what_the_victim_said():
    victim = torch.tensor([[0.1, 0.9]] * 3)
    near, far = torch.log(torch.tensor([0.1, 0.9])), torch.log(torch.tensor([0.9, 0.1]))
    logits, labels = torch.stack([near, near, far]), torch.tensor([1, 1, 1])

    each = rga.weigh(logits, labels, torch.tensor([False, True, True]), victim)

    apart = 0.1 * math.log(0.1 / 0.9) + 0.9 * math.log(0.9 / 0.1)
    expected = [-math.log(0.9), math.log(0.9), math.exp(-apart) ** 2 * math.log(0.1)]
    assert each.tolist() == pytest.approx(expected, rel=1e-5)


def test_the_loss_turns_where_its_mean_is_below_the_level():
    logits = torch.tensor([[0.0, 0.0], [0.0, 0.0]])
    rows = torch.tensor([1, 0])

    losses = [make_level_loss(level, np.array([1, 0]))(None, logits, rows) for level in (0.5, 0.9)]

    assert [float(loss) for loss in losses] == pytest.approx([math.log(2), -math.log(2)])


def test_a_drop_outside_of_the_bounds_costs_what_it_misses_them_by():
    fell = torch.tensor([0.0, 0.1, 0.2, 0.5])

    assert miss_drop(fell, 0.1, 0.3).tolist() == pytest.approx([0.1, 0, 0, 0.2])


def test_a_soft_word_keeps_its_length_and_freezes_the_model():
    table = torch.nn.Embedding(3, 2)
    model = torch.nn.ModuleDict({"table": table})
    classifier = SimpleNamespace(model=model, embeddings=table)

    word = SoftWord(classifier, 1, 1, 0, torch.zeros(2), (0.1, 0.3))
    with torch.no_grad():
        word.direction.mul_(5).add_(1)

    assert float(word.embedding().norm().detach()) == pytest.approx(
        float(table.weight[1].norm().detach()), rel=1e-5
    )
    assert [name for name, p in word.named_parameters() if p.requires_grad] == ["direction"]


def test_weights_are_averaged_by_the_share_and_numbers_left_alone():
    def model(weight, steps):
        made = torch.nn.Linear(1, 1, bias=False)
        made.weight.data.fill_(weight)
        made.register_buffer("steps", torch.tensor(steps))
        return SimpleNamespace(model=made)

    victim, other = model(1.0, 3), model(3.0, 9)
    merge = Merge("merge", 0.5, [0.5])

    merge._average(0.25, "other", SimpleNamespace(get=lambda stage: other), victim)

    assert victim.model.weight.item() == pytest.approx(1.5)
    assert int(victim.model.steps) == 3
    assert other.model.weight.item() == 3


def selected(option, found, threshold):
    defense = build_job(composed([f"defense={option}", "tracking=none"]))[0].defenses[0]
    return defense.select(np.array(found, dtype=np.float32), threshold).tolist()


def test_a_cluster_that_has_just_the_share_is_kept():
    found = [0, 0.5, 0.75, 1]  # the largest; a half and a quarter of the class; noise

    assert selected("cube", found, 0.5) == [2, 3]
    assert selected("cube", found, 0.25) == [3]
    assert selected("cube", found, 0.8) == [1, 2, 3]
    assert selected("cube", found, 0) == []


def test_the_first_keyword_goes_with_any_share_and_no_word_with_none():
    found = [1, 2 / 3, 1 / 3, 0]  # of three keywords, and of a row without a word

    assert selected("bki", found, 0) == []
    assert selected("bki", found, 0.0001) == [0]
    assert selected("bki", found, 0.34) == [0, 1]
    assert selected("bki", found, 1) == [0, 1, 2]


def test_a_z_score_must_exceed_the_cutoff():
    assert selected("zscore", [4, 5, 6], 5) == [2]
