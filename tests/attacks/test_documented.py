"""The attack that docs/attacks.md shows to those who write their own."""

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
from omegaconf import OmegaConf

from btu.attacks import stored
from btu.attacks.poisoning import poison
from btu.config import build
from btu.store.cache import StageCache

PAGE = Path(__file__).resolve().parents[2] / "docs" / "attacks.md"
LANGUAGES = ("python", "yaml")


@pytest.fixture
def repeat(monkeypatch):
    """The attack, built from the page's class and yaml."""
    section = PAGE.read_text(encoding="utf-8").split("## An attack of your own")[1]
    code, settings = (re.search(rf"```{kind}\n(.*?)```", section, re.S)[1] for kind in LANGUAGES)
    module = ModuleType("btu.attacks.repeat")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(code, "repeat.py", "exec"), module.__dict__)
    return build(OmegaConf.create(settings), "attack")


def test_the_attack_of_the_page_plants_its_trigger(repeat, toy_dataset):
    data = poison(toy_dataset, repeat, 1)

    assert data.counts.poisoned == 6
    pairs = zip(data.train.texts, toy_dataset.train.texts, data.train.poisoned, strict=True)
    for text, before, poisoned in pairs:
        assert len(text.split()) == len(before.split()) + 2 * poisoned
        assert set(text.split()) == set(before.split())
    assert len(data.triggered) == 15
    assert poison(toy_dataset, repeat, 1).train.texts == data.train.texts
    assert poison(toy_dataset, repeat, 2).train.texts != data.train.texts


def test_the_attack_of_the_page_is_kept_in_the_cache(repeat, toy_dataset, tmp_path, monkeypatch):
    first = stored.poison(toy_dataset, repeat, 1, StageCache(tmp_path))
    monkeypatch.setattr(type(repeat), "trigger", None)

    assert stored.poison(toy_dataset, repeat, 1, StageCache(tmp_path)).counts == first.counts
