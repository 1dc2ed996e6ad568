"""Series brought to a common size for networks, by numbers that are kept beside the model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from darts import TimeSeries

from seq_plugins.tables import Panel


@dataclass(frozen=True)
class Scaling:
    """Mean and standard deviation of each component, over all series: ``{"sold": (50.0, 12.5)}``."""

    targets: Mapping[str, Sequence[float]]
    past: Mapping[str, Sequence[float]]
    future: Mapping[str, Sequence[float]]
    statics: Mapping[str, Sequence[float]]

    @classmethod
    def of(cls, panel: Panel) -> "Scaling":
        """Take them from the series of a panel."""
        statics = [one.static_covariates for one in panel.targets if one.static_covariates is not None]
        return cls(
            _moments(panel.targets),
            _moments(panel.past),
            _moments(panel.future),
            {name: moments_of(np.array([frame[name].iloc[0] for frame in statics])) for name in statics[0].columns}
            if statics
            else {},
        )

    def inputs(self, panel: Panel) -> dict[str, Any]:
        """Return the series as arguments of `fit` and `predict`, scaled, in float32."""
        given = {
            "series": _scaled(panel.targets, self.targets),
            "past_covariates": _scaled(panel.past, self.past),
            "future_covariates": _scaled(panel.future, self.future),
        }
        if self.statics:
            given["series"] = [self._with_scaled_statics(one) for one in given["series"] or []]
        return {name: [one.astype("float32") for one in series] for name, series in given.items() if series}

    def _with_scaled_statics(self, series: TimeSeries) -> TimeSeries:
        frame = series.static_covariates
        mean, deviation = (np.array([self.statics[name][i] for name in frame.columns]) for i in (0, 1))
        return series.with_static_covariates((frame - mean) / deviation)

    def restore(self, values: np.ndarray) -> np.ndarray:
        """Return forecasts `(..., C, Q)` on the scale of the targets."""
        mean, deviation = (np.array([moments[i] for moments in self.targets.values()])[:, None] for i in (0, 1))
        return np.asarray(values * deviation + mean)


def _scaled(series: Sequence[TimeSeries] | None, moments: Mapping[str, Sequence[float]]) -> list[TimeSeries] | None:
    if series is None:
        return None
    mean, deviation = (np.array([moments[name][i] for name in series[0].components]) for i in (0, 1))
    return [one.with_values((one.values(copy=False) - mean) / deviation) for one in series]


def _moments(series: Sequence[TimeSeries] | None) -> dict[str, list[float]]:
    if series is None:
        return {}
    values = np.concatenate([one.values(copy=False) for one in series])
    return {str(name): moments_of(values[:, i]) for i, name in enumerate(series[0].components)}


def moments_of(values: np.ndarray) -> list[float]:
    """Return mean and deviation of what is known; 0 and 1 for indicators, and a deviation of 1 where nothing varies.

    Parameters
    ----------
    values
        Values of any shape; missing ones are NaN.
    """
    there = values[np.isfinite(values)]
    if not len(there) or np.isin(there, (0, 1)).all():
        return [0.0, 1.0]
    return [float(there.mean()), float(there.std()) or 1.0]
