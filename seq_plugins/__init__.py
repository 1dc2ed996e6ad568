"""Recurrent and convolutional forecasters for Darts."""

from importlib.metadata import version
from typing import Any, NoReturn

import lazy_loader

from seq_plugins._requirements import check_darts
from seq_plugins.models import MODEL_MODULES

__version__ = version("seq-plugins")

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["datasets", "layers", "models", "text", "windows"],
    submod_attrs={"models": [*MODEL_MODULES], "lightning.divergence": ["DivergenceError"]},
)


def _stand_in(*args: Any, **kwargs: Any) -> NoReturn:
    """Stand for a class that Darts may load by its path without our having imported it."""
    raise TypeError("This class is loaded from its module, not made from a checkpoint.")


def _register_models_for_loading() -> None:
    """Let Darts load saved models of our classes: it refuses those that it does not know."""
    import numpy.typing  # noqa: F401 Darts 0.48.1 reads `np.typing`, which NumPy 1 does not import by itself
    from darts.utils.serialization import add_safe_globals

    paths = [f"{module}.{name}" for name, module in MODEL_MODULES.items()]
    add_safe_globals([(_stand_in, path) for path in (*paths, "seq_plugins.models._members.RandomStates")])


check_darts()
_register_models_for_loading()
