"""How a target is scaled for the models, and back."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

# C: target components


@dataclass(frozen=True)
class _Transform:
    forward: Callable[[np.ndarray], np.ndarray]
    inverse: Callable[[np.ndarray], np.ndarray]


_TRANSFORMS: Mapping[str, _Transform] = {
    "log": _Transform(np.log, np.exp),
    "arcsinh": _Transform(np.arcsinh, np.sinh),
}


class TargetScaling:
    """Scaling of a target by what it was in the training period: offset and divisor, then a transform.

    ``"log"`` has neither offset nor divisor: logarithms are taken as they are.
    ``"arcsinh"`` takes median and median absolute deviation first (over .6745, the normal distribution's), as is usual
    for prices, which have spikes and may be negative (Uniejewski et al. 2018,
    https://doi.org/10.1109/TPWRS.2017.2734563).

    Parameters
    ----------
    kind
        ``"log"`` or ``"arcsinh"``.
    training
        Values of the training period, one row a time step, `(T, C)`; missing ones are NaN.
    """

    def __init__(self, kind: str, training: np.ndarray) -> None:
        self._transform = _TRANSFORMS[kind]
        offset, divisor = np.zeros(training.shape[1]), np.ones(training.shape[1])
        if kind == "arcsinh":
            offset = np.nanmedian(training, axis=0)
            divisor = np.nanmedian(np.abs(training - offset), axis=0) / 0.6745
        self.offset = offset
        self.divisor = np.where(divisor == 0, 1, divisor)

    def scale(self, values: np.ndarray) -> np.ndarray:
        """Return values, `(T, C)`, as models are given them."""
        return self._transform.forward((values - self.offset) / self.divisor)

    def restore(self, scaled: np.ndarray) -> np.ndarray:
        """Return scaled values, whose last axis is the components, in the unit of the target."""
        return self._transform.inverse(scaled) * self.divisor + self.offset
