"""How sure a difference between two models' errors is, given that neighbouring forecasts err together."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Difference:
    """Mean difference of two models' errors over the same forecasts, and an interval around it."""

    mean: float
    low: float
    high: float


def paired_difference(
    errors: np.ndarray, other: np.ndarray, block_length: int, n_resamples: int = 2000, confidence: float = 0.95
) -> Difference:
    """Return the mean of ``errors - other`` with the percentile interval of a circular block bootstrap.

    Forecasts from neighbouring steps share most of their horizon, so whole blocks of them are drawn, from a circle
    (Politis and Romano 1992, "A circular block-resampling procedure for stationary data"). The same draws are made each
    time.

    Parameters
    ----------
    errors
        Error of each forecast of one model, in order of time, `(W,)`.
    other
        Error of each forecast of the other model, `(W,)`.
    block_length
        Number of forecasts in a block; the horizon, since that is how far forecasts overlap.
    n_resamples
        Number of resamples.
    confidence
        Share of the resamples' means inside the interval.
    """
    differences = errors.astype(np.float64) - other.astype(np.float64)
    length = len(differences)
    block_length = min(block_length, length)
    n_blocks = -(-length // block_length)
    starts = np.random.default_rng(0).integers(length, size=(n_resamples, n_blocks, 1))
    positions = ((starts + np.arange(block_length)) % length).reshape(n_resamples, -1)[:, :length]
    means = differences[positions].mean(axis=1)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Difference(float(differences.mean()), float(low), float(high))
