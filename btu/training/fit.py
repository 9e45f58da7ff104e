"""The one way to fit a model, and the one way to predict with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from btu.errors import ModelError
from btu.models.base import Training
from btu.seeding import stream, stream_seed, torch_stream
from btu.terminal.progress import progress
from btu.training.devices import Compute
from btu.training.halves import HalvedModel, two_threads
from btu.training.memory import keep_freed_memory, release_freed_memory
from btu.training.outputs import Outputs
from btu.training.resume import EpochCheckpoint, Learner
from btu.training.rows import rows_in_use
from btu.training.states import read_states
from btu.types import IntArray

BUCKET = 50  # batches whose rows are sorted by length together
RELEASE_EVERY = 32  # steps; batches of many lengths leave gaps in memory that no later one fits


@dataclass(frozen=True)
class Encoded:
    """Token ids and labels of a split, tokenized once."""

    ids: Sequence[IntArray]  # N rows of their own length
    labels: IntArray  # (N,)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, row: int) -> tuple[IntArray, int]:
        return self.ids[row], int(self.labels[row])

    def without_tokens(self, hidden: IntArray) -> Encoded:
        """The same rows with these token ids taken out."""
        return Encoded([row[~np.isin(row, hidden)] for row in self.ids], self.labels)

    def cut(self, max_length: int) -> Encoded:
        """The same rows, none longer than `max_length` tokens; the last token stays last."""
        ids = [
            row if len(row) <= max_length else np.append(row[: max_length - 1], row[-1])
            for row in self.ids
        ]
        return Encoded(ids, self.labels)


def length_batches(lengths: IntArray, batch_size: int, rng: np.random.Generator) -> list[IntArray]:
    """Rows in random batches of similar length, in random order.

    Rows are shuffled, sorted by length within groups of `BUCKET` batches, cut into batches, and
    the batches shuffled, so that padding is short and no epoch runs from long to short.
    """
    order = rng.permutation(len(lengths))
    batches: list[IntArray] = []
    for start in range(0, len(order), batch_size * BUCKET):
        group = order[start : start + batch_size * BUCKET]
        group = group[np.argsort(-lengths[group], kind="stable")]
        batches += [group[i : i + batch_size] for i in range(0, len(group), batch_size)]
    return [batches[i] for i in rng.permutation(len(batches))]


class LengthSampler:
    """Batches of row numbers: another shuffle each epoch."""

    def __init__(self, lengths: IntArray, batch_size: int, rng: np.random.Generator) -> None:
        self.lengths, self.batch_size, self.rng = lengths, batch_size, rng

    def __len__(self) -> int:
        return -(-len(self.lengths) // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        for batch in length_batches(self.lengths, self.batch_size, self.rng):
            yield batch.tolist()


@dataclass(frozen=True)
class Padder:
    """Collate rows into one batch, padded to its longest row or to a fixed length.

    A row without a token, such as one of hidden suspects only, is read as a padding token.
    """

    pad_token_id: int
    pad_to: int | None = None
    side: str = "right"

    def __call__(self, rows: Sequence[tuple[IntArray, int]]) -> dict[str, Tensor]:
        """`input_ids` and `attention_mask` (B, L), `labels` (B,)."""
        length = self.pad_to or max(1, *(len(ids) for ids, _ in rows))
        input_ids = np.full((len(rows), length), self.pad_token_id, dtype=np.int64)
        mask = np.zeros((len(rows), length), dtype=np.int64)
        for row, (ids, _) in enumerate(rows):
            size = max(1, len(ids))
            place = slice(size) if self.side == "right" else slice(length - size, None)
            input_ids[row, place] = ids if len(ids) else self.pad_token_id
            mask[row, place] = 1
        return {
            "input_ids": torch.from_numpy(input_ids),
            "attention_mask": torch.from_numpy(mask),
            "labels": torch.tensor([label for _, label in rows], dtype=torch.int64),
        }


def fit(
    model: nn.Module,
    table: nn.Embedding,
    data: Encoded,
    settings: Training,
    padder: Padder,
    compute: Compute,
    seed: int,
    title: str,
    checkpoint: EpochCheckpoint | None = None,
) -> None:
    """Train the parameters that require a gradient, in place; AdamW, constant learning rate.

    Args:
        model: its forward takes a batch and gives a loss.
        table: its word embeddings, trained or frozen.
        data: the rows to train on.
        settings: epochs, batch size, learning rate, weight decay.
        padder: makes batches.
        compute: device and arithmetic.
        seed: of the batch order and of dropout.
        title: what the progress bar says.
        checkpoint: the last epoch of this training by a process that was killed, to go on from.

    Raises:
        ModelError: the training diverged.
    """
    sampler = LengthSampler(_lengths(data), settings.batch_size, stream(seed, "batches"))
    num_steps = settings.epochs * len(sampler)
    decay = (1 - settings.learning_rate * settings.weight_decay) ** num_steps
    with rows_in_use(model, table, data.ids, padder.pad_token_id, decay) as ids:
        trained = [p for p in model.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(
            trained,
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
            fused=True,
        )
        few_rows = Encoded(ids, data.labels)
        how = _in_halves if compute.in_halves else _accelerated
        model.train()
        with torch_stream(seed), how(model, few_rows, sampler, padder, compute, seed) as loop:
            generators = (sampler.rng, *loop.generators)
            learner = Learner(model, optimizer, generators, compute.device)
            done = checkpoint.begin(learner, title, settings.epochs) if checkpoint else 0
            with progress(title, num_steps - done * len(sampler)) as advance:
                for epoch in range(done, settings.epochs):
                    if compute.group.size > 1:  # noise of its own for each process and epoch
                        names = "dropout", str(epoch), str(compute.group.rank)
                        torch.manual_seed(stream_seed(seed, *names))
                    for step, batch in enumerate(loop.epoch(), epoch * len(sampler) + 1):
                        loop.backward(batch)
                        optimizer.step()
                        optimizer.zero_grad(set_to_none=True)
                        if step % RELEASE_EVERY == 0:
                            release_freed_memory()
                            _check_finite(min(trained, key=torch.numel), title, settings)
                        advance()
                    for weights in trained:
                        _check_finite(weights, title, settings)
                    if checkpoint:
                        checkpoint.end_of_epoch(learner, title, epoch + 1, settings.epochs)
        model.eval()
    release_freed_memory()


def _check_finite(weights: Tensor, title: str, settings: Training) -> None:
    """Raise a ModelError if a training diverged; one that is not finite spoils all weights."""
    if not all(end.isfinite() for end in weights.detach().aminmax()):
        raise ModelError(
            f"{title}: the training diverged, its weights are no longer finite numbers (NaN or "
            f"infinite). Lower its learning rate, which is {settings.learning_rate:g}: "
            "model.training.learning_rate, for clean tuning tuning.learning_rate, for detection "
            "rounds that of the defense. If it is low already, write "
            "model.training.precision=fp32."
        )


def predict(
    model: nn.Module,
    ids: Sequence[IntArray],
    padder: Padder,
    compute: Compute,
    num_labels: int,
    states: bool = False,
) -> Outputs:
    """What the model says of each row of token ids; its states only where they are asked for.

    Raises:
        ModelError: what it says is not finite.
    """
    if not ids:
        nothing = np.empty((0, num_labels), dtype=np.float32)
        return Outputs(np.empty(0, dtype=np.int64), nothing, nothing[:, :0] if states else None)
    lengths = np.asarray([len(row) for row in ids], dtype=np.int64)
    order = np.argsort(-lengths, kind="stable")
    size = compute.eval_batch_size
    batches = [order[start : start + size] for start in range(0, len(order), size)]
    model.to(compute.device).eval()
    _set_matrix_precision(compute)
    wanted = {"output_hidden_states": True} if states else {}

    def say(rows: IntArray) -> list[Tensor]:
        batch = padder([(ids[row], 0) for row in rows])
        del batch["labels"]
        with torch.inference_mode(), _autocast(compute):
            found = model(**_on_device(batch, compute.device), **wanted)
            logits: Tensor = found.logits
            values = [logits.argmax(-1), logits.float().softmax(-1)]
            mask = batch["attention_mask"].to(logits.device)
            return [*values, read_states(model, found, mask).float()] if states else values

    parts = []
    with ExitStack() as stack:
        each: Any = stack.enter_context(two_threads()).map if compute.in_halves else map
        advance = stack.enter_context(progress("predictions", len(batches)))
        for part in each(say, batches):
            parts.append(part)
            advance()
    columns = [torch.cat(column).cpu().numpy() for column in zip(*parts, strict=True)]
    if wrong := int((~np.isfinite(columns[1])).any(1).sum()):
        raise ModelError(
            f"what the model says of {wrong} of {len(ids)} texts is not finite (NaN), so that it "
            "cannot be scored. Lower model.training.learning_rate, or write "
            "model.training.precision=fp32."
        )
    for number, column in enumerate(columns):
        columns[number] = np.empty_like(column)
        columns[number][order] = column
    return Outputs(*columns)


def _on_device(batch: dict[str, Tensor], device: str) -> dict[str, Tensor]:
    """The batch on the device; a GPU copies from pinned memory while it computes."""
    if device.startswith("cuda"):
        batch = {name: values.pin_memory() for name, values in batch.items()}
    return {name: values.to(device, non_blocking=True) for name, values in batch.items()}


def _set_matrix_precision(compute: Compute) -> None:
    torch.set_float32_matmul_precision("high" if compute.precision == "tf32" else "highest")


def freeze_all_but(model: nn.Module, learning: nn.Module) -> None:
    """Let only the parameters of one module learn."""
    model.requires_grad_(False)
    learning.requires_grad_(True)


def _lengths(data: Encoded) -> IntArray:
    return np.asarray([len(row) for row in data.ids], dtype=np.int64)


@dataclass(frozen=True)
class Loop:
    """How one training runs."""

    epoch: Callable[[], Iterable[Any]]  # its batches
    backward: Callable[[Any], None]
    generators: Sequence[np.random.Generator] = ()  # of dropout; none: torch's global ones


@contextmanager
def _in_halves(
    model: nn.Module,
    data: Encoded,
    sampler: LengthSampler,
    padder: Padder,
    compute: Compute,
    seed: int,
) -> Iterator[Loop]:
    """On CPU: each batch in two halves, side by side."""

    def loss(part: nn.Module, rows: Sequence[int]) -> Tensor:
        with _autocast(compute):
            value: Tensor = part(**padder([data[row] for row in rows]))["loss"]
        return value

    keep_freed_memory()
    # a batch of a fixed length is a pooled probe's, which keeps little: it is not split
    lengths = sampler.lengths if padder.pad_to is None else np.ones_like(sampler.lengths)
    with two_threads() as pool:
        halved = HalvedModel(model, loss, lengths, pool, seed)
        try:
            noise = [half.generator for half in halved.noise]
            yield Loop(lambda: sampler, halved.backward, noise)
        finally:
            halved.end()


@contextmanager
def _accelerated(
    model: nn.Module,
    data: Encoded,
    sampler: LengthSampler,
    padder: Padder,
    compute: Compute,
    seed: int,
) -> Iterator[Loop]:
    """On other devices: whole batches, as accelerate runs them.

    Of several processes each computes its rows of every batch. accelerate's own sharing would drop
    batches that are short, and here the rest of a group of similar length is one, in mid-epoch.
    """
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state()  # it would keep the first job's precision
    _set_matrix_precision(compute)
    if compute.device.startswith("cuda:"):
        torch.cuda.set_device(compute.device)
    accelerator = Accelerator(
        cpu=compute.device == "cpu",
        mixed_precision="bf16" if compute.precision == "bf16" else "no",
    )
    prepared = accelerator.prepare(model)

    def epoch() -> Iterator[tuple[dict[str, Tensor], float]]:
        for batch in sampler:
            rows, weight = compute.group.share(batch)
            yield _on_device(padder([data[row] for row in rows]), compute.device), weight

    def backward(batch: tuple[dict[str, Tensor], float]) -> None:
        inputs, weight = batch
        accelerator.backward(prepared(**inputs)["loss"] * weight)

    try:
        yield Loop(epoch, backward)
    finally:
        accelerator.unwrap_model(prepared, keep_fp32_wrapper=False)


def _autocast(compute: Compute) -> torch.autocast:
    """The arithmetic of a forward pass; the two threads must not share its cache of weights."""
    return torch.autocast(
        compute.device.split(":")[0],
        dtype=torch.bfloat16,
        enabled=compute.precision == "bf16",
        cache_enabled=not compute.in_halves,
    )
