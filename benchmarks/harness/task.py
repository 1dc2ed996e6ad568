"""Forecasting tasks: which series, inputs and periods. A task is data: a TOML file in ``tasks/``."""

import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from darts import TimeSeries, concatenate
from darts.utils.timeseries_generation import datetime_attribute_timeseries

from benchmarks.core.errors import UserError
from seq_plugins.tables import TableOptions

TASK_FOLDER = Path(__file__).parent / "tasks"


@dataclass(frozen=True)
class Period:
    """A period of targets, both ends included."""

    name: str
    start: pd.Timestamp
    end: pd.Timestamp


@dataclass(frozen=True)
class Candidate:
    """Settings that are tried.

    Parameters
    ----------
    models
        Names of entries or classes.
    settings
        Settings that come before all others.
    """

    models: list[str]
    settings: dict[str, Any]


@dataclass(frozen=True)
class Published:
    """What others have published for a task: shown beside what is run here, never mixed with it.

    Parameters
    ----------
    model
        Name of the model, with whatever makes its result unlike one of a single fit.
    source
        Where it is published.
    errors
        Mean errors by name, where only these are published.
    file
        File of forecasts in the folder that ``SEQ_PLUGINS_DATA`` names, with times in the first column.
    column
        Column of the forecasts.
    """

    model: str
    source: str
    errors: dict[str, float] = field(default_factory=dict)
    file: str = ""
    column: str = ""


@dataclass(frozen=True)
class SeriesColumns:
    """Which columns of a task's table belong to one series of a panel.

    Parameters
    ----------
    id
        Its name.
    target
        Columns to forecast.
    target_names
        What these are of the series, such as ``sold``.
    past_covariates
        Columns known up to the forecast only.
    future_covariates
        Columns known in advance.
    static
        What never changes in the series.
    """

    id: str
    target: list[str]
    target_names: list[str]
    past_covariates: list[str]
    future_covariates: list[str]
    static: dict[str, float] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """Names of the target's columns in tables: that of the series, and behind it which of several targets it is."""
        if len(self.target) == 1:
            return [self.id]
        return [f"{self.id} {name}".strip() for name in self.target_names]


@dataclass(frozen=True)
class Task:
    """A forecasting task.

    Parameters
    ----------
    name
        Name of the task.
    dataset
        Name of a class in ``seq_plugins.datasets``, or name of a user's file.
    target
        Components to forecast, in a panel those of all series; all if empty.
    past_covariates
        Components known up to the forecast only; in a user's panel, of each series.
    future_covariates
        Components known in advance; in a user's panel, of each series.
    input_chunk_length
        Time steps that a forecast is made from.
    output_chunk_length
        Time steps forecast from every step of a test period.
    season_length
        Time steps of a season, for the seasonal naive forecast.
    unit
        Unit of the target, for tables and pictures.
    train
        Period of the training targets and, before them, inputs.
    early_stopping
        Period of the targets by which training is stopped; ``None`` if networks are trained for all of their epochs.
    tests
        Periods of the targets that errors are reported for.
    training
        Settings shared by all networks.
    models
        Settings of models, by the name of an entry or of a class; they come before those of `training`.
    default_models
        Models that are run where none are named; all if empty.
    candidates
        Settings that are tried where settings are chosen, each for the models that it names.
    choosing
        Task with the same series and earlier periods, on which settings are chosen; none if ``None``.
    next_step_covariates
        Components known one step ahead: given as past covariates, shifted by a step.
    divisors
        What components are divided by, the others being left as they are; if empty, all are standardised.
    is_standardised
        Whether errors are those of the standardised series, and not in the target's unit.
    is_panel
        Whether there are many series, all forecast by one model that sees one at a time.
    stride
        Time steps from one forecast of a test period to the next.
    scaling
        How the target is scaled, if it is not standardised or divided like everything else: a kind of
        :class:`benchmarks.harness.scaling.TargetScaling`.
    calendar
        Attributes of the time stamps that are known in advance, such as ``dayofweek``, each as ``"one_hot"`` or
        ``"cyclic"``.
    errors
        Names of the errors that tables show.
    ranked_by
        Name of the error that models are ranked by.
    naive2
        Errors of the competition's benchmark Naive2, which OWA is relative to.
    published
        What others have published.
    dataset_arguments
        Arguments of the data set's class.
    earlier_evaluations
        How often models had been evaluated on the test periods, at the least, before evaluations were counted.
    table
        How a user's table was read; ``None`` for a data set.
    sha256
        Checksum of a user's file; those of data sets are pinned where they are loaded.
    has_gaps
        Whether values are missing, or histories are shorter than a window: models that cannot deal with that are given
        filled ones.
    numbers
        First time stamp, and step, of a series that has whole numbers in place of dates; ``None`` if it has dates.
    source
        All columns on one time axis: those of data sets by :meth:`load`, those of a user's table from the start.
    series
        Columns of each series of a panel.
    """

    name: str
    dataset: str
    target: list[str]
    past_covariates: list[str]
    future_covariates: list[str]
    input_chunk_length: int
    output_chunk_length: int
    season_length: int
    unit: str
    train: Period
    early_stopping: Period | None
    tests: list[Period]
    training: dict[str, Any]
    models: dict[str, dict[str, Any]] = field(default_factory=dict)
    default_models: list[str] = field(default_factory=list)
    candidates: list[Candidate] = field(default_factory=list)
    choosing: "Task | None" = None
    next_step_covariates: list[str] = field(default_factory=list)
    divisors: dict[str, float] = field(default_factory=dict)
    is_standardised: bool = False
    is_panel: bool = False
    stride: int = 1
    scaling: str = ""
    calendar: dict[str, str] = field(default_factory=dict)
    errors: list[str] = field(default_factory=lambda: ["rmse", "mase", "smape"])
    ranked_by: str = "mae"
    naive2: dict[str, float] = field(default_factory=dict)
    published: list[Published] = field(default_factory=list)
    dataset_arguments: dict[str, Any] = field(default_factory=dict)
    earlier_evaluations: int = 0
    table: TableOptions | None = None
    sha256: str = ""
    has_gaps: bool = False
    numbers: tuple[int, int] | None = None
    source: TimeSeries | None = field(default=None, repr=False, compare=False)
    series: list[SeriesColumns] = field(default_factory=list, repr=False, compare=False)

    def settings(self) -> dict[str, Any]:
        """Return everything that the task sets, ready for JSON."""
        # a row has the settings of its own model; gaps follow from the table and how it is read
        left_out = {"source", "series", "has_gaps", "choosing", "candidates", "models", "default_models", "published"}
        kept = {entry.name: _plain(getattr(self, entry.name)) for entry in fields(self) if entry.name not in left_out}
        return kept | {"target": self.names}

    @property
    def columns(self) -> list[SeriesColumns]:
        """Columns of each series; of a task that is no panel, there is one series."""
        past = [*self.past_covariates, *self.next_step_covariates]
        return self.series or [SeriesColumns("", self.target, self.target, past, self.future_covariates)]

    @property
    def names(self) -> list[str]:
        """Names of the target components in tables and pictures."""
        return [name for one in self.columns for name in one.names] if self.series else self.target

    @property
    def is_scaled(self) -> bool:
        """Whether errors are compared in units of the seasonal naive forecast's, since series or units are unlike."""
        return self.ranked_by in ("mase", "owa")

    @property
    def zone(self) -> str | None:
        """Zone of the times of a user's table, which are UTC then."""
        return None if self.table is None else self.table.axis_zone

    @property
    def forecasts_that_overlap(self) -> int:
        """Number of forecasts in a row that share steps; series of a panel are taken one by one."""
        return 1 if self.is_panel else -(-self.output_chunk_length // self.stride)

    def load(self) -> "Task":
        """Return the task with the series of its data set.

        Raises
        ------
        UserError
            If the data set cannot be loaded, or does not reach as far as the periods.
        """
        if self.source is not None:
            return self
        import seq_plugins.datasets

        try:
            source = getattr(seq_plugins.datasets, self.dataset)(**self.dataset_arguments).load()
        except seq_plugins.datasets.DatasetError as error:
            raise UserError(f"{self.dataset}: {error}") from error
        numbers = self.numbers
        if isinstance(source, list):
            source, numbers = _ending_together(source), (0, 1)
        if self.train.start < source.start_time() or self.tests[-1].end > source.end_time():
            raise UserError(
                f"{self.dataset} reaches from {source.start_time()} to {source.end_time()}, not as far as {self.name}."
            )
        source = source.slice(source.start_time(), self.tests[-1].end)  # what comes later is not there to be looked at
        target = self.target or list(source.components)
        source, calendar = _with_calendar(source, self.calendar)
        future = [*self.future_covariates, *calendar]
        series = [SeriesColumns(name, [name], [name], self.past_covariates, future) for name in target]
        return replace(
            self,
            source=source,
            target=target,
            future_covariates=future,
            numbers=numbers,
            series=series if self.is_panel else [],
        )


FIRST_TIME = pd.Timestamp("2000-01-01")
"""Time of the first step of series that have no dates: their steps are taken for hours."""


def counted_times(length: int) -> pd.DatetimeIndex:
    """Return times for the steps of series that have no dates."""
    return pd.date_range(FIRST_TIME, periods=length, freq="h")


def _ending_together(series: Sequence[TimeSeries]) -> TimeSeries:
    """Return series of unlike lengths as components of one, with missing values before each begins."""
    length = max(map(len, series))
    values = np.full((length, len(series)), np.nan)
    for column, one in enumerate(series):
        values[length - len(one) :, column] = one.values(copy=False)[:, 0]
    return TimeSeries.from_times_and_values(
        counted_times(length), values, columns=[one.components[0] for one in series]
    )


def _with_calendar(source: TimeSeries, calendar: Mapping[str, str]) -> tuple[TimeSeries, list[str]]:
    """Return the series with attributes of its time stamps as further components, and these components' names."""
    added = []
    for attribute, how in calendar.items():
        encoded = datetime_attribute_timeseries(source, attribute, **{how: True})
        names = [f"{attribute}_{number}" for number in range(encoded.n_components)]
        source = concatenate([source, encoded.with_columns_renamed(list(encoded.components), names)], axis=1)
        added += names
    return source, added


def _plain(value: Any) -> Any:
    if isinstance(value, Period):
        return {"name": value.name, "start": str(value.start), "end": str(value.end)}
    if isinstance(value, TableOptions):
        return {name: entry for name, entry in asdict(value).items() if name != "categories"}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


def folder_of_data() -> Path | None:
    """Return the folder that the environment variable for supplied data names, if it is set."""
    import seq_plugins.datasets

    folder = os.environ.get(seq_plugins.datasets.DATA_VARIABLE)
    return Path(folder).expanduser() if folder else None


def task_names() -> list[str]:
    """Return the names of the tasks in ``tasks/``."""
    return sorted(path.stem for path in TASK_FOLDER.glob("*.toml"))


def read_task(name: str) -> Task:
    """Read a task from ``tasks/``.

    Parameters
    ----------
    name
        Name of the file, without its ending.

    Raises
    ------
    UserError
        If there is no such task.
    """
    entries = _entries_of(name)
    choosing, chosen = entries.pop("choosing", None), entries.pop("chosen", {})
    published = [Published(**entry) for entry in entries.pop("published", [])]
    task = Task(name=name, published=published, **_periods(entries), **entries)
    models = {of: {**task.models.get(of, {}), **chosen.get(of, {})} for of in [*task.models, *chosen]}
    if choosing is None:
        return replace(task, models=models)
    candidates = [Candidate(**candidate) for candidate in choosing.pop("candidates", [])]
    earlier = replace(task, name=f"{name}-choosing", candidates=candidates, published=[], **_periods(choosing))
    return replace(task, models=models, choosing=earlier)


def _entries_of(name: str) -> dict[str, Any]:
    """Return what stands in a task's file and, where it does not, in the file of the task that it ``extends``."""
    path = TASK_FOLDER / f"{name}.toml"
    if not path.is_file():
        raise UserError(f"--dataset: expected {', '.join(task_names())}, or a CSV or Parquet file, got {name!r}.")
    entries = tomllib.loads(path.read_text(encoding="utf-8"))
    extended = entries.pop("extends", None)
    if extended is None:
        return entries
    before = _entries_of(extended)
    before.pop("chosen", None)  # on other periods or series
    return _merged(before, entries)


def _merged(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    merged = before | now
    both = before.keys() & now.keys()
    return merged | {
        name: _merged(before[name], now[name]) for name in both if isinstance(before[name], dict)
    }  # fmt: skip


def _periods(entries: dict[str, Any]) -> dict[str, Any]:
    """Take the periods out of a table of a task's file."""
    stopping = entries.pop("early_stopping", None)
    return {
        "train": _period("train", entries.pop("train")),
        "early_stopping": _period("early stopping", stopping) if stopping else None,
        "tests": [_period(test["name"], test) for test in entries.pop("tests")],
    }


def _period(name: str, entry: Mapping[str, Any]) -> Period:
    return Period(name, pd.Timestamp(entry["start"]), pd.Timestamp(entry["end"]))
