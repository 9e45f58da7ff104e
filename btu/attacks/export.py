"""Write a poisoned data set as JSON lines, for other tools and to be read again as `dataset=local`.

A folder holds `train.jsonl`, `tuning.jsonl` (where there is one), `test.jsonl`, `triggered.jsonl`
and `about.json`. Each line has `text` and `label` (its name), whether the row is `poisoned`, its
`original_text` and `original_label`, and `source_row`, its row in the source file from 1; a line of
`triggered.jsonl` also has `test_row`, its row in `test.jsonl` from 1.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import shlex
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from btu.attacks.base import Attack
from btu.data.labels import find_classes, spell
from btu.data.splits import shared_rows
from btu.errors import ConfigError, listed
from btu.store.cache import identify
from btu.store.code import __version__
from btu.store.files import check_writable, checksum, write_json
from btu.terminal.overrides import quoted, written
from btu.types import Dataset, PoisonedDataset, Split

FORMAT = 1
ABOUT = "about.json"
SPARE_BYTES = 10_000_000  # left on the disk beside what is written
log = logging.getLogger(__name__)


def export(data: PoisonedDataset, attack: Attack, seed: int, folder: Path) -> None:
    """Write the splits and `about.json` into a folder, whole or not at all.

    The same poisoned set that was written there before is left as it is.

    Raises:
        ConfigError: nothing is planted, the folder holds something else or cannot be written, or
            the names of the labels could not be read again.
    """
    if data.target_label is None:
        raise ConfigError(
            f"export_poisoned={folder} writes a poisoned set, but attack={attack.name} plants "
            "nothing. Write attack=badnets or another attack, or export_poisoned=null."
        )
    about = _about(data, attack, seed, folder)
    if _is_there(folder, about["identity"]):
        return
    check_writable(folder.parent, _num_bytes(data) + SPARE_BYTES, "export_poisoned")
    half_done = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    try:
        half_done.mkdir()
        about["files"] = _write_splits(data, half_done)
        write_json(half_done / ABOUT, about)
        _put_in_place(half_done, folder, about["identity"])
    finally:
        shutil.rmtree(half_done, ignore_errors=True)
    log.info("poisoned set written to %s", folder)


def _about(data: PoisonedDataset, attack: Attack, seed: int, folder: Path) -> dict[str, Any]:
    """What a reader has to know of the files, and what tells two exports apart."""
    clean = data.clean
    assert data.target_label is not None
    choices: dict[str, Any] = {
        "dataset": clean.name,
        "label_names": list(clean.label_names),
        "attack": attack.settings(),
        "seed": seed,
    }
    parts = (clean.train, data.train, clean.tuning, clean.test, data.triggered)
    names = [part.fingerprint if part else "none" for part in parts]
    identity = {"format": FORMAT, "splits": names, **choices}
    num_shared = _num_shared(data)
    if num_shared:
        log.warning(
            "export: %d rows have a text that another split has, too; to load the set again "
            "removes them, or keeps all of them with dataset.allow_overlap=true where they are "
            "more than one in a hundred",
            num_shared,
        )
    return {
        "format": FORMAT,
        "identity": identify(identity),
        "btu": __version__,
        **choices,
        "target_label": clean.label_names[data.target_label],
        "counts": asdict(data.counts) if data.counts else None,
        "format_shifts": [asdict(shift) for shift in data.format_shifts],
        "rows_shared_by_splits": num_shared,
        "load": _commands(clean, folder, bool(num_shared)),
    }


def _commands(clean: Dataset, folder: Path, overlap: bool) -> dict[str, str]:
    """The command lines that read the files again, from the folder where `btu` was started."""
    names = ",".join(quoted(name) for name in clean.label_names)
    _check_read_again(clean.label_names)
    settings = [f"dataset.label_names=[{names}]"]
    settings += ["dataset.allow_overlap=true"] if overlap else []

    def command(test: str) -> str:
        roles = {"train": "train", "tuning": "tuning", "test": test}
        if clean.tuning is None:
            del roles["tuning"]
        files = [f"dataset.{r}={written(str(folder / f'{n}.jsonl'))}" for r, n in roles.items()]
        return shlex.join(["btu", "attack=none", "dataset=local", *files, *settings])

    return {"clean test set": command("test"), "triggered test set": command("triggered")}


def _check_read_again(names: tuple[str, ...]) -> None:
    """Raise if the names of the labels would not be read again as themselves."""
    classes = find_classes(names, names, 0, "export_poisoned")
    if [classes.numbers[spell(name)] for name in names] != list(range(len(names))):
        raise ConfigError(
            f"export_poisoned: the labels {listed(names)} could not be told apart when they are "
            "read again. Write other words in dataset.label_names=[...]."
        )


def _num_shared(data: PoisonedDataset) -> int:
    """Rows whose text is in a later split, too."""
    train, tuning, test = data.train, data.clean.tuning, data.clean.test
    pairs = ((train, tuning), (train, test), (tuning, test))
    return sum(len(shared_rows(one, other)[0]) for one, other in pairs if one and other)


def _is_there(folder: Path, identity: str) -> bool:
    """Whether the folder holds this very set.

    Raises:
        ConfigError: it holds another one, or other files, or a part of this one was changed.
    """
    if not os.path.lexists(folder):
        return False
    if not folder.is_dir():
        raise ConfigError(f"export_poisoned={folder} is not a folder. Name a folder that is new.")
    names = sorted(path.name for path in folder.iterdir())
    if not names:
        return False
    found = _read_about(folder)
    if found is None:
        raise ConfigError(
            f"export_poisoned={folder} holds other files ({', '.join(names[:5])}), and nothing is "
            "written among them. Name a folder that is new or empty."
        )
    if found["identity"] != identity:
        raise ConfigError(
            f"export_poisoned={folder} holds another poisoned set (data set {found['dataset']}, "
            f"attack {found['attack']['name']}, seed {found['seed']}) and is left as it is. Name "
            "another folder; in a sweep one that holds all that it varies, such as "
            "export_poisoned='sets/${attack.name}-${attack.poison_rate}-${seed}'."
        )
    changed = [name for name, file in found["files"].items() if _is_changed(folder / name, file)]
    if changed:
        raise ConfigError(
            f"export_poisoned={folder} holds this poisoned set, but {', '.join(changed)} is missing"
            " or was changed. Remove the folder to have it written again, or name another."
        )
    return True


def _read_about(folder: Path) -> dict[str, Any] | None:
    """What `about.json` holds; None where none of ours is there."""
    try:
        found = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        known = (found["identity"], found["dataset"], found["attack"]["name"], found["seed"])
        return dict(found) if known and isinstance(found["files"], dict) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _is_changed(path: Path, file: Mapping[str, Any]) -> bool:
    return not path.is_file() or checksum(path) != file["sha256"]


def _num_bytes(data: PoisonedDataset) -> int:
    """About as much as the files take: each text twice, with its further columns."""
    splits = (data.train, data.clean.tuning, data.clean.test, data.triggered)
    return sum(2 * len(text.encode()) + 150 for split in splits if split for text in split.texts)


def _write_splits(data: PoisonedDataset, folder: Path) -> dict[str, dict[str, Any]]:
    """Write one file per split; gives each file's rows and checksum."""
    files = {}
    for name, lines in _all_lines(data).items():
        path, num_rows = folder / f"{name}.jsonl", 0
        with path.open("w", encoding="utf-8", newline="\n") as file:
            for line in lines:
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
                num_rows += 1
        files[path.name] = {"rows": num_rows, "sha256": checksum(path)}
    return files


def _all_lines(data: PoisonedDataset) -> dict[str, Iterator[dict[str, Any]]]:
    clean, names = data.clean, data.clean.label_names
    assert data.triggered is not None
    lines = {"train": _lines(data.train, clean.train, names)}
    if clean.tuning is not None:
        lines["tuning"] = _lines(clean.tuning, clean.tuning, names)
    lines["test"] = _lines(clean.test, clean.test, names)
    rows = data.triggered_rows
    twins = zip(_lines(data.triggered, clean.test.take(rows), names), rows.tolist(), strict=True)
    lines["triggered"] = ({**line, "test_row": row + 1} for line, row in twins)
    return lines


def _lines(split: Split, original: Split, names: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    for row, text in enumerate(split.texts):
        yield {
            "text": text,
            "label": names[split.labels[row]],
            "poisoned": bool(split.poisoned[row]),
            "original_text": original.texts[row],
            "original_label": names[original.labels[row]],
            "source_row": int(split.source[row]) + 1,
        }


def _put_in_place(half_done: Path, folder: Path, identity: str) -> None:
    """Rename the written folder; another job may have put the same set there first."""
    try:
        half_done.rename(folder.resolve())
    except OSError:
        if not _is_there(folder, identity):
            raise
