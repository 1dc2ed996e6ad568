"""Backtests: train on one period, stop early on the next, forecast from every step of the periods after it."""

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from darts import TimeSeries
from darts.dataprocessing.transformers import Scaler
from darts.models.forecasting.forecasting_model import ForecastingModel
from pytorch_lightning.callbacks import Callback, EarlyStopping
from sklearn.preprocessing import StandardScaler

import seq_plugins.datasets
from benchmarks.models import ModelEntry
from benchmarks.rows import Row, versions
from benchmarks.tasks import Period, Task, UserError

# W: forecasts, H: steps forecast, C: target components


@dataclass(frozen=True)
class Forecasts:
    """Forecasts from every step of a period, beside what came true."""

    starts: list[Any]  # times of the first steps forecast, W
    freq: Any
    predicted: np.ndarray  # (W, H, C), in the target's unit
    true: np.ndarray  # (W, H, C)

    def mae(self) -> list[float]:
        """Return the mean absolute error at each of the `H` steps."""
        return [float(error) for error in np.abs(self.predicted - self.true).mean(axis=(0, 2))]

    def rmse(self) -> list[float]:
        """Return the root mean squared error at each of the `H` steps."""
        return [float(error) for error in np.sqrt(np.square(self.predicted - self.true).mean(axis=(0, 2)))]


class TaskData:
    """The series of a task, standardised by the mean and standard deviation of the training period."""

    def __init__(self, task: Task) -> None:
        self.task = task
        source = task.source if task.source is not None else getattr(seq_plugins.datasets, task.dataset)().load()
        self._source = source.astype(np.float32)
        first_input = task.train.start
        if first_input < source.start_time() or task.tests[-1].end > source.end_time():
            raise UserError(
                f"{task.dataset} reaches from {source.start_time()} to {source.end_time()}, not as far as {task.name}."
            )
        self.target = self._standardised(task.target)
        self.past_covariates = self._standardised(task.past_covariates) if task.past_covariates else None
        self.future_covariates = self._standardised(task.future_covariates) if task.future_covariates else None

    def _standardised(self, components: list[str]) -> TimeSeries:
        series = self._source[components]
        scaler = Scaler(StandardScaler()).fit(series.slice(self.task.train.start, self.task.train.end))
        return scaler.transform(series)

    @cached_property
    def scale(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of each target component over the training period."""
        values = self._source[self.task.target].slice(self.task.train.start, self.task.train.end).values()
        return values.mean(axis=0), values.std(axis=0)

    def targets_in(self, period: Period) -> TimeSeries:
        """Return the target from one input chunk before `period` to its end: all forecast steps lie in the period."""
        first_input = period.start - self.task.input_chunk_length * self.target.freq
        return self.target.slice(first_input, period.end)


class EpochProgress(Callback):
    """Tells a progress bar which epoch a training is in."""

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show: Callable[[str], None] | None = show

    def __getstate__(self) -> dict[str, Any]:
        return {"_show": None}  # checkpoints hold the callbacks, and no progress bar can be stored

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Show the epoch that has ended, and its validation loss."""
        loss = trainer.callback_metrics.get("val_loss")
        shown_loss = "" if loss is None else f", validation loss {float(loss):.4f}"
        if self._show is not None:
            self._show(f"epoch {trainer.current_epoch + 1} of at most {trainer.max_epochs}{shown_loss}")


def make_model(
    task: Task, entry: ModelEntry, seed: int, work_dir: str, show: Callable[[str], None]
) -> ForecastingModel:
    """Make the untrained model of `entry`."""
    settings = entry.own_settings(task)
    if entry.is_network:
        training = task.training
        settings |= {
            "n_epochs": training["n_epochs"],
            "batch_size": training["batch_size"],
            "optimizer_kwargs": {"lr": training["learning_rate"]},
            "loss_fn": torch.nn.L1Loss(),
            "random_state": seed,
            "save_checkpoints": True,
            "work_dir": work_dir,
            "model_name": entry.name,
            "pl_trainer_kwargs": {
                "accelerator": "cpu",
                "gradient_clip_val": training["gradient_clip_val"],
                "enable_progress_bar": False,
                "enable_model_summary": False,
                "callbacks": [
                    EarlyStopping("val_loss", patience=training["patience"]),
                    EpochProgress(show),
                ],
            },
        }
    return entry.find_class()(**settings)


def fit_model(data: TaskData, entry: ModelEntry, model: ForecastingModel) -> None:
    """Fit `model` on the training period; networks stop early and keep their best weights."""
    covariates = _covariates(data, model)
    if not entry.is_network:
        model.fit(data.target.slice(data.task.train.start, data.task.train.end), **covariates)
        return
    model.fit(
        data.target.slice(data.task.train.start, data.task.train.end),
        val_series=data.targets_in(data.task.early_stopping),
        load_best=True,
        **covariates,
        **{f"val_{name}": series for name, series in covariates.items()},
    )


def forecast_period(data: TaskData, entry: ModelEntry, model: ForecastingModel, period: Period) -> Forecasts:
    """Forecast from every step whose targets all lie in `period`."""
    horizon = data.task.output_chunk_length
    series = data.target.slice(data.target.start_time(), period.end) if entry.is_refitted else data.targets_in(period)
    forecasts = model.historical_forecasts(
        series,
        start=period.start,
        forecast_horizon=horizon,
        retrain=entry.is_refitted,
        last_points_only=False,
        verbose=False,
        show_warnings=False,
        **_covariates(data, model),
    )
    mean, deviation = data.scale
    predicted = np.stack([forecast.values(copy=False) for forecast in forecasts])
    observed = data.target.slice(period.start, period.end).values()
    true = np.stack([observed[first : first + horizon] for first in range(len(forecasts))])
    starts = [forecast.start_time() for forecast in forecasts]
    return Forecasts(starts, data.target.freq, predicted * deviation + mean, true * deviation + mean)


def _covariates(data: TaskData, model: ForecastingModel) -> dict[str, TimeSeries]:
    covariates = {"past_covariates": data.past_covariates, "future_covariates": data.future_covariates}
    return {
        name: series for name, series in covariates.items() if series is not None and getattr(model, f"supports_{name}")
    }


def run_entry(
    data: TaskData, entry: ModelEntry, seed: int, show: Callable[[str], None] = lambda text: None
) -> Iterator[tuple[Row, Forecasts | None]]:
    """Fit a model and forecast each test period; a failure gives a row that says so, and stops nothing else.

    Parameters
    ----------
    data
        Series of the task.
    entry
        Model to run.
    seed
        Seed of a network.
    show
        Called with a line that says what is being done.
    """
    task = data.task
    row = Row(
        task=task.name,
        model=entry.name,
        seed=seed if entry.is_network else None,
        threads=torch.get_num_threads(),
        versions=versions(),
        task_settings=task.settings(),
    )
    try:
        row = replace(row, model_settings=entry.own_settings(task))
        with tempfile.TemporaryDirectory() as work_dir:
            model = make_model(task, entry, seed, work_dir, show)
            start = time.perf_counter()
            fit_model(data, entry, model)
            fit_seconds = time.perf_counter() - start
            row = replace(row, fit_seconds=fit_seconds, n_parameters=_n_parameters(model), n_epochs=_n_epochs(model))
        row = replace(row, covariates=sorted(_covariates(data, model)))
        for period in task.tests:
            show(f"forecasts of {period.name}")
            start = time.perf_counter()
            forecasts = forecast_period(data, entry, model, period)
            yield (
                replace(
                    row,
                    period=period.name,
                    predict_seconds=time.perf_counter() - start,
                    n_forecasts=len(forecasts.predicted),
                    mae=forecasts.mae(),
                    rmse=forecasts.rmse(),
                ),
                forecasts,
            )
    except Exception as error:
        # whatever a model raises is its row's; the others go on, and the command tells it and fails at its end
        yield replace(row, error=f"{type(error).__name__}: {error}"), None


def _n_parameters(model: ForecastingModel) -> int | None:
    network = getattr(model, "model", None)
    return sum(weight.numel() for weight in network.parameters()) if isinstance(network, torch.nn.Module) else None


def _n_epochs(model: ForecastingModel) -> int | None:
    trainer = getattr(model, "trainer", None)
    return None if trainer is None else int(trainer.current_epoch)
