"""A checkpoint of transformers: where it lies, what names it, and how it is loaded."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from btu.errors import ModelError
from btu.models.hub import prepare_hub
from btu.store.files import checksum

PACKAGE = "package:"
WEIGHTS = ("model.safetensors", "model.safetensors.index.json")


@dataclass(frozen=True)
class Checkpoint:
    """A model with its tokenizer; safetensors only, and no code from the checkpoint is run.

    `pretrained` is a hub name, a folder, or `package:NAME/FOLDER` inside an installed package.
    """

    what: str  # begins the sentences of errors: `model minilm`, `attack.rewriter`
    pretrained: str
    revision: str | None  # hub only
    sha256: str | None  # of model.safetensors, where it must be one known file
    example: str = "bert-base-uncased"  # for errors: a hub name
    otherwise: str = ""  # for errors: what else to type without a network
    install: str = "Install it with pip."  # for errors: how to get a missing package
    setting: str = ""  # for errors: what names it in the config, where not GROUP.pretrained

    @property
    def group(self) -> str:
        """Where its settings stand in the config."""
        return self.what.split()[0]

    @property
    def named_by(self) -> str:
        """The setting that names it."""
        return self.setting or f"{self.group}.pretrained"

    def check(self) -> None:
        """Raise if a local checkpoint is missing, is not safetensors or has another checksum."""
        folder = self.folder()
        if folder is None:
            return
        if not folder.is_dir():
            raise ModelError(
                f"{self.named_by}: there is no folder {folder}. Give a folder that "
                f"save_pretrained wrote, or a hub name such as {self.example}."
            )
        if not any((folder / name).is_file() for name in WEIGHTS):
            names = sorted(p.name for p in folder.iterdir() if p.is_file())
            others = ", ".join(names[:8]) or "nothing"
            raise ModelError(
                f"{self.named_by}: {folder} has no model.safetensors (found: {others}), "
                "and other weight formats can run code when they are read. Save it again with "
                "model.save_pretrained(folder)."
            )
        if self.sha256 and (found := checksum(folder / WEIGHTS[0])) != self.sha256:
            raise ModelError(
                f"{self.what}: {folder / WEIGHTS[0]} has the sha256 {found[:12]}, expected "
                f"{self.sha256[:12]}. Install the package again; it has been changed."
            )

    def folder(self) -> Path | None:
        """The local folder of the checkpoint; None for a hub name."""
        if self.pretrained.startswith(PACKAGE):
            return self._package_folder(self.pretrained.removeprefix(PACKAGE))
        path = Path(self.pretrained).expanduser()
        looks_local = self.pretrained.startswith(("/", "./", "../", "~"))
        return path if looks_local or path.is_dir() else None

    def identity(self) -> str:
        """Checksum of local weights, or the hub's commit: equal exactly when the weights are.

        Raises:
            ModelError: the hub cannot be reached, or there is no such checkpoint.
        """
        folder = self.folder()
        if folder is None:
            return f"{self.pretrained}@{self.config()._commit_hash}"
        files = sorted(p for p in folder.iterdir() if p.suffix in (".safetensors", ".json"))
        return hashlib.sha256("".join(map(checksum, files)).encode()).hexdigest()

    def config(self) -> Any:
        """What transformers knows of the model without its weights.

        Raises:
            ModelError: the hub cannot be reached, or there is no such checkpoint.
        """
        prepare_hub()
        from transformers import AutoConfig

        with self.one_sentence():
            return AutoConfig.from_pretrained(self._place(), revision=self.revision)

    def load(self, auto_class: str, **options: Any) -> tuple[Any, Any]:
        """The model, as a class of transformers such as AutoModelForCausalLM, and its tokenizer.

        Args:
            auto_class: name of the class.
            options: for its `from_pretrained`.

        Raises:
            ModelError: the hub cannot be reached, or there is no such checkpoint.
        """
        prepare_hub()
        import transformers

        transformers.utils.logging.set_verbosity_error()
        transformers.utils.logging.disable_progress_bar()
        place, loader = self._place(), getattr(transformers, auto_class)
        with self.one_sentence():
            # With revision="main" transformers would ask a server to convert other formats
            # to safetensors and to publish the result; with None it does not.
            model = loader.from_pretrained(
                place, revision=self.revision, use_safetensors=True, **options
            )
            return model, transformers.AutoTokenizer.from_pretrained(place, revision=self.revision)

    @contextmanager
    def one_sentence(self) -> Iterator[None]:
        """Turn what the hub and transformers raise into a sentence with the way out."""
        try:
            yield
        except (OSError, ValueError, RuntimeError) as error:
            revision = f"a revision that has them, such as {self.group}.revision=refs/pr/1, or "
            other = "" if self.setting else revision
            if "use_safetensors=True" in str(error):  # which transformers would have us drop
                raise ModelError(
                    f"{self.what}: {self.pretrained} has no safetensors weights, and other formats "
                    f"can run code when they are read. Name {other}a folder that save_pretrained "
                    "wrote."
                ) from error
            reason = str(error).strip().split("\n")[0][:200].rstrip(".")
            raise ModelError(
                f"{self.what}: {self.pretrained} cannot be loaded ({reason}). "
                f"Without a network use a folder with {self.named_by}=PATH{self.otherwise}."
            ) from error

    def _place(self) -> str:
        return str(self.folder() or self.pretrained)

    def _package_folder(self, place: str) -> Path:
        package, _, inner = place.partition("/")
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise ModelError(
                f"{self.named_by}: the package {package} is not installed. {self.install}"
            )
        return Path(next(iter(spec.submodule_search_locations))) / inner
