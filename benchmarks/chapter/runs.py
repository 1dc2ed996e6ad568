"""The lecture's networks fitted and tried as a user would, row by row and seed by seed, in one process or several."""

import json
import logging
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import numpy as np
import pandas as pd
import torch
from darts import TimeSeries
from darts.models import NaiveSeasonal
from darts.models.forecasting.forecasting_model import ForecastingModel
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
from torchmetrics import MeanAbsoluteError

import seq_plugins
from benchmarks.chapter.callbacks import EveryStepError, TimeOrderedTraining
from benchmarks.chapter.protocol import Chapter, Entry
from benchmarks.core.errors import UserError
from benchmarks.core.processes import DIED, map_in_processes
from benchmarks.core.versions import versions
from benchmarks.harness.run import TrainingCurve

THREADS = 1

# W: forecasts, H: steps forecast, C: target components


@dataclass(frozen=True)
class Result:
    """One row of the table with one seed.

    Parameters
    ----------
    name
        Name of the row.
    seed
        Seed of the training; ``None`` where nothing is random.
    mae
        Mean absolute errors in riders: by day of the first forecast, by component, at each step forecast.
    n_forecasts
        Number of forecasts by day of the first forecast.
    n_epochs
        Number of epochs trained.
    best_epoch
        Epoch, counted from 1, whose weights were kept.
    n_parameters
        Number of weights.
    fit_seconds
        Seconds that fitting took.
    predict_seconds
        Seconds that the forecasts took.
    settings
        All settings of model and protocol.
    threads
        Number of PyTorch's threads.
    versions
        Versions of Python and of the packages that matter.
    error
        What went wrong, or ``None``.
    """

    name: str
    seed: int | None
    mae: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    n_forecasts: dict[str, int] = field(default_factory=dict)
    n_epochs: int | None = None
    best_epoch: int | None = None
    n_parameters: int | None = None
    fit_seconds: float | None = None
    predict_seconds: float | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    threads: int = THREADS
    versions: dict[str, str] = field(default_factory=dict)
    error: str | None = None


class Run(NamedTuple):
    """A row and a seed that are to be run."""

    entry: Entry
    seed: int | None

    @property
    def key(self) -> tuple[str, int | None]:
        """Name of the row, and seed."""
        return self.entry.name, self.seed


def runs_of(entries: Sequence[Entry], n_seeds: int) -> list[Run]:
    """Return every row with the seeds 1, 2, ..., and once where nothing is random."""
    return [
        Run(entry, seed) for entry in entries for seed in (range(1, n_seeds + 1) if entry.is_network else [None])
    ]  # fmt: skip


def make_network(
    chapter: Chapter, entry: Entry, seed: int | None, folder: str, show: Callable[[str], None]
) -> ForecastingModel:
    """Make the untrained network of a row; checkpoints go into `folder`."""
    watched, callbacks = "val_MeanAbsoluteError", []
    if entry.sequence_to_sequence:
        watched, callbacks = EveryStepError.name, [EveryStepError(), TimeOrderedTraining(chapter.shuffle_buffer)]
    model: ForecastingModel = getattr(seq_plugins, entry.model)(
        **entry.settings,
        output_chunk_length=entry.horizon,
        batch_size=chapter.batch_size,
        n_epochs=chapter.n_epochs,
        loss_fn=torch.nn.HuberLoss(),
        optimizer_cls=torch.optim.SGD,
        optimizer_kwargs={"lr": entry.learning_rate, "momentum": chapter.momentum},
        torch_metrics=MeanAbsoluteError(),
        random_state=seed,
        pl_trainer_kwargs={
            "accelerator": "cpu",
            "enable_checkpointing": True,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "callbacks": [
                *callbacks,
                EarlyStopping(watched, patience=chapter.patience),
                ModelCheckpoint(folder, monitor=watched),
                TrainingCurve(show),
            ],
        },
    )
    return model


def fit_network(chapter: Chapter, columns: TimeSeries, entry: Entry, model: Any) -> None:
    """Fit on the training period, stop early by the validation period's error, and keep the best weights."""
    target, covariates = columns[entry.target], _covariates(columns, entry)
    model.fit(
        target.slice(chapter.train.start, chapter.train.end),
        val_series=target.slice(chapter.validation.start, chapter.validation.end),
        load_best=True,
        **covariates,
        **{f"val_{name}": series for name, series in covariates.items()},
    )


def _covariates(columns: TimeSeries, entry: Entry) -> dict[str, TimeSeries]:
    return {"past_covariates": columns[entry.past_covariates]} if entry.past_covariates else {}


def forecast(chapter: Chapter, columns: TimeSeries, entry: Entry, model: ForecastingModel) -> list[TimeSeries]:
    """Forecast from every day whose targets all lie in the validation period, and from the earliest asked for on.

    Inputs lie in the validation period too, but for forecasts from earlier than the row's own first.
    """
    start = pd.Timestamp(min(_first_forecasts(chapter, entry)))
    length = model.min_train_series_length if not entry.is_network else entry.settings["input_chunk_length"]
    series = columns[entry.target].slice(start - length * columns.freq, chapter.validation.end)
    forecasts: list[TimeSeries] = model.historical_forecasts(
        series,
        start=start,
        forecast_horizon=entry.horizon,
        retrain=not entry.is_network,
        last_points_only=False,
        verbose=False,
        show_warnings=False,
        **_covariates(columns, entry),
    )
    return forecasts


def _first_forecasts(chapter: Chapter, entry: Entry) -> list[str]:
    return sorted({*chapter.first_forecasts, entry.first_forecast})


def errors_of(chapter: Chapter, columns: TimeSeries, entry: Entry, forecasts: Sequence[TimeSeries]) -> dict[str, Any]:
    """Return the fields of a result with the errors of `forecasts` and their number, by day of the first forecast."""
    predicted = np.stack([each.values(copy=False) for each in forecasts])  # -> (W, H, C)
    observed = columns[entry.target].slice(forecasts[0].start_time(), forecasts[-1].end_time()).values(copy=False)
    true = np.lib.stride_tricks.sliding_window_view(observed, entry.horizon, axis=0).swapaxes(1, 2)  # -> (W, H, C)
    deviations = np.abs(predicted - true).astype(float) * chapter.unit
    mae, n_forecasts = {}, {}
    for first in _first_forecasts(chapter, entry):
        counted = np.array([each.start_time() >= pd.Timestamp(first) for each in forecasts])
        of_steps = deviations[counted].mean(axis=0)  # -> (H, C)
        mae[first] = {component: of_steps[:, place].tolist() for place, component in enumerate(entry.target)}
        n_forecasts[first] = int(counted.sum())
    return {"mae": mae, "n_forecasts": n_forecasts}


def run_seed(
    chapter: Chapter, columns: TimeSeries, run: Run, show: Callable[[str], None] = lambda text: None
) -> Result:
    """Fit a row's model with one seed and forecast; a failure gives a result that says so.

    Parameters
    ----------
    chapter
        The protocol.
    columns
        The table's columns, as :func:`load_columns` gives them.
    run
        What to run.
    show
        Called with a line that says how far training is.
    """
    entry = run.entry
    result = Result(entry.name, run.seed, settings=chapter.settings(entry), versions=versions())
    try:
        start = time.perf_counter()
        if entry.is_network:
            with tempfile.TemporaryDirectory() as folder:
                model = make_network(chapter, entry, run.seed, folder, show)
                fit_network(chapter, columns, entry, model)
            result = replace(result, **_facts(model))
        else:
            model = NaiveSeasonal(**entry.settings)
        fitted = time.perf_counter()
        forecasts = forecast(chapter, columns, entry, model)
        predicted = time.perf_counter()
        return replace(
            result,
            **errors_of(chapter, columns, entry, forecasts),
            fit_seconds=fitted - start if entry.is_network else None,
            predict_seconds=predicted - fitted,
        )
    except Exception as error:
        # whatever a model raises is its result's; the others go on, and the command tells it and fails at its end
        return replace(result, error=f"{type(error).__name__}: {error}")


def _facts(model: Any) -> dict[str, Any]:
    n_epochs = int(model.trainer.current_epoch)
    return {
        "n_epochs": n_epochs,
        "best_epoch": n_epochs - int(model.trainer.early_stopping_callback.wait_count),
        "n_parameters": sum(weight.numel() for weight in model.model.parameters()),
    }


def run_all(
    chapter: Chapter, columns: TimeSeries, runs: Sequence[Run], n_jobs: int, show: Callable[[str], None]
) -> Iterator[tuple[Run, Result]]:
    """Run one after the other, or in `n_jobs` processes, and give each result when it is there.

    A run whose process dies is tried again. Every run starts from its seed alone, so the results are the same either
    way.
    """
    if n_jobs == 1:
        for run in runs:
            yield run, run_seed(chapter, columns, run, show)
        return
    for run, result in map_in_processes(_run_in_process, (chapter, columns), runs, n_jobs):
        if result is None:
            settings = chapter.settings(run.entry)
            result = Result(run.entry.name, run.seed, settings=settings, versions=versions(), error=DIED)
        yield run, result


def _run_in_process(shared: tuple[Chapter, TimeSeries], run: Run) -> Result:
    quiet()
    return run_seed(*shared, run)


def quiet() -> None:
    """Let this process use one thread, and say no more than bar and table do."""
    torch.set_num_threads(THREADS)
    for name in ("pytorch_lightning", "darts"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")


def append_result(file: TextIO, result: Result) -> None:
    """Write a result as a line of JSON, at once.

    Raises
    ------
    UserError
        If it cannot be written.
    """
    try:
        file.write(json.dumps(asdict(result)) + "\n")
        file.flush()
    except OSError as error:
        raise UserError(f"cannot write {file.name}: {error.strerror}. Make room; --resume goes on then.") from error


def read_results(path: Path) -> list[Result]:
    """Read results written by :func:`append_result`, but for a last line that was not written to its end.

    Raises
    ------
    UserError
        If the file holds something else.
    """
    try:
        *lines, _ = path.read_text(encoding="utf-8").split("\n")
        return [Result(**json.loads(line)) for line in lines]
    except (ValueError, TypeError) as error:
        raise UserError(f"{path} holds no results of this command ({error}). Name another folder.") from error


def find_done(chapter: Chapter, runs: Sequence[Run], results: Sequence[Result]) -> dict[tuple[str, int | None], Result]:
    """Return the newest of `results` for each of `runs`, if it was made with these settings, versions and threads.

    Those that failed are not done.
    """
    newest = {(result.name, result.seed): result for result in results if result.error is None}
    expected = {run.key: Result(*run.key, settings=chapter.settings(run.entry), versions=versions()) for run in runs}
    return {
        key: result
        for key, result in newest.items()
        if key in expected
        and all(getattr(result, name) == getattr(expected[key], name) for name in ("settings", "versions", "threads"))
    }
