"""What is behind a model's mean error: when and where it errs, whether it leans to a side, and its worst forecasts.

Truths that are missing are NaN, and count nowhere.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.backtest.tables import number
from benchmarks.harness.forecasts import PeriodForecasts
from benchmarks.harness.metrics import absolute_errors, mean_of_known, where_known
from benchmarks.harness.task import Task
from seq_plugins.tables.times import local_times

# W: forecasts, H: steps forecast, C: target components, Q: quantile levels, G: categories of a grouping

N_CATEGORIES = 8
"""Number of values up to which a covariate's values are categories; with more, they are put into fifths."""

N_WORST = 5
"""Number of worst forecasts that are told of each model."""

MAX_LAG = 60
"""Largest lag of autocorrelations."""

_WEEKDAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]


@dataclass(frozen=True)
class Grouping:
    """What the steps forecast are grouped by.

    Parameters
    ----------
    title
        What it is, such as a covariate's name.
    labels
        Names of its categories.
    codes
        Category of each step of each forecast, `(W, H, C)`, or `(W, H, 1)` where it is that of all components; -1
        where there is none.
    """

    title: str
    labels: list[str]
    codes: np.ndarray

    def counts(self, true: np.ndarray) -> np.ndarray:
        """Return the number of truths in each category, `(G,)`, over steps, forecasts and components, `(W, H, C)`."""
        return self._sums(true, np.isfinite(true))

    def means(self, values: np.ndarray) -> np.ndarray:
        """Return the mean of what is known of `values`, `(W, H, C)`, in each category, `(G,)`."""
        known = np.isfinite(values)
        sums, counts = self._sums(values, np.where(known, values, 0)), self._sums(values, known)
        return np.divide(sums, counts, out=np.full(len(self.labels), np.nan), where=counts > 0)

    def _sums(self, values: np.ndarray, weights: np.ndarray) -> np.ndarray:
        found = np.zeros(len(self.labels))
        for component in range(values.shape[2]):
            codes = self.codes[..., min(component, self.codes.shape[2] - 1)]
            chosen = codes >= 0
            found += np.bincount(codes[chosen], weights=weights[..., component][chosen], minlength=len(self.labels))
        return found


@dataclass(frozen=True)
class Diagnostics:
    """What is behind the mean error of a model in a test period; means over its seeds.

    Parameters
    ----------
    by_category
        Mean absolute error in the categories of each grouping, `(G,)` each.
    bias
        Mean of forecast less truth at each step ahead, `(H,)`.
    autocorrelation
        That of the errors one step ahead, from lag 1 on; mean over components; empty if there are few forecasts.
    reached
        Share of truths at or below each forecast quantile, `(Q,)`; ``None`` of point forecasts.
    by_component
        Mean absolute error of each target component, `(C,)`.
    of_forecasts
        Mean absolute error of each forecast of each component, `(W, C)`.
    """

    by_category: list[np.ndarray]
    bias: np.ndarray
    autocorrelation: np.ndarray
    reached: np.ndarray | None
    by_component: np.ndarray
    of_forecasts: np.ndarray


def time_positions(task: Task, starts: np.ndarray) -> np.ndarray:
    """Return the positions in the task's series of each step forecast, `(W, H)`.

    Parameters
    ----------
    task
        The task, with its series.
    starts
        Times of the first steps forecast, `(W,)`.
    """
    assert task.source is not None  # noqa: S101
    first = task.source.time_index.get_indexer(pd.DatetimeIndex(starts))
    return first[:, None] + np.arange(task.output_chunk_length)


def find_groupings(task: Task, starts: np.ndarray) -> list[Grouping]:
    """Return what errors can be told by: hour, weekday and month, where they vary, and each covariate.

    Parameters
    ----------
    task
        The task, with its series.
    starts
        Times of the first steps forecast, `(W,)`.
    """
    return [grouping for grouping in _groupings(task, starts) if len(grouping.labels) > 1]


def _groupings(task: Task, starts: np.ndarray) -> Iterator[Grouping]:
    assert task.source is not None  # noqa: S101
    positions = time_positions(task, starts)
    if task.numbers is None:
        times: Any = local_times(task.source.time_index, task.zone)
        named = {"hour": (times.hour, [f"{hour:02}" for hour in range(24)])}
        if (times[1:] - times[:-1]).min() <= pd.Timedelta(days=3):  # Monday follows Friday on business days
            named["weekday"] = (times.weekday, _WEEKDAYS)
        named["month"] = (times.month - 1, _MONTHS)
        for title, (of_times, labels) in named.items():
            yield _present(title, labels, np.asarray(of_times)[positions][..., None])
    calendar = tuple(f"{attribute}_" for attribute in task.calendar)
    columns = [[*one.past_covariates, *one.future_covariates] for one in task.columns]
    names = [*task.past_covariates, *task.next_step_covariates, *task.future_covariates]
    for name, *of_series in zip(names, *columns, strict=True):
        if not (calendar and name.startswith(calendar)):  # they say what the dates say
            values = task.source[list(dict.fromkeys(of_series))].values(copy=False).astype(np.float64)
            repeated = np.repeat(values, len(task.columns[0].target) if values.shape[1] > 1 else 1, axis=1)
            yield _by_value(name, repeated[positions])


def _present(title: str, labels: Sequence[str], codes: np.ndarray) -> Grouping:
    """Return a grouping whose categories all occur."""
    found = np.unique(codes[codes >= 0])
    numbers = np.full(len(labels) + 1, -1)  # the last is that of -1
    numbers[found] = np.arange(len(found))
    return Grouping(title, [labels[code] for code in found], numbers[codes])


def _by_value(title: str, values: np.ndarray) -> Grouping:
    """Return a grouping by the values of a covariate, `(W, H, C)` or `(W, H, 1)`."""
    known = ~np.isnan(values)
    distinct = np.unique(values[known])
    codes = np.full(values.shape, -1)
    if len(distinct) <= N_CATEGORIES:
        codes[known] = np.searchsorted(distinct, values[known])
        return Grouping(title, [f"{value:.6g}" for value in distinct], codes)
    edges = np.unique(np.quantile(values[known], np.linspace(0, 1, 6)))
    codes[known] = np.clip(np.searchsorted(edges, values[known], side="right") - 1, 0, len(edges) - 2)
    labels = [f"{number(low)} to {number(high)}" for low, high in pairwise(edges)]
    return _present(title, labels, codes)


def diagnose(
    true: np.ndarray, forecasts: Sequence[PeriodForecasts], groupings: Sequence[Grouping], scale: np.ndarray
) -> Diagnostics:
    """Return what is behind the errors of a model.

    Parameters
    ----------
    true
        What came true, `(W, H, C)`.
    forecasts
        Forecasts of each seed.
    groupings
        What the errors are told by.
    scale
        What errors are divided by, `(C,)`.
    """
    of_seeds = [_diagnose(true, of_seed, groupings, scale) for of_seed in forecasts]
    reached = [found.reached for found in of_seeds if found.reached is not None]
    return Diagnostics(
        [np.mean(of_grouping, axis=0) for of_grouping in zip(*(found.by_category for found in of_seeds), strict=True)],
        np.mean([found.bias for found in of_seeds], axis=0),
        np.mean([found.autocorrelation for found in of_seeds], axis=0),
        np.mean(reached, axis=0) if reached else None,
        np.mean([found.by_component for found in of_seeds], axis=0),
        np.mean([found.of_forecasts for found in of_seeds], axis=0),
    )


def _diagnose(
    true: np.ndarray, forecasts: PeriodForecasts, groupings: Sequence[Grouping], scale: np.ndarray
) -> Diagnostics:
    absolute = absolute_errors(true, forecasts.predicted) / scale  # -> (W, H, C)
    errors = (forecasts.predicted.astype(np.float64) - true) / scale
    reached = None
    if forecasts.quantiles is not None:
        below = true[..., None] <= forecasts.quantiles
        reached = mean_of_known(where_known(below, true[..., None]), axis=(0, 1, 2))
    return Diagnostics(
        [grouping.means(absolute) for grouping in groupings],
        mean_of_known(errors, axis=(0, 2)),
        autocorrelation(errors[:, 0]),
        reached,
        mean_of_known(absolute, axis=(0, 1)),
        mean_of_known(absolute, axis=1),
    )


def autocorrelation(values: np.ndarray) -> np.ndarray:
    """Return the autocorrelation from lag 1 on, the mean over components; empty of fewer than twelve values.

    A missing value has no part in it, as if it were the mean.

    Parameters
    ----------
    values
        Values in order of time, `(W, C)`.
    """
    if len(values) < 12:
        return np.empty(0)
    centred = np.nan_to_num(values - mean_of_known(values, axis=0))
    squares = np.maximum(np.square(centred).sum(axis=0), np.finfo(np.float64).tiny)
    lags = range(1, min(MAX_LAG, len(values) // 4) + 1)
    return np.array([((centred[lag:] * centred[:-lag]).sum(axis=0) / squares).mean() for lag in lags])


def worst_forecasts(of_forecasts: np.ndarray, n_overlapping: int) -> list[tuple[int, int]]:
    """Return forecast and component where errors are largest, the worst first, no two of which overlap.

    Parameters
    ----------
    of_forecasts
        Mean absolute error of each forecast of each component, `(W, C)`.
    n_overlapping
        Number of forecasts in a row that share steps.
    """
    left = np.where(np.isnan(of_forecasts), -np.inf, of_forecasts)
    chosen: list[tuple[int, int]] = []
    while len(chosen) < N_WORST and np.isfinite(left).any():
        forecast, component = np.unravel_index(np.nanargmax(left), left.shape)
        chosen.append((int(forecast), int(component)))
        left[max(forecast - n_overlapping + 1, 0) : forecast + n_overlapping, component] = -np.inf
    return chosen
