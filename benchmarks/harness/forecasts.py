"""What runs give: forecasts of test periods and facts of the fit, or why there are none."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.harness.task import Period

# W: forecasts, H: steps forecast, C: target components, Q: quantile levels


@dataclass(frozen=True)
class PeriodForecasts:
    """Forecasts from every step of a period, in the units of the errors.

    Parameters
    ----------
    period
        Name of the period.
    starts
        Times of the first steps forecast, `(W,)`.
    predicted
        Point forecasts, `(W, H, C)`.
    quantiles
        Forecast quantiles, `(W, H, C, Q)`; ``None`` of a point forecast.
    seconds
        Seconds that forecasting took.
    """

    period: str
    starts: np.ndarray
    predicted: np.ndarray
    quantiles: np.ndarray | None
    seconds: float


@dataclass(frozen=True)
class RunResult:
    """What one run gives.

    Parameters
    ----------
    key
        Name of the run.
    fit_seconds
        Seconds that fitting took.
    n_parameters
        Number of a network's weights.
    n_epochs
        Number of epochs trained.
    best_epoch
        Epoch, counted from 1, whose weights were kept.
    covariates
        Kinds of covariates that the model was given as what they are.
    cannot_take
        Kinds of covariates that the task has and the model cannot take, with what was done about it.
    early_stopping_error
        Mean absolute error over the early-stopping period, scaled if the task's errors are; ``None`` where the model
        does not stop early.
    train_losses
        Loss of the last batch of each epoch.
    validation_losses
        Loss on the early-stopping period after each epoch.
    forecasts
        Forecasts of each test period.
    """

    key: str
    fit_seconds: float
    n_parameters: int | None
    n_epochs: int | None
    best_epoch: int | None
    covariates: list[str]
    cannot_take: list[str]
    early_stopping_error: float | None
    train_losses: list[float]
    validation_losses: list[float]
    forecasts: list[PeriodForecasts]


@dataclass(frozen=True)
class Failure:
    """A run that gave nothing, and why."""

    key: str
    error: str


def forecasts_in(period: Period, forecasts: PeriodForecasts) -> PeriodForecasts:
    """Return those of the forecasts of a longer period that lie in `period`, which ends with it."""
    is_kept = forecasts.starts >= period.start.to_datetime64()
    return replace(
        forecasts,
        period=period.name,
        seconds=forecasts.seconds * float(is_kept.mean()),
        starts=forecasts.starts[is_kept],
        predicted=forecasts.predicted[is_kept],
        quantiles=None if forecasts.quantiles is None else forecasts.quantiles[is_kept],
    )


def join_folds(forecasts: Sequence[PeriodForecasts]) -> PeriodForecasts:
    """Return the forecasts of all folds of a period as those of the period."""
    quantiles = [made.quantiles for made in forecasts if made.quantiles is not None]
    return PeriodForecasts(
        forecasts[0].period,
        np.concatenate([made.starts for made in forecasts]),
        np.concatenate([made.predicted for made in forecasts]),
        np.concatenate(quantiles) if quantiles else None,
        sum(made.seconds for made in forecasts),
    )


def mean_forecasts(forecasts: Sequence[PeriodForecasts]) -> PeriodForecasts:
    """Return the mean of several forecasts of the same period."""
    quantiles = [made.quantiles for made in forecasts if made.quantiles is not None]
    return replace(
        forecasts[0],
        predicted=np.mean([made.predicted for made in forecasts], axis=0),
        quantiles=np.mean(quantiles, axis=0) if quantiles else None,
        seconds=sum(made.seconds for made in forecasts),
    )
