"""Recurrent and convolutional forecasters for Darts."""

from importlib import import_module
from importlib.metadata import version
from typing import Any, NoReturn

from seq_plugins._requirements import check_darts
from seq_plugins.models import MODEL_MODULES

__version__ = version("seq-plugins")

_SUBPACKAGES = ("datasets", "layers", "models", "text", "windows")

_ERROR_MODULES = {"DivergenceError": "seq_plugins.lightning.divergence"}

__all__ = sorted([*MODEL_MODULES, *_ERROR_MODULES, *_SUBPACKAGES])


def _stand_in(*args: Any, **kwargs: Any) -> NoReturn:
    """Stand for a class that Darts may load by its path without our having imported it."""
    raise TypeError("This class is loaded from its module, not made from a checkpoint.")


def _register_models_for_loading() -> None:
    """Let Darts load saved models of our classes: it refuses those that it does not know."""
    import numpy.typing  # noqa: F401 Darts 0.48.1 reads `np.typing`, which NumPy 1 does not import by itself
    from darts.utils.serialization import add_safe_globals

    add_safe_globals([(_stand_in, f"{module}.{name}") for name, module in MODEL_MODULES.items()])


check_darts()
_register_models_for_loading()


def __getattr__(name: str) -> Any:
    modules = MODEL_MODULES | _ERROR_MODULES
    if name in modules:
        return getattr(import_module(modules[name]), name)
    if name in _SUBPACKAGES:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
