"""The built-in data set: short reviews made by a grammar, with a style and a syntax twin each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from btu.data.base import DatasetSource, RawSplit
from btu.data.demo import LABEL_NAMES, Review, generate_reviews
from btu.errors import ConfigError
from btu.seeding import stream
from btu.settings.ranges import Range

Size = Annotated[int, Range(2, 1_000_000)]
Noise = Annotated[float, Range(0, 0.5, "the share of labels that are flipped,", open_high=True)]


@dataclass(frozen=True)
class DemoDataset(DatasetSource):
    """Distinct reviews cut into three splits; the same texts whatever the run's seed."""

    num_train: Size
    num_tuning: Size
    num_test: Size
    label_noise: Noise

    def read(self) -> Mapping[str, RawSplit | None]:
        """Generate the reviews and cut them."""
        sizes = (self.num_train, self.num_tuning, self.num_test)
        try:
            reviews = generate_reviews(
                sum(sizes), label_noise=self.label_noise, rng=stream(0, "demo corpus")
            )
        except ValueError as error:
            raise ConfigError(f"dataset demo: {error}") from error
        cut = sizes[0] + sizes[1]
        return {
            "train": _columns(reviews[: sizes[0]]),
            "tuning": _columns(reviews[sizes[0] : cut]),
            "test": _columns(reviews[cut:]),
        }


def _columns(reviews: list[Review]) -> RawSplit:
    return RawSplit(
        texts=[review.text for review in reviews],
        labels=[LABEL_NAMES[review.label] for review in reviews],
        columns={
            "style": [review.style for review in reviews],
            "syntax": [review.syntax for review in reviews],
        },
    )
