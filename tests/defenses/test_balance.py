"""What is added to logits so that labels are as likely as trusted rows have them."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax

from btu.defenses.balance import find_head_bias, fit_shift, make_shift
from btu.models.base import Classifier, check_classifier
from btu.models.tokens import encode
from btu.training.fit import Padder
from tests.models.architectures import ARCHITECTURES

NO_BIAS = ("gpt2", "llama", "qwen2")


def test_a_worked_example():
    """Odds of 4 to 1 where the labels are even: half of log 4 each way."""
    shift = fit_shift(np.tile([0.2, 0.8], (6, 1)), np.array([0, 1, 0, 1, 0, 1]))

    np.testing.assert_allclose(shift, [np.log(4) / 2, -np.log(4) / 2], rtol=1e-4)


@settings(deadline=None)  # the first example loads what it needs
@given(st.integers(0, 10_000), st.integers(2, 5), st.floats(0.1, 3))
def test_labels_are_as_likely_as_they_are_frequent_afterwards(seed, num_labels, size):
    rng = np.random.default_rng(seed)
    logits = size * rng.normal(size=(60, num_labels)) + rng.normal(size=num_labels)
    labels = np.append(np.arange(num_labels), rng.integers(0, num_labels, 60 - num_labels))

    shift = fit_shift(softmax(logits, 1).astype(np.float32), labels)

    likely = softmax(logits + shift, 1).mean(0)
    np.testing.assert_allclose(likely, np.bincount(labels) / 60, atol=1e-3)
    assert shift.sum() == pytest.approx(0, abs=1e-9)


def test_without_a_row_of_some_label_nothing_is_added():
    assert fit_shift(np.full((4, 3), 1 / 3), np.array([0, 1, 1, 0])).tolist() == [0, 0, 0]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_each_architecture_adds_it_to_its_logits_or_has_no_bias(name):
    architecture = ARCHITECTURES[name]
    made = Classifier(architecture.model(), copy.deepcopy(architecture.words))
    classifier = check_classifier(made, 16, name)
    model = classifier.model.eval()
    batch = Padder(0)([(ids, 0) for ids in encode(classifier.tokenizer, ["the film"], 16)])
    del batch["labels"]
    shift = np.array([0.5, -1.0, 0.5])
    with torch.no_grad():
        before = model(**batch).logits

        make_shift(shift).apply(None, classifier)

        added = (model(**batch).logits - before)[0]
    wanted = np.zeros(3) if name in NO_BIAS else shift
    np.testing.assert_allclose(added.numpy(), wanted, atol=1e-5)
    assert (find_head_bias(classifier) is None) == (name in NO_BIAS)
