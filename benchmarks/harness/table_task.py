"""A user's table as a forecasting task: a CSV file, checked, with periods of its own."""

import hashlib
from itertools import count
from math import ceil
from pathlib import Path
from typing import NamedTuple

import numpy as np
from darts import TimeSeries, concatenate

from benchmarks.core.errors import UserError
from benchmarks.harness.task import Period, Task, read_task
from seq_plugins.tables import Panel, Rows, TableOptions, component_names, make_panel, read_rows
from seq_plugins.tables.files import counted, first_three


class Table(NamedTuple):
    """A user's table of one series: the series, and the rows that they were made of."""

    panel: Panel
    rows: Rows


def read_table(path: Path, options: TableOptions) -> Table:
    """Read a table of one series with dates.

    Parameters
    ----------
    path
        Path of the file.
    options
        How it is read.

    Raises
    ------
    UserError
        If the file cannot be read, a column is missing, dates are doubled, missing or no dates, or values are no
        numbers.
    """
    rows = read_rows(path, options)
    if rows.frame[rows.time].dtype.kind != "M":
        raise UserError(f"{path}: column {rows.time!r} holds numbers. Give dates, such as 2024-01-31.")
    return Table(*make_panel(rows, []))


def csv_task(
    table: Table, horizon: int = 14, input_length: int | None = None, season_length: int | None = None
) -> Task:
    """Make a task of a user's CSV file: the first 70 % train, the next 15 % stop early, the last 15 % test.

    Parameters
    ----------
    table
        The table, read with its time stamps and frequency named.
    horizon
        Time steps to forecast.
    input_length
        Time steps that a forecast is made from; four horizons by default.
    season_length
        Time steps of a season; by default the one that is usual for the frequency.

    Raises
    ------
    UserError
        If values are missing, or the series is too short.
    """
    rows, options = table.rows, table.rows.options
    path, freq = rows.path, str(options.freq)
    source = _join_series(table)
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
        target=list(options.target),
        past_covariates=component_names(options.past, rows),
        future_covariates=component_names(options.future, rows),
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
        time=rows.time,
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


def _join_series(table: Table) -> TimeSeries:
    """Return targets and covariates as one series, up to the last observation; values must not be missing."""
    panel, rows, freq = table.panel, table.rows, table.rows.options.freq
    parts = [panel.targets[0], *(part[0][: panel.length] for part in (panel.past, panel.future) if part is not None)]
    source = concatenate(parts, axis=1)
    missing = source.time_index[np.isnan(source.values(copy=False)).any(axis=1)]
    if len(missing):
        raise UserError(
            f"{rows.path}: with --freq {freq}, values are missing at {counted(len(missing), 'time step')}: "
            f"{first_three(map(str, missing), len(missing))}. Fill the gaps or give another --freq."
        )
    return source
