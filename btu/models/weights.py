"""Whether weights are those of the model that they were loaded into."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from btu.errors import ModelError

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
LEARNED = ("weight", "bias")  # ends of the names of what is trained; the others are buffers
SHOWN = 3


def check_index(path: Path, what: str, are_there: bool = True) -> None:
    """Raise unless every file that an index of weights names is safetensors beside it.

    Args:
        path: of the index.
        what: begins the sentence.
        are_there: whether the files have to be there already.

    Raises:
        ModelError: it names others, or is not an index.
    """
    try:
        files = set(json.loads(path.read_text(encoding="utf-8"))["weight_map"].values())
        others = sorted(n for n in files if Path(n).name != n or not n.endswith(".safetensors"))
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(
            f"{what}: {path} does not say which files have the weights. Save the model again with "
            "model.save_pretrained(folder)."
        ) from error
    if others:
        raise ModelError(
            f"{what}: {path} names {_some(others)}, but weights are read from .safetensors files "
            "beside it alone; other formats can run code. Save the model again with "
            "model.save_pretrained(folder)."
        )
    missing = sorted(name for name in files if not (path.parent / name).is_file())
    if missing and are_there:
        raise ModelError(f"{what}: {path} names {_some(missing)}, which is not there.")


def check_fit(model: Any, info: Mapping[str, Any], what: str, new_head: bool) -> None:
    """Raise unless the weights fit the model; only what stands on the base model may be new.

    A head of another task may be left over, and a base model may lack the pooler.

    Args:
        model: as transformers loaded it.
        info: what it said of the loading: missing, unexpected and mismatched keys.
        what: begins the sentence.
        new_head: whether the model may have a new head.

    Raises:
        ModelError: with three of the names.
    """
    prefix = f"{model.base_model_prefix}."
    parts = {name for name, _ in model.base_model.named_children()}

    def is_of_base(key: str) -> bool:
        has_prefix = key.startswith(prefix)
        return (has_prefix or key.split(".")[0] in parts) and "pooler" not in key

    missing = [key for key in info["missing_keys"] if is_of_base(key) or not new_head]
    shapes = [key for key, *_ in info["mismatched_keys"] if is_of_base(key) or not new_head]
    unexpected = [
        key for key in info["unexpected_keys"] if is_of_base(key) and key.endswith(LEARNED)
    ]
    found = (("lack", missing), ("have another shape for", shapes), ("also have", unexpected))
    wrong = [f"{how} {_some(keys)}" for how, keys in found if keys]
    if wrong:
        raise ModelError(
            f"{what}: the weights do not fit a {type(model).__name__}, as its config.json has it: "
            f"they {', and '.join(wrong)}. Use the config.json that was saved with the weights."
        )


def check_finite(model: Any, what: str) -> None:
    """Raise a ModelError if a weight is not finite."""
    if wrong := not_finite(model):
        raise ModelError(
            f"{what}: the checkpoint has weights that are not finite numbers (NaN or infinite), in "
            f"{_some(wrong)}. The training that wrote it diverged; use an earlier one."
        )


def not_finite(model: Any) -> list[str]:
    """Names of the parameters that hold a NaN or an infinite number."""
    found = []
    for name, weights in model.named_parameters():
        if weights.numel() and not all(end.isfinite() for end in weights.detach().aminmax()):
            found.append(name)
    return found


def _some(names: Collection[str]) -> str:
    """Three names, and how many there are."""
    shown = ", ".join(sorted(names)[:SHOWN])
    return shown if len(names) <= SHOWN else f"{shown} and {len(names) - SHOWN} more"
