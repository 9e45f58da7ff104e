"""Whether a way of writing would be found is told by making one, and looking for it."""

import re

import numpy as np
import pandas as pd
import pytest

import btu
from btu.auditing.rewritten import LEAST_FOUND, RATES, rewrite_rows
from btu.config import composed
from btu.job import build_job
from btu.seeding import stream
from btu.types import make_split

TRIAL = re.compile(
    r"as a trial, ([\d,]+) rows \((\d+) %\) were rewritten in Bible English and called (\w+): "
    r"(\d+|none) of them were found"
)
NAMES = ("negative", "positive")


@pytest.fixture(scope="module")
def reviews():
    """1,000 reviews, the labels in turn."""
    with composed(["dataset=demo", "attack=none", "arms=[poisoned]"]) as (cfg, _):
        data = build_job(cfg)[0].dataset.load()
    return data.train.take(np.arange(1_000)), data.tuning


def write(path, split):
    labels = [NAMES[label] for label in split.labels]
    pd.DataFrame({"text": split.texts, "label": labels}).to_csv(path, index=False)
    return path


def test_as_many_are_found_in_such_a_file_as_the_trial_says(reviews, tmp_path):
    rows, trusted = reviews
    trusted_file = write(tmp_path / "ours.csv", trusted)
    untouched = btu.audit(write(tmp_path / "file.csv", rows), trusted=trusted_file, fast=True)
    said = TRIAL.search(untouched.sentences[0])
    assert said is not None, untouched.sentences
    label = NAMES.index(said[3])
    others = stream(1, "rewritten").permutation(np.flatnonzero(rows.labels != label))
    planted = others[: int(said[1])]

    rewritten = rewrite_rows(rows, planted, label, trusted)
    assert (rewritten.labels[planted] == label).all()
    audited = btu.audit(write(tmp_path / "bad.csv", rewritten), trusted=trusted_file, fast=True)

    found = np.isin(planted + 1, audited.report["planted_rows"]).sum()
    assert found == int(said[4].replace("none", "0"))
    assert found >= LEAST_FOUND * len(planted) or int(said[2]) == 100 * RATES[-1]


def test_a_text_that_is_not_english_is_not_rewritten():
    texts = tuple(f"Der Film {k} war schön und lang." for k in range(20))
    split = make_split(texts, np.zeros(20, dtype=np.int64))

    assert rewrite_rows(split, np.arange(10), 1, split) is None
