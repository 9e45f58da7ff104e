"""Where a job computes, and in which arithmetic."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from btu.errors import ConfigError
from btu.processes import ALONE, ProcessGroup, started


@dataclass(frozen=True)
class Compute:
    """Where and in which arithmetic the stages run."""

    device: str
    precision: str  # bf16, fp32 or tf32
    eval_batch_size: int
    group: ProcessGroup = ALONE  # the processes that share each batch

    def several(self) -> dict[str, int]:
        """For keys: how many processes share the work, where it is more than one."""
        return {"processes": self.group.size} if self.group.size > 1 else {}

    @property
    def in_halves(self) -> bool:
        """Whether two threads share each batch."""
        return self.device == "cpu" and self.group.size == 1


def resolve_precision(wanted: str, device: str) -> str:
    """The arithmetic for this device: bf16 where the hardware multiplies in it, else fp32.

    Raises:
        ConfigError: tf32 without a CUDA device.
    """
    if wanted == "tf32" and not device.startswith("cuda"):
        raise ConfigError(f"model.training.precision=tf32 needs a CUDA device, got {device}.")
    if wanted != "auto":
        return wanted
    if device.startswith("cuda"):
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "tf32"
    if device == "cpu" and torch.backends.mkldnn.is_available():
        fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
        return "bf16" if fast else "fp32"
    return "fp32"


def _device_of(group: ProcessGroup, name: str) -> str:
    """The device of one of several processes."""
    if name not in ("auto", "cpu", "cuda"):
        raise ConfigError(
            f"device={name} is one device, but {group.size} processes were started. Write "
            "device=cuda, which gives each process its own, or device=cpu."
        )
    num_devices = torch.cuda.device_count()
    if name == "cpu" or (name == "auto" and not num_devices):
        return "cpu"
    if group.local_size > num_devices:
        fewer = f"torchrun --nproc-per-node={num_devices}" if num_devices else "device=auto"
        raise ConfigError(
            f"{group.local_size} processes were started on this machine, which has {num_devices} "
            f"CUDA devices for them. Write {fewer}, or device=cpu."
        )
    return f"cuda:{group.local_rank}"


def resolve_device(name: str) -> str:
    """The device to compute on: the one named, or for `auto` a GPU where there is one.

    Raises:
        ConfigError: the device does not exist here, or not for each process of this job.
    """
    group = started()
    if group.size > 1:
        return _device_of(group, name)
    if name == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"device={name} cannot be used on this machine. Write device=auto or device=cpu."
        ) from error
    return name
