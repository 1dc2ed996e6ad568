"""Forecasts that the report lets one look through, packed so that a page can hold them."""

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.backtest.diagnostics import time_positions
from benchmarks.harness.forecasts import PeriodForecasts
from benchmarks.harness.series import TaskData
from seq_plugins.tables.times import local_times

# W: forecasts, H: steps forecast, C: target components

N_VALUES = 600_000
"""Number of values that a page holds of a test period's forecasts: 1.6 MB."""

N_BOUNDS = 4
"""Number of quantiles that bound the intervals shown, at the most."""

FEWEST_ORIGINS = 12
"""Number of forecasts of each series below which series are left out instead."""


@dataclass(frozen=True)
class Choice:
    """Which forecasts a page holds.

    Parameters
    ----------
    origins
        Their places among the forecasts of the period.
    components
        Places of the target components whose forecasts it holds.
    """

    origins: np.ndarray
    components: np.ndarray


def choose(
    shape: tuple[int, int, int], n_lines: int, worst: Sequence[tuple[int, int]], errors: np.ndarray, n_values: int
) -> Choice:
    """Choose forecasts: all if there is room, otherwise evenly spaced ones, and the worst forecasts of each model.

    Parameters
    ----------
    shape
        Number of forecasts, steps and components, `(W, H, C)`.
    n_lines
        Number of values at each step: one for a point forecast, more for quantiles, of all models together.
    worst
        Forecast and component of the worst forecasts.
    errors
        Error of each component, `(C,)`, NaN where it is not known: components are chosen from the easy ones to the hard
        ones.
    n_values
        Number of values that there is room for.
    """
    n_origins, horizon, n_components = shape
    room = n_values // (horizon * n_lines)  # forecasts of a component
    fewest = min(n_origins, FEWEST_ORIGINS)
    components = np.argsort(errors)[_spaced(n_components, room // fewest)]
    components = np.union1d(components, [component for _, component in worst])
    origins = _spaced(n_origins, max(room // len(components), fewest))
    return Choice(np.union1d(origins, [forecast for forecast, _ in worst]).astype(int), components.astype(int))


def _spaced(length: int, n_wanted: int) -> np.ndarray:
    """Return all places in `length`, or as many as are wanted, evenly spaced; at least one."""
    return np.unique(np.linspace(0, length - 1, max(min(length, n_wanted), 1)).round().astype(int))


def pack(values: np.ndarray) -> dict[str, Any]:
    """Return values as text of 16 bits each: ``low + step * number``, and 65535 where there is none.

    Parameters
    ----------
    values
        Values of any shape, in the order in which they are read again.
    """
    known = np.isfinite(values)
    low, high = (float(values[known].min()), float(values[known].max())) if known.any() else (0.0, 0.0)
    step = (high - low) / 65534 or 1.0
    numbers = np.full(values.shape, 65535, dtype="<u2")
    numbers[known] = ((values[known].astype(np.float64) - low) / step).round()
    return {"low": low, "step": step, "numbers": base64.b64encode(numbers.tobytes()).decode("ascii")}


def pack_browser(
    data: TaskData,
    choice: Choice,
    starts: np.ndarray,
    forecasts: Mapping[str, Callable[[], PeriodForecasts]],
    levels: Sequence[float],
) -> dict[str, Any]:
    """Return chosen forecasts with what came true and what came before, ready for JSON.

    Parameters
    ----------
    data
        The task's series.
    choice
        Which forecasts.
    starts
        Times of the first steps forecast, `(W,)`.
    forecasts
        For each model what returns its forecasts.
    levels
        Levels of the quantiles forecast.
    """
    task = data.task
    horizon, components = task.output_chunk_length, choice.components
    first_steps = time_positions(task, starts[choice.origins])[:, 0]
    begin = max(int(first_steps.min()) - task.input_chunk_length, 0)
    end = int(first_steps.max()) + horizon
    observed = data.in_error_units(data.observed[begin:end].values(copy=False))[:, components]
    times: Any = local_times(data.target.time_index[begin:end], task.zone)
    first, step = task.numbers or (0, 1)
    shown = _shown_levels(levels)
    return {
        "times": (times - pd.Timestamp(0)).total_seconds().astype(int).tolist() if task.numbers is None else None,
        "is_daily": bool((times == times.normalize()).all()),
        "first_step": first + step * begin,
        "step": step,
        "history": task.input_chunk_length,
        "horizon": horizon,
        "starts": (first_steps - begin).tolist(),
        "origins": choice.origins.tolist(),
        "n_origins": len(starts),
        "components": components.tolist(),
        "observed": [pack(column) for column in observed.T],
        "levels": [levels[place] for place in shown],
        "models": {model: _pack_model(load(), choice, shown) for model, load in forecasts.items()},
    }


def _shown_levels(levels: Sequence[float]) -> list[int]:
    """Return the places of the levels that bound the intervals shown: the outermost and the middle of each half."""
    if not levels:
        return []
    inner = len(levels) // 4
    return sorted({0, inner, len(levels) - 1 - inner, len(levels) - 1})


def _pack_model(forecasts: PeriodForecasts, choice: Choice, shown: Sequence[int]) -> dict[str, Any]:
    """Return a model's chosen forecasts, and the bounds of its intervals, if it forecasts any: packed by component."""
    values = [forecasts.predicted]
    if forecasts.quantiles is not None:
        values += [forecasts.quantiles[..., place] for place in shown]
    chosen = [of_level[choice.origins][:, :, choice.components] for of_level in values]  # -> (W, H, C)
    point, *bounds = [[pack(column) for column in np.moveaxis(of_level, 2, 0)] for of_level in chosen]
    return {"point": point, "bounds": bounds}
