"""A user's table as a forecasting task: a CSV file, checked, with periods of its own."""

import hashlib
from collections.abc import Sequence
from itertools import count
from math import ceil
from pathlib import Path

import numpy as np
import pandas as pd
from darts import TimeSeries

from benchmarks.core.errors import UserError
from benchmarks.harness.task import Period, Task, read_task


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
