"""One run of a backtest: train on one period, stop early on another, forecast from every step of the test periods."""

import errno
import inspect
import logging
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
import torch
from darts import TimeSeries
from darts.models.forecasting.forecasting_model import ForecastingModel
from darts.utils.likelihood_models.torch import QuantileRegression
from pytorch_lightning.callbacks import Callback, EarlyStopping, ModelCheckpoint
from torchmetrics import MeanAbsoluteError

from benchmarks.core.threads import limit_threads
from benchmarks.harness.callbacks import EveryStepError, Show, TimeOrderedTraining, TrainingCurve
from benchmarks.harness.entries import ModelEntry, ModelSettings
from benchmarks.harness.forecasts import Failure, PeriodForecasts, RunResult, forecasts_in, join_folds
from benchmarks.harness.metrics import mean_of_known
from benchmarks.harness.plan import Plan, Run, fold_periods, is_updated
from benchmarks.harness.series import Inputs, TaskData
from benchmarks.harness.task import Period

# W: forecasts, H: steps forecast, C: target components, Q: quantile levels, N: samples

SAMPLES = 200
"""Number of samples from which quantiles are taken of models that forecast none by themselves."""


def make_run(plan: Plan, run: Run, show: Show = lambda text: None) -> RunResult | Failure:
    """Fit a model and forecast its test periods; whatever it raises is told in the result, and stops nothing else.

    Parameters
    ----------
    plan
        What all runs share.
    run
        The run to make.
    show
        Called with a line that says what is being done.
    """
    entry = run.entry
    try:
        with limit_threads(plan.threads), _quiet(), tempfile.TemporaryDirectory() as work_dir:
            return _make_run(plan, run, entry, work_dir, show)
    except Exception as error:  # the row's, not ours
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):  # nor could the row be written
            raise
        return Failure(run.key, _told(entry, error))


def _told(entry: ModelEntry, error: Exception) -> str:
    reason = (str(error).splitlines() or [""])[0]
    if entry.needs_package and (isinstance(error, ImportError) or "import" in reason or "dependenc" in reason):
        return f"{type(error).__name__}: {reason} Install {entry.needs_package}: pip install 'seq-plugins[benchmarks]'."
    return f"{type(error).__name__}: {reason}"


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep libraries from telling what the rows say, for a while."""
    loggers = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning_fabric", "darts", "lightgbm")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _make_run(plan: Plan, run: Run, entry: ModelEntry, work_dir: str, show: Show) -> RunResult:
    data = TaskData(plan.task, run.train)
    settings = entry.settings_in(plan.task)
    curve = TrainingCurve(show, settings.monitor)
    callbacks: list[Callback] = [curve]
    if entry.is_network and run.early_stopping is not None:
        callbacks = [*stop_early(settings, work_dir), curve]
    model = make_model(plan, entry, settings, run.seed, callbacks)
    inputs = data.inputs_of(model, entry.needs_independent_covariates, settings.by_component, entry.fills_gaps)
    show("fit")
    start = time.perf_counter()
    if settings.refit_every is None:
        fit_model(data, entry, settings, model, inputs, run)
    fit_seconds = time.perf_counter() - start
    stopping_error = None
    if entry.is_network and run.early_stopping is not None:
        made = forecast_period(plan, data, entry, settings, model, inputs, run.early_stopping)
        stopping_error = early_stopping_error(data, run.early_stopping, made.predicted)
    forecasts: dict[Period, PeriodForecasts] = {}
    for period in run.tests:
        # a longer period with the same end has the same forecasts, unless refits began elsewhere
        longer = [
            other
            for other in forecasts
            if other.start < period.start and other.end == period.end and _starts_with(other, period, data)
        ]
        if longer and settings.refit_every in (None, 1):
            forecasts[period] = forecasts_in(period, forecasts[longer[0]])
            continue
        show(f"forecasts of {period.name}")
        if plan.retrain_every is not None and is_updated(plan, entry):
            folds = fold_periods(plan.task, period, plan.retrain_every)
            made, seconds = _forecast_with_updates(plan, data, entry, settings, model, inputs, folds)
            forecasts[period], fit_seconds = made, fit_seconds + seconds
            continue
        forecasts[period] = forecast_period(plan, data, entry, settings, model, inputs, period)
    return RunResult(
        key=run.key,
        fit_seconds=fit_seconds,
        n_parameters=_n_parameters(model),
        n_epochs=len(curve.validation_losses) if entry.is_network else None,
        best_epoch=curve.best_epoch if entry.is_network else None,
        covariates=sorted(inputs.arguments()),
        cannot_take=inputs.cannot_take,
        early_stopping_error=stopping_error,
        train_losses=curve.train_losses,
        validation_losses=curve.validation_losses,
        forecasts=list(forecasts.values()),
    )


def _forecast_with_updates(
    plan: Plan,
    data: TaskData,
    entry: ModelEntry,
    settings: ModelSettings,
    model: Any,
    inputs: Inputs,
    folds: Sequence[tuple[Period, Period | None, Period]],
) -> tuple[PeriodForecasts, float]:
    """Forecast all folds, updating one of our models before each but the first; return the seconds of updates, too."""
    made, seconds = [], 0.0
    for fold, (train, early_stopping, test) in enumerate(folds):
        start = time.perf_counter()
        if fold:
            end = (early_stopping or train).end
            model.update(**_inputs_of_training(settings, model, inputs, train.start, end), epochs=plan.warm_epochs)
        seconds += time.perf_counter() - start
        made.append(forecast_period(plan, data, entry, settings, model, inputs, test))
    return join_folds(made), seconds


def _starts_with(longer: Period, period: Period, data: TaskData) -> bool:
    """Whether a forecast of the longer period starts where `period` does."""
    between = len(pd.date_range(longer.start, period.start, freq=data.target.freq)) - 1
    return between % data.task.stride == 0


def make_model(
    plan: Plan, entry: ModelEntry, settings: ModelSettings, seed: int | None, callbacks: Sequence[Callback]
) -> ForecastingModel:
    """Make the untrained model of `entry`; a network is trained with `callbacks`."""
    arguments = dict(settings.constructor)
    if entry.is_network:
        arguments |= _training_arguments(settings, seed, callbacks)
        if plan.levels:
            arguments["likelihood"] = QuantileRegression(list(plan.levels))
            del arguments["loss_fn"]
    if plan.levels and entry.quantile_settings is not None:
        arguments |= entry.quantile_settings(plan.levels)
    if entry.name == "LightGBMModel":
        arguments["n_jobs"] = plan.threads
    return entry.find_class()(**arguments)


def stop_early(settings: ModelSettings, work_dir: str) -> list[Callback]:
    """Return what stops training early and keeps the best weights in `work_dir`."""
    return [
        EarlyStopping(settings.monitor, patience=settings.training["patience"]),
        ModelCheckpoint(work_dir, monitor=settings.monitor),
    ]


def first_seed(settings: ModelSettings, seed: int | None) -> int | None:
    """Return the seed of a network; ensembles of several seeds have no member in common."""
    n_members = settings.constructor.get("ensemble_size", 1)
    return None if seed is None else (seed - 1) * n_members + 1


def _training_arguments(settings: ModelSettings, seed: int | None, callbacks: Sequence[Callback]) -> dict[str, Any]:
    training, monitor = settings.training, settings.monitor
    own: list[Callback] = [EveryStepError()] if monitor == EveryStepError.name else []
    if "shuffle_buffer" in training:
        own.append(TimeOrderedTraining(training["shuffle_buffer"]))
    schedule: dict[str, Any] = {}
    if "schedule" in training:
        if training["schedule"] != "cosine":
            raise ValueError(f"Expected `schedule` to be cosine or to be left out, got {training['schedule']!r}.")
        schedule = {
            "lr_scheduler_cls": torch.optim.lr_scheduler.CosineAnnealingLR,
            "lr_scheduler_kwargs": {"T_max": training["n_epochs"]},
        }
    return {
        "n_epochs": training["n_epochs"],
        "batch_size": training["batch_size"],
        "optimizer_cls": getattr(torch.optim, training.get("optimizer", "Adam")),
        "optimizer_kwargs": settings.optimizer_arguments,
        "loss_fn": getattr(torch.nn, training.get("loss", "L1Loss"))(),
        "torch_metrics": MeanAbsoluteError() if monitor == "val_MeanAbsoluteError" else None,
        "random_state": first_seed(settings, seed),
        "pl_trainer_kwargs": {
            "accelerator": "cpu",
            "gradient_clip_val": training.get("gradient_clip_val"),
            "enable_checkpointing": any(isinstance(callback, ModelCheckpoint) for callback in callbacks),
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "callbacks": [*own, *callbacks],
        },
        **schedule,
    }


def fit_model(
    data: TaskData, entry: ModelEntry, settings: ModelSettings, model: ForecastingModel, inputs: Inputs, run: Run
) -> None:
    """Fit `model` on the training period; networks stop early and keep their best weights, where they can."""
    arguments = _inputs_of_training(settings, model, inputs, run.train.start, run.train.end)
    if entry.is_network and run.early_stopping is not None:
        stop = data.first_input(run.early_stopping), run.early_stopping.end
        arguments |= {"val_series": inputs.targets(*stop), "load_best": True, **inputs.arguments("val_")}
        if "sample_weight" in arguments:
            arguments["val_sample_weight"] = inputs.weights_in(*stop)
    model.fit(**arguments)


def _inputs_of_training(
    settings: ModelSettings, model: ForecastingModel, inputs: Inputs, start: pd.Timestamp, end: pd.Timestamp
) -> dict[str, Any]:
    """Return what `model` is trained on, as arguments of `fit`."""
    train = inputs.targets(start, end)
    kept = None
    if isinstance(train, list):  # of a series that is too short, or of which nothing came true, nothing can be learnt
        shortest = model.min_train_series_length
        kept = [
            i for i, one in enumerate(train) if len(one) >= shortest and np.isfinite(one.values(copy=False)[1:]).any()
        ]
        train = [train[i] for i in kept]
    arguments = {"series": train, **inputs.arguments(positions=kept), **settings.sampling}
    weights = inputs.weights_in(start, end)
    if weights is not None and "sample_weight" in inspect.signature(model.fit).parameters:
        arguments["sample_weight"] = weights if kept is None else [weights[i] for i in kept]
    return arguments


def early_stopping_error(data: TaskData, period: Period, predicted: np.ndarray) -> float:
    """Return the mean absolute error over the early-stopping period, by which ours are chosen."""
    errors = np.abs(data.truth(period) - predicted)
    return float(mean_of_known(errors / data.naive_error() if data.task.is_scaled else errors))


def forecast_period(
    plan: Plan,
    data: TaskData,
    entry: ModelEntry,
    settings: ModelSettings,
    model: ForecastingModel,
    inputs: Inputs,
    period: Period,
) -> PeriodForecasts:
    """Forecast from every step whose targets all lie in `period`."""
    # a model that is fitted anew for each forecast is fitted on everything before it
    first = data.first_input(period) if settings.refit_every is None else data.train.start
    series = inputs.targets(first, period.end)
    start = time.perf_counter()
    made = model.historical_forecasts(
        series,
        start=period.start,
        forecast_horizon=data.task.output_chunk_length,
        stride=data.task.stride,
        retrain=settings.refit_every or False,
        last_points_only=False,
        verbose=False,
        show_warnings=False,
        **_quantile_arguments(plan, entry),
        **inputs.arguments(),
    )
    seconds = time.perf_counter() - start
    by_series: list[list[TimeSeries]] = made if isinstance(series, list) else [made]
    values = np.stack([_values(forecasts, plan, entry) for forecasts in by_series])  # -> (S, W, H, C', Q)
    values = np.concatenate(list(values), axis=2)  # -> (W, H, C, Q)
    values = data.in_error_units(np.moveaxis(values, -1, 0))  # -> (Q, W, H, C)
    quantiles = None
    if len(values) > 1:
        quantiles = np.sort(np.moveaxis(values, 0, -1), axis=-1)  # quantiles that cross are put in order
    point = values[0] if quantiles is None else quantiles[..., plan.levels.index(0.5)]
    starts = np.array([forecast.start_time() for forecast in by_series[0]], dtype="datetime64[ns]")
    return PeriodForecasts(period.name, starts, point, quantiles, seconds)


def _quantile_arguments(plan: Plan, entry: ModelEntry) -> dict[str, Any]:
    if not plan.levels or not entry.is_probabilistic:
        return {}
    return {"predict_likelihood_parameters": True} if entry.forecasts_quantiles else {"num_samples": SAMPLES}


def _values(forecasts: Sequence[TimeSeries], plan: Plan, entry: ModelEntry) -> np.ndarray:
    """Return point forecasts `(W, H, C, 1)` or quantiles `(W, H, C, Q)`."""
    values = np.stack([forecast.all_values(copy=False) for forecast in forecasts])  # -> (W, H, C or C * Q, N)
    arguments = _quantile_arguments(plan, entry)
    if "num_samples" in arguments:
        return np.moveaxis(np.quantile(values, plan.levels, axis=-1), 0, -1)
    if "predict_likelihood_parameters" in arguments:
        return values[..., 0].reshape(*values.shape[:2], -1, len(plan.levels))
    return values


def _n_parameters(model: ForecastingModel) -> int | None:
    network = getattr(model, "model", None)
    return sum(weight.numel() for weight in network.parameters()) if isinstance(network, torch.nn.Module) else None
