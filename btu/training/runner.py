"""Stages at work: each is computed once, goes on after a kill, and says what it took."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from btu.errors import ConfigError
from btu.store.cache import StageCache
from btu.store.stages import Stage
from btu.training.resume import EpochCheckpoint

T = TypeVar("T")
log = logging.getLogger("btu.lab")


class StageRunner:
    """Gives what stages give, from the cache or computed.

    Args:
        cache: finished stages.
        save_every_s: how often a training of several epochs keeps one, in seconds; None: never.
    """

    def __init__(self, cache: StageCache, save_every_s: float | None = None) -> None:
        self.cache, self.save_every_s = cache, save_every_s
        self._checkpoint: EpochCheckpoint | None = None  # of the stage that is being computed
        self._inner_seconds = 0.0  # of entries made within the one that is computed
        self._seen: set[str] = set()  # keys that the log has named
        self._used: dict[str, Stage[Any]] = {}  # by title

    def describe_work(self) -> dict[str, Any]:
        """What the manifest of each entry says, for people who look at the cache and for plans."""
        return {}

    def get(self, stage: Stage[T], or_else: Callable[[], T] | None = None) -> T:
        """What a stage gives: from the cache, or computed now.

        Args:
            stage: of a lab, or one that a defense made.
            or_else: for a plan, which computes nothing: a stand-in of the right kind.
        """
        if not isinstance(stage, Stage):
            raise ConfigError(
                f"expected a stage, such as lab.stage(...) gives, but got a {type(stage).__name__}."
            )
        if stage.format is None:
            return stage.compute()
        form, start, num_made = stage.format, time.perf_counter(), len(self.cache.made)
        about = {
            **self.describe_work(),
            "title": stage.title or stage.name,
            "costs": describe_costs(stage),
        }

        def write(folder: Path) -> None:
            with self._keeping_epochs(stage, about, folder), self._timing(about):
                form.write(stage.compute(), folder)

        value, _ = self.cache.get(stage.name, stage.named_parts, write, form.read, about)
        self._used[stage.title or stage.name] = stage
        if stage.key not in self._seen and stage.name != "evaluation":  # a record says more
            made = len(self.cache.made) > num_made
            how = f"{time.perf_counter() - start:.1f} s" if made else "from the cache"
            log.info("%-26s %s  key %s", stage.title or stage.name, how, stage.key)
        self._seen.add(stage.key)
        return value

    @contextmanager
    def collecting_stages(self) -> Iterator[dict[str, Stage[Any]]]:
        """Collect the stages that are used inside the block, by title."""
        outer, self._used = self._used, {}
        try:
            yield self._used
        finally:
            self._used = outer

    @contextmanager
    def _timing(self, about: dict[str, Any]) -> Iterator[None]:
        """Note how long the block takes without the entries that are made inside it."""
        outer, self._inner_seconds = self._inner_seconds, 0.0
        start = time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - start
            about["own_seconds"] = round(seconds - self._inner_seconds, 3)
            self._inner_seconds = outer + seconds

    @contextmanager
    def _keeping_epochs(
        self, stage: Stage[Any], about: dict[str, Any], claim: Path
    ) -> Iterator[None]:
        """Inside the block a training goes on after the last epoch that was kept of this stage."""
        outer, self._checkpoint = self._checkpoint, None
        if self.save_every_s is not None:
            manifest = {"key": stage.key, "parts": stage.named_parts, "about": about}
            folder = self.cache.unfinished(stage.name, stage.key)
            self._checkpoint = EpochCheckpoint(folder, manifest, self.save_every_s, claim.exists)
        try:
            yield
        finally:
            self._checkpoint = outer


def describe_costs(stage: Stage[Any]) -> list[dict[str, Any]]:
    """What making an entry takes: its own work, and that of models that are made for it alone."""
    together = [each for each in stage.lineage() if each.format is None or each is stage]
    return [
        {"kind": each.name, "rows": each.cost.rows, "how": each.cost.how}
        for each in together
        if each.cost is not None
    ]
