"""The forecasting models. Each name is listed, with its module, in the stub ``__init__.pyi`` beside this file."""

from importlib import import_module
from typing import Any

from seq_plugins._lazy import stub_modules

MODEL_MODULES = stub_modules(__name__, __file__)

__all__ = sorted(MODEL_MODULES)


def __getattr__(name: str) -> Any:
    if name not in MODEL_MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(MODEL_MODULES[name]), name)


def __dir__() -> list[str]:
    return __all__
