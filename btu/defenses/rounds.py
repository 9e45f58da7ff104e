"""BTU's detection rounds: train once over the poisoned rows, see which word embeddings moved."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Annotated, ClassVar

from btu.models.base import Training
from btu.settings.base import Settings
from btu.settings.ranges import Choice, Count, Tokens
from btu.store.stages import ONE_ARRAY, Cost, Stage
from btu.types import FloatArray, IntArray, Split

if TYPE_CHECKING:
    from btu.lab import Lab

KINDS = ("pooled", "full")
POOLINGS = ("real_tokens", "all_positions")
TRAINABLE = ("word_embeddings", "embedding_module")
VERSION = 7  # raise it when what a round computes changes
FULL_PASSES = 2  # forward, and gradients of activations: the weights are frozen


@dataclass(frozen=True)
class Round(Settings):
    """One epoch of training whose only purpose is the drift of the word embeddings."""

    kind: Annotated[
        str, Choice(KINDS)
    ]  # pooled: embedding module and linear head; full: the whole classifier
    batch_size: Count
    max_length: Tokens
    hide_suspects: bool  # take tokens flagged by earlier rounds out of the texts
    pooling: Annotated[
        str, Choice(POOLINGS)
    ]  # pooled only: mean over real tokens, or over padding too
    trainable: Annotated[
        str, Choice(TRAINABLE)
    ]  # pooled only: word embeddings alone, or the whole embedding module

    place: ClassVar[str] = "rounds"


def drift(
    lab: Lab, rows: Split, number: int, settings: Round, learning_rate: float, hidden: IntArray
) -> Stage[FloatArray]:
    """How far each token's embedding moves in one round, (V,); keyed by what is hidden, not why.

    Args:
        lab: whose fresh model is trained.
        rows: what it is trained on.
        number: of the round, from 1; it decides the round's random draws.
        settings: of the round.
        learning_rate: of every round.
        hidden: token ids that are taken out of the texts.
    """
    training = replace(
        lab.source.training, epochs=1, learning_rate=learning_rate, batch_size=settings.batch_size
    )
    title = f"round {number}" + (f" without {len(hidden)} tokens" if len(hidden) else "")
    max_length = min(settings.max_length, lab.source.max_length)
    over_padding = settings.kind == "pooled" and settings.pooling == "all_positions"
    return Stage(
        name="detection",
        parts={
            **lab.training_parts(rows, training),
            "number": number,
            "round": asdict(settings),
            "hidden": hidden,
        },
        compute=lambda: _drift(lab, rows, number, settings, training, hidden),
        format=ONE_ARRAY,
        version=VERSION,
        title=title,
        cost=Cost(
            kind=f"round {number}",
            rows=len(rows),
            split=rows,
            passes=FULL_PASSES if settings.kind == "full" else 0,
            batch_size=settings.batch_size,
            pad_to=max_length if over_padding else None,
            how=f"{number} {settings.kind} {settings.pooling} {settings.trainable}",
        ),
    )


def _drift(
    lab: Lab, rows: Split, number: int, settings: Round, training: Training, hidden: IntArray
) -> FloatArray:
    from torch import nn

    from btu.defenses.detection import embedding_distances
    from btu.models.probe import PooledProbe
    from btu.seeding import stream_seed, torch_stream
    from btu.training.fit import freeze_all_but

    classifier = lab.fresh()
    seed = stream_seed(lab.seed, "detection", str(number))
    over_padding = settings.kind == "pooled" and settings.pooling == "all_positions"
    if settings.kind == "pooled":
        with torch_stream(stream_seed(seed, "head")):
            model: nn.Module = PooledProbe(
                classifier,
                lab.num_labels,
                over_padding,
                train_all=settings.trainable == "embedding_module",
            )
    else:
        model = classifier.model
        freeze_all_but(model, classifier.embeddings)
    max_length = min(settings.max_length, lab.source.max_length)
    data = lab.encoded(rows).cut(max_length).without_tokens(hidden)
    title = f"detection round {number}"
    pad_to = max_length if over_padding else None
    lab.fit(model, classifier, data, training, seed, title, pad_to=pad_to)
    return embedding_distances(
        lab.pretrained_embeddings(), classifier.embeddings.weight.detach().cpu()
    )
