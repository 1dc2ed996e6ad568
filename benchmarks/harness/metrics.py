"""Errors of forecasts at each step ahead: of point forecasts, and of quantiles."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# W: forecasts, H: steps forecast, C: target components, Q: quantile levels


@dataclass(frozen=True)
class Errors:
    """Errors at each of the `H` steps ahead, means over forecasts and components.

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
    true, predicted = true.astype(np.float64), predicted.astype(np.float64)
    distance = np.abs(true - predicted)
    size = np.abs(true) + np.abs(predicted)
    relative = np.divide(distance, size, out=np.zeros_like(distance), where=size > 0)
    return Errors(
        mae=_by_step(distance),
        rmse=[float(np.sqrt(error)) for error in _by_step(np.square(distance))],
        mase=_by_step(distance / naive_error),
        smape=_by_step(200 * relative),
        crps=None if quantiles is None else _by_step(2 * quantile_loss(true, quantiles, levels).mean(axis=-1)),
        coverage=None
        if quantiles is None
        else _by_step((quantiles.min(axis=-1) <= true) & (true <= quantiles.max(axis=-1))),
    )


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
    """Return the mean absolute error, `(C,)`, of forecasting each value with that of one season before.

    Parameters
    ----------
    values
        Values of the training period, one row a time step, `(T, C)`.
    season_length
        Time steps of a season.
    """
    values = values.astype(np.float64)
    error = np.abs(values[season_length:] - values[:-season_length]).mean(axis=0)
    never_zero: np.ndarray = np.maximum(error, np.finfo(np.float64).tiny)
    return never_zero


def _by_step(values: np.ndarray) -> list[float]:
    return [float(value) for value in values.mean(axis=(0, 2))]
