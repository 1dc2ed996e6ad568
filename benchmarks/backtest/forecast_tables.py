"""The forecasts of the test periods as tables with dates: CSV or Parquet, a file for each model and seed, and mean."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.backtest.diagnostics import time_positions
from benchmarks.backtest.evaluation import Evaluation
from benchmarks.core.progress import Progress
from benchmarks.harness.forecasts import PeriodForecasts
from benchmarks.harness.plan import runs_of
from benchmarks.harness.rows import BacktestRow
from benchmarks.harness.task import Task
from seq_plugins._files import atomic_file
from seq_plugins.tables.times import written

# W: forecasts, H: steps forecast, C: target components, Q: quantile levels

_MOST_ROWS = 200_000
"""Rows that are in memory at a time."""


def write_tables(folder: Path, evaluation: Evaluation, kind: str, progress: Progress) -> str:
    """Write a table for each model and seed, and for each mean of several seeds; return what is to be told.

    Parameters
    ----------
    folder
        Folder of the tables.
    evaluation
        The backtest.
    kind
        ``"csv"`` or ``"parquet"``.
    progress
        Told how far they are.
    """
    open_table = {"csv": _open_csv, "parquet": _open_parquet}[kind]
    times = _times(evaluation.plan.task, as_text=kind == "csv")
    rows = [*evaluation.rows, *evaluation.ensemble_rows]
    made = {_name(evaluation, row): row for row in rows}  # the same in each test period
    n_rows, n_bytes = 0, 0
    with progress.over(len(made)):
        for name, row in made.items():
            path = folder / f"{name}.{kind}"
            with atomic_file(path) as temporary, open_table(temporary) as write:
                for forecasts in evaluation.in_each_period(row):
                    for frame in _frames(evaluation, forecasts, times):
                        write(frame)
                        n_rows += len(frame)
            n_bytes += path.stat().st_size
            progress.advance(path.name)
    return f"Forecasts of the test periods: {len(made)} tables in {folder}, {n_rows:,} rows, {n_bytes / 1e6:,.1f} MB."


def _name(evaluation: Evaluation, row: BacktestRow) -> str:
    run = replace(runs_of(evaluation.plan, row.model, row.candidate, row.seed)[0], fold=None)
    return f"{run.key}-mean-of-{len(row.members)}-seeds" if row.members else run.key


def _times(task: Task, as_text: bool) -> np.ndarray:
    """Return the times of a task's series, or the whole numbers that it has in their place."""
    assert task.source is not None  # noqa: S101 it has been loaded
    if task.numbers is not None:
        first, step = task.numbers
        return first + step * np.arange(len(task.source))
    times = task.source.time_index
    if as_text:
        return np.array(written(times, task.zone), dtype=object)
    return np.array(times if task.zone is None else times.tz_localize("UTC").tz_convert(task.zone))


def _frames(evaluation: Evaluation, forecasts: PeriodForecasts, times: np.ndarray) -> Iterator[pd.DataFrame]:
    """Yield the rows of forecasts, some of them at a time."""
    n_at_once = max(_MOST_ROWS // forecasts.predicted[0].size, 1)
    for first in range(0, len(forecasts.predicted), n_at_once):
        yield _frame(evaluation, forecasts, slice(first, first + n_at_once), times)


def _frame(evaluation: Evaluation, forecasts: PeriodForecasts, part: slice, times: np.ndarray) -> pd.DataFrame:
    """Return a row for each forecast, step and component."""
    task = evaluation.plan.task
    predicted = forecasts.predicted[part]
    n_forecasts, horizon, n_components = predicted.shape
    positions = time_positions(task, forecasts.starts[part])  # -> (W, H)
    steps = np.arange(1, horizon + 1)
    names = {"target": [name for one in task.columns for name in one.target_names]}
    if task.is_panel:
        ids = {"id": [one.id for one in task.columns for _ in one.target]}
        names = ids | names if len(task.columns[0].target) > 1 else ids
    frame = pd.DataFrame(
        {
            "period": forecasts.period,
            "start": np.repeat(times[positions[:, 0]], horizon * n_components),
            "time": np.repeat(times[positions.ravel()], n_components),
            **{name: np.tile(np.array(of, dtype=object), n_forecasts * horizon) for name, of in names.items()},
            "step": np.tile(np.repeat(steps, n_components), n_forecasts),
            "observed": evaluation.row_maker.truth[forecasts.period][part].ravel(),
            "forecast" if forecasts.quantiles is None else "median": predicted.ravel(),
        }
    )
    if forecasts.quantiles is not None:
        flat = forecasts.quantiles[part].reshape(len(frame), -1)
        for i, level in enumerate(evaluation.plan.levels):
            if level != 0.5:
                frame[f"q{level:g}"] = flat[:, i]
    return frame


@contextmanager
def _open_csv(path: Path) -> Iterator[Callable[[pd.DataFrame], None]]:
    with path.open("w", encoding="utf-8", newline="") as file:

        def write(frame: pd.DataFrame) -> None:
            frame.to_csv(file, header=not file.tell(), index=False, float_format="%.7g")  # of float32

        yield write


@contextmanager
def _open_parquet(path: Path) -> Iterator[Callable[[pd.DataFrame], None]]:
    import pyarrow  # type: ignore[import-untyped]
    import pyarrow.parquet  # type: ignore[import-untyped]

    writer: Any = None

    def write(frame: pd.DataFrame) -> None:
        nonlocal writer
        part = pyarrow.Table.from_pandas(frame, schema=writer and writer.schema, preserve_index=False)
        writer = writer or pyarrow.parquet.ParquetWriter(path, part.schema)
        writer.write_table(part)

    try:
        yield write
    finally:
        if writer is not None:
            writer.close()
