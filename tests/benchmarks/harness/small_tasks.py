"""What tests of the backtests share: a small CSV file and quick settings."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.harness.table_task import Lengths, read_table, table_task
from benchmarks.harness.task import Task, read_task
from seq_plugins.tables import TableOptions

COLUMNS = ["--time", "day", "--target", "sold", "--horizon", "3", "--input-length", "10"]
N_TEST = 18  # steps of the test period of 120 rows


def write_csv(path: Path, n_rows: int = 120, freq: str = "D") -> pd.DataFrame:
    """Write a weekly pattern with noise, a past and a future covariate."""
    generator = np.random.default_rng(0)
    steps = np.arange(n_rows)
    frame = pd.DataFrame(
        {
            "day": pd.date_range("2024-01-01", periods=n_rows, freq=freq),
            "sold": 10 + np.sin(2 * np.pi * steps / 7) + 0.1 * generator.standard_normal(n_rows),
            "price": generator.random(n_rows),
            "open": (steps % 7 < 6).astype(int),
        }
    )
    frame.to_csv(path, index=False)
    return frame


def quick_settings() -> Task:
    """Return the settings that a CSV file's task takes over, with two epochs."""
    task = read_task("chicago")
    return replace(task, training=task.training | {"n_epochs": 2})


def small_task(folder: Path, **changes: object) -> Task:
    """Return the task of a small CSV file, quick to train."""
    write_csv(folder / "sales.csv")
    options = TableOptions(["sold"], time="day", past=["price"], future=["open"], freq="D")
    task = table_task(read_table(folder / "sales.csv", options), Lengths(horizon=3, input_length=10), [])
    return replace(task, training=task.training | {"n_epochs": 2}, **changes)  # type: ignore[arg-type]
