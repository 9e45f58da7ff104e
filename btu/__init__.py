"""Study and remove textual backdoors in text classifiers."""

import importlib
from typing import Any

__all__ = ["__version__", "audit", "run"]
_PLACES = {"run": "btu.api", "audit": "btu.auditing.audited", "__version__": "btu.store.code"}


def __getattr__(name: str) -> Any:
    """Load a name where it is first used: `import btu` alone loads no other package."""
    if name in _PLACES:
        return getattr(importlib.import_module(_PLACES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
