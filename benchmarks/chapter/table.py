"""The lecture's table: medians over seeds beside the lecture's figures and Keras'."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.chapter.protocol import Metric, TableRow
from benchmarks.core.provenance import write_table
from benchmarks.harness.entries import ENTRIES
from benchmarks.harness.rows import BacktestRow


@dataclass(frozen=True)
class MetricSummary:
    """An error of a row over its seeds.

    Parameters
    ----------
    row
        The row.
    metric
        The error, and what it is compared with.
    first_forecast
        Day of the first forecast that counts.
    errors
        The error in riders, seed by seed.
    is_whole
        Whether no seed is missing; otherwise nothing is said about the goal.
    """

    row: TableRow
    metric: Metric
    first_forecast: str
    errors: list[float]
    is_whole: bool = True

    @property
    def median(self) -> float:
        """Median over seeds."""
        return statistics.median(self.errors)

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached; ``None`` without one, and on other dates than the row's own."""
        is_judged = self.is_whole and self.first_forecast == self.row.first_forecast
        return self.metric.is_met(self.median) if is_judged else None

    def as_dict(self) -> dict[str, Any]:
        """Return what stands in the JSON file."""
        return {
            "name": self.row.name,
            "metric": self.metric.name,
            "median": self.median,
            "lecture": self.metric.lecture,
            "keras": self.metric.keras_median,
            "met": self.met,
            "goal": self.metric.goal,
            "slack": self.metric.slack,
            "errors": self.errors,
            "keras_errors": list(self.metric.keras),
            "first_forecast": self.first_forecast,
        }


@dataclass(frozen=True)
class Table:
    """The table, as far as there are results.

    Parameters
    ----------
    rows
        Rows of the table.
    results
        Results of them, some of which may have failed.
    n_seeds
        Number of seeds of each network.
    """

    rows: Sequence[TableRow]
    results: Sequence[BacktestRow]
    n_seeds: int

    def summarise(self) -> list[MetricSummary]:
        """Return every metric of every row over its seeds, on the row's own dates."""
        return [summary for row in self.rows for summary in self._summaries(row, row.first_forecast)]

    def compare_on_shared_dates(self) -> list[MetricSummary]:
        """Return the errors of the rows of several steps on the same dates, for each day of a first forecast."""
        rows = [row for row in self.rows if row.task.output_chunk_length > 1]
        days = sorted({period.name for row in rows for period in row.task.tests})
        return [summary for day in days for row in rows for summary in self._summaries(row, day)]

    def _summaries(self, row: TableRow, first_forecast: str) -> list[MetricSummary]:
        found = self.results_of(row, first_forecast)
        is_whole = len(found) == (self.n_seeds if ENTRIES[row.model].is_network else 1)
        return [
            MetricSummary(row, metric, first_forecast, [metric.of(result) for result in found], is_whole)
            for metric in row.metrics
            if found
        ]

    def results_of(self, row: TableRow, first_forecast: str) -> list[BacktestRow]:
        """Return the results of a row that have not failed."""
        return [result for result in self.results if (result.task, result.period) == (row.name, first_forecast)]

    def write(self, path: Path, about: Mapping[str, Any]) -> None:
        """Write the table as a CSV file: one line a row, metric and day of the first forecast.

        Parameters
        ----------
        path
            Path of the file.
        about
            How the results were made.
        """
        columns = ["row", "text", "metric", "first_forecast", "own_dates", "n_forecasts", "seeds"]
        columns += ["median", "smallest", "largest", "lecture", "keras", "keras_seeds", "goal", "slack", "met"]
        rows = []
        for summary in self.summarise() + self.compare_on_shared_dates():
            row, metric = summary.row, summary.metric
            n_forecasts = self.results_of(row, summary.first_forecast)[0].n_forecasts
            met = {True: "yes", False: "no", None: None}[summary.met]
            own = "yes" if summary.first_forecast == row.first_forecast else "no"
            cells = row.name, row.text, metric.name, summary.first_forecast, own, n_forecasts, len(summary.errors)
            errors = summary.median, min(summary.errors), max(summary.errors)
            figures = metric.lecture, metric.keras_median, len(metric.keras) or None
            rows.append((*cells, *errors, *figures, metric.goal, metric.slack or None, met))
        write_table(path, about, columns, dict.fromkeys(rows))  # a row's own day is a shared one, too

    def content(self) -> dict[str, Any]:
        """Return what stands in the JSON file, but for the results themselves."""
        shared = [summary.as_dict() for summary in self.compare_on_shared_dates()]
        kept = ("name", "metric", "first_forecast", "median", "errors")
        return {
            "summary": [summary.as_dict() for summary in self.summarise()],
            "shared_dates": [{key: summary[key] for key in kept} for summary in shared],
        }


def table_lines(table: Table) -> list[str]:
    """Return the lines of the tables for the terminal."""
    summaries = table.summarise()
    if not summaries:
        return []
    lines = [
        f"MAE in riders, best epoch of the validation period, median over {table.n_seeds} seed(s), "
        f"{table.results[0].threads} thread(s)",
        f"{'row':16} {'metric':10} {'median':>8} {'min - max':>17} {'lecture':>8} {'Keras (seeds)':>14}  goal",
    ]
    for summary in summaries:
        metric = summary.metric
        keras = "" if metric.keras_median is None else f"{metric.keras_median:,.0f} ({len(metric.keras)})"
        lecture = "" if metric.lecture is None else f"{metric.lecture:,.0f}"
        lines.append(
            f"{summary.row.name:16} {metric.name:10} {summary.median:>8,.0f} {_spread(summary):>17} {lecture:>8} "
            f"{keras:>14}  {_goal(summary)}".rstrip()
        )
    shared = table.compare_on_shared_dates()
    for first in dict.fromkeys(summary.first_forecast for summary in shared):
        of_date = [summary for summary in shared if summary.first_forecast == first]
        heads = list(dict.fromkeys(summary.metric.name for summary in of_date))
        n_forecasts = table.results_of(of_date[0].row, first)[0].n_forecasts
        lines += ["", f"The same {n_forecasts} forecasts, from {first} on"]
        lines.append(f"{'row':16}" + "".join(f" {head:>10}" for head in heads))
        for row in {summary.row.name: summary.row for summary in of_date}.values():
            medians = {each.metric.name: each.median for each in of_date if each.row.name == row.name}
            note = "  (earlier inputs than the validation period's)" if first < row.first_forecast else ""
            lines.append(f"{row.name:16}" + "".join(f" {medians[head]:>10,.0f}" for head in heads) + note)
    return lines


def _spread(summary: MetricSummary) -> str:
    low, high = min(summary.errors), max(summary.errors)
    return "" if len(summary.errors) == 1 else f"{low:,.0f} - {high:,.0f}"


def _goal(summary: MetricSummary) -> str:
    if summary.metric.goal is None:
        return ""
    whose = {"lecture": "the lecture's", "keras": "Keras'"}[summary.metric.goal]
    slack = f" and {summary.metric.slack:.0%}" if summary.metric.slack else ""
    reached = {True: "met", False: "NOT MET", None: "seeds are missing"}[summary.met]
    return f"{whose}{slack}: {reached}"
