"""A user's table as a forecasting task: read as the command ``forecast`` reads it, with periods of its own."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from darts import TimeSeries

from benchmarks.core.errors import UserError
from benchmarks.harness.metrics import seasonal_naive_error
from benchmarks.harness.task import Period, SeriesColumns, Task, counted_times, read_task
from seq_plugins.forecasting.plan import find_stride, guess_horizon, needed_by, usual_seasons
from seq_plugins.models import MODEL_MODULES
from seq_plugins.tables import Panel, Rows, TableOptions, component_names, make_panel, read_rows
from seq_plugins.tables.files import counted, first_three
from seq_plugins.tables.times import time_axis, written

_NORMALISED = (
    "BlockRNNModel",
    "TCNModel",
    "NLinearModel",
    "DLinearModel",
    "NBEATSModel",
    "NHiTSModel",
    "TiDEModel",
    "TSMixerModel",
    "TransformerModel",
    "TFTModel",
)
"""Rivals that have reversible instance normalisation in a panel, as was chosen for them on M4 Hourly; ours have local
normalisation and seasons there."""


@dataclass(frozen=True)
class Table:
    """A user's table.

    Parameters
    ----------
    panel
        Its series.
    rows
        The rows that they were made of.
    notes
        What has been guessed.
    """

    panel: Panel
    rows: Rows
    notes: list[str]


@dataclass(frozen=True)
class Lengths:
    """What a user asks for of a table's task, in time steps; ``None`` where it is left to us.

    Parameters
    ----------
    horizon
        Time steps to forecast.
    input_length
        Time steps that a forecast is made from.
    season_length
        Time steps of a season, or of several; the seasonal naive forecast repeats the longest.
    stopping_length
        Time steps of the early-stopping period.
    test_length
        Time steps of the test period.
    """

    horizon: int | None = None
    input_length: int | None = None
    season_length: Sequence[int] | None = None
    stopping_length: int | None = None
    test_length: int | None = None


def read_table(path: Path, options: TableOptions) -> Table:
    """Read a table of one or many series.

    Parameters
    ----------
    path
        Path of the file.
    options
        How it is read.

    Raises
    ------
    UserError
        If it cannot be read that way.
    """
    rows = read_rows(path, options)
    notes = list(rows.notes)
    panel, rows = make_panel(rows, notes)
    return Table(panel, rows, notes)


def table_task(table: Table, lengths: Lengths, notes: list[str]) -> Task:
    """Make a task of a user's table: the first 70 % train, the next 15 % stop early, the last 15 % test.

    The last two are a horizon long at the least. Series that were not observed in the training period are left out.

    Parameters
    ----------
    table
        The table.
    lengths
        What is asked for.
    notes
        What has been decided is told here.

    Raises
    ------
    UserError
        If the series are too short.
    """
    panel, rows = table.panel, table.rows
    horizon = lengths.horizon or guess_horizon(panel, notes)
    n_train, n_stop = _split(panel.length, horizon, lengths)
    input_length = lengths.input_length or max(min(4 * horizon, n_train - horizon), 1)
    _check_lengths(table, horizon, input_length, lengths)
    axis = time_axis(pd.Index([min(one.start_time() for one in panel.targets), panel.end]), panel.freq)
    times = axis if isinstance(axis, pd.DatetimeIndex) else counted_times(panel.length)
    panel = _observed_in_training(panel, panel.length - n_train, notes)
    seasons = sorted(set(lengths.season_length or [_find_season(panel.freq, n_train, notes)]))
    shown = written(axis[[0, n_train - 1, n_train + n_stop - 1, -1]], rows.options.axis_zone)
    notes.append(
        f"Training from {shown[0]} to {shown[1]}, early stopping to {shown[2]} (--stopping-length), test to {shown[3]} "
        f"(--test-length); forecasts of {horizon} time steps are made from {input_length} (--input-length)."
    )
    is_panel = len(panel.ids) > 1
    series, source = _join(panel, rows, times, is_panel)
    begins = [panel.length - len(one) for one in panel.targets]
    has_gaps = panel.has_gaps or n_train - max(begins) < input_length + horizon
    target = [name for one in series for name in one.target]
    naive_error = seasonal_naive_error(source[target].values(copy=False)[:n_train], seasons[-1])
    is_scaled = len(target) > 1 and bool(np.isfinite(naive_error).any())
    shared = shared_settings()
    training, models = dict(shared.training), dict(shared.models)
    ours: dict[str, Any] = {"missing": "mask"} if has_gaps else {}
    if is_panel:
        within = [season for season in seasons if season > 1]
        if needed_by(within) > input_length:
            within = [season for season in within[:1] if season <= input_length]
        ours |= {"local_normalization": "level_scale"} | ({"season_length": within} if within else {})
        training["train_stride"] = find_stride(panel, input_length, horizon, within)
        models |= {name: {**models.get(name, {}), "use_reversible_instance_norm": True} for name in _NORMALISED}
    models |= {name: {**models.get(name, {}), **ours} for name in MODEL_MODULES}
    return Task(
        name=rows.path.name.split(".")[0],
        dataset=rows.path.name,
        target=target,
        past_covariates=component_names(rows.options.past, rows),
        future_covariates=component_names(rows.options.future, rows),
        input_chunk_length=input_length,
        output_chunk_length=horizon,
        season_length=seasons[-1],
        unit="",
        train=Period("train", times[0], times[n_train - 1]),
        early_stopping=Period("early stopping", times[n_train], times[n_train + n_stop - 1]),
        tests=[Period("test", times[n_train + n_stop], times[-1])],
        training=training,
        models=models,
        default_models=shared.default_models,
        is_panel=is_panel,
        errors=["mase", "smape"] if is_scaled else ["rmse", "mase", "smape"],
        ranked_by="mase" if is_scaled else "mae",
        table=rows.options,
        sha256=hashlib.sha256(rows.path.read_bytes()).hexdigest(),
        has_gaps=has_gaps,
        numbers=None if isinstance(axis, pd.DatetimeIndex) else (int(axis[0]), int(panel.freq)),
        source=source,
        series=series if is_panel else [],
    )


def _split(length: int, horizon: int, lengths: Lengths) -> tuple[int, int]:
    """Return the time steps of training and of early stopping in `length`; they may be too few."""
    n_test = lengths.test_length or max(ceil(0.15 * length), horizon)
    n_stop = lengths.stopping_length or max(length - n_test - ceil(0.7 * length), horizon)
    return length - n_test - n_stop, n_stop


def _check_lengths(table: Table, horizon: int, input_length: int, lengths: Lengths) -> None:
    for option, given in (("--stopping-length", lengths.stopping_length), ("--test-length", lengths.test_length)):
        if given is not None and given < horizon:
            raise UserError(f"{option}: expected at least a horizon, {horizon} time steps, got {given}. Give more.")
    length, shortest = table.panel.length, input_length + horizon
    if _split(length, horizon, lengths)[0] < shortest:
        needed = next(long for long in count() if _split(long, horizon, lengths)[0] >= shortest)
        raise UserError(
            f"{table.rows.path}: {length} time steps are too few for {counted(input_length, 'step')} of input and "
            f"{horizon} of forecast, with periods for early stopping and testing: expected at least {needed}. Make "
            "--horizon or --input-length smaller."
        )


def _observed_in_training(panel: Panel, n_later: int, notes: list[str]) -> Panel:
    """Return the series that were observed before the last `n_later` time steps."""
    seen = set(panel.before_last(n_later).ids)
    left_out = [name for name in panel.ids if name not in seen]
    if left_out:
        names = first_three(map(repr, left_out), len(left_out))
        notes.append(f"Not backtested, since not observed in the training period: {names}.")
    return panel.select(i for i, name in enumerate(panel.ids) if name in seen)


def _find_season(freq: Any, n_train: int, notes: list[str]) -> int:
    season = next((season for season in usual_seasons(freq) if 2 * season <= n_train), 1)
    notes.append(f"Season: {f'{season} time steps' if season > 1 else 'none'} (--season-length).")
    return season


def shared_settings() -> Task:
    """Return the task whose settings of models are taken for a user's table: the shipped one."""
    return read_task("chicago")


def _join(panel: Panel, rows: Rows, times: pd.DatetimeIndex, is_panel: bool) -> tuple[list[SeriesColumns], TimeSeries]:
    """Return the columns of each series, and all of them on one time axis, as they were observed."""
    kinds = (rows.options.target, component_names(rows.options.past, rows), component_names(rows.options.future, rows))
    observed = panel.observed or panel
    found, values = [], []
    for i, target in enumerate(observed.targets):
        names = [[f"{i}:{name}" if is_panel else name for name in of_kind] for of_kind in kinds]
        statics = target.static_covariates
        static = {} if statics is None else {str(name): float(statics[name].iloc[0]) for name in statics.columns}
        found.append(SeriesColumns(panel.ids[i], names[0], list(kinds[0]), names[1], names[2], static))
        parts = [target, *(of[i][: len(target)] for of in (observed.past, observed.future) if of is not None)]
        own = np.concatenate([part.values(copy=False) for part in parts], axis=1)
        values.append(np.concatenate([np.full((len(times) - len(own), own.shape[1]), np.nan), own]))
    columns = [name for one in found for name in (*one.target, *one.past_covariates, *one.future_covariates)]
    return found, TimeSeries.from_times_and_values(times, np.concatenate(values, axis=1), columns=columns)
