"""The stage that measures stealth: triggered test rows against the same rows without a trigger."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from btu import processes
from btu.models.perplexity import LanguageModel
from btu.seeding import stream
from btu.stealth.edits import character_distances, word_distances
from btu.stealth.settings import Stealth
from btu.stealth.similarity import SentenceEncoder, encoder_identity
from btu.store.cache import StageCache
from btu.types import IntArray, PoisonedDataset, Split

VERSION = 2  # raise it when a number changes
REPORT, ROWS = "report.json", "rows.parquet"
Values = NDArray[np.float64]


def measure(
    data: PoisonedDataset, stealth: Stealth, device: str, cache: StageCache
) -> dict[str, Any] | None:
    """What the poison report says of stealth, computed once; None where nothing is planted.

    The cache entry's `rows.parquet` has each row's own values.

    Raises:
        ModelError: a model cannot be loaded, or is not of its kind.
    """
    if data.triggered is None:
        return None
    chosen = chosen_rows(data, stealth.max_rows)
    before, after = data.clean.test.take(data.triggered_rows[chosen]), data.triggered.take(chosen)
    language, encoder = stealth.language_checkpoint(), stealth.sentence_checkpoint()
    parts = {
        "version": VERSION,
        "before": before.fingerprint,
        "after": after.fingerprint,
        "language_model": language.identity() if language else None,
        "sentence_encoder": encoder_identity(encoder) if encoder else None,
    }

    def write(folder: Path) -> None:
        if not processes.follows():
            _write(before, after, stealth, device, folder)

    about = {"title": "stealth", "dataset": data.clean.name}
    found, _ = cache.get("stealth", parts, write, _read, about)
    return {
        "num_rows": len(chosen),
        "num_triggered": len(data.triggered),
        "language_model": stealth.language_model,
        "sentence_encoder": stealth.sentence_encoder,
        **found,
    }


def chosen_rows(data: PoisonedDataset, max_rows: int | None) -> IntArray:
    """Up to `max_rows` places in the triggered test set, sorted.

    The draw is over the rows of the test set and depends on nothing else, so that all attacks and
    seeds are measured on the same rows as far as they trigger them; fewer are a part of more.
    """
    order = stream(0, "stealth").permutation(len(data.clean.test))
    place_in_draw = np.argsort(order)[data.triggered_rows]
    return np.sort(np.argsort(place_in_draw)[:max_rows]).astype(np.int64)


def _write(before: Split, after: Split, stealth: Stealth, device: str, folder: Path) -> None:
    """Measure each row, and write the rows and what they come to."""
    rows: dict[str, Values] = {
        "word_distance": word_distances(before.texts, after.texts).astype(np.float64),
        "character_distance": character_distances(before.texts, after.texts),
    }
    report: dict[str, Any] = {
        "word_distance": _summary(rows["word_distance"]),
        "character_distance": _summary(rows["character_distance"]),
    }
    if checkpoint := stealth.language_checkpoint():
        model = LanguageModel.load(checkpoint, device)
        ours, theirs = (
            model.perplexities(each.texts, stealth.batch_size) for each in (before, after)
        )
        rows |= {"perplexity_before": ours.values, "perplexity_after": theirs.values}
        report["perplexity"] = _perplexity(ours.values, theirs.values)
        report["perplexity"]["num_cut"] = int((ours.cut | theirs.cut).sum())
    if checkpoint := stealth.sentence_checkpoint():
        encoder = SentenceEncoder.load(checkpoint, device)
        alike = encoder.similarities(before.texts, after.texts, stealth.batch_size)
        rows["similarity"] = alike.values
        report["similarity"] = _summary(alike.values) | {"num_cut": int(alike.cut.sum())}
    pq.write_table(pa.table({"source": after.source, **rows}), folder / ROWS)
    (folder / REPORT).write_text(json.dumps(report, indent=1), encoding="utf-8")


def _read(folder: Path) -> Mapping[str, Any]:
    report: Mapping[str, Any] = json.loads((folder / REPORT).read_text(encoding="utf-8"))
    return report


def _summary(values: Values) -> dict[str, float]:
    return {"mean": float(values.mean()), "median": float(np.median(values))}


def _perplexity(before: Values, after: Values) -> dict[str, Any]:
    """Medians and changes over the rows that have a perplexity with and without the trigger."""
    measured = np.isfinite(before) & np.isfinite(after)
    before, after = before[measured], after[measured]
    if not len(before):
        return {"num_rows": 0}
    return {
        "num_rows": len(before),
        "median_before": float(np.median(before)),
        "median_after": float(np.median(after)),
        "median_change": float(np.median(after - before)),
        "mean_change": float((after - before).mean()),
    }


def describe(report: Mapping[str, Any]) -> list[str]:
    """The report as two or three lines for the terminal."""
    words, characters = report["word_distance"], report["character_distance"]
    lines = [
        f"stealth of {report['num_rows']:,} triggered test rows against the same rows without a "
        f"trigger: {words['mean']:.1f} words changed (median {words['median']:g}), "
        f"{100 * characters['mean']:.1f} % of the characters"
    ]
    ppl, alike = report.get("perplexity"), report.get("similarity")
    if ppl and ppl["num_rows"]:
        lines.append(
            f"perplexity ({report['language_model']}): median {ppl['median_before']:.1f} -> "
            f"{ppl['median_after']:.1f}, change median {ppl['median_change']:+.1f}, "
            f"mean {ppl['mean_change']:+.1f}"
        )
    if alike:
        lines.append(
            f"similarity ({report['sentence_encoder']}): mean {alike['mean']:.3f}, "
            f"median {alike['median']:.3f}"
        )
    return lines
