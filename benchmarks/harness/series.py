"""The series of a task as models are given them: scaled, with the covariates that a model is able to use."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from darts import TimeSeries
from darts.dataprocessing.transformers import Scaler
from sklearn.preprocessing import StandardScaler

from benchmarks.harness.metrics import seasonal_naive_error
from benchmarks.harness.scaling import TargetScaling
from benchmarks.harness.task import Period, Task

# W: forecasts, H: steps forecast, C: target components


@dataclass(frozen=True)
class Inputs:
    """Covariates that a model is given.

    Parameters
    ----------
    past_covariates
        Those known up to the forecast only, or ``None``.
    future_covariates
        Those known in advance, or ``None``.
    cannot_take
        Kinds that the task has and the model cannot take, with what was done about it.
    """

    past_covariates: TimeSeries | None
    future_covariates: TimeSeries | None
    cannot_take: list[str]

    def arguments(self, prefix: str = "", copies: int | None = None) -> dict[str, Any]:
        """Return them as arguments of `fit` and its like, where there are any: once, or in a list of `copies`."""
        given = {"past_covariates": self.past_covariates, "future_covariates": self.future_covariates}
        return {
            f"{prefix}{name}": series if copies is None else [series] * copies
            for name, series in given.items()
            if series is not None
        }


class TaskData:
    """The series of a task, standardised over the training period, or divided by the task's `divisors`.

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
        self.past_covariates = self._scaled(task.past_covariates) if task.past_covariates else None
        if task.next_step_covariates:
            self.past_covariates = _stacked(self.past_covariates, self._scaled(task.next_step_covariates).shift(-1))
        self.future_covariates = self._scaled(task.future_covariates) if task.future_covariates else None

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

    def targets_in(self, period: Period) -> TimeSeries:
        """Return the target from one input chunk before `period` to its end: all forecast steps lie in the period."""
        first_input = period.start - self.task.input_chunk_length * self.target.freq
        return self.target.slice(first_input, period.end)

    def truth(self, period: Period) -> np.ndarray:
        """Return what came true at each step of each forecast of `period`, `(W, H, C)`, in the unit of the errors."""
        horizon = self.task.output_chunk_length
        observed = self.in_error_units(self.target.slice(period.start, period.end).values(copy=False))
        windows = np.lib.stride_tricks.sliding_window_view(observed, horizon, axis=0)  # -> (W, C, H)
        return windows.transpose(0, 2, 1)[:: self.task.stride]

    def naive_error_in(self, period: Period) -> float:
        """Return the mean absolute error of the seasonal naive forecasts of `period`, in the unit of the errors.

        It is NaN where the series holds no whole season before.
        """
        horizon, season = self.task.output_chunk_length, self.task.season_length
        if period.start - season * self.target.freq < self.target.start_time():
            return float("nan")
        seen = self.target.slice(period.start - season * self.target.freq, period.end)
        observed = self.in_error_units(seen.values(copy=False))
        starts = np.arange(season, len(observed) - horizon + 1, self.task.stride)[:, None]
        ahead = np.arange(horizon)
        naive = observed[starts - season + ahead % season]
        return float(np.abs(observed[starts + ahead] - naive).mean())

    def naive_error(self) -> np.ndarray:
        """Return the seasonal naive forecast's mean absolute error on the training period, `(C,)`."""
        values = self.target.slice(self.train.start, self.train.end).values(copy=False)
        return seasonal_naive_error(self.in_error_units(values), self.task.season_length)

    def inputs_of(self, model: Any, independent: bool = False) -> Inputs:
        """Return the covariates that `model` is able to use.

        A model that takes no future covariates, but past ones, is given the known future as past covariates shifted by
        the horizon: at the forecast it has seen what is known of every step forecast, like the others.

        Parameters
        ----------
        model
            The untrained model.
        independent
            Whether to leave out future covariates that follow from the others, such as the last of several indicators.
        """
        past = self.past_covariates if model.supports_past_covariates else None
        future = self.future_covariates if model.supports_future_covariates else None
        cannot_take = []
        if self.past_covariates is not None and past is None:
            cannot_take.append("past covariates")
        if self.future_covariates is not None and future is None:
            cannot_take.append("future covariates")
            if model.supports_past_covariates:
                cannot_take = ["future covariates (given as past covariates, shifted by the horizon)"]
                shifted = self.future_covariates.shift(-self.task.output_chunk_length)
                past = _stacked(past, shifted)
        if future is not None and independent:
            future = self._independent(future)
        return Inputs(past, future, cannot_take)

    def _independent(self, series: TimeSeries) -> TimeSeries:
        """Return the components that do not follow, with a constant, from those before them in the training period."""
        values = series.slice(self.train.start, self.train.end).values(copy=False)
        kept: list[int] = []
        for column in range(values.shape[1]):
            chosen = np.column_stack([np.ones(len(values)), values[:, [*kept, column]]])
            if np.linalg.matrix_rank(chosen, tol=1e-3) == chosen.shape[1]:
                kept.append(column)
        return series[[series.components[column] for column in kept]]


def _stacked(first: TimeSeries | None, second: TimeSeries) -> TimeSeries:
    return second if first is None else first.slice_intersect(second).stack(second.slice_intersect(first))
