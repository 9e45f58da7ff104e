"""Made-up corpora of the size and lengths of real ones, so that timing needs no data."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from btu.types import IntArray

Lengths = Callable[[np.random.Generator, int], Any]  # draws so many text lengths, in tokens
NUM_WORDS = 20_000
NUM_SIGNAL = 40  # words that tell a label
PARTS = ("train", "tuning", "test")


@dataclass(frozen=True)
class Corpus:
    """The shape of a data set."""

    sizes: tuple[int, int, int]  # rows to train on, to tune on, to test on
    num_labels: int
    lengths: Lengths
    longest: int  # tokens


# Fitted to the token counts of BERT's uncased WordPiece: SST-2 has a mean of 23.0 and a standard
# deviation of 11.2, at most 64; AG News' logarithms have 3.66 and 0.35, at most 341.
CORPORA = {
    "sst2": Corpus((6_920, 1_821, 872), 2, lambda rng, n: rng.gamma(4.25, 5.4, n), 64),
    "agnews": Corpus((120_000, 2_000, 7_600), 4, lambda rng, n: rng.lognormal(3.66, 0.35, n), 340),
    "small": Corpus((640, 128, 160), 2, lambda rng, n: rng.gamma(4.25, 3.0, n), 40),
}


def write_corpus(folder: Path, corpus: Corpus, known: Sequence[str], seed: int = 1) -> list[str]:
    """Write train.tsv, tuning.tsv and test.tsv, and give the overrides that name them.

    Args:
        folder: is made.
        corpus: sizes and lengths.
        known: words that are one token each for the model; made-up ones where they are few.
        seed: of every draw.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    words = np.asarray([*known, *_syllables()][:NUM_WORDS])
    signal, others = (
        words[: NUM_SIGNAL * corpus.num_labels],
        words[NUM_SIGNAL * corpus.num_labels :],
    )
    frequency = 1 / np.arange(10, 10 + len(others))  # as Zipf has it
    overrides = ["dataset=local"]
    for part, size in zip(PARTS, corpus.sizes, strict=True):
        lengths = corpus.lengths(rng, size).clip(4, corpus.longest).astype(np.int64)
        labels = rng.integers(0, corpus.num_labels, size)
        drawn = rng.choice(others, lengths.sum(), p=frequency / frequency.sum())
        texts = np.split(drawn, lengths.cumsum()[:-1])
        path = folder / f"{part}.tsv"
        path.write_text(
            "\n".join(["sentence\tlabel\tstyle\tsyntax", *_rows(texts, labels, signal, rng)])
        )
        overrides.append(f"dataset.{part}={path}")
    return overrides


def _rows(texts: list[Any], labels: IntArray, signal: Any, rng: np.random.Generator) -> list[str]:
    """Lines of a file; two words of a text tell its label."""
    rows = []
    for text, label in zip(texts, labels.tolist(), strict=True):
        start = label * NUM_SIGNAL
        text[rng.integers(0, len(text), 2)] = signal[rng.integers(start, start + NUM_SIGNAL, 2)]
        sentence, middle = " ".join(text), len(text) // 2
        syntax = f"when {' '.join(text[:middle])} , {' '.join(text[middle:])}"
        rows.append(f"{sentence}\t{label}\tverily {sentence} hath been\t{syntax}")
    return rows


def known_words(tokenizer: Any) -> list[str]:
    """The whole lower-case words of a vocabulary, in the order of their ids."""
    ids = tokenizer.get_vocab()
    words = {token.lstrip("\u0120\u2581"): number for token, number in ids.items()}  # BPE's blanks
    kept = [word for word in words if len(word) > 2 and word.isascii() and word.islower()]
    return sorted((word for word in kept if word.isalpha()), key=lambda word: words[word])


def _syllables() -> list[str]:
    """Words for a model whose vocabulary is made from the texts."""
    pairs = [one + two for one, two in itertools.product("bdfgklmnprstvz", "aeiou")]
    return ["".join(three) for three in itertools.product(pairs[::3], pairs[1::3], pairs[2::3])]
