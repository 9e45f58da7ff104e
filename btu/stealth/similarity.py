"""Cosine similarity of sentence embeddings."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from btu.errors import ModelError
from btu.models.checkpoint import Checkpoint, checksum_of
from btu.models.hub import prepare_hub
from btu.models.weights import INDEX, WEIGHTS, check_finite, check_index

UNSAFE = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


class Similarities(NamedTuple):
    """Of N pairs of texts."""

    values: NDArray[np.float64]  # (N,) cosines
    cut: NDArray[np.bool_]  # (N,) one of the two is longer than the encoder reads


class SentenceEncoder:
    """A model of sentence-transformers, or a plain encoder, whose tokens it then averages."""

    def __init__(self, model: Any) -> None:
        self.model = model  # sentence_transformers.SentenceTransformer

    @classmethod
    def load(cls, checkpoint: Checkpoint, device: str) -> SentenceEncoder:
        """Load a checkpoint; safetensors only, and no code from it is run.

        Raises:
            ModelError: it cannot be loaded, or a module's weights are not safetensors, no numbers,
                or outside of the folder.
        """
        prepare_hub()
        import transformers
        from sentence_transformers import SentenceTransformer

        logging.getLogger("sentence_transformers").setLevel(logging.ERROR)
        transformers.utils.logging.set_verbosity_error()
        transformers.utils.logging.disable_progress_bar()
        folder = checkpoint.folder()
        with checkpoint.one_sentence():
            if folder is not None:
                _check_modules(folder, checkpoint.what)
            model = SentenceTransformer(
                str(folder or checkpoint.pretrained),
                device=device,
                trust_remote_code=False,
                local_files_only=folder is not None,
                model_kwargs={"use_safetensors": True},
            )
        check_finite(model, checkpoint.what)
        model.tokenizer.split_special_tokens = True  # [MASK] in a text is a word of it
        return cls(model.float())

    def similarities(
        self, before: Sequence[str], after: Sequence[str], batch_size: int
    ) -> Similarities:
        """The cosine of each pair's embeddings."""
        one, other = self._embed(before, batch_size), self._embed(after, batch_size)  # (N, D)
        cut = self._is_cut(before) | self._is_cut(after)
        return Similarities((one * other).sum(axis=1), cut)

    def _embed(self, texts: Sequence[str], batch_size: int) -> NDArray[np.float64]:
        found = self.model.encode(
            list(texts), batch_size=batch_size, show_progress_bar=False, normalize_embeddings=True
        )
        return np.asarray(found, dtype=np.float64)

    def _is_cut(self, texts: Sequence[str]) -> NDArray[np.bool_]:
        longest = self.model.max_seq_length
        ids = self.model.tokenizer(list(texts), truncation=False)["input_ids"]
        return np.asarray([longest is not None and len(each) > longest for each in ids], np.bool_)


def _check_modules(folder: Path, what: str) -> None:
    """Raise a ModelError unless all that `modules.json` names is inside, with safe weights."""
    listed = folder / "modules.json"
    paths = [each["path"] for each in json.loads(listed.read_text())] if listed.is_file() else []
    for path in paths:
        place = folder / path
        if not place.resolve().is_relative_to(folder.resolve()):
            raise ModelError(f"{what}: {listed} names {path}, which is not inside of {folder}.")
        names = {each.name for each in place.iterdir()} if place.is_dir() else set()
        if INDEX in names:
            check_index(place / INDEX, what)
        if any(name.endswith(UNSAFE) for name in names) and not names & {WEIGHTS, INDEX}:
            raise ModelError(
                f"{what}: {place} has weights, but no {WEIGHTS}, and other formats can run code "
                "when they are read. Save the encoder again with model.save_pretrained(folder)."
            )


def encoder_identity(checkpoint: Checkpoint) -> str:
    """As the checkpoint's own, with the files of its modules in the folders within."""
    folder = checkpoint.folder()
    if folder is None:
        return checkpoint.identity()
    return checksum_of(folder, folder.rglob("*"))
