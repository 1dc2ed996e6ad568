"""Result rows: one a model, seed and test period, with what is needed to run it again."""

import json
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.core.errors import UserError
from benchmarks.core.versions import versions
from benchmarks.harness.entries import label
from benchmarks.harness.forecasts import PeriodForecasts, RunResult, join_folds, mean_forecasts
from benchmarks.harness.metrics import absolute_errors, mean_of_known, measure, revision
from benchmarks.harness.plan import Plan, Run, is_updated
from benchmarks.harness.series import TaskData
from benchmarks.harness.task import Period, Task, folder_of_data


@dataclass(frozen=True)
class BacktestRow:
    """One result.

    Parameters
    ----------
    task
        Name of the task.
    model
        Name of the model.
    seed
        Seed of the training, or ``None`` where nothing is random or several seeds are averaged.
    candidate
        Settings that were tried; empty if none were.
    period
        Name of the test period.
    members
        Seeds whose forecasts were averaged, if it is an ensemble.
    is_ours
        Whether the model is one of this package.
    published_in
        Where the result is published, if it was not run here.
    mae, rmse, mase, smape, crps, coverage
        Errors at each step forecast, NaN where nothing came true; see :class:`benchmarks.harness.metrics.Errors`. The
        last two are of quantiles.
    mae_by_component
        Mean absolute error of each target component at each step forecast; empty of a panel.
    means
        Means of the errors over all steps forecast, of those that are known; beside those above, ``rmae``, the mean
        absolute error relative to that of the seasonal naive forecast of the same steps; ``owa``, where the task has
        errors of Naive2: the mean of sMAPE and MASE relative to those, as in the M4 competition; and ``revision``,
        where forecasts overlap: the mean absolute change of the forecast of a date from one forecast to the next.
    mse
        Mean squared error over all steps forecast.
    quantile_levels
        Levels of the quantiles forecast.
    n_forecasts
        Number of forecasts.
    early_stopping_error
        Mean absolute error over the early-stopping period; of series or units unlike, in units of the seasonal naive
        forecast's.
    evaluations
        How often the model, with this candidate and seed, has been evaluated on the test period: those that the task
        tells of from before evaluations were counted, those of earlier results beside this folder, and this one.
    n_fits
        Number of fits from scratch: more than one in a backtest that refits.
    retrain_every
        Number of forecasts after which the model was fitted anew, or updated.
    warm_epochs
        Number of epochs of an update; ``None`` if the model was fitted anew.
    fit_seconds
        Seconds that fitting took, and updating.
    predict_seconds
        Seconds that the period's forecasts took; those of a statistical model include its refits.
    n_parameters
        Number of a network's weights.
    n_epochs
        Number of epochs trained, in all fits.
    best_epoch
        Epoch, counted from 1, whose weights were kept; ``None`` of several fits.
    covariates
        Kinds of covariates that the model was given.
    cannot_take
        Kinds of covariates that the task has and the model cannot take.
    model_settings
        Settings of the model.
    task_settings
        Settings of the task.
    threads
        Number of threads.
    versions
        Versions of Python and of the packages that matter.
    error
        What went wrong, or ``None``.
    """

    task: str
    model: str
    seed: int | None
    candidate: dict[str, Any] = field(default_factory=dict)
    period: str | None = None
    members: list[int] = field(default_factory=list)
    is_ours: bool = False
    published_in: str | None = None
    mae: list[float] = field(default_factory=list)
    rmse: list[float] = field(default_factory=list)
    mase: list[float] = field(default_factory=list)
    smape: list[float] = field(default_factory=list)
    crps: list[float] | None = None
    coverage: list[float] | None = None
    mae_by_component: dict[str, list[float]] = field(default_factory=dict)
    means: dict[str, float] = field(default_factory=dict)
    mse: float | None = None
    quantile_levels: list[float] = field(default_factory=list)
    n_forecasts: int = 0
    early_stopping_error: float | None = None
    evaluations: int = 0
    n_fits: int = 0
    retrain_every: int | None = None
    warm_epochs: int | None = None
    fit_seconds: float | None = None
    predict_seconds: float | None = None
    n_parameters: int | None = None
    n_epochs: int | None = None
    best_epoch: int | None = None
    covariates: list[str] = field(default_factory=list)
    cannot_take: list[str] = field(default_factory=list)
    model_settings: dict[str, Any] = field(default_factory=dict)
    task_settings: dict[str, Any] = field(default_factory=dict)
    threads: int = 0
    versions: dict[str, str] = field(default_factory=dict)
    error: str | None = None

    @property
    def label(self) -> str:
        """Name in tables: that of the model, and behind it the settings that were tried."""
        return label(self.model, self.candidate)

    @property
    def mean_mae(self) -> float:
        """Mean of the absolute errors over all steps forecast."""
        return statistics.fmean(self.mae)

    def to_json(self) -> str:
        """Return the row as a line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> "BacktestRow":
        """Return the row of a line of JSON.

        Raises
        ------
        ValueError
            If it is not one.
        """
        entries = json.loads(line)
        names = {entry.name for entry in fields(cls)}
        if not isinstance(entries, dict) or not {"task", "model", "seed"} <= entries.keys() <= names:
            raise ValueError("it is no row of this version of the benchmarks")
        return cls(**entries)


def start_row(plan: Plan, run: Run) -> BacktestRow:
    """Return what is known of a run's rows before it is made."""
    return BacktestRow(
        task=plan.task.name,
        model=run.model,
        candidate=dict(run.candidate),
        seed=run.seed,
        is_ours=run.entry.is_ours,
        retrain_every=plan.retrain_every,
        warm_epochs=plan.warm_epochs if is_updated(plan, run.entry) else None,
        threads=plan.threads,
        versions=versions(),
        model_settings=run.entry.settings_in(plan.task).plain(),
        task_settings=plan.task.settings(),
    )


class RowMaker:
    """Makes rows of forecasts.

    Parameters
    ----------
    plan
        What all runs share.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        data = TaskData(plan.task)
        self.naive_error = data.naive_error()
        """Mean absolute error of the seasonal naive forecast on the training period, `(C,)`."""
        self.scale = self.naive_error if plan.task.is_scaled else np.ones(len(plan.task.target))
        """What errors are divided by to be compared, `(C,)`."""
        self._relative_to = {period.name: data.naive_error_in(period) for period in plan.task.tests}
        self.truth = {period.name: data.truth(period) for period in plan.task.tests}
        """What came true in each test period, `(W, H, C)`."""
        self.not_found: list[Path] = []
        """Files of published forecasts that are not there."""
        self.published = list(self._published_rows(folder_of_data()))
        """Rows of what others have published for the task; those of forecasts whose file is not there are left out."""

    def make_rows(
        self, runs: Sequence[Run], results: Sequence[RunResult], evaluations: Mapping[str, int]
    ) -> list[BacktestRow]:
        """Return the rows of a model and seed: one for each test period.

        Parameters
        ----------
        runs
            All runs of the model and seed.
        results
            What they gave, in the same order.
        evaluations
            How often the model has been evaluated on each period.
        """
        rows = []
        for period in self._plan.task.tests:
            of_period = [
                result for run, result in zip(runs, results, strict=True) if period.name in _names(run.tests)
            ]  # fmt: skip
            forecasts = [next(made for made in result.forecasts if made.period == period.name) for result in of_period]
            stopping = [result.early_stopping_error for result in of_period if result.early_stopping_error is not None]
            first = of_period[0]
            row = replace(
                start_row(self._plan, runs[0]),
                period=period.name,
                early_stopping_error=statistics.fmean(stopping) if stopping else None,
                evaluations=evaluations[period.name],
                n_fits=len(of_period),
                fit_seconds=sum(result.fit_seconds for result in of_period),
                predict_seconds=sum(made.seconds for made in forecasts),
                n_parameters=first.n_parameters,
                n_epochs=None if first.n_epochs is None else sum(result.n_epochs or 0 for result in of_period),
                best_epoch=first.best_epoch if len(of_period) == 1 else None,
                covariates=first.covariates,
                cannot_take=first.cannot_take,
            )
            rows.append(self.with_errors(row, join_folds(forecasts)))
        return rows

    def _published_rows(self, folder: Path | None) -> Iterator[BacktestRow]:
        task = self._plan.task
        for published in task.published:
            path = (folder or Path()) / published.file
            if published.file and not path.is_file():
                self.not_found += [path] if path not in self.not_found else []
                continue
            settings = task.settings()
            row = BacktestRow(task.name, published.model, None, published_in=published.source, task_settings=settings)
            for period in task.tests:
                of_period = replace(row, period=period.name)
                if published.file:
                    predicted = read_published(path, published.column, task, period)
                    forecasts = PeriodForecasts(period.name, np.array([]), predicted, None, 0.0)
                    yield self.with_errors(of_period, forecasts)
                else:
                    yield replace(of_period, means=dict(published.errors), mse=published.errors.get("mse"))

    def make_ensemble_row(self, rows: Sequence[BacktestRow], forecasts: Sequence[PeriodForecasts]) -> BacktestRow:
        """Return the row of the mean of several seeds' forecasts, quantile by quantile.

        Parameters
        ----------
        rows
            Rows of the seeds, of one model and period.
        forecasts
            Their forecasts.
        """
        seconds = [(row.fit_seconds or 0, row.predict_seconds or 0, row.n_epochs or 0) for row in rows]
        stopping = [row.early_stopping_error for row in rows if row.early_stopping_error is not None]
        row = replace(
            rows[0],
            seed=None,
            members=[row.seed for row in rows if row.seed is not None],
            early_stopping_error=statistics.fmean(stopping) if stopping else None,
            evaluations=max(row.evaluations for row in rows),
            n_fits=sum(row.n_fits for row in rows),
            fit_seconds=sum(fit for fit, _, _ in seconds),
            predict_seconds=sum(predict for _, predict, _ in seconds),
            n_epochs=sum(epochs for _, _, epochs in seconds),
            best_epoch=None,
        )
        return self.with_errors(row, mean_forecasts(forecasts))

    def error_of_each(self, forecasts: PeriodForecasts) -> np.ndarray:
        """Return the mean absolute error of each forecast, `(W,)`, or the MASE of each series of a panel, `(S,)`.

        Where a task's errors are scaled, those of forecasts are, too. NaN are those of which nothing is known.
        """
        errors = np.abs(forecasts.predicted - self.truth[forecasts.period]) / self.scale  # -> (W, H, C)
        if not self._plan.task.is_panel:
            return np.asarray(mean_of_known(errors, axis=(1, 2)))
        n_targets = len(self._plan.task.columns[0].target)
        return np.asarray(mean_of_known(mean_of_known(errors, axis=(0, 1)).reshape(-1, n_targets), axis=1))

    def with_errors(self, row: BacktestRow, forecasts: PeriodForecasts) -> BacktestRow:
        """Return `row` with the errors of its forecasts."""
        true = self.truth[forecasts.period]
        errors = measure(
            true,
            forecasts.predicted,
            self.naive_error,
            forecasts.quantiles,
            self._plan.levels,
        )
        task = self._plan.task
        by_component = {}
        if not task.is_panel:
            of_each = mean_of_known(absolute_errors(true, forecasts.predicted), axis=0)  # -> (H, C)
            by_component = dict(zip(task.target, of_each.T.tolist(), strict=True))
        given = {name: values for name, values in asdict(errors).items() if values is not None}
        means = {name: float(mean) for name, of in given.items() if np.isfinite(mean := mean_of_known(np.array(of)))}
        if self._relative_to[forecasts.period] > 0:
            means["rmae"] = means["mae"] / self._relative_to[forecasts.period]
        if task.naive2:
            means["owa"] = statistics.fmean(means[name] / naive2 for name, naive2 in task.naive2.items())
        if (revised := revision(forecasts.predicted, task.stride)) is not None:
            means["revision"] = revised
        return replace(
            row,
            **given,
            mae_by_component=by_component,
            means=means,
            mse=float(mean_of_known(np.square(errors.rmse))),
            quantile_levels=list(self._plan.levels) if errors.crps is not None else [],
            n_forecasts=len(forecasts.predicted),
        )


def read_published(path: Path, column: str, task: Task, period: Period) -> np.ndarray:
    """Return published forecasts of a period, `(W, H, 1)`.

    Parameters
    ----------
    path
        CSV file with times in the first column.
    column
        Column of the forecasts.
    task
        The task, whose forecasts do not overlap.
    period
        The period.

    Raises
    ------
    UserError
        If the file has no such column, or does not hold a forecast of every step.
    """
    table = pd.read_csv(path, index_col=0, parse_dates=True)
    if column not in table:
        raise UserError(f"{path}: no column {column!r}; its columns are {', '.join(map(repr, table.columns))}.")
    times = pd.date_range(period.start, period.end, freq=table.index[1] - table.index[0])
    found = table.reindex(times)[column].to_numpy(float)
    if np.isnan(found).any():
        raise UserError(f"{path}: no forecast of {times[np.isnan(found)][0]} in column {column!r}.")
    return found.reshape(-1, task.output_chunk_length, 1)


def _names(periods: Iterable[Period]) -> set[str]:
    return {period.name for period in periods}
