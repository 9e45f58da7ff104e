"""Study and remove textual backdoors in text classifiers."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from btu.api import run

__version__ = "0.1.0"
__all__ = ["__version__", "run"]


def __getattr__(name: str) -> Any:
    """Load `run` where it is first used: `import btu` alone loads no other package."""
    if name == "run":
        from btu.api import run

        return run
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
