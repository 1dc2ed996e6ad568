"""Word vectors and a sentiment classifier. Each name is listed, with its module, in the stub ``__init__.pyi``."""

from typing import Any

import lazy_loader

_get, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

_PACKAGES = ("gensim", "nltk", "safetensors", "sklearn")  # those of the extra


def __getattr__(name: str) -> Any:
    try:
        return _get(name)
    except ModuleNotFoundError as error:
        package = (error.name or "").split(".")[0]
        if package not in _PACKAGES:
            raise
        raise ImportError(
            f"{name} needs the package {package}, which is not installed: pip install 'seq-plugins[text]'."
        ) from error
