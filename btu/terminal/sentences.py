"""What Hydra, OmegaConf and the system say of a mistake, as one sentence that names the key."""

from __future__ import annotations

import errno
import os
import re
import traceback
from typing import Any

from hydra._internal import defaults_list
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from btu.errors import BtuError, did_you_mean, shorten
from btu.terminal.overrides import explain_override

PLUGINS = {  # Hydra's name of what an extra of pyproject.toml brings
    "hydra/sweeper/optuna": "search",
    "hydra/launcher/joblib": "workstation",
    "hydra/launcher/submitit": "slurm",
}
MAX_REASON, MAX_SENTENCE = 300, 1500  # characters; a value may have any number of them
LONG_NUMBER = "Exceeds the limit"  # Python's words for one of more than 4,300 digits


def in_one_sentence(error: BaseException) -> str:
    """What to print of an error that the user can mend; none is longer than `MAX_SENTENCE`."""
    return shorten(_sentence_of(error), MAX_SENTENCE)


def is_of_composing(error: BaseException) -> bool:
    """Whether composing a config raises it of something that was typed, by Hydra or OmegaConf."""
    if isinstance(error, (HydraException, OmegaConfBaseException)):
        return True
    said = str(error)
    return _is_of_choosing(error) or said.startswith(LONG_NUMBER) or "\n    full_key: " in said


def explain(error: OmegaConfBaseException, group: str = "") -> str:
    """An OmegaConf error as one sentence that names the key from the root of the config."""
    reason = shorten((error.msg or str(error)).split("\n")[0], MAX_REASON)
    key = _root_key(error.full_key or str(error.key or ""), group)
    if isinstance(error, MissingMandatoryValue):
        return f"{key} has no value. Write {key}=..."
    if re.search(r"is not in struct|not in '", reason):
        parent = error.parent_node
        known = [str(name) for name in parent] if isinstance(parent, DictConfig) else []
        owner = key.rpartition(".")[0] or "the run"
        at = "" if owner == "the run" else f"{owner}."
        deeper = _deeper_keys(parent, str(error.key), at)
        near = f"did you mean {' or '.join(deeper)}?" if deeper else None
        near = near or did_you_mean(str(error.key), [name for name in known if name != "_target_"])
        return f"{key}: {owner} has no such field; {near}"
    if "is not a ListConfig" in reason:
        return f"{key}: expected a list. Write {key}=[...], with brackets."
    return f"{key}: {reason.rstrip('.')}." if key else f"{reason.rstrip('.')}."


def _is_of_choosing(error: BaseException) -> bool:
    """Whether Hydra stumbled over the option of a group, such as null, [true] or a NUL."""
    frames = (frame for frame, _ in traceback.walk_tb(error.__traceback__))
    inside = any(frame.f_globals["__name__"] == defaults_list.__name__ for frame in frames)
    return inside and isinstance(error, (TypeError, ValueError))


def _sentence_of(error: BaseException) -> str:
    if isinstance(error, OmegaConfBaseException):
        return explain(error)
    cause = error.__cause__
    told = isinstance(error, BtuError)
    if not told and isinstance(cause, OmegaConfBaseException) and cause.parent_node is not None:
        return explain(cause)
    if isinstance(error, HydraException) and (unreadable := explain_override(error)):
        return unreadable
    if isinstance(error, OSError) and error.errno is not None:
        where = f" ({error.filename})" if error.filename else ""
        advice = ""
        if error.errno in (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT, errno.ENOTDIR):
            advice = " Make room or write outputs=PATH for a folder that can be written."
        return f"{os.strerror(error.errno)}{where}.{advice}"
    if _is_of_choosing(error):
        return (
            "an option of a group is chosen by its name, and something else was typed. Write for "
            "example attack=badnets; for none attack=none."
        )
    if str(error).startswith(LONG_NUMBER):
        return "a number that was typed has more than 4,300 digits."
    if isinstance(error, OverflowError) and (key := re.search(r"full_key: (\S+)", str(error))):
        return f"{key[1]}: the number is too large."
    sentence = " ".join(str(error).split("Config search path:")[0].split())
    if "is not a ListConfig" in sentence and (key := re.search(r"full_key: (\S+)", sentence)):
        return f"{key[1]}: expected a list. Write {key[1]}: [...], with brackets."
    if "Key 'experiment' not in 'Config'" in sentence:
        return f"{sentence.split(':')[0]}: its first line must be # @package _global_"
    missing = next((extra for name, extra in PLUGINS.items() if f"'{name}" in sentence), None)
    if isinstance(error, MissingConfigException) and missing:
        return f'{sentence} Install the plugin: pip install -e ".[{missing}]"'
    if isinstance(error, MissingConfigException):
        found = re.sub(r"(Could not find '[^']*') ", r"\1. ", sentence)
        return f"{found}. A file of your own needs --config-dir FOLDER, before all other words."
    return sentence


def _deeper_keys(node: Any, name: str, at: str = "") -> list[str]:
    """Where in a config a key of this name stands: `epochs` is `model.training.epochs`."""
    if not isinstance(node, DictConfig):
        return []
    paths = {str(key): f"{at}{key!s}" for key in node}
    here = [paths[name]] if at and name in paths else []
    children = ((node._get_node(key), f"{path}.") for key, path in paths.items())
    return here + [found for child, path in children for found in _deeper_keys(child, name, path)]


def _root_key(key: str, group: str) -> str:
    return f"{group}.{key}" if group and not key.startswith(f"{group}.") else key
