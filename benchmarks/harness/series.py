"""The series of a task as models are given them: scaled, with the covariates that a model is able to use."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from darts import TimeSeries, concatenate
from darts.dataprocessing.transformers import Scaler
from sklearn.preprocessing import StandardScaler

from benchmarks.harness.metrics import mean_of_known, seasonal_naive_error
from benchmarks.harness.scaling import TargetScaling
from benchmarks.harness.task import Period, SeriesColumns, Task
from seq_plugins.forecasting.scaling import moments_of
from seq_plugins.tables.panel import interpolated

# W: forecasts, H: steps forecast, C: target components


@dataclass(frozen=True)
class Inputs:
    """What a model is given: one series, or a list of those of a panel.

    Parameters
    ----------
    series
        Target of each series, from where it begins, with its static covariates.
    past_covariates
        Those known up to the forecast only, of each series, or ``None``.
    future_covariates
        Those known in advance, of each series, or ``None``.
    cannot_take
        Kinds that the task has and the model cannot take, with what was done about it.
    is_list
        Whether the model is given lists.
    weights
        Weights of each series' targets in training, 0 where they were filled and 1 elsewhere; ``None`` if none were.
    """

    series: list[TimeSeries]
    past_covariates: list[TimeSeries] | None
    future_covariates: list[TimeSeries] | None
    cannot_take: list[str]
    is_list: bool = False
    weights: list[TimeSeries] | None = None

    def targets(self, start: pd.Timestamp, end: pd.Timestamp) -> Any:
        """Return the target from `start` to `end`."""
        return self._given([one.slice(max(start, one.start_time()), end) for one in self.series])

    def weights_in(self, start: pd.Timestamp, end: pd.Timestamp) -> Any:
        """Return the weights of the targets from `start` to `end`; ``None`` if all count alike."""
        if self.weights is None:
            return None
        return self._given([one.slice(max(start, one.start_time()), end) for one in self.weights])

    def arguments(self, prefix: str = "", positions: Sequence[int] | None = None) -> dict[str, Any]:
        """Return the covariates as arguments of `fit` and its like, where there are any; of some series, if asked."""
        given = {"past_covariates": self.past_covariates, "future_covariates": self.future_covariates}
        return {
            f"{prefix}{name}": self._given(series if positions is None else [series[i] for i in positions])
            for name, series in given.items()
            if series is not None
        }

    def _given(self, series: list[TimeSeries]) -> TimeSeries | list[TimeSeries]:
        return series if self.is_list else series[0]


class TaskData:
    """The series of a task, standardised over the training period, or divided by the task's `divisors`.

    In a user's panel, the target of each series is standardised by itself, a covariate over all series.

    Parameters
    ----------
    task
        The task; its series are loaded if they are not.
    train
        Training period, if it is not the task's.
    """

    def __init__(self, task: Task, train: Period | None = None) -> None:
        self.task = task.load()
        self.train = task.train if train is None else train
        assert self.task.source is not None  # noqa: S101
        self._source = self.task.source.astype(np.float32)
        task = self.task
        self._scaling = None
        if task.scaling:
            targets = self._source[task.target]
            in_training = targets.slice(self.train.start, self.train.end).values(copy=False)
            self._scaling = TargetScaling(task.scaling, in_training.astype(np.float64))
            scaled = self._scaling.scale(targets.values(copy=False).astype(np.float64))
            self.target = targets.with_values(scaled.astype(np.float32))
        else:
            self.target = self._scaled(task.target)
        self.observed = self.target
        """The target as it was observed, with missing values."""
        if task.next_step_covariates:
            past = self._scaled(task.past_covariates) if task.past_covariates else None
            self.past_covariates: TimeSeries | None = _stacked(past, self._scaled(task.next_step_covariates).shift(-1))
        else:
            self.past_covariates = self._scaled_covariates([one.past_covariates for one in task.columns])
        self.future_covariates = self._scaled_covariates([one.future_covariates for one in task.columns])
        if self._is_interpolated:
            self.target = interpolated(self.target)
            self.past_covariates = self.past_covariates and interpolated(self.past_covariates)
            self.future_covariates = self.future_covariates and interpolated(self.future_covariates, True)
        self._columns = [replace(one, static=static) for one, static in zip(task.columns, self._statics(), strict=True)]

    @property
    def _is_interpolated(self) -> bool:
        return self.task.table is not None and self.task.table.missing == "interpolate"

    def _statics(self) -> list[dict[str, float]]:
        """Return the static covariates of each series, standardised over all of them, as the package does it."""
        raw = [one.static for one in self.task.columns]
        moments = {name: moments_of(np.array([one[name] for one in raw])) for name in raw[0]}
        return [{name: (value - moments[name][0]) / moments[name][1] for name, value in one.items()} for one in raw]

    def _scaled_covariates(self, columns: Sequence[list[str]]) -> TimeSeries | None:
        distinct = list(dict.fromkeys(map(tuple, columns)))
        if not distinct[0]:
            return None
        if len(distinct) == 1:
            return self._scaled(list(distinct[0]))
        series = self._source[[name for of_series in distinct for name in of_series]]
        seen = series.slice(self.train.start, self.train.end).values(copy=False)
        moments = [moments_of(seen[:, place :: len(distinct[0])]) for place in range(len(distinct[0]))]
        mean, deviation = (np.tile([of_one[i] for of_one in moments], len(distinct)) for i in (0, 1))
        return series.with_values(((series.values(copy=False) - mean) / deviation).astype(np.float32))

    def _scaled(self, components: list[str]) -> TimeSeries:
        series = self._source[components]
        if self.task.divisors:
            return series.with_values(series.values(copy=False) / self._divisors(components).astype(np.float32))
        scaler = Scaler(StandardScaler()).fit(series.slice(self.train.start, self.train.end))
        return scaler.transform(series)

    def _divisors(self, components: list[str]) -> np.ndarray:
        return np.array([self.task.divisors.get(name, 1.0) for name in components])

    @property
    def scale(self) -> tuple[np.ndarray, np.ndarray]:
        """Offset and divisor of each target component."""
        if self.task.divisors:
            return np.zeros(len(self.task.target)), self._divisors(self.task.target)
        return self._scale_over(self.train)

    def _scale_over(self, period: Period) -> tuple[np.ndarray, np.ndarray]:
        values = self._source[self.task.target].slice(period.start, period.end).values()
        has_holes = np.isnan(values).any()
        mean, deviation = (np.nanmean, np.nanstd) if has_holes else (np.mean, np.std)
        found = deviation(values, axis=0)
        return mean(values, axis=0), np.where(found == 0, 1, found)  # as scikit-learn has it

    def in_error_units(self, scaled: np.ndarray) -> np.ndarray:
        """Return values in the unit of the errors: the target's, unless the task says that they stay standardised.

        Parameters
        ----------
        scaled
            Values whose last axis is the components.
        """
        if self.task.is_standardised and self.train == self.task.train:
            return scaled
        if self._scaling is not None:
            return self._scaling.restore(scaled.astype(np.float64))
        mean, deviation = self.scale
        restored = scaled * deviation + mean
        if self.task.is_standardised:  # in the unit of the task, whatever a fold was trained on
            mean, deviation = self._scale_over(self.task.train)
            return (restored - mean) / deviation
        return restored

    def first_input(self, period: Period) -> pd.Timestamp:
        """Return the time one input chunk before `period`: with what follows, all forecast steps lie in the period."""
        return max(period.start - self.task.input_chunk_length * self.target.freq, self.target.start_time())

    def truth(self, period: Period) -> np.ndarray:
        """Return what came true at each step of each forecast of `period`, `(W, H, C)`, in the unit of the errors.

        It is NaN where nothing was observed. Where gaps were interpolated, it is so of forecasts that start within one,
        too: what it was filled with has seen its end.
        """
        horizon = self.task.output_chunk_length
        observed = self.in_error_units(self.observed.slice(period.start, period.end).values(copy=False))
        windows = np.lib.stride_tricks.sliding_window_view(observed, horizon, axis=0)  # -> (W, C, H)
        found = windows.transpose(0, 2, 1)[:: self.task.stride]
        if self._is_interpolated:
            newest = self.target.time_index.get_loc(period.start) - 1 + self.task.stride * np.arange(len(found))
            found = np.where(self._are_known[newest][:, None], found, np.nan)
        return found

    @property
    def _are_known(self) -> np.ndarray:
        """Whether each target, and all past covariates of its series, were observed, `(T, C)`."""
        known = []
        for one in self.task.columns:
            of_past = np.isfinite(self._source[one.past_covariates].values(copy=False)) if one.past_covariates else True
            known.append(
                np.isfinite(self._source[one.target].values(copy=False)) & np.all(of_past, axis=-1, keepdims=True)
            )
        return np.concatenate(known, axis=1)

    def naive_error_in(self, period: Period) -> float:
        """Return the mean absolute error of the seasonal naive forecasts of `period`, in the unit of the errors.

        It is NaN where the series holds no whole season before.
        """
        horizon, season = self.task.output_chunk_length, self.task.season_length
        if period.start - season * self.target.freq < self.target.start_time():
            return float("nan")
        seen = self._filled(self.observed) if self.task.has_gaps else self.observed
        seen = seen.slice(period.start - season * self.target.freq, period.end)
        known = self.in_error_units(seen.values(copy=False))
        starts = np.arange(season, len(known) - horizon + 1, self.task.stride)[:, None]
        naive = known[starts - season + np.arange(horizon) % season]
        return mean_of_known(np.abs(self.truth(period) - naive))

    def naive_error(self) -> np.ndarray:
        """Return the seasonal naive forecast's mean absolute error on the training period, `(C,)`."""
        values = self.observed.slice(self.train.start, self.train.end).values(copy=False)
        return seasonal_naive_error(self.in_error_units(values), self.task.season_length)

    def inputs_of(
        self, model: Any, independent: bool = False, by_component: bool = False, fills: bool = False
    ) -> Inputs:
        """Return what `model` is able to use.

        A model that takes no future covariates, but past ones, is given the known future as past covariates shifted by
        the horizon: at the forecast it has seen what is known of every step forecast, like the others. A model that
        cannot deal with missing values or short histories is given filled ones, by what was known before: a gap has
        the values of the season before, and a series that is too short starts earlier with its first value.

        Parameters
        ----------
        model
            The untrained model.
        independent
            Whether to leave out future covariates that follow from the others, such as the last of several indicators.
        by_component
            Whether each target component is a series of its own.
        fills
            Whether the model cannot deal with missing values.
        """
        target, past, future = self.target, self.past_covariates, self.future_covariates
        columns, cannot_take = self._columns, []
        if past is not None and not model.supports_past_covariates:
            cannot_take.append("past covariates")
            past, columns = None, [replace(one, past_covariates=[]) for one in columns]
        if future is not None and not model.supports_future_covariates:
            cannot_take.append("future covariates")
            if model.supports_past_covariates:
                cannot_take = ["future covariates (given as past covariates, shifted by the horizon)"]
                past = _stacked(past, future.shift(-self.task.output_chunk_length))
                columns = [
                    replace(one, past_covariates=[*one.past_covariates, *one.future_covariates]) for one in columns
                ]
            future = None
        if future is not None and independent:
            columns = self._independent(future, columns)
            future = future[list(dict.fromkeys(name for one in columns for name in one.future_covariates))]
        if columns[0].static and not model.supports_static_covariates:
            cannot_take.append("static covariates")
            columns = [replace(one, static={}) for one in columns]
        if by_component:
            columns = [replace(one, target=[name]) for one in columns for name in one.target]
        weights, begins = None, [self._begin(one) for one in columns]
        if fills and self.task.has_gaps:
            weights = target.with_values(np.isfinite(self.observed.values(copy=False)).astype(np.float32))
            target = self._filled(target)
            past, future = (given and self._filled(given) for given in (past, future))
            needed = max(self.task.input_chunk_length + self.task.output_chunk_length, model.min_train_series_length)
            latest = self.train.end - (needed - 1) * self.target.freq
            earlier = [max(min(begin, latest), self.target.start_time()) for begin in begins]
            kinds = ["missing values"] * self._has_holes(columns, begins) + ["short histories"] * (earlier != begins)
            if kinds:
                cannot_take.append(f"{' and '.join(kinds)} (filled by what was known before, and never scored)")
            begins = earlier

        def of_each(wide: TimeSeries | None, kind: str) -> list[TimeSeries] | None:
            return None if wide is None else [wide[getattr(one, kind)] for one in columns]

        series = [
            target[one.target]
            .slice(begin, target.end_time())
            .with_static_covariates(pd.DataFrame([one.static]) if one.static else None)
            for one, begin in zip(columns, begins, strict=True)
        ]
        return Inputs(
            series,
            of_each(past, "past_covariates"),
            of_each(future, "future_covariates"),
            cannot_take,
            self.task.is_panel or by_component,
            None
            if weights is None
            else [weights[one.target].slice_intersect(own) for one, own in zip(columns, series, strict=True)],
        )

    def _begin(self, one: SeriesColumns) -> pd.Timestamp:
        """Return the time of a series' first observation."""
        is_known = np.isfinite(self._source[one.target].values(copy=False)).any(axis=1)
        return self._source.time_index[int(np.argmax(is_known))]

    def _has_holes(self, columns: Sequence[SeriesColumns], begins: Sequence[pd.Timestamp]) -> bool:
        """Return whether values are missing in the series after they have begun."""
        for one, begin in zip(columns, begins, strict=True):
            seen = self._source[[*one.target, *one.past_covariates, *one.future_covariates]]
            if np.isnan(seen.slice(begin, seen.end_time()).values(copy=False)).any():
                return True
        return False

    def _filled(self, series: TimeSeries) -> TimeSeries:
        return series.with_values(fill(series.values(copy=False), self.task.season_length))

    def _independent(self, series: TimeSeries, columns: Sequence[SeriesColumns]) -> list[SeriesColumns]:
        """Return the columns without those that follow, with a constant, from those before them in training."""
        seen = series.slice(self.train.start, self.train.end)
        distinct = dict.fromkeys(tuple(one.future_covariates) for one in columns)
        values = np.concatenate([seen[list(names)].values(copy=False) for names in distinct])
        values = values[np.isfinite(values).all(axis=1)]
        kept: list[int] = []
        for column in range(values.shape[1]):
            chosen = np.column_stack([np.ones(len(values)), values[:, [*kept, column]]])
            if np.linalg.matrix_rank(chosen, tol=1e-3) == chosen.shape[1]:
                kept.append(column)
        return [replace(one, future_covariates=[one.future_covariates[place] for place in kept]) for one in columns]


def fill(values: np.ndarray, season_length: int) -> np.ndarray:
    """Return values with those that are missing filled by what was known before.

    That is the value of the season before or, where there is none, the last one; before the first it is the first, and
    0, the mean, where nothing was ever known.

    Parameters
    ----------
    values
        Values, `(T, K)`; missing ones are NaN.
    season_length
        Time steps of a season.
    """
    filled = values.copy()
    for row in np.flatnonzero(np.isnan(values).any(axis=1)):
        for lag in (season_length, 1):
            if row >= lag:
                filled[row] = np.where(np.isnan(filled[row]), filled[row - lag], filled[row])
    is_known = ~np.isnan(filled)
    first = filled[is_known.argmax(axis=0), np.arange(values.shape[1])]
    return np.where(is_known, filled, np.where(is_known.any(axis=0), first, 0)).astype(values.dtype)


def _stacked(first: TimeSeries | None, second: TimeSeries) -> TimeSeries:
    if first is None:
        return second
    return concatenate([first.slice_intersect(second), second.slice_intersect(first)], axis=1)
