"""Forecasting tasks: which series, inputs and periods. A task is data: a TOML file in ``tasks/``, or a user's CSV."""

import hashlib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import count
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from darts import TimeSeries

from benchmarks.core.errors import UserError

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
class Task:
    """A forecasting task.

    Parameters
    ----------
    name
        Name of the task.
    dataset
        Name of a class in ``seq_plugins.datasets``, or path of a CSV file.
    target
        Components to forecast.
    past_covariates
        Components known up to the forecast only.
    future_covariates
        Components known in advance.
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
        Period of the targets by which training is stopped.
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
    is_standardised
        Whether errors are those of the standardised series, and not in the target's unit.
    earlier_evaluations
        How often models had been evaluated on the test periods, at the least, before evaluations were counted.
    time
        Column of the time stamps, for a CSV file.
    freq
        Frequency, for a CSV file.
    sha256
        Checksum of a CSV file; those of data sets are pinned where they are loaded.
    source
        Series read from a CSV file.
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
    early_stopping: Period
    tests: list[Period]
    training: dict[str, Any]
    models: dict[str, dict[str, Any]] = field(default_factory=dict)
    default_models: list[str] = field(default_factory=list)
    candidates: list[Candidate] = field(default_factory=list)
    choosing: "Task | None" = None
    is_standardised: bool = False
    earlier_evaluations: int = 0
    time: str = ""
    freq: str = ""
    sha256: str = ""
    source: TimeSeries | None = field(default=None, repr=False, compare=False)

    def settings(self) -> dict[str, Any]:
        """Return everything that the task sets, ready for JSON."""
        # a row has the settings of its own model
        left_out = {"source", "choosing", "candidates", "models", "default_models"}
        return {entry.name: _plain(getattr(self, entry.name)) for entry in fields(self) if entry.name not in left_out}

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
            source = getattr(seq_plugins.datasets, self.dataset)().load()
        except seq_plugins.datasets.DatasetError as error:
            raise UserError(f"--dataset {self.name}: {error}") from error
        if self.train.start < source.start_time() or self.tests[-1].end > source.end_time():
            raise UserError(
                f"{self.dataset} reaches from {source.start_time()} to {source.end_time()}, not as far as {self.name}."
            )
        return replace(self, source=source)


def _plain(value: Any) -> Any:
    if isinstance(value, Period):
        return {"name": value.name, "start": str(value.start), "end": str(value.end)}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


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
    path = TASK_FOLDER / f"{name}.toml"
    if not path.is_file():
        raise UserError(f"--dataset: expected {', '.join(task_names())} or a CSV file, got {name!r}.")
    entries = tomllib.loads(path.read_text(encoding="utf-8"))
    choosing, chosen = entries.pop("choosing", None), entries.pop("chosen", {})
    task = Task(name=name, **_periods(entries), **entries)
    models = {of: {**task.models.get(of, {}), **chosen.get(of, {})} for of in [*task.models, *chosen]}
    if choosing is None:
        return replace(task, models=models)
    candidates = [Candidate(**candidate) for candidate in choosing.pop("candidates", [])]
    earlier = replace(task, name=f"{name}-choosing", candidates=candidates, **_periods(choosing))
    return replace(task, models=models, choosing=earlier)


def _periods(entries: dict[str, Any]) -> dict[str, Any]:
    """Take the periods out of a table of a task's file."""
    return {
        "train": _period("train", entries.pop("train")),
        "early_stopping": _period("early stopping", entries.pop("early_stopping")),
        "tests": [_period(test["name"], test) for test in entries.pop("tests")],
    }


def _period(name: str, entry: Mapping[str, Any]) -> Period:
    return Period(name, pd.Timestamp(entry["start"]), pd.Timestamp(entry["end"]))


def csv_task(
    path: Path,
    time: str,
    target: Sequence[str],
    past_covariates: Sequence[str] = (),
    future_covariates: Sequence[str] = (),
    freq: str = "D",
    horizon: int = 14,
    input_length: int | None = None,
    season_length: int | None = None,
) -> Task:
    """Make a task of a user's CSV file: the first 70 % train, the next 15 % stop early, the last 15 % test.

    Parameters
    ----------
    path
        Path of the file.
    time
        Column of the time stamps.
    target
        Columns to forecast.
    past_covariates
        Columns known up to the forecast only.
    future_covariates
        Columns known in advance.
    freq
        Frequency, as pandas writes it.
    horizon
        Time steps to forecast.
    input_length
        Time steps that a forecast is made from; four horizons by default.
    season_length
        Time steps of a season; by default the one that is usual for the frequency.

    Raises
    ------
    UserError
        If the file cannot be read, a column is missing, dates are unsorted, doubled, missing or no dates, values are no
        numbers or missing, or the series is too short.
    """
    kinds = [*((column, "--target") for column in target), *((column, "--past") for column in past_covariates)]
    kinds += [(column, "--future") for column in future_covariates]
    for column, _ in kinds:
        options = [option for name, option in kinds if name == column]
        if len(options) > 1:
            raise UserError(f"{' and '.join(options)}: column {column!r} can be only one of them. Name it once.")
    source = _read_csv(path, time, [*target, *past_covariates, *future_covariates], freq)
    input_length = 4 * horizon if input_length is None else input_length
    times = source.time_index
    first_stop, first_test = _period_starts(len(times))
    if not _is_long_enough(len(times), input_length, horizon):
        needed = next(length for length in count() if _is_long_enough(length, input_length, horizon))
        raise UserError(
            f"{path}: {len(times)} rows are too few for {input_length} steps of input and {horizon} of forecast: "
            f"expected at least {needed}. Make --horizon or --input-length smaller."
        )
    shared = shared_settings()
    return Task(
        name=path.stem,
        dataset=path.name,
        target=list(target),
        past_covariates=list(past_covariates),
        future_covariates=list(future_covariates),
        input_chunk_length=input_length,
        output_chunk_length=horizon,
        season_length=_usual_season(freq) if season_length is None else season_length,
        unit="",
        train=Period("train", times[0], times[first_stop - 1]),
        early_stopping=Period("early stopping", times[first_stop], times[first_test - 1]),
        tests=[Period("test", times[first_test], times[-1])],
        training=shared.training,
        models=shared.models,
        default_models=shared.default_models,
        time=time,
        freq=freq,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        source=source,
    )


def _period_starts(length: int) -> tuple[int, int]:
    """Return the positions at which early stopping and testing start in a series of `length` steps."""
    return ceil(0.7 * length), length - ceil(0.15 * length)


def _is_long_enough(length: int, input_length: int, horizon: int) -> bool:
    first_stop, first_test = _period_starts(length)
    return min(first_stop - input_length, first_test - first_stop, length - first_test) >= horizon


def shared_settings() -> Task:
    """Return the task whose settings of models are taken for a user's CSV file: the shipped one."""
    return read_task("chicago")


def _usual_season(freq: str) -> int:
    seasons = {"h": 24, "D": 7, "B": 5, "W": 52, "M": 12, "MS": 12, "ME": 12, "Q": 4, "QS": 4, "QE": 4}
    return seasons.get(freq.split("-")[0], 1)


def _read_csv(path: Path, time: str, columns: Sequence[str], freq: str) -> TimeSeries:
    try:
        frame = pd.read_csv(path)
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path}: cannot be read as a CSV file: {reason}") from error
    missing = [column for column in [time, *columns] if column not in frame.columns]
    if missing:
        raise UserError(f"{path}: no column {missing[0]!r}; its columns are {', '.join(map(repr, frame.columns))}.")
    if pd.api.types.is_numeric_dtype(frame[time]):
        raise UserError(f"{path}: column {time!r} holds numbers. Give dates, such as 2024-01-31.")
    try:
        offset = pd.tseries.frequencies.to_offset(freq)
        times = pd.DatetimeIndex(pd.to_datetime(frame[time]))
    except ValueError as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path}: --freq {freq} or column {time!r} makes no dates: {reason}") from error
    if times.isna().any():
        raise UserError(f"{path}: column {time!r} has no date in row {int(np.argmax(times.isna())) + 2}.")
    if times.duplicated().any():
        raise UserError(f"{path}: {times[times.duplicated()][0]} stands twice in column {time!r}. Keep one row of it.")
    if not times.is_monotonic_increasing:
        raise UserError(f"{path}: column {time!r} is not sorted. Sort the rows by it.")
    expected = pd.date_range(times[0], times[-1], freq=offset)
    gaps = expected.difference(times)
    if len(gaps) or len(expected) != len(times):
        where = f"{gaps[0]} is missing" if len(gaps) else "times do not follow it"
        raise UserError(
            f"{path}: with --freq {freq}, {where} in column {time!r}. Fill the gaps or give another --freq."
        )
    values = frame[list(columns)].apply(pd.to_numeric, errors="coerce")
    finite = np.isfinite(values.to_numpy(dtype=float))
    if not finite.all():
        row, column = np.argwhere(~finite)[0]
        raise UserError(f"{path}: no number in column {columns[column]!r}, row {row + 2}. Fill it first.")
    return TimeSeries.from_times_and_values(times, values.to_numpy(dtype=float), columns=list(columns), freq=freq)
