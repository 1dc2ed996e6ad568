"""The models tried on the end of the data: one fit of each before it, forecasts a horizon apart, and their errors."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from seq_plugins.forecasting.plan import Plan
from seq_plugins.tables import Panel

# S: series, H: steps forecast, C: target components, Q: quantiles


class Forecaster(Protocol):
    """What is fitted to a panel and forecasts what follows one."""

    name: str
    plan: Plan

    def fit(self, panel: Panel, on_epoch: Callable[[], None]) -> None:
        """Learn from a panel, and tell after each epoch."""

    def forecast(self, panel: Panel) -> np.ndarray:
        """Return the quantiles of what follows each series, `(S, H, C, Q)`."""


@dataclass(frozen=True)
class Score:
    """Errors of a model in the backtest.

    Parameters
    ----------
    model
        Its name.
    mase
        Mean absolute error of the median in units of what the seasonal naive forecast is off by in training, averaged
        over series; NaN where that is zero everywhere.
    mae
        Mean absolute error of the median, in the target's unit.
    coverage
        Share of values between the lowest and the highest quantile asked for; NaN if there is one quantile alone.
    """

    model: str
    mase: float
    mae: float
    coverage: float


def forecastable(panel: Panel, plan: Plan) -> list[int]:
    """Return the positions of the series that were observed within the window, and are long enough."""
    shortest = 1 if plan.has_gaps else plan.input_length
    return [
        i
        for i, one in enumerate(panel.targets)
        if len(one) >= shortest and np.isfinite(one.values(copy=False)[-plan.input_length :]).any()
    ]


def backtest(forecasters: Sequence[Forecaster], panel: Panel, plan: Plan, on_epoch: Callable[[], None]) -> list[Score]:
    """Fit each forecaster to the data before the backtest's period, and return its errors in it, of what was observed.

    Parameters
    ----------
    forecasters
        The forecasters.
    panel
        The series.
    plan
        What has been decided.
    on_epoch
        Called after each epoch of a fit.
    """
    train = panel.before_last(plan.n_folds * plan.horizon)
    scales = dict(zip(train.ids, (_naive_errors(one.values(copy=False), plan) for one in train.truth), strict=True))
    scores = []
    for forecaster in forecasters:
        forecaster.fit(train, on_epoch)
        folds = [_errors_in_fold(forecaster, panel, plan, fold, scales) for fold in range(plan.n_folds)]
        scaled, absolute, inside = (np.concatenate([fold[i] for fold in folds]) for i in range(3))
        scores.append(Score(forecaster.name, _mean(scaled), _mean(absolute), _mean(inside)))
    return scores


def _errors_in_fold(
    forecaster: Forecaster, panel: Panel, plan: Plan, fold: int, scales: dict[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return scaled and absolute errors, and whether values lay inside the interval, of all forecasts, flat."""
    n_left = (plan.n_folds - fold) * plan.horizon
    origin = panel.before_last(n_left)
    origin = origin.select(forecastable(origin, plan))
    if not origin.ids:
        nothing = np.empty(0)
        return nothing, nothing, nothing
    targets = dict(zip(panel.ids, panel.truth, strict=True))
    truth = np.stack([targets[name].values(copy=False)[-n_left:][: plan.horizon] for name in origin.ids])  # (S, H, C)
    quantiles = forecaster.forecast(origin)
    errors = np.abs(quantiles[..., plan.levels.index(0.5)] - truth)
    unknown = np.full(truth.shape[2], np.nan)
    scaled = errors / np.stack([scales.get(name, unknown) for name in origin.ids])[:, None]
    lowest, highest = (plan.levels.index(round(pick(plan.quantiles), 6)) for pick in (min, max))
    inside = ((quantiles[..., lowest] <= truth) & (truth <= quantiles[..., highest])).astype("float64")
    inside[np.isnan(truth) | (lowest == highest)] = np.nan
    return scaled.ravel(), errors.ravel(), inside.ravel()


def _naive_errors(values: np.ndarray, plan: Plan) -> np.ndarray:
    """Return the mean absolute error of the seasonal naive forecast over a series, `(C,)`; NaN where it has none."""
    season = plan.naive_season
    errors = np.array([_mean(column) for column in np.abs(values[season:] - values[:-season]).T])
    return np.where(errors > 0, errors, np.nan)


def _mean(values: np.ndarray) -> float:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Mean of empty slice", RuntimeWarning)
        return float(np.nanmean(values))


def best_of(scores: Sequence[Score]) -> Score:
    """Return the score with the smallest error: MASE or, where there is none, MAE."""
    has_mase = all(np.isfinite(score.mase) for score in scores)
    return min(scores, key=lambda score: score.mase if has_mase else score.mae)


def score_lines(scores: Sequence[Score], plan: Plan) -> list[str]:
    """Return the scores as a table, the best first."""
    best = best_of(scores)
    has_mase = np.isfinite(best.mase)
    ordered = sorted(scores, key=lambda score: score.mase if has_mase else score.mae)
    has_band = len(set(plan.quantiles)) > 1
    span = f"in {min(plan.quantiles):g} to {max(plan.quantiles):g}" if has_band else ""
    lines = [f"{'model':<18}{'MASE':>8}{'MAE':>12}{span:>18}"]
    for score in ordered:
        coverage = f"{score.coverage:>18.0%}" if has_band else ""
        mase = f"{score.mase:.3f}" if np.isfinite(score.mase) else "-"
        lines.append(f"{score.model:<18}{mase:>8}{score.mae:>12.4g}{coverage}")
    return lines
