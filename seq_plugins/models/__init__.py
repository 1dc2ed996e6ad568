"""The forecasting models, and the base classes for models of your own.

Each name is listed, with its module, in the stub ``__init__.pyi`` beside this file.
"""

import ast
from pathlib import Path

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

_MODULES_OF_THE_BASE = {"arguments", "base", "module"}


def _read_model_modules() -> dict[str, str]:
    stub = ast.parse(Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
    return {
        imported.name: f"{__name__}.{statement.module}"
        for statement in stub.body
        if isinstance(statement, ast.ImportFrom) and statement.module not in _MODULES_OF_THE_BASE
        for imported in statement.names
    }


MODEL_MODULES = _read_model_modules()
"""Module of each forecaster, by name."""
