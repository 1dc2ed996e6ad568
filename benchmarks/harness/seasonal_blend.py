"""The mean of the last values of several seasons: what a network of seasons has to beat."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from darts import TimeSeries
from darts.models.forecasting.forecasting_model import LocalForecastingModel

# C: components


class SeasonalBlend(LocalForecastingModel):
    """Mean of seasonal naive forecasts, those of the longer seasons moved to the level of the last of the shortest.

    Parameters
    ----------
    season_lengths
        Time steps of each season, the shortest first.
    """

    def __init__(self, season_lengths: Sequence[int]) -> None:
        super().__init__(add_encoders=None)
        self.season_lengths = list(season_lengths)

    @property
    def supports_multivariate(self) -> bool:
        """Whether components are forecast together: each by itself."""
        return True

    @property
    def _supports_range_index(self) -> bool:
        return True

    @property
    def min_train_series_length(self) -> int:
        """Number of time steps that a forecast needs."""
        return self.season_lengths[0] + self.season_lengths[-1]

    def fit(self, series: TimeSeries, **kwargs: Any) -> "SeasonalBlend":
        """Keep the last seasons of the series."""
        super().fit(series, **kwargs)
        self._values = series.values(copy=False)[-self.min_train_series_length :]
        return self

    def predict(self, n: int, *args: Any, **kwargs: Any) -> TimeSeries:
        """Forecast the next `n` time steps."""
        super().predict(n, *args, **kwargs)
        values, shortest = self._values, self.season_lengths[0]
        level = values[-shortest:].mean(axis=0)  # -> (C,)
        forecasts = []
        for season in self.season_lengths:
            ahead = values[len(values) - season + np.arange(n) % season]  # -> (n, C)
            before = len(values) - season
            moved = 0 if season == shortest else level - values[before - shortest : before].mean(axis=0)
            forecasts.append(ahead + moved)
        return self._build_forecast_series(np.mean(forecasts, axis=0))
