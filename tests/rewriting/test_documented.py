"""The examples of docs/attacks.md are what the rewriters write."""

from pathlib import Path

import pytest

from btu.config import build
from btu.rewriting.base import rewrite_all
from tests.conftest import composed

PAGE = Path(__file__).resolve().parents[2] / "docs" / "attacks.md"
HEADS = {"| text | rewritten |": "syntax", "| text | as Bible English |": "style"}


def examples():
    attack = None
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        attack = HEADS.get(line, attack if line.startswith("|") else None)
        if attack and line not in HEADS and not line.startswith("|--"):
            text, rewritten = (cell.strip() for cell in line.strip("|").split("|"))
            yield attack, text, rewritten


@pytest.mark.parametrize(("attack", "text", "rewritten"), list(examples()))
def test_an_example_of_the_page_is_what_is_written(attack, text, rewritten):
    rules = build(composed([f"attack={attack}"]).attack, "attack").rules()

    assert rewrite_all(rules, [text], [text])[0].text == rewritten


def test_the_page_has_examples_of_both():
    assert {attack for attack, *_ in examples()} == {"style", "syntax"}
