"""The lecture's table as data: its networks, its protocol, and the figures to compare with."""

import statistics
import tomllib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from darts import TimeSeries, concatenate

from benchmarks.core.errors import UserError
from benchmarks.harness.task import Period
from seq_plugins.datasets import CTARidershipDataset, DatasetError

CHAPTER_FILE = Path(__file__).with_suffix(".toml")
DAY_TYPES = ["day_type_W", "day_type_A", "day_type_U"]


@dataclass(frozen=True)
class Metric:
    """An error of a row, and the figures to compare it with, all in riders.

    Parameters
    ----------
    component
        Component of the target.
    step
        Step forecast, counted from 1, or 0 for the mean over all steps.
    lecture
        The lecture's figure.
    keras
        Keras' figures with the same protocol, of the seeds 1, 2, ...
    goal
        ``"lecture"`` or ``"keras"``: which of the two is to be reached, if any; of Keras', the median.
    slack
        Share by which the goal may be missed.
    """

    component: str
    step: int
    lecture: float | None = None
    keras: Sequence[float] = ()
    goal: str | None = None
    slack: float = 0.0

    @property
    def name(self) -> str:
        """Name in tables, such as ``"rail t+1"``."""
        return f"{self.component} {f't+{self.step}' if self.step else 'mean'}"

    @property
    def keras_median(self) -> float | None:
        """Median over Keras' seeds."""
        return statistics.median(self.keras) if self.keras else None

    def of(self, mae: dict[str, list[float]]) -> float:
        """Return this error out of those of every component and step."""
        errors = mae[self.component]
        return errors[self.step - 1] if self.step else statistics.fmean(errors)

    def is_met(self, median: float) -> bool | None:
        """Tell whether a median, to the rider as the figures are, reaches the goal; ``None`` without one."""
        figure = {"lecture": self.lecture, "keras": self.keras_median, None: None}[self.goal]
        return None if figure is None else round(median) <= figure * (1 + self.slack)


@dataclass(frozen=True)
class Entry:
    """A row of the table.

    Parameters
    ----------
    name
        Name on the command line.
    text
        The network in words.
    model
        Name of the model's class.
    target
        Components to forecast.
    settings
        The model's own settings.
    horizon
        Number of steps forecast.
    first_forecast
        Day of the first forecast: the first with all inputs in the validation period.
    cost
        About how long a fit takes, in seconds.
    metrics
        Errors to report.
    past_covariates
        Inputs beside the target.
    learning_rate
        Learning rate; ``None`` where nothing is trained.
    sequence_to_sequence
        Whether training is stopped by the error of every step, and windows are shuffled in the order of time.
    """

    name: str
    text: str
    model: str
    target: list[str]
    settings: dict[str, Any]
    horizon: int
    first_forecast: str
    cost: float
    metrics: list[Metric]
    past_covariates: list[str] = field(default_factory=list)
    learning_rate: float | None = None
    sequence_to_sequence: bool = False

    @property
    def is_network(self) -> bool:
        """Whether it is trained, and so has seeds."""
        return self.learning_rate is not None


@dataclass(frozen=True)
class Chapter:
    """The protocol and the rows.

    Parameters
    ----------
    train
        Period of training, inputs and targets.
    validation
        Period of validation, inputs and targets.
    first_forecasts
        Days from which on errors are given for every row.
    unit
        Riders to divide by.
    batch_size
        Windows in a batch.
    n_epochs
        Most epochs.
    patience
        Epochs without a better validation error after which training stops.
    momentum
        Momentum of the stochastic gradient descent.
    shuffle_buffer
        Windows among which the next one is drawn where they are shuffled in the order of time.
    rows
        Rows of the table.
    """

    train: Period
    validation: Period
    first_forecasts: list[str]
    unit: float
    batch_size: int
    n_epochs: int
    patience: int
    momentum: float
    shuffle_buffer: int
    rows: list[Entry]

    def find_rows(self, names: Sequence[str] | None) -> list[Entry]:
        """Return the rows of `names` in the table's order, or all.

        Raises
        ------
        UserError
            If there is no row of a name.
        """
        known = [entry.name for entry in self.rows]
        unknown = [name for name in names or [] if name not in known]
        if unknown:
            raise UserError(f"--rows: expected names among {', '.join(known)}, got {unknown[0]!r}.")
        return [entry for entry in self.rows if names is None or entry.name in names]

    def settings(self, entry: Entry) -> dict[str, Any]:
        """Return all that decides the result of a row, for its results."""
        of_entry = asdict(entry)
        for name in ("name", "text", "cost", "metrics"):
            of_entry.pop(name)
        shared = {"train": _dates(self.train), "validation": _dates(self.validation), "unit": self.unit}
        if entry.is_network:
            training = ("batch_size", "n_epochs", "patience", "momentum")
            shared |= {name: getattr(self, name) for name in training} | {"loss": "Huber", "optimizer": "SGD"}
        if entry.sequence_to_sequence:
            shared["shuffle_buffer"] = self.shuffle_buffer
        return of_entry | shared


def _dates(period: Period) -> list[str]:
    return [f"{day:%Y-%m-%d}" for day in (period.start, period.end)]


def read_chapter() -> Chapter:
    """Read protocol and rows from ``chapter.toml``."""
    entries = tomllib.loads(CHAPTER_FILE.read_text(encoding="utf-8"))
    periods = {
        name: Period(name, *(pd.Timestamp(entries[name][end]) for end in ("start", "end")))
        for name in ("train", "validation")
    }
    rows = [Entry(**row | {"metrics": [Metric(**metric) for metric in row["metrics"]]}) for row in entries["rows"]]
    return Chapter(**entries | periods | {"rows": rows})


def load_columns(chapter: Chapter) -> TimeSeries:
    """Return the table's columns: riders by bus and rail, in units of the chapter, and the next day's type.

    Raises
    ------
    UserError
        If the data cannot be read, or do not reach as far as the chapter.
    """
    try:
        source = CTARidershipDataset().load().astype(np.float32)
    except DatasetError as error:
        raise UserError(str(error)) from error
    next_day = source[DAY_TYPES].shift(-1)
    next_day = next_day.with_columns_renamed(DAY_TYPES, [f"next_{name}" for name in DAY_TYPES])
    riders = source[["bus", "rail"]] / chapter.unit
    columns: TimeSeries = concatenate([riders.slice_intersect(next_day), next_day.slice_intersect(riders)], axis=1)
    if columns.start_time() > chapter.train.start or columns.end_time() < chapter.validation.end:
        raise UserError(
            f"The data reach from {columns.start_time():%Y-%m-%d} to {columns.end_time():%Y-%m-%d}, expected at least "
            f"from {chapter.train.start:%Y-%m-%d} to {chapter.validation.end:%Y-%m-%d}."
        )
    return columns
