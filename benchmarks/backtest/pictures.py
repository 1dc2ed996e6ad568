"""Pictures of a backtest: ranking, error by horizon, forecasts against truth, training curves."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from benchmarks.backtest.evaluation import ShownForecast
from benchmarks.backtest.tables import ERROR_HEADS, ModelSummary

OURS, RIVAL, TRUTH = "#c8102e", "#5b6770", "#000000"


def draw_ranking(summaries: Sequence[ModelSummary], unit: str) -> Figure:
    """Return a picture of every model's mean error: the median over seeds, and each seed.

    Parameters
    ----------
    summaries
        Summaries of one period, the best model first.
    unit
        Unit of the errors.
    """
    figure = Figure(figsize=(9, 0.8 + 0.27 * len(summaries)), layout="constrained")
    axes = figure.subplots()
    for position, summary in enumerate(summaries):
        color = OURS if summary.rows[0].is_ours else RIVAL
        seeds = summary.errors()
        axes.plot(seeds, [position] * len(seeds), "o", color=color, alpha=0.35, markersize=5)
        axes.plot([summary.ranking], [position], "|", color=color, markersize=14, markeredgewidth=2.5)
    axes.set_yticks(range(len(summaries)), [summary.name for summary in summaries])
    axes.invert_yaxis()
    ranked_by = summaries[0].ranked_by
    name = ERROR_HEADS.get(ranked_by, f"MAE{', ' + unit if unit else ''}")
    axes.set_xlabel(f"{name}, mean over the horizon")
    axes.grid(axis="x", alpha=0.3)
    return figure


def draw_horizon(summaries: Sequence[ModelSummary], unit: str) -> Figure:
    """Return a picture of the error at each step ahead.

    Parameters
    ----------
    summaries
        Summaries of one period, the best model first.
    unit
        Unit of the errors.
    """
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axes = figure.subplots()
    styles = [line + color for line in ("-", "--", ":") for color in ("C0", "C1", "C2", "C3", "C4")]
    for style, summary in zip(styles, summaries, strict=False):
        steps = range(1, len(summary.rows[0].mae) + 1)
        axes.plot(
            steps,
            [summary.median(step - 1) for step in steps],
            color=style.lstrip("-:"),
            linestyle=style.removesuffix(style.lstrip("-:")),
            label=summary.name,
            linewidth=2.2 if summary.rows[0].is_ours else 1.3,
        )
    axes.set_xlabel("steps ahead")
    axes.set_ylabel(f"MAE{', ' + unit if unit else ''}")
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    return figure


def draw_forecasts(shown: Mapping[str, Sequence[ShownForecast]], freq: Any, unit: str) -> Figure:
    """Return pictures of some forecasts beside what came true, of the first component.

    Parameters
    ----------
    shown
        The same forecasts of several models, by name, the best model first.
    freq
        Frequency of the series, a pandas offset.
    unit
        Unit of the target.
    """
    first = next(iter(shown.values()))
    n_rows = -(-len(first) // 2)
    figure = Figure(figsize=(10.5, 3.1 * n_rows), layout="constrained")
    grid = figure.subplots(n_rows, min(len(first), 2), squeeze=False)
    for position, axes in zip(range(len(first)), grid.flat, strict=False):
        times = np.array(_times(first[position].start, freq, len(first[position].true)))
        axes.plot(times, first[position].true[:, 0], color=TRUTH, linewidth=2, label="truth")
        for number, (name, forecasts) in enumerate(shown.items()):
            forecast = forecasts[position]
            axes.plot(times, forecast.predicted[:, 0], color=f"C{number}", linewidth=1.4, label=name)
            if forecast.low is not None and forecast.high is not None:
                axes.fill_between(
                    times, forecast.low[:, 0], forecast.high[:, 0], color=f"C{number}", alpha=0.15, linewidth=0
                )
        locator = AutoDateLocator(minticks=3, maxticks=10)
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
        axes.grid(alpha=0.3)
    grid[0, 0].set_ylabel(unit)
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), frameon=False)
    return figure


def _times(start: np.datetime64, freq: Any, length: int) -> list[np.datetime64]:
    return list(pd.date_range(start, periods=length, freq=freq).to_numpy())


def draw_curves(curves: Mapping[str, Sequence[tuple[Sequence[float], Sequence[float]]]]) -> Figure:
    """Return pictures of the validation loss, and of the loss of each epoch's last batch, after every epoch.

    Parameters
    ----------
    curves
        Losses in training and validation, one pair a fit, by model.
    """
    n_rows = -(-len(curves) // 4)
    figure = Figure(figsize=(10.5, 1.9 * n_rows), layout="constrained")
    grid = figure.subplots(n_rows, 4, squeeze=False)
    for axes in grid.flat:
        axes.set_visible(False)
    for axes, (model, of_model) in zip(grid.flat, curves.items(), strict=False):
        axes.set_visible(True)
        for train, validation in of_model:
            epochs = range(1, len(validation) + 1)
            axes.plot(epochs, train, color=RIVAL, linewidth=0.6, alpha=0.7)
            axes.plot(epochs, validation, color=OURS, linewidth=1.1)
        validated = [loss for _, validation in of_model for loss in validation if np.isfinite(loss)]
        highest = max(validated or [loss for train, _ in of_model for loss in train if np.isfinite(loss)], default=1)
        axes.set_ylim(0, highest * 1.05)
        axes.set_title(model, fontsize=9)
        axes.tick_params(labelsize=7)
        axes.grid(alpha=0.3)
    return figure
