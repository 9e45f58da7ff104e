"""Moderate fitting: a victim that can learn little learns the task before the backdoor."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from btu.defenses.base import Decision, Defense
from btu.errors import ConfigError
from btu.models.base import Training
from btu.seeding import stream_seed, torch_stream
from btu.settings.extras import need_packages
from btu.settings.ranges import Count, Range, Rate
from btu.types import Knob, Split

if TYPE_CHECKING:
    from btu.lab import Lab


@dataclass(frozen=True)
class LowRank(Training):
    """A training of low-rank adapters and the head alone; the adapters are merged at its end."""

    rank: Count
    scale: Annotated[float, Range(0, 1000, open_low=True)]  # alpha over rank
    seed: int  # of the adapters

    @contextmanager
    def adapting(self, model: Any) -> Iterator[Any]:
        """Inside the block the model has adapters on all linear layers, which learn."""
        from peft import LoraConfig, TaskType, get_peft_model

        config = LoraConfig(
            task_type=TaskType.SEQ_CLS,
            r=self.rank,
            lora_alpha=round(self.scale * self.rank),
            target_modules="all-linear",
        )
        with torch_stream(self.seed), warnings.catch_warnings():
            # peft asks transformers for an old name
            warnings.simplefilter("ignore", FutureWarning)
            adapted = get_peft_model(model, config)
        yield adapted
        adapted.merge_and_unload()


@dataclass(frozen=True)
class ModerateFitting(Defense):
    """The victim is trained by low-rank adapters, for few epochs.

    Source: Zhu et al. 2022, moderate-fitting (NeurIPS 2022); code thunlp/Moderate-fitting, whose
    learning rate and alpha / rank = 2 these are. Departures: adapters on all linear layers where
    theirs are on queries and values; capacity is cut by the rank, not by generating the adapters
    from a bottleneck.
    """

    epochs: Count
    learning_rate: Rate
    scale: Annotated[float, Range(0, 1000, open_low=True)]  # alpha over rank

    knob: ClassVar[Knob | None] = Knob(
        label="rank of the adapters",
        unit="ranks",
        low=1,
        high=4096,
        example=8,
        example_means="adapters of rank eight",
        low_is_strong=True,
        whole=True,
    )

    def check(self, rows: Split, trusted: Split | None) -> None:
        """Raise a ConfigError if a package is missing."""
        need_packages(f"defense {self.name}", {"peft": "peft"}, "defenses")

    def check_place(self, before: Sequence[Defense], after: Sequence[Defense]) -> None:
        """Raise a ConfigError if another method needs embeddings that training has moved."""
        if other := next((each for each in (*before, *after) if each.edits_embeddings), None):
            raise ConfigError(
                f"defense {other.name} takes back what training changed in the word embeddings, "
                f"which {self.name} does not train. Leave one of the two out."
            )

    def decide(self, lab: Lab, threshold: float | None, before: Decision) -> Decision:
        """Train with adapters of so high a rank."""
        plain = replace(lab.source.training, epochs=self.epochs, learning_rate=self.learning_rate)
        seed = stream_seed(lab.seed, self.name)
        rank = int(self.need(threshold))
        training = LowRank(**asdict(plain), rank=rank, scale=self.scale, seed=seed)
        return replace(before, training=training)
