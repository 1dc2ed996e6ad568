"""The forecast to beat: the same time of the last season."""

import warnings
from collections.abc import Callable

import numpy as np

from seq_plugins.forecasting.plan import Plan
from seq_plugins.tables import Panel

# H: steps forecast, C: target components, Q: quantiles


class SeasonalNaive:
    """Repeats the last season, each step with the quantiles of what that has been off by before.

    Parameters
    ----------
    plan
        Horizon, seasons and quantiles.
    """

    name = "SeasonalNaive"

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    def fit(self, panel: Panel, on_epoch: Callable[[], None]) -> None:
        """Do nothing: each forecast is made from its own history."""

    def forecast(self, panel: Panel) -> np.ndarray:
        """Return the quantiles of what follows each series, `(series, H, C, Q)`."""
        return np.stack([self._forecast(one.values(copy=False)) for one in panel.targets])

    def _forecast(self, values: np.ndarray) -> np.ndarray:
        season, horizon = self.plan.naive_season, self.plan.horizon
        points = last_season(values, season, horizon)  # -> (H, C)
        off_by = np.stack([self._quantiles_of_errors(values, lag) for lag in range(season, horizon + season, season)])
        quantiles = off_by[np.arange(horizon) // season]  # -> (H, C, Q)
        quantiles -= quantiles[..., self.plan.levels.index(0.5)][..., None]  # the median is the naive forecast
        return np.maximum(points[..., None] + quantiles, self.plan.lowest)

    def _quantiles_of_errors(self, values: np.ndarray, lag: int) -> np.ndarray:
        """Return the quantiles of what a value is away from the one `lag` steps before, `(C, Q)`."""
        errors = values[lag:] - values[:-lag]
        if not len(errors):
            return np.zeros((values.shape[1], len(self.plan.levels)))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "All-NaN slice encountered", RuntimeWarning)
            return np.nan_to_num(np.nanquantile(errors, self.plan.levels, axis=0).T)


def last_season(values: np.ndarray, season: int, horizon: int) -> np.ndarray:
    """Return the same time of the last season for each step, `(H, C)`; where it is missing, of one before.

    Parameters
    ----------
    values
        What was observed, `(time, C)`.
    season
        Time steps of a season.
    horizon
        Number of steps, H.
    """
    n_components = values.shape[1]
    padded = np.concatenate([np.full((-len(values) % season, n_components), np.nan), values])
    seasons = padded.reshape(-1, season, n_components)  # -> (seasons, season, C)
    latest = np.full((season, n_components), np.nan)
    for one in seasons:
        latest = np.where(np.isnan(one), latest, one)
    for component in range(n_components):  # a time of the season that was never observed: the last value of all
        there = values[np.isfinite(values[:, component]), component]
        latest[np.isnan(latest[:, component]), component] = there[-1] if len(there) else 0.0
    return latest[np.arange(horizon) % season]
