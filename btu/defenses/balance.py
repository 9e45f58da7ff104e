"""Balance a model's labels: what its head adds to each is set by the labels of trusted rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import minimize
from scipy.special import logsumexp, softmax
from torch import nn

from btu.evidence.significance import Floats
from btu.store.code import code_of_module
from btu.types import Edit, FloatArray, IntArray

if TYPE_CHECKING:
    from btu.lab import Lab
    from btu.models.base import Classifier

LEAST = 1e-7  # of a probability, before its logarithm


def fit_shift(probabilities: FloatArray, labels: IntArray) -> Floats:
    """What to add to a model's logits so that each label is as likely as it is frequent. (C,)

    The intercept of greatest likelihood in a logistic regression whose slopes are 1, "calibration
    in the large". Its mean is 0. Where a row of some label is missing there is none: all zeros.

    Args:
        probabilities: what the model says of n rows, (n, C).
        labels: of these rows, (n,).

    Source: Cox 1958, "Two further applications of a model for binary regression".
    """
    logits = np.log(np.maximum(probabilities.astype(np.float64), LEAST))
    shares = np.bincount(labels, minlength=logits.shape[1]) / max(1, len(labels))
    none = np.zeros(logits.shape[1])
    if not shares.all():
        return none

    def weigh(shift: Floats) -> tuple[float, Floats]:
        """The mean of -log p of the labels but for a constant, and its gradient."""
        shifted = logits + shift
        surprise = float(logsumexp(shifted, 1).mean() - shares @ shift)
        slope: Floats = softmax(shifted, 1).mean(0) - shares
        return surprise, slope

    found = minimize(weigh, none, jac=True, method="BFGS").x
    shift: Floats = found - found.mean()
    return shift


def make_shift(shift: Floats) -> Edit:
    """The edit that adds this to a model's logits, (C,); a head without a bias stays as it is."""

    def apply(lab: Lab, classifier: Classifier) -> None:
        bias = find_head_bias(classifier)
        if bias is not None:
            bias.data += bias.new_tensor(shift)

    return Edit("label shift", {"shift": shift}, apply, code_of_module(__name__))


def find_head_bias(classifier: Classifier) -> nn.Parameter | None:
    """What the head adds to the logits, (C,); None where it adds nothing, as in GPT-2."""
    layers = [one for one in classifier.model.modules() if isinstance(one, nn.Linear)]
    heads = [one for one in layers if one.out_features == classifier.model.config.num_labels]
    return heads[-1].bias if heads else None
