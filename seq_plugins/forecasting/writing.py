"""What is written: forecasts and scores as CSV, and a picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from seq_plugins.forecasting.choosing import Score
from seq_plugins.forecasting.plan import Plan
from seq_plugins.tables import Panel, TableOptions
from seq_plugins.tables.times import local_times, written

_MOST_PANELS = 6
_HISTORY = 4  # horizons


def write_forecasts(path: Path, panel: Panel, quantiles: np.ndarray, plan: Plan, options: TableOptions) -> None:
    """Write a row for each series, target and step: its time, the median, and the quantiles asked for.

    Parameters
    ----------
    path
        Path of the CSV file.
    panel
        The series.
    quantiles
        Quantiles of what follows each, `(series, H, C, Q)`.
    plan
        What has been decided.
    options
        How the table was read.
    """
    stamps = written(panel.times_after(plan.horizon), options.axis_zone)
    n_series, horizon, n_targets, _ = quantiles.shape
    frame = pd.DataFrame({str(options.time): np.tile(np.repeat(np.array(stamps, dtype=object), n_targets), n_series)})
    if options.id is not None:
        frame[options.id] = np.repeat(np.array(panel.ids, dtype=object), horizon * n_targets)
    frame["target"] = np.tile(np.array(options.target, dtype=object), n_series * horizon)
    frame["step"] = np.tile(np.repeat(np.arange(1, horizon + 1), n_targets), n_series)
    flat = quantiles.reshape(-1, len(plan.levels))
    frame["median"] = flat[:, plan.levels.index(0.5)]
    for level in sorted({round(level, 6) for level in plan.quantiles} - {0.5}):
        frame[f"q{level:g}"] = flat[:, plan.levels.index(level)]
    frame.to_csv(path, index=False, float_format="%.8g")


def write_scores(path: Path, scores: Sequence[Score], chosen: str) -> None:
    """Write a row for each model that was backtested, and which one forecasts."""
    frame = pd.DataFrame([vars(score) for score in scores])
    frame["forecasts"] = frame["model"] == chosen
    frame.to_csv(path, index=False, float_format="%.6g")


def draw_forecasts(path: Path, panel: Panel, quantiles: np.ndarray, plan: Plan, options: TableOptions) -> None:
    """Draw what was observed last and what is forecast, of the first series and targets; arguments as above."""
    from matplotlib.figure import Figure

    targets = list(options.target)
    shown = [(i, j) for i in range(len(panel.ids)) for j in range(len(targets))][:_MOST_PANELS]
    n_columns = 1 if len(shown) == 1 else 2
    n_rows = -(-len(shown) // n_columns)
    figure = Figure(figsize=(5.5 * n_columns if n_columns > 1 else 9, 2.8 * n_rows), layout="constrained")
    axes = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    for axis in axes[len(shown) :]:
        axis.set_visible(False)
    ahead = local_times(panel.times_after(plan.horizon), options.axis_zone)
    lowest, highest = (plan.levels.index(round(pick(plan.quantiles), 6)) for pick in (min, max))
    median = plan.levels.index(0.5)
    for axis, (i, j) in zip(axes, shown, strict=False):
        history = panel.targets[i][-max(_HISTORY * plan.horizon, plan.input_length) :]
        axis.plot(
            local_times(history.time_index, options.axis_zone), history.values(copy=False)[:, j], color="0.35", lw=1
        )
        axis.fill_between(ahead, quantiles[i, :, j, lowest], quantiles[i, :, j, highest], color="C0", alpha=0.25, lw=0)
        axis.plot(ahead, quantiles[i, :, j, median], color="C0", lw=1.5)
        axis.set_title(" ".join(filter(None, (panel.ids[i], targets[j]))), fontsize=10)
        axis.tick_params(labelsize=8)
    if not isinstance(panel.freq, int):
        for axis in axes[: len(shown)]:
            _make_dates_short(axis)
    figure.savefig(path, dpi=120)


def _make_dates_short(axis: Any) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator(minticks=3, maxticks=7)
    axis.xaxis.set_major_locator(locator)
    axis.xaxis.set_major_formatter(ConciseDateFormatter(locator))
