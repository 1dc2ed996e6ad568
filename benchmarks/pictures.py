"""Pictures of a backtest: forecasts against truth, and error by horizon."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")  # no screen is needed; before pyplot is imported

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.ticker import MaxNLocator

from benchmarks.backtest import Forecasts
from benchmarks.rows import Summary
from seq_plugins._files import whole_file


def draw_backtest(
    path: Path, summaries: Sequence[Summary], forecasts: Mapping[str, Forecasts], period: str, unit: str
) -> None:
    """Draw the forecasts and errors of one test period into a PNG file.

    Parameters
    ----------
    path
        Path of the file.
    summaries
        Summaries of the period, the best model first.
    forecasts
        Forecasts of the period, by model.
    period
        Name of the period.
    unit
        Unit of the target.
    """
    figure, (upper, lower) = plt.subplots(2, 1, figsize=(11, 9), layout="constrained")
    colors = {summary.model: f"C{position}" for position, summary in enumerate(summaries)}
    _draw_forecasts(upper, [summary.model for summary in summaries[:3]], forecasts, colors)
    upper.set_title(f"Forecasts of the three best models against truth, {period}")
    upper.set_ylabel(unit)
    if not isinstance(next(iter(forecasts.values())).starts[0], int):
        locator = AutoDateLocator()
        upper.xaxis.set_major_locator(locator)
        upper.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    for summary in summaries:
        steps = range(1, len(summary.rows[0].mae) + 1)
        errors = [summary.median(step - 1) for step in steps]
        lower.plot(steps, errors, color=colors[summary.model], label=f"{summary.model} ({summary.median():,.4g})")
    lower.set_title("Mean absolute error by horizon, median over seeds (mean over horizons in brackets)")
    lower.set_xlabel("steps ahead")
    lower.set_ylabel(f"MAE, {unit}" if unit else "MAE")
    lower.set_ylim(bottom=0)
    lower.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axes in (upper, lower):
        axes.grid(alpha=0.3)
    lower.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    upper.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    with whole_file(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")
    plt.close(figure)


def _draw_forecasts(
    axes: Axes, models: Sequence[str], forecasts: Mapping[str, Forecasts], colors: Mapping[str, str]
) -> None:
    """Draw one forecast after the other from the middle of the period, each a horizon long, of the first component."""
    first = next(iter(forecasts.values()))
    n_forecasts, horizon, _ = first.true.shape
    chosen = np.arange(max(n_forecasts // 2 - 2 * horizon, 0), n_forecasts, horizon)[:4]
    for position, start in enumerate(chosen):
        times = [first.starts[start] + step * first.freq for step in range(horizon)]
        axes.plot(times, first.true[start, :, 0], color="black", linewidth=2, label="truth" if position == 0 else None)
        for model in models:
            axes.plot(
                times,
                forecasts[model].predicted[start, :, 0],
                color=colors[model],
                linewidth=1.3,
                label=model if position == 0 else None,
            )
        axes.axvline(times[0], color="grey", linewidth=0.7, linestyle=":")
