"""The lecture's table as data: tasks with one model each, and the figures to compare with."""

import statistics
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from benchmarks.core.options import check_names
from benchmarks.harness.task import Period, Task

if TYPE_CHECKING:
    from benchmarks.harness.rows import BacktestRow

PROTOCOL_FILE = Path(__file__).with_suffix(".toml")


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

    def of(self, result: "BacktestRow") -> float:
        """Return this error out of those of a result."""
        errors = result.mae_by_component[self.component]
        return errors[self.step - 1] if self.step else statistics.fmean(errors)

    def is_met(self, median: float) -> bool | None:
        """Tell whether a median, to the rider as the figures are, reaches the goal; ``None`` without one."""
        figure = {"lecture": self.lecture, "keras": self.keras_median, None: None}[self.goal]
        return None if figure is None else round(median) <= figure * (1 + self.slack)


@dataclass(frozen=True)
class TableRow:
    """A row of the table.

    Parameters
    ----------
    text
        The network in words.
    task
        What is forecast and how; its name is the row's. Its test periods are named after the day of their first
        forecast.
    model
        Name of the model's entry.
    first_forecast
        Day of the first forecast: the first with all inputs in the validation period.
    metrics
        Errors to report.
    """

    text: str
    task: Task
    model: str
    first_forecast: str
    metrics: list[Metric]

    @property
    def name(self) -> str:
        """Name on the command line."""
        return self.task.name


def read_rows() -> list[TableRow]:
    """Read the rows from ``protocol.toml``."""
    protocol = tomllib.loads(PROTOCOL_FILE.read_text(encoding="utf-8"))
    return [_make_row(protocol, row) for row in protocol["rows"]]


def _make_row(protocol: Mapping[str, Any], row: dict[str, Any]) -> TableRow:
    """Make a row: what it does not need itself is its task's, beside what all tasks share."""
    text, model, first = (row.pop(name) for name in ("text", "model", "first_forecast"))
    settings = row.pop("settings", {})
    metrics = [Metric(**metric) for metric in row.pop("metrics")]
    shared, end = protocol["task"], pd.Timestamp(protocol["validation"]["end"])
    task = Task(
        train=Period("train", *(pd.Timestamp(protocol["train"][name]) for name in ("start", "end"))),
        early_stopping=Period("early stopping", pd.Timestamp(first), end),
        tests=[Period(day, pd.Timestamp(day), end) for day in sorted({*protocol["first_forecasts"], first})],
        **{**shared, **row, "models": {**shared["models"], model: settings}},
    )
    return TableRow(text, task, model, first, metrics)


def find_rows(rows: Sequence[TableRow], names: Sequence[str] | None) -> list[TableRow]:
    """Return the rows of `names` in the table's order, or all.

    Raises
    ------
    UserError
        If there is no row of a name.
    """
    if names is None:
        return list(rows)
    check_names("--rows", names, [row.name for row in rows])
    return [row for row in rows if row.name in names]
