"""What a training needs to continue after its last epoch, kept beside its stage's cache entry.

`<cache>/<stage>/<key>.epochs/` is built like an entry: tensors as safetensors, and a manifest that
is written last and holds the checksum, so that a state is there whole or not at all. A training
that is continued ends with the bits of one that was never interrupted.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from btu import processes
from btu.store.cache import MANIFEST, Manifest, is_intact
from btu.store.files import checksum, read_as, write_json

FORMAT = 1  # of a kept state: another is ignored
STATE = "state"  # of the file's metadata: what is not a tensor
MOMENTS = ("step", "exp_avg", "exp_avg_sq")  # what AdamW keeps of a parameter
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Learner:
    """Everything that the rest of a training depends on.

    Args:
        model: its parameters that require a gradient.
        optimizer: AdamW over them.
        generators: of the batch order, and of dropout where it has generators of its own.
        device: whose global generator torch draws from, besides the CPU's.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    generators: Sequence[np.random.Generator]
    device: str

    def tensors(self) -> dict[str, Tensor]:
        """Weights, moments and torch's generators by name."""
        found = {f"random/{kind}": module.get_rng_state() for kind, module in self._random()}
        for name, parameter in self._parameters().items():
            found[f"weight/{name}"] = parameter.detach()
            for moment, value in self.optimizer.state.get(parameter, {}).items():
                found[f"{moment}/{name}"] = value
        return {name: value.cpu().contiguous() for name, value in found.items()}

    def numbers(self) -> list[Any]:
        """The states of numpy's generators, as JSON can hold them."""
        return [_plain(generator.bit_generator.state) for generator in self.generators]

    def fits(self, tensors: Mapping[str, Tensor], numbers: Sequence[Any]) -> bool:
        """Whether a state is one of a training like this."""
        shapes = {f"weight/{name}": p.shape for name, p in self._parameters().items()}
        needed = {f"random/{kind}" for kind, _ in self._random()} | shapes.keys()
        moments = {f"{moment}/{name}" for moment in MOMENTS for name in self._parameters()}
        kinds = [generator.bit_generator.state["bit_generator"] for generator in self.generators]
        return (
            needed <= tensors.keys() <= needed | moments
            and all(tensors[name].shape == shape for name, shape in shapes.items())
            and [number["bit_generator"] for number in numbers] == kinds
        )

    @torch.no_grad()
    def load(self, tensors: Mapping[str, Tensor], numbers: Sequence[Any]) -> None:
        """Take over a state that fits."""
        for name, parameter in self._parameters().items():
            parameter.copy_(tensors[f"weight/{name}"])  # in place: a partner shares the memory
            moments = {m: tensors[f"{m}/{name}"] for m in MOMENTS if f"{m}/{name}" in tensors}
            if moments:  # none of a parameter that had no gradient
                self.optimizer.state[parameter] = {
                    moment: value.clone().to(parameter.device) for moment, value in moments.items()
                }
        for kind, module in self._random():
            module.set_rng_state(tensors[f"random/{kind}"])
        for generator, number in zip(self.generators, numbers, strict=True):
            generator.bit_generator.state = _as_arrays(number)

    def _parameters(self) -> dict[str, nn.Parameter]:
        return {name: p for name, p in self.model.named_parameters() if p.requires_grad}

    def _random(self) -> list[tuple[str, Any]]:
        """Torch's global generators, by the kind of their device."""
        kind = self.device.split(":")[0]
        others = [] if kind == "cpu" else [(kind, torch.get_device_module(kind))]
        return [("cpu", torch.random), *others]


def _plain(state: Any) -> Any:
    """A generator's state with lists in place of arrays."""
    if isinstance(state, Mapping):
        return {name: _plain(value) for name, value in state.items()}
    return state.tolist() if isinstance(state, np.ndarray) else state


def _as_arrays(state: Any) -> Any:
    """The reverse: numpy's generators hold arrays of 64-bit words."""
    if isinstance(state, Mapping):
        return {name: _as_arrays(value) for name, value in state.items()}
    return np.asarray(state, dtype=np.uint64) if isinstance(state, list) else state


class EpochCheckpoint:
    """The last epoch of the training of one stage.

    Args:
        folder: where its state is kept.
        manifest: the stage's key, parts and `about`, for people who look at the cache.
        every_s: an epoch is kept when so many seconds passed since the training began or since
            one was kept last.
        is_ours: whether the stage is still this process's to compute.
    """

    def __init__(
        self,
        folder: Path,
        manifest: Mapping[str, Any],
        every_s: float,
        is_ours: Callable[[], bool],
    ) -> None:
        self.folder, self.manifest = folder, manifest
        self.every_s, self.is_ours = every_s, is_ours
        self._since = 0.0

    def begin(self, learner: Learner, title: str, epochs: int) -> int:
        """Give a training the state that was kept of it, if there is one.

        Returns:
            How many epochs are done.
        """
        self._since = time.monotonic()
        done = processes.agree(0 if processes.follows() else self._begin(learner, title, epochs))
        if processes.follows() and done:
            about, tensors = self._read()
            learner.load(tensors, about["numbers"])
        return done

    def _begin(self, learner: Learner, title: str, epochs: int) -> int:
        if not self.folder.exists() or not is_intact(self.folder):
            return 0
        try:
            about, tensors = self._read()
            done, numbers = int(about["done"]), about["numbers"]
            fits = (about["format"], about["training"]) == (FORMAT, title)
            fits = fits and 0 < done < epochs and learner.fits(tensors, numbers)
        except (OSError, ValueError, KeyError, TypeError, SafetensorError):
            fits = False
        if not fits:
            log.warning(
                "%s: the state in %s belongs to another training and is not used",
                title,
                self.folder,
            )
            return 0
        learner.load(tensors, numbers)
        log.info("%s continues after epoch %d of %d", title, done, epochs)
        return done

    def end_of_epoch(self, learner: Learner, title: str, done: int, epochs: int) -> None:
        """Keep the state after an epoch, if it is time."""
        waited = time.monotonic() - self._since
        ours = not processes.follows() and self.is_ours()
        if done == epochs or waited < self.every_s or not ours:
            return
        try:
            self._write(learner, title, done, epochs)
        except (OSError, SafetensorError) as error:  # the training itself needs no such file
            log.warning("%s: epoch %d could not be kept (%s)", title, done, error)
        self._since = time.monotonic()

    def _write(self, learner: Learner, title: str, done: int, epochs: int) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        state = self.folder / f"epoch{done}.safetensors"
        numbers = learner.numbers()
        about = {"format": FORMAT, "training": title, "done": done, "numbers": numbers}
        save_file(learner.tensors(), state, {STATE: json.dumps(about)})
        named = {**self.manifest["about"], "title": f"{title}, epoch {done} of {epochs}"}
        files = {"files": {state.name: checksum(state)}, "bytes": state.stat().st_size}
        write_json(self.folder / MANIFEST, {**self.manifest, "about": named, **files})
        for path in self.folder.glob("*.safetensors"):
            if path != state:
                path.unlink(missing_ok=True)

    def _read(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        (name,) = read_as(Manifest, self.folder / MANIFEST).files
        with safe_open(self.folder / name, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return json.loads(file.metadata()[STATE]), tensors
