"""Types of values that fit the precision in which a network computes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from darts import TimeSeries

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


def check_type(expected: np.dtype[Any] | None, given: Mapping[str, TimeSeries | Sequence[TimeSeries] | None]) -> None:
    """Check that all values have the type that the network computes in.

    Parameters
    ----------
    expected
        The type; ``None`` for any.
    given
        Series by the name of their argument.

    Raises
    ------
    ValueError
        If values have another type.
    """
    for name, series in given.items():
        listed = [series] if isinstance(series, TimeSeries) else series or []
        for index, item in enumerate(listed):
            if expected is not None and item.dtype != expected:
                position = f"[{index}]" if len(listed) > 1 else ""
                raise ValueError(
                    f"`{name}{position}` has values of type {item.dtype}, expected {expected}, in which the network "
                    f"computes. Convert them with `.astype(np.{expected})`."
                )
