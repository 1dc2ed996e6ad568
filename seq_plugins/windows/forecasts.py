"""Series of many forecasts, made as fast as their values."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from darts import TimeSeries
from darts.utils.utils import generate_index

from seq_plugins._private_names import build_forecast_series

# W: forecasts, H: time steps of a forecast, C: components, N: samples

_OWN_PARTS = {"_time_index", "_values"}


def build_forecasts(
    values: np.ndarray,
    schemas: Sequence[dict[str, Any]],
    starts: Sequence[Any],
    component_names: Callable[..., Any] | None = None,
) -> list[TimeSeries]:
    """Return the forecasts as series, as Darts builds them one by one.

    Forecasts of one series differ in their values and times only: the first is built by Darts, and the others share
    everything else with it.

    Parameters
    ----------
    values
        Values of the forecasts, `(W, H, C, N)`.
    schemas
        What Darts notes of each forecast's series.
    starts
        Time of each forecast's first step.
    component_names
        Names the components of likelihood parameters, if the values are those.
    """
    series = [tuple(map(id, schema.values())) for schema in schemas]
    edges = [0, *(index for index in range(1, len(series)) if series[index] != series[index - 1]), len(series)]
    forecasts: list[TimeSeries] = []
    for first, stop in pairwise(edges):
        part = slice(first, stop)
        forecasts += _build_forecasts_of_one_series(values[part], schemas[first], starts[part], component_names)
    return forecasts


def _build_forecasts_of_one_series(
    values: np.ndarray, schema: dict[str, Any], starts: Sequence[Any], component_names: Callable[..., Any] | None
) -> list[TimeSeries]:
    def build(index: int) -> TimeSeries:
        return build_forecast_series(
            values=values[index],
            schema=schema,
            pred_start=starts[index],
            predict_likelihood_parameters=component_names is not None,
            likelihood_component_names_fn=component_names,
        )

    first = build(0)
    parts = vars(first)
    if len(starts) == 1 or not parts.keys() >= _OWN_PARTS:
        return [first, *map(build, range(1, len(starts)))]
    times, positions = _common_times(schema, starts, values.shape[1])
    forecasts = [first]
    for index in range(1, len(starts)):
        position = positions[index]
        if position < 0:  # not on the axis of the first one
            forecasts.append(build(index))
            continue
        forecast = object.__new__(TimeSeries)
        forecast.__dict__.update(parts)
        forecast._time_index = times[position : position + values.shape[1]]
        forecast._values = values[index]
        forecasts.append(forecast)
    return forecasts


def _common_times(schema: dict[str, Any], starts: Sequence[Any], horizon: int) -> tuple[pd.Index, list[int]]:
    """Return the times from the first to the last step of all forecasts, and where in them each forecast starts."""
    freq = schema["time_freq"]
    times = generate_index(start=starts[0], end=starts[-1] + (horizon - 1) * freq, freq=freq, name=schema["time_name"])
    positions: list[int] = times.get_indexer(pd.Index(starts)).tolist()
    return times, positions
