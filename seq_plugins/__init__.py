"""Recurrent and convolutional forecasters for Darts."""

from importlib import import_module
from importlib.metadata import version
from typing import Any, NoReturn

from darts.utils.serialization import add_safe_globals

from seq_plugins.models import MODEL_MODULES

__version__ = version("seq-plugins")

_SUBPACKAGES = ("datasets", "layers", "models", "text", "windows")

__all__ = sorted([*MODEL_MODULES, *_SUBPACKAGES])


def _stand_in(*args: Any, **kwargs: Any) -> NoReturn:
    """Stand for a class that Darts may load by its path without our having imported it."""
    raise TypeError("This class is loaded from its module, not made from a checkpoint.")


# Darts refuses to load saved models of classes that it does not know; these are ours, and no others
add_safe_globals([(_stand_in, f"{module}.{name}") for name, module in MODEL_MODULES.items()])


def __getattr__(name: str) -> Any:
    if name in MODEL_MODULES:
        return getattr(import_module(MODEL_MODULES[name]), name)
    if name in _SUBPACKAGES:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
