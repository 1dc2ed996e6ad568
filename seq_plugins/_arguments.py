"""Checks of arguments, and of environment variables, that forecasters and text estimators share."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np


def check_choice(name: str, value: Any, choices: Sequence[Any]) -> None:
    """Raise a ``ValueError`` if an argument is none of its choices."""
    if not any(value is choice or (isinstance(value, type(choice)) and value == choice) for choice in choices):
        raise ValueError(f"Expected {name} to be one of {', '.join(map(repr, choices))}, got {value!r}.")


def check_number(
    name: str,
    value: Any,
    kind: type,
    at_least: float | None = None,
    above: float | None = None,
    below: float | None = None,
) -> None:
    """Raise an error if an argument is not a number of its kind, ``int`` or ``float``, or out of bounds.

    Raises
    ------
    TypeError
        If it is not a number of this kind.
    ValueError
        If it is out of bounds.
    """
    types = (int, np.integer) if kind is int else (int, float, np.integer, np.floating)
    if isinstance(value, bool | np.bool_) or not isinstance(value, types):
        expected = "a whole number" if kind is int else "a number"
        raise TypeError(f"Expected {name} to be {expected}, got {value!r}.")
    bounds = []
    if at_least is not None:
        bounds.append((f"at least {at_least:g}", value >= at_least))
    if above is not None:
        bounds.append((f"above {above:g}", value > above))
    if below is not None:
        bounds.append((f"below {below:g}", value < below))
    if not all(holds for _, holds in bounds):
        raise ValueError(f"Expected {name} to be {' and '.join(text for text, _ in bounds)}, got {value!r}.")


def is_switched_off(switch: str) -> bool:
    """Find out whether an environment variable keeps layers to PyTorch's kernels.

    Parameters
    ----------
    switch
        Name of the variable.

    Raises
    ------
    ValueError
        If it is neither ``auto`` nor ``torch``.
    """
    setting = os.environ.get(switch, "auto")
    if setting not in ("auto", "torch"):
        raise ValueError(f"Expected the environment variable {switch} to be 'auto' or 'torch', got {setting!r}.")
    return setting == "torch"
