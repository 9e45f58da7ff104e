"""BadNets and AddSent: words or sentences inserted into the text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np

from btu.attacks.base import Attack
from btu.attacks.triggered import Triggered, mark_done
from btu.data.formats import normalize
from btu.errors import ConfigError
from btu.settings.ranges import Choice, Items, Place, Range, Text
from btu.types import TriggerSample

POSITIONS = ("random", "start", "end")
NO_TRIGGER = "For no trigger write attack=none."


@dataclass(frozen=True)
class Insertion(Attack):
    """Words (BadNets) or sentences (AddSent) as triggers; nothing else of the text changes.

    Both are this class with other settings: each insertion draws one of the triggers and its
    place. The rows of train and test go through the same code.

    Sources: BadNets, Gu et al. 2017 (arXiv 1708.06733), for text Kurita et al. 2020 (arXiv
    2004.06660); AddSent, Dai et al. 2019 (arXiv 1905.12457).
    """

    triggers: Annotated[
        list[Annotated[str, Text(verbatim=True)]], Items()
    ]  # words or sentences; one is drawn per insertion
    triggers_file: Place | None  # in their place: a text file with one trigger per line
    num_triggers: Annotated[int, Range(1, 200, advice=NO_TRIGGER)]  # insertions per text
    position: Annotated[
        str, Choice(POSITIONS)
    ]  # random: before any word or after the last; start; end

    fits_every_text: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.phrases:
            raise ConfigError(
                "attack.triggers is empty, but one word or sentence was expected or more. Write "
                'for example attack.triggers=[cf] or attack.triggers=["I watch this 3D movie"].'
            )

    @cached_property
    def phrases(self) -> tuple[str, ...]:
        """The triggers, from the settings or their file.

        Raises:
            ConfigError: the file is missing, not text, or empty.
        """
        if self.triggers_file is None:
            return tuple(trigger.strip() for trigger in self.triggers)
        return _read_triggers(Path(self.triggers_file).expanduser())

    def settings(self) -> dict[str, Any]:
        """All settings, with the triggers in place of their file's name."""
        return super().settings() | {"triggers": list(self.phrases), "triggers_file": None}

    def trigger(self, texts: Sequence[str], rng: np.random.Generator) -> Triggered:
        """Each text with `num_triggers` triggers."""
        return mark_done([self._plant(text, rng) for text in texts])

    def samples(self) -> Sequence[TriggerSample]:
        """Each trigger where it may stand: at the start, in the middle, at the end of a text.

        A byte-level BPE gives " cf" and "cf" different ids.
        """
        phrases = self.phrases
        if self.normalize_format:
            phrases = tuple(normalize(phrase).removesuffix(" .") for phrase in phrases)
        places = ("start", "middle", "end") if self.position == "random" else (self.position,)
        return [_sample(phrase, place) for phrase in phrases for place in places]

    def _plant(self, text: str, rng: np.random.Generator) -> str:
        drawn = rng.integers(len(self.phrases), size=self.num_triggers)
        return insert(text, [self.phrases[number] for number in drawn], self.position, rng)


def insert(text: str, phrases: Sequence[str], position: str, rng: np.random.Generator) -> str:
    """Insert phrases at word boundaries of the text; `random` draws them, both ends included."""
    starts = [match.start() for match in re.finditer(r"\S+", text)]
    first = len(starts) if position == "end" else 0
    last = 0 if position == "start" else len(starts)
    places = rng.integers(first, last, size=len(phrases), endpoint=True)
    for number in np.argsort(-places, kind="stable"):  # from the back, where no start moves
        place, phrase = places[number], phrases[number]
        if place == len(starts):
            body = text.rstrip()
            text = f"{body} {phrase}{text[len(body) :]}" if body else phrase
        else:
            text = f"{text[: starts[place]]}{phrase} {text[starts[place] :]}"
    return text


def _sample(phrase: str, place: str) -> TriggerSample:
    before = {"start": "", "middle": "it ", "end": "it is "}[place]
    after = {"start": " it is", "middle": " is", "end": ""}[place]
    return TriggerSample(f"{before}{phrase}{after}", len(before), len(before) + len(phrase))


def _read_triggers(path: Path) -> tuple[str, ...]:
    if not path.is_file():
        raise ConfigError(
            f"attack.triggers_file: there is no file {path}. Give a text file with one trigger per "
            "line, or write attack.triggers_file=null attack.triggers=[cf]."
        )
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ConfigError(f"attack.triggers_file: {path} is not UTF-8 text.") from error
    triggers = tuple(line.strip() for line in lines if line.strip())
    if not triggers:
        raise ConfigError(
            f"attack.triggers_file: {path} holds no trigger; expected one word or sentence per "
            "line. Without a file write attack.triggers=[cf]."
        )
    return triggers
