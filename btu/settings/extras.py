"""Packages that only some settings need."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping

from btu.errors import ConfigError


def need_packages(what: str, packages: Mapping[str, str], extra: str) -> None:
    """Raise a ConfigError unless all packages are installed.

    Args:
        what: needs them: a setting, or a defense by its name.
        packages: of each module that is imported the name by which it is installed.
        extra: of btu, that installs them.
    """
    missing = [name for module, name in packages.items() if not importlib.util.find_spec(module)]
    if missing:
        raise ConfigError(
            f"{what} needs {' and '.join(missing)}, which this Python does not "
            f'have. Install it from the checkout with: pip install -e ".[{extra}]"'
        )
