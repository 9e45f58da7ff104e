"""No defense sees what a defender cannot know: its hooks do the same on data without it."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest

from btu.attacks.stored import poison
from btu.cli import CONF
from btu.config import build
from btu.defenses.base import Defense
from btu.job import build_job
from btu.lab import Lab
from btu.pipeline import decide, make_model
from btu.store.cache import StageCache
from btu.training.devices import Compute
from btu.types import BY_NAME, Dataset, Knob, PoisonedDataset, make_split
from tests.conftest import TINY, composed, toy_split

VARIANTS = {
    "btu_reference",
    "selfset_longer",
    "selfset_random",
    "selfset_sampled",
}  # one class each
DEFENSES = sorted({path.stem for path in (CONF / "defense").glob("*.yaml")} - VARIANTS)
SLOW = {"cube", "[cube,rga]", "[zscore,abl]"}  # umap compiles for half a minute
SMALL = {
    "cube": ["defense.cube.min_samples=10", "defense.cube.umap_neighbors=10"],
    "abl": ["defense.abl.threshold=0.05", "defense.abl.epochs=2"],
    "rga": ["defense.rga.epochs=2"],
    "zscore": ["defense.zscore.threshold=2"],
    "finetune": ["defense.finetune.threshold=1"],
    "moderate_fitting": ["defense.moderate_fitting.epochs=1"],
}
TRUSTED, TESTED = toy_split(80, 2), toy_split(40, 3)


def open_lab(job, data, folder):
    training = replace(job.model.training, epochs=2)
    model = replace(job.model, training=training)
    return Lab(model, data, Compute("cpu", "fp32", 64), StageCache(folder), 1, {})


def blank(data):
    """The same training and trusted rows; nothing of the attack, nor of the tests."""
    unmarked = replace(data.train, poisoned=np.zeros(len(data.train), dtype=bool))
    nothing = make_split(("nothing",), np.zeros(1, dtype=np.int64))
    clean = replace(data.clean, train=unmarked, test=nothing)
    return PoisonedDataset(clean, unmarked, None, np.zeros(0, dtype=np.int64), None, None)


def work(job, lab, texts):
    """Everything that the hooks decide and do."""
    decision = decide(job, lab, job.swept and job.swept.threshold)
    model = make_model(job, lab, BY_NAME["defended"], decision)
    screened = [screen.apply(lab, model, texts) for screen in decision.screens]
    return decision, lab.get(model).model.state_dict(), screened


def open_labs(job, data, folder):
    """A lab that has everything, and one that has what a defender has."""
    seeing, blind = open_lab(job, data, folder / "one"), open_lab(job, blank(data), folder / "two")
    blind.__dict__ |= {"pristine": seeing.pristine, "identity": seeing.identity}
    return seeing, blind


def tell(work):
    """What was decided and done, in a form that compares."""
    decision, weights, screened = work
    kept = None if decision.kept is None else decision.kept.tolist()
    keys = {name: stage.key for name, stage in decision.stages.items()}
    through = [(list(each.texts), each.rejected.tolist()) for each in screened]
    return kept, dict(decision.evidence), keys, through, [w.tolist() for w in weights.values()]


@pytest.fixture
def toy():
    return Dataset("toy", ("negative", "positive"), toy_split(300, 1), TRUSTED, TESTED)


@pytest.mark.parametrize(
    "option",
    [
        pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW))
        for name in [*DEFENSES, "[cube,rga]", "[zscore,abl]"]
    ],
)
def test_blanked_data_change_nothing(option, toy, tmp_path):
    settings = [each for name, some in SMALL.items() if name in option for each in some]
    small = ["model=tiny", "tracking=none", *TINY[2:]]
    job, _ = build_job(composed([*small, f"defense={option}", *settings]))
    data = poison(toy, job.attack, 1, StageCache(tmp_path / "data"))
    texts = [*data.triggered.texts, *TESTED.texts]

    seen, unseen = (tell(work(job, lab, texts)) for lab in open_labs(job, data, tmp_path))

    assert seen == unseen


@dataclass(frozen=True)
class Peeking(Defense):
    """Says which rows are poisoned, or whether a target is known."""

    knob: ClassVar[Knob | None] = None

    def decide(self, lab, threshold, before):
        """Look where a defender cannot."""
        rows = lab.data.train.poisoned if self.name == "rows" else lab.data.target_label is None
        return replace(before, evidence={"seen": np.asarray(rows).tolist()})


@pytest.mark.parametrize("what", ["rows", "target"])
def test_a_defense_that_peeks_would_be_seen(what, toy, tmp_path):
    job, _ = build_job(composed(["model=tiny", *TINY, "defense=none"]))
    attack = build(composed(["model=tiny", *TINY]).attack, "attack")
    data = poison(toy, attack, 1, StageCache(tmp_path / "data"))
    peeking = replace(job, defenses=(Peeking(what, None, []),), swept=None)

    seen, unseen = (tell(work(peeking, lab, [])) for lab in open_labs(job, data, tmp_path))

    assert seen != unseen
