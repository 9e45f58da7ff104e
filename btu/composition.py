"""From overrides to a config, and from Hydra's errors to one sentence: what every entry shares."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hydra import compose, version
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobRuntime
from hydra.errors import MissingConfigException
from hydra.version import VersionBase
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from btu.config import Config, explain
from btu.errors import BtuError, ConfigError

HERE = Path(__file__).resolve().parent
CONF = HERE / "conf" if (HERE / "conf").is_dir() else HERE.parent / "conf"  # wheel, or checkout
PLUGINS = {  # Hydra's name of what an extra of pyproject.toml brings
    "hydra/sweeper/optuna": "search",
    "hydra/launcher/joblib": "workstation",
    "hydra/launcher/submitit": "slurm",
}
_OWN = (GlobalHydra, HydraConfig, JobRuntime, VersionBase)  # what Hydra keeps of one application

ConfigStore.instance().store(name="btu_schema", node=Config)


@contextmanager
def composed(
    overrides: Sequence[str], config_dir: Path | None = None
) -> Iterator[tuple[DictConfig, Path]]:
    """One job's config and run folder as `btu OVERRIDES` has them, without running Hydra.

    Inside the block `HydraConfig` is that of this job; afterwards all that Hydra keeps is as it
    was, also in a process that is a Hydra application itself.

    Raises:
        ConfigError: there is no folder `config_dir`.
        HydraException, OmegaConfBaseException: what `in_one_sentence` turns into a sentence.
    """
    path = create_config_search_path(str(CONF))
    if config_dir is not None:
        folder = config_dir.expanduser().resolve()
        if not folder.is_dir():
            raise ConfigError(f"config_dir: there is no folder {folder}.")
        schema = SearchPathQuery(provider="schema", path=None)
        path.prepend(provider="command-line", path=f"file://{folder}", anchor=schema)
    kept = {kind: Singleton._instances.pop(kind, None) for kind in _OWN}
    try:
        version.setbase("1.3")
        Hydra.create_main_hydra2("btu", path)
        cfg = compose("config", list(overrides), return_hydra_config=True)
        HydraConfig.instance().set_config(cfg)
        run_dir = Path(cfg.hydra.run.dir)
        with open_dict(cfg):
            del cfg["hydra"]
        OmegaConf.set_struct(cfg, True)
        yield cfg, run_dir
    finally:
        for kind, instance in kept.items():
            Singleton._instances.pop(kind, None)
            if instance is not None:
                Singleton._instances[kind] = instance


def in_one_sentence(error: BaseException) -> str:
    """What to print of an error that the user can mend."""
    if isinstance(error, OmegaConfBaseException):
        return explain(error)
    cause = error.__cause__
    told = isinstance(error, BtuError)
    if not told and isinstance(cause, OmegaConfBaseException) and cause.parent_node is not None:
        return explain(cause)
    if isinstance(error, OSError) and error.errno is not None:
        where = f" ({error.filename})" if error.filename else ""
        advice = ""
        if error.errno in (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT, errno.ENOTDIR):
            advice = " Make room or write outputs=PATH for a folder that can be written."
        return f"{os.strerror(error.errno)}{where}.{advice}"
    sentence = " ".join(str(error).split("Config search path:")[0].split())
    missing = next((extra for name, extra in PLUGINS.items() if f"'{name}" in sentence), None)
    if isinstance(error, MissingConfigException) and missing:
        return f'{sentence} Install the plugin: pip install -e ".[{missing}]"'
    return sentence
