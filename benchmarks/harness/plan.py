"""What a backtest consists of: runs, each one fit and its forecasts, that can be made in any order and place."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from benchmarks.core.errors import UserError
from benchmarks.harness.entries import ModelEntry, find_entry, label
from benchmarks.harness.task import Period, Task


@dataclass(frozen=True)
class Run:
    """One fit of a model, and the periods that it then forecasts.

    Parameters
    ----------
    task
        Name of the task.
    model
        Name of the model's entry.
    candidate
        Settings that are tried; empty if none are.
    seed
        Seed of the training, or ``None`` where nothing is random.
    train
        Period of the training targets and, before them, inputs.
    early_stopping
        Period of the targets by which training is stopped, or ``None``.
    tests
        Periods of the targets to forecast, from each of their steps on.
    fold
        Number of the fold in a backtest that refits, counted from 0; ``None`` if the model is fitted once.
    """

    task: str
    model: str
    candidate: Mapping[str, Any]
    seed: int | None
    train: Period
    early_stopping: Period | None
    tests: tuple[Period, ...]
    fold: int | None = None

    @property
    def entry(self) -> ModelEntry:
        """The model's entry, with the settings that are tried."""
        entry = find_entry(self.model)
        if entry is None:
            raise KeyError(self.model)
        return replace(entry, candidate=self.candidate)

    @property
    def key(self) -> str:
        """Name of the run among those of its task, fit for a file."""
        seed = "" if self.seed is None else f"-seed-{self.seed}"
        period = "" if self.fold is None else f"-{self.tests[0].name.replace(' ', '-')}-fold-{self.fold}"
        return f"{label(self.model, self.candidate)}{seed}{period}"


@dataclass(frozen=True)
class Plan:
    """What all runs of a backtest share; it is sent to whoever makes them.

    Parameters
    ----------
    task
        The task, with its series.
    threads
        Threads of a run.
    levels
        Levels of forecast quantiles; none for point forecasts.
    retrain_every
        Number of forecasts after which models are fitted anew; ``None`` if they are fitted once.
    warm_epochs
        Number of epochs of our models' refits, which start from the weights of the one before; ``None`` if all are
        fitted anew.
    """

    task: Task
    threads: int = 1
    levels: tuple[float, ...] = ()
    retrain_every: int | None = None
    warm_epochs: int | None = None


def plan_runs(plan: Plan, entries: Sequence[ModelEntry], n_seeds: int) -> list[list[Run]]:
    """Return the runs, those of a model and seed together: their forecasts make its rows."""
    return [
        runs_of(plan, entry.name, entry.candidate, seed)
        for entry in entries
        for seed in (range(1, n_seeds + 1) if entry.is_network else [None])
    ]


def runs_of(plan: Plan, model: str, candidate: Mapping[str, Any], seed: int | None) -> list[Run]:
    """Return the runs of a model, settings that are tried and a seed."""
    return list(_runs(plan, model, candidate, seed))


def _runs(plan: Plan, model: str, candidate: Mapping[str, Any], seed: int | None) -> Iterator[Run]:
    task = plan.task
    if plan.retrain_every is None:
        yield Run(task.name, model, candidate, seed, task.train, task.early_stopping, tuple(task.tests))
        return
    for period in task.tests:
        folds = fold_periods(task, period, plan.retrain_every)
        if is_updated(plan, find_entry(model)):  # by one run, since each fold needs the weights of the one before
            folds = [(*folds[0][:2], period)]
        for fold, (train, early_stopping, test) in enumerate(folds):
            yield Run(task.name, model, candidate, seed, train, early_stopping, (test,), fold)


def is_updated(plan: Plan, entry: ModelEntry | None) -> bool:
    """Whether a model goes on from fold to fold with the weights that it has."""
    return plan.warm_epochs is not None and entry is not None and entry.is_ours


def fold_periods(task: Task, period: Period, retrain_every: int) -> list[tuple[Period, Period | None, Period]]:
    """Return training, early-stopping and test period of each fold of a backtest that refits.

    Forecasts are the same as without refits. A fold is `retrain_every` of them; its model has seen everything before
    the first of them: training starts as early as in the task, and the early-stopping period, as long as in the task if
    that has one, ends right before the fold.

    Parameters
    ----------
    task
        The task.
    period
        One of its test periods.
    retrain_every
        Number of forecasts in a fold.
    """
    freq = _freq(task)
    step = pd.tseries.frequencies.to_offset(freq)
    times = pd.date_range(period.start, period.end, freq=freq)
    starts = range(0, len(times) - task.output_chunk_length + 1, task.stride)
    folds: list[tuple[Period, Period | None, Period]] = []
    for number in range(0, len(starts), retrain_every):
        of_fold = starts[number : number + retrain_every]
        first, last = times[of_fold[0]], times[of_fold[-1] + task.output_chunk_length - 1]
        train_end, stop = first - step, None
        if task.early_stopping is not None:
            length = len(pd.date_range(task.early_stopping.start, task.early_stopping.end, freq=freq))
            stop = Period("early stopping", first - length * step, first - step)
            train_end = stop.start - step
        folds.append((Period("train", task.train.start, train_end), stop, Period(period.name, first, last)))
    return folds


def _freq(task: Task) -> Any:
    if task.source is None:
        raise ValueError("Expected a task with its series. Call `load` first.")
    return task.source.freq


def check_periods(plan: Plan) -> None:
    """Find out before hours of work whether every period has room for a forecast.

    Raises
    ------
    UserError
        If one has not.
    """
    task = plan.task
    for period in [task.early_stopping, *task.tests]:
        if period is None:
            continue
        steps = len(pd.date_range(period.start, period.end, freq=_freq(task)))
        if steps < task.output_chunk_length:
            raise UserError(
                f"{task.name}: period {period.name} has {steps} steps, fewer than the {task.output_chunk_length} of a "
                "forecast. Make the period longer or the horizon shorter."
            )
