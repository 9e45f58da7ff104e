"""Several attacks in one training set: each in rows of its own, all with one target."""

import numpy as np
import pytest

from btu.attacks.poisoning import poison, remarks
from btu.attacks.several import Several, Together
from btu.attacks.stored import poison_parts
from btu.config import build
from btu.errors import ConfigError
from btu.job import build_attack, build_job
from btu.planning.jobs import read_sweep
from tests.attacks.test_insertion import insertion
from tests.attacks.test_paraphrase import style
from tests.conftest import composed

BOTH = "attack=[badnets,style]"


def several(tested=None, rate=0.1, decoys=0.0, **changes) -> Several:
    words = insertion(poison_rate=rate, decoy_rate=decoys)
    twins = style(poison_rate=0.2, decoy_rate=decoys, **changes)
    return Several.of(Together("badnets+style", tested), {"badnets": words, "style": twins})


def holding(split) -> tuple[np.ndarray, np.ndarray]:
    """Which rows hold the word, and which are twins."""
    words = [("cf" in text.split(), text.startswith("verily")) for text in split.texts]
    return tuple(np.asarray(words, dtype=bool).T)


def test_each_part_poisons_its_share_in_rows_of_its_own(toy_dataset):
    data = poison(toy_dataset, several(), 1)
    alone = poison(toy_dataset, insertion(), 1)

    words, twins = holding(data.train)
    assert (words.sum(), twins.sum(), (words & twins).sum()) == (6, 12, 0)
    assert ((words | twins) == data.train.poisoned).all()
    assert (data.train.labels[data.train.poisoned] == 1).all()
    assert (data.counts.requested, data.counts.poisoned) == (18, 18)
    assert (words == alone.train.poisoned).all()  # the first draws as it does alone
    assert remarks(data) == ()


def test_decoys_of_one_part_are_no_rows_of_the_other(toy_dataset):
    data = poison(toy_dataset, several(decoys=0.1), 1)

    words, twins = holding(data.train)
    assert (words.sum(), twins.sum(), (words & twins).sum()) == (12, 18, 0)
    assert data.counts.decoys == ((words | twins) & ~data.train.poisoned).sum() == 12


def test_test_rows_get_the_triggers_in_turn_or_those_of_one_part(toy_dataset):
    both, one = (poison(toy_dataset, several(tested), 1) for tested in (None, "badnets"))
    alone = poison(toy_dataset, insertion(), 1)

    words, twins = holding(both.triggered)
    assert words.tolist() == [True, False] * 7 + [True]
    assert (words != twins).all()
    assert (both.triggered_rows == one.triggered_rows).all()
    assert one.triggered.texts == alone.triggered.texts
    assert one.train.fingerprint == both.train.fingerprint  # so the victim is shared


def test_rows_that_another_part_has_taken_are_not_there_for_the_next(toy_dataset):
    greedy = several(rate=0.9, label_policy="clean")

    with pytest.raises(ConfigError) as refused:
        poison(toy_dataset, greedy, 1)

    assert str(refused.value).startswith("attack.style.poison_rate=0.2 asks for 12 of 60 training")
    assert "can get the trigger and are not taken already" in str(refused.value)


def test_parts_have_one_target_and_one_typing(toy_dataset):
    with pytest.raises(ConfigError) as refused:
        poison(toy_dataset, several(target_label="negative"), 1)

    assert str(refused.value) == (
        "attack.badnets.target_label is positive, but attack.style.target_label is negative. "
        "Attacks on one training set have one target: write attack.style.target_label=1."
    )
    assert poison(toy_dataset, several(target_label="positive"), 1).target_label == 1
    with pytest.raises(ConfigError, match=r"types all texts alike.*Write it for each of them"):
        several(normalize_format=True)


def test_a_poisoned_set_is_named_by_its_parts_their_code_and_the_tested_one(toy_dataset):
    def key(attack):
        return poison_parts(toy_dataset, attack, attack.prepare(toy_dataset), 1)

    assert key(several()) == key(several())
    assert key(several(rate=0.05)) != key(several()) != key(several("style"))
    assert set(insertion().code) | set(style().code) < set(several().code)
    assert len(insertion().code) == 1
    assert [sample.text for sample in several().samples()] == [
        sample.text for sample in insertion().samples()
    ]


def test_the_command_line_names_several_and_sets_each(tmp_path):
    words = ["attack.style.poison_rate=0.05", "attack.tested=style", f"outputs={tmp_path}"]
    cfg = composed(["+attack.style.foo=1", BOTH])
    with pytest.raises(ConfigError, match=r"attack\.style\.foo: Style has no such field"):
        build_attack(cfg.attack)

    job, _ = build_job(composed([BOTH, *words, "attack.badnets.stealth=false"]))

    assert job.attack.name == "badnets+style"
    assert {name: part.poison_rate for name, part in job.attack.parts.items()} == {
        "attack.badnets": 0.1,
        "attack.style": 0.05,
    }
    kept = job.config["attack"]
    assert kept["badnets"].keys() & {"stealth", "poison_rate"} == {"poison_rate"}
    assert kept["style"]["rewriter"].keys().isdisjoint({"folder", "device"})
    assert build(composed(["attack=[badnets,style]"]).attack.style, "attack.style").name == "style"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["attack=[badnets,badnets]"], r"^attack=\[badnets,badnets\] names badnets twice\. Each"),
        (["attack=[badnets,badnet]"], "Could not find 'attack/badnet'.*Available options"),
        (["attack=badnets+"], r"^attack=badnets\+: a name is missing\. Write for example attack"),
        (["attack=[badnets,none]"], "^attack=none plants nothing: leave it out of the list"),
        (["attack=[]"], r"^attack is one option and no list\. Write attack=badnets for one"),
        ([BOTH, "attack.tested=styl"], r"^attack\.tested: there is no styl; did you mean style\?"),
        (
            [BOTH, "attack.poison_rate=0.1"],
            r"did you mean attack\.badnets\.poison_rate or attack\.s",
        ),
        ([BOTH, "~attack.badnets", "~attack.style"], "^attack has no parts. Write for example "),
    ],
)
def test_what_is_wrong_with_several_is_one_sentence(words, sentence, tmp_path):
    import btu

    with pytest.raises(ConfigError, match=f"(?s){sentence}"):
        btu.run(*words, outputs=tmp_path, device="cpu")


def test_sweeps_and_plans_know_several(files):
    words = ["-m", "attack=badnets,[badnets,style]", "seed=1,2", *files.overrides]

    jobs = read_sweep(words).jobs

    assert [job.error for job in jobs] == [""] * 4
    assert [(job.job.attack.name, job.job.seed) for job in jobs] == [
        (name, seed) for name in ("badnets", "badnets+style") for seed in (1, 2)
    ]
