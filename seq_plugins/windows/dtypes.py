"""Types of values that fit the precision in which a network computes."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

_NUMPY_TYPES: dict[torch.dtype, np.dtype[Any]] = {
    torch.float32: np.dtype(np.float32),
    torch.float64: np.dtype(np.float64),
}


def converts_values(precision: Any) -> bool:
    """Return whether PyTorch Lightning converts values to `precision`: not to 32 bits, nor where none is named."""
    return precision is not None and str(precision) not in ("32", "32-true")


def required_type(precision: Any, weights_type: torch.dtype | None = None) -> np.dtype[Any] | None:
    """Return the type that values must have, since nothing converts them; ``None`` if there is no such type.

    Parameters
    ----------
    precision
        Precision of the trainer, as PyTorch Lightning takes it; ``None`` if it follows the values.
    weights_type
        Type of the network's weights, if there is a network already.
    """
    if converts_values(precision):
        return None
    if weights_type is not None:
        return _NUMPY_TYPES.get(weights_type)
    return None if precision is None else np.dtype(np.float32)


def check_optimizer(precision: Any, optimizer_class: Callable[..., torch.optim.Optimizer], arguments: Any) -> None:
    """Check that the number with which an optimizer avoids divisions by zero is not itself zero in half precision.

    Parameters
    ----------
    precision
        Precision of the trainer, as PyTorch Lightning takes it.
    optimizer_class
        What makes the optimizer.
    arguments
        Arguments of the optimizer.

    Raises
    ------
    ValueError
        If it is zero, so that weights would be NaN after the first update.
    """
    if str(precision) != "16-true":
        return
    optimizer = optimizer_class([torch.zeros(1, requires_grad=True)], **arguments)
    eps = optimizer.defaults.get("eps")
    if isinstance(eps, float) and not torch.tensor(eps).half():
        raise ValueError(
            f"The precision '16-true' rounds the `eps` of {type(optimizer).__name__}, {eps:g}, to zero, so weights "
            "would be NaN after the first update. Train with the precision 'bf16-true' or '32-true', or with "
            '`optimizer_kwargs={"eps": 1e-4}`.'
        )


def check_type(expected: np.dtype[Any] | None, value_types: Mapping[np.dtype[Any], str]) -> None:
    """Check that all values have the type that the network computes in.

    Parameters
    ----------
    expected
        The type; ``None`` for any.
    value_types
        The types that there are, each with the name of the first series of it.

    Raises
    ------
    ValueError
        If values have another type.
    """
    for value_type, name in value_types.items():
        if expected is not None and value_type != expected:
            raise ValueError(
                f"`{name}` has values of type {value_type}, expected {expected}, in which the network computes. "
                f"Convert them with `.astype(np.{expected})`."
            )
