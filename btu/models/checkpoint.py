"""A checkpoint of transformers: where it lies, what names it, and how it is loaded."""

from __future__ import annotations

import hashlib
import importlib.util
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from btu.errors import BtuError, ModelError
from btu.models.hub import prepare_hub
from btu.models.weights import INDEX, WEIGHTS, check_finite, check_fit, check_index
from btu.store.files import checksum

PACKAGE = "package:"
# What loading a folder reads is all but these: notes, weights in other formats, what trainers keep.
NOT_READ = (".md", ".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".onnx", ".gguf", ".py")
TOKENIZERS = (".model", ".txt", ".codes", ".bpe")  # ends of files that have a vocabulary
WRONG_KIND = re.compile(r"configuration class <class '.*\.(\w+)'> for this kind of \w+: (\w+)")
SAVE_AGAIN = "model.save_pretrained(folder) and tokenizer.save_pretrained(folder)"


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
        """Raise if a local checkpoint is not whole, not safetensors or has another checksum."""
        folder = self.folder()
        if folder is None:
            return
        if not folder.is_dir():
            raise ModelError(
                f"{self.named_by}: there is no folder {folder}. Give a folder that "
                f"save_pretrained wrote, or a hub name such as {self.example}."
            )
        names = sorted(p.name for p in folder.iterdir() if p.is_file())
        others = ", ".join(names[:8]) or "nothing"
        if not {WEIGHTS, INDEX} & set(names):
            raise ModelError(
                f"{self.named_by}: {folder} has no model.safetensors (found: {others}), "
                "and other weight formats can run code when they are read. Save it again with "
                f"{SAVE_AGAIN}."
            )
        if not any(n.startswith(("tokenizer.", "vocab")) or n.endswith(TOKENIZERS) for n in names):
            raise ModelError(
                f"{self.named_by}: {folder} has no tokenizer (found: {others}). Save the model's "
                "own into it with tokenizer.save_pretrained(folder)."
            )
        if INDEX in names:
            check_index(folder / INDEX, self.named_by)
        if self.sha256 and (found := checksum(folder / WEIGHTS)) != self.sha256:
            raise ModelError(
                f"{self.what}: {folder / WEIGHTS} has the sha256 {found[:12]}, expected "
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
        """Checksum of all local files that loading reads, or the hub's commit.

        Raises:
            ModelError: the hub cannot be reached, or there is no such checkpoint.
        """
        folder = self.folder()
        if folder is None:
            return f"{self.pretrained}@{self.config()._commit_hash}"
        return checksum_of(folder, folder.iterdir())

    def config(self) -> Any:
        """What transformers knows of the model without its weights.

        Raises:
            ModelError: the hub cannot be reached, or there is no such checkpoint.
        """
        prepare_hub()
        from transformers import AutoConfig

        with self.one_sentence():
            return AutoConfig.from_pretrained(self._place(), **self._options)

    def load(self, auto_class: str, new_head: bool = False, **settings: Any) -> tuple[Any, Any]:
        """The model, as a class of transformers such as AutoModelForCausalLM, and its tokenizer.

        Args:
            auto_class: name of the class.
            new_head: whether weights may be missing that do not belong to the base model.
            settings: that take the place of those in its `config.json`.

        Raises:
            ModelError: the hub cannot be reached, there is no such checkpoint, its weights are not
                those of the model or no numbers, or it has no tokenizer.
        """
        prepare_hub()
        import transformers

        transformers.utils.logging.set_verbosity_error()
        transformers.utils.logging.disable_progress_bar()
        place, loader = self._place(), getattr(transformers, auto_class)
        with self.one_sentence():
            self._check_index()
            model, info = loader.from_pretrained(
                place,
                use_safetensors=True,
                ignore_mismatched_sizes=True,  # check_fit says which may be
                output_loading_info=True,
                **self._options,
                **settings,
            )
            tokenizer = transformers.AutoTokenizer.from_pretrained(place, **self._options)
        check_fit(model, info, f"{self.what}: {self.pretrained}", new_head)
        check_finite(model, f"{self.what}: {self.pretrained}")
        if set(tokenizer.get_vocab().values()) <= set(tokenizer.all_special_ids):
            raise ModelError(
                f"{self.what}: {self.pretrained} has no tokenizer that knows a word. Save the "
                "model's own into the folder with tokenizer.save_pretrained(folder)."
            )
        return model, tokenizer

    @property
    def _options(self) -> dict[str, Any]:
        """For every `from_pretrained`: what is named, and no code from beside it.

        With revision="main" transformers would ask a server to convert other formats to
        safetensors and to publish the result; with None it does not.
        """
        return {"revision": self.revision, "trust_remote_code": False}

    def _check_index(self) -> None:
        """The check of a hub's index; `check` has looked at a folder's."""
        from transformers.utils.hub import cached_file

        if self.folder() is None:
            missing_is_none = {"_raise_exceptions_for_missing_entries": False}
            options = {"revision": self.revision, **missing_is_none}
            if found := cached_file(self.pretrained, INDEX, **options):
                check_index(Path(found), self.what, are_there=False)

    @contextmanager
    def one_sentence(self) -> Iterator[None]:
        """Turn whatever reading others' files raises into a sentence with the way out."""
        try:
            yield
        except BtuError:
            raise
        except Exception as error:
            if "use_safetensors=True" in str(error):  # which transformers would have us drop
                revision = f"a revision that has them, such as {self.group}.revision=refs/pr/1, or "
                raise ModelError(
                    f"{self.what}: {self.pretrained} has no safetensors weights, and other formats "
                    f"can run code when they are read. Name {'' if self.setting else revision}a "
                    "folder that save_pretrained wrote."
                ) from error
            reason = str(error).strip().split("\n")[0][:200].rstrip(".")
            if "trust_remote_code" in reason:  # which transformers would have us set
                reason = "it needs code of its own, which is not run"
            if wrong_kind := WRONG_KIND.search(str(error)):
                reason = "transformers makes no {1} of a {0}".format(*wrong_kind.groups())
            way_out = f"Without a network use a folder with {self.named_by}=PATH{self.otherwise}."
            if self.folder() is not None:
                way_out = f"Save it again with {SAVE_AGAIN}."
            raise ModelError(
                f"{self.what}: {self.pretrained} cannot be loaded ({reason}). {way_out}"
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


def checksum_of(folder: Path, inside: Iterable[Path]) -> str:
    """What names files of a checkpoint, but for those that loading does not read."""
    files = sorted(p for p in inside if p.is_file() and p.suffix.lower() not in NOT_READ)
    named = [(p.relative_to(folder), p) for p in files]
    read = [(name, p) for name, p in named if not any(n.startswith(".") for n in name.parts)]
    lines = [f"{name.as_posix()} {checksum(p)}" for name, p in read]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
