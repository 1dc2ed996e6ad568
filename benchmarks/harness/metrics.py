"""Errors of forecasts at each step ahead, of points and of quantiles, and how sure a difference between models is.

Truths that are missing are NaN, and count in no error.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

# W: forecasts, H: steps forecast, C: target components, Q: quantile levels


@dataclass(frozen=True)
class Errors:
    """Errors at each of the `H` steps ahead, means over forecasts and components; NaN where nothing came true.

    Parameters
    ----------
    mae
        Mean absolute error.
    rmse
        Root mean squared error.
    mase
        Mean absolute error, scaled component by component with that of the seasonal naive forecast on the training
        period (Hyndman and Koehler 2006, https://doi.org/10.1016/j.ijforecast.2006.03.001).
    smape
        Symmetric mean absolute percentage error, ``200 * |y - f| / (|y| + |f|)``, 0 to 200.
    crps
        Twice the mean quantile loss over the levels, which approaches the continuous ranked probability score as levels
        get dense (Gneiting and Raftery 2007, https://doi.org/10.1198/016214506000001437); ``None`` of a point forecast.
    coverage
        Share of truths between the lowest and the highest quantile; ``None`` of a point forecast.
    """

    mae: list[float]
    rmse: list[float]
    mase: list[float]
    smape: list[float]
    crps: list[float] | None = None
    coverage: list[float] | None = None


def measure(
    true: np.ndarray,
    predicted: np.ndarray,
    naive_error: np.ndarray,
    quantiles: np.ndarray | None = None,
    levels: Sequence[float] = (),
) -> Errors:
    """Return the errors of forecasts.

    Parameters
    ----------
    true
        What came true, `(W, H, C)`.
    predicted
        Point forecasts, `(W, H, C)`.
    naive_error
        Mean absolute error of the seasonal naive forecast on the training period, `(C,)`.
    quantiles
        Forecast quantiles, `(W, H, C, Q)`.
    levels
        Levels of the quantiles, rising.
    """
    distance = absolute_errors(true, predicted)
    true, predicted = true.astype(np.float64), predicted.astype(np.float64)
    size = np.abs(true) + np.abs(predicted)
    relative = np.divide(distance, size, out=np.zeros_like(distance), where=size != 0)
    return Errors(
        mae=_by_step(distance),
        rmse=[float(np.sqrt(error)) for error in _by_step(np.square(distance))],
        mase=_by_step(distance / naive_error),
        smape=_by_step(200 * relative),
        crps=None if quantiles is None else _by_step(2 * quantile_loss(true, quantiles, levels).mean(axis=-1)),
        coverage=None
        if quantiles is None
        else _by_step(where_known((quantiles.min(axis=-1) <= true) & (true <= quantiles.max(axis=-1)), true)),
    )


def absolute_errors(true: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Return the absolute errors of forecasts, in double precision."""
    errors: np.ndarray = np.abs(true.astype(np.float64) - predicted.astype(np.float64))
    return errors


def revision(predicted: np.ndarray, stride: int) -> float | None:
    """Return how much a forecast of the same date changes from one forecast to the next; ``None`` if none overlap.

    It is the mean absolute difference, in the unit of the target. A planner who acts on each forecast prefers the
    steadier of two models that are equally right.

    Parameters
    ----------
    predicted
        Point forecasts, evenly spaced in time, `(W, H, C)`.
    stride
        Time steps from one forecast to the next.
    """
    horizon = predicted.shape[1]
    if stride >= horizon or len(predicted) < 2:
        return None
    return float(absolute_errors(predicted[1:, : horizon - stride], predicted[:-1, stride:]).mean())


def quantile_loss(true: np.ndarray, quantiles: np.ndarray, levels: Sequence[float]) -> np.ndarray:
    """Return the loss of each forecast quantile, `(W, H, C, Q)`.

    Parameters
    ----------
    true
        What came true, `(W, H, C)`.
    quantiles
        Forecast quantiles, `(W, H, C, Q)`.
    levels
        Levels of the quantiles.
    """
    above = true[..., None] - quantiles
    loss: np.ndarray = np.maximum(np.asarray(levels) * above, (np.asarray(levels) - 1) * above)
    return loss


def seasonal_naive_error(values: np.ndarray, season_length: int) -> np.ndarray:
    """Return the mean absolute error, `(C,)`, of forecasting each value with that of one season before; NaN for zero.

    Parameters
    ----------
    values
        Values of the training period, one row a time step, `(T, C)`; missing ones are NaN.
    season_length
        Time steps of a season.
    """
    values = values.astype(np.float64)
    error = mean_of_known(np.abs(values[season_length:] - values[:-season_length]), axis=0)
    return np.where(error > 0, error, np.nan)


def where_known(values: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Return values as numbers, NaN where the truth is.

    Parameters
    ----------
    values
        Values of the shape of `true`.
    true
        What came true.
    """
    return np.where(np.isnan(true), np.nan, values)


def mean_of_known(values: np.ndarray, axis: Any = None) -> Any:
    """Return the mean of values that are not NaN, over all or some axes; NaN where there are none.

    Parameters
    ----------
    values
        The values.
    axis
        Axis, or axes, of the mean.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Mean of empty slice", RuntimeWarning)
        return np.nanmean(values, axis=axis, dtype=np.float64)


def _by_step(values: np.ndarray) -> list[float]:
    return [float(value) for value in mean_of_known(values, axis=(0, 2))]


@dataclass(frozen=True)
class Difference:
    """Mean difference of two models' errors over the same forecasts, and an interval around it, NaN if it has none."""

    mean: float
    low: float
    high: float


def paired_difference(
    errors: np.ndarray, other: np.ndarray, block_length: int, n_resamples: int = 2000, confidence: float = 0.95
) -> Difference:
    """Return the mean of ``errors - other`` with the percentile interval of a circular block bootstrap.

    Forecasts from neighbouring steps share most of their horizon, so whole blocks of them are drawn, from a circle
    (Politis and Romano 1992, "A circular block-resampling procedure for stationary data"). The same draws are made each
    time. There is no interval of fewer forecasts than two blocks.

    Parameters
    ----------
    errors
        Error of each forecast of one model, in order of time, `(W,)`; NaN where it is not known.
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
    differences = differences[np.isfinite(differences)]
    length = len(differences)
    if length < 2 * block_length:  # resamples would be nearly alike, and the interval next to nothing
        return Difference(float(differences.mean()), float("nan"), float("nan"))
    n_blocks = -(-length // block_length)
    starts = np.random.default_rng(0).integers(length, size=(n_resamples, n_blocks, 1))
    positions = ((starts + np.arange(block_length)) % length).reshape(n_resamples, -1)[:, :length]
    means = differences[positions].mean(axis=1)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Difference(float(differences.mean()), float(low), float(high))
