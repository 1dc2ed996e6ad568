"""Word vectors and a sentiment classifier. Each name is listed, with its module, in the stub ``__init__.pyi``."""

from importlib import import_module
from typing import Any

from seq_plugins._lazy import stub_modules

_MODULES = stub_modules(__name__, __file__)
_PACKAGES = ("gensim", "nltk", "safetensors", "sklearn")  # those of the extra

__all__ = sorted(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(_MODULES[name]), name)
    except ModuleNotFoundError as error:
        package = (error.name or "").split(".")[0]
        if package not in _PACKAGES:
            raise
        raise ImportError(
            f"{name} needs the package {package}, which is not installed: pip install 'seq-plugins[text]'."
        ) from error


def __dir__() -> list[str]:
    return __all__
