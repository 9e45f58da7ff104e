"""Any sequence classifier of transformers, by hub name, folder or installed package."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from btu.errors import ModelError
from btu.files import checksum
from btu.hub import prepare_hub
from btu.models.base import Classifier, ModelSource, check_classifier
from btu.seeding import stream_seed, torch_stream

PACKAGE = "package:"
WEIGHTS = ("model.safetensors", "model.safetensors.index.json")


@dataclass(frozen=True)
class Pretrained(ModelSource):
    """A checkpoint with its tokenizer; safetensors only, and no code from the checkpoint is run.

    `pretrained` is a hub name, a folder, or `package:NAME/FOLDER` inside an installed package.
    """

    pretrained: str
    revision: str | None  # hub only: a commit makes a run repeatable for good
    sha256: str | None  # of model.safetensors, where it must be one known file

    def check(self) -> None:
        """Raise if a local checkpoint is missing, is not safetensors or has another checksum."""
        folder = self.folder()
        if folder is None:
            return
        if not folder.is_dir():
            raise ModelError(
                f"model.pretrained: there is no folder {folder}. Give a folder that "
                "save_pretrained wrote, or a hub name such as bert-base-uncased."
            )
        if not any((folder / name).is_file() for name in WEIGHTS):
            names = sorted(p.name for p in folder.iterdir() if p.is_file())
            others = ", ".join(names[:8]) or "nothing"
            raise ModelError(
                f"model.pretrained: {folder} holds no model.safetensors (found: {others}), and "
                "other weight formats can run code when they are read. Save it again with "
                "model.save_pretrained(folder)."
            )
        if self.sha256 and (found := checksum(folder / WEIGHTS[0])) != self.sha256:
            raise ModelError(
                f"model {self.name}: {folder / WEIGHTS[0]} has the sha256 {found[:12]}, expected "
                f"{self.sha256[:12]}. Install the package again, it has been changed."
            )

    def folder(self) -> Path | None:
        """The local folder of the checkpoint; None for a hub name."""
        if self.pretrained.startswith(PACKAGE):
            return _package_folder(self.pretrained.removeprefix(PACKAGE))
        path = Path(self.pretrained).expanduser()
        looks_local = self.pretrained.startswith(("/", "./", "../", "~"))
        return path if looks_local or path.is_dir() else None

    def identity(self, texts: Sequence[str]) -> str:
        """Checksum of local weights, or the hub's commit."""
        folder = self.folder()
        if folder is not None:
            files = sorted(p for p in folder.iterdir() if p.suffix in (".safetensors", ".json"))
            return hashlib.sha256("".join(map(checksum, files)).encode()).hexdigest()
        prepare_hub()
        from transformers import AutoConfig

        with self._one_sentence():
            config = AutoConfig.from_pretrained(self.pretrained, revision=self.revision)
        return f"{self.pretrained}@{config._commit_hash}"

    def load(self, num_labels: int, texts: Sequence[str], seed: int) -> Classifier:
        """Load the checkpoint with a head for this data set.

        Raises:
            ModelError: the hub cannot be reached, or there is no such checkpoint.
        """
        prepare_hub()
        import transformers
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        transformers.utils.logging.set_verbosity_error()
        transformers.utils.logging.disable_progress_bar()
        place = str(self.folder() or self.pretrained)
        with self._one_sentence(), torch_stream(stream_seed(seed, "head")):
            model = AutoModelForSequenceClassification.from_pretrained(
                place,
                revision=self.revision,
                num_labels=num_labels,
                use_safetensors=True,
                ignore_mismatched_sizes=True,  # a head for other classes is drawn anew
            )
            tokenizer = AutoTokenizer.from_pretrained(place, revision=self.revision)
        return check_classifier(Classifier(model.float(), tokenizer), self.max_length, self.name)

    @contextmanager
    def _one_sentence(self) -> Iterator[None]:
        """Turn what the hub and transformers raise into a sentence with the way out."""
        try:
            yield
        except (OSError, ValueError, RuntimeError) as error:
            reason = str(error).strip().split("\n")[0][:200].rstrip(".")
            raise ModelError(
                f"model {self.name}: {self.pretrained} cannot be loaded ({reason}). "
                "Without a network use a folder with model.pretrained=PATH, or model=minilm."
            ) from error


def _package_folder(place: str) -> Path:
    package, _, inner = place.partition("/")
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModelError(
            f"model.pretrained: the package {package} is not installed. "
            'Install it from the checkout with: pip install -e ".[offline]"'
        )
    return Path(next(iter(spec.submodule_search_locations))) / inner
