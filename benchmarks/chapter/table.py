"""The lecture's table: medians over seeds beside the lecture's figures and Keras'."""

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.chapter.protocol import Chapter, Entry, Metric
from benchmarks.chapter.runs import THREADS, Result, Run
from benchmarks.core.versions import versions
from seq_plugins._files import atomic_file


@dataclass(frozen=True)
class Summary:
    """An error of a row over its seeds.

    Parameters
    ----------
    entry
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

    entry: Entry
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
        is_judged = self.is_whole and self.first_forecast == self.entry.first_forecast
        return self.metric.is_met(self.median) if is_judged else None

    def as_dict(self) -> dict[str, Any]:
        """Return what stands in the JSON file."""
        return {
            "name": self.entry.name,
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


def summarise(runs: Sequence[Run], results: Sequence[Result]) -> list[Summary]:
    """Return every metric of every row over its seeds, on the row's own dates."""
    return [
        summary
        for entry in _entries_of(runs)
        for summary in _summaries(entry, entry.first_forecast, runs, results)
    ]  # fmt: skip


def compare_on_shared_dates(chapter: Chapter, runs: Sequence[Run], results: Sequence[Result]) -> list[Summary]:
    """Return the errors of the rows of several steps on the same dates, for each day of a first forecast."""
    return [
        summary
        for first in chapter.first_forecasts
        for entry in _entries_of(runs)
        if entry.horizon > 1
        for summary in _summaries(entry, first, runs, results)
    ]


def _entries_of(runs: Sequence[Run]) -> list[Entry]:
    return list({run.entry.name: run.entry for run in runs}.values())


def _summaries(entry: Entry, first_forecast: str, runs: Sequence[Run], results: Sequence[Result]) -> list[Summary]:
    good = [result for result in results if result.name == entry.name and result.error is None]
    if not good:
        return []
    n_expected = sum(run.entry.name == entry.name for run in runs)
    return [
        Summary(
            entry,
            metric,
            first_forecast,
            [metric.of(result.mae[first_forecast]) for result in good],
            is_whole=len(good) == n_expected,
        )
        for metric in entry.metrics
    ]


def write_json(path: Path, chapter: Chapter, runs: Sequence[Run], results: Sequence[Result], seconds: float) -> None:
    """Write summary and results as one JSON file, as a whole or not at all."""
    content = {
        "summary": [summary.as_dict() for summary in summarise(runs, results)],
        "shared_dates": [
            {key: entry[key] for key in ("name", "metric", "first_forecast", "median", "errors")}
            for entry in (summary.as_dict() for summary in compare_on_shared_dates(chapter, runs, results))
        ],
        "rows": [asdict(result) for result in results],
        "threads": THREADS,
        "versions": versions(),
        "settings": {entry.name: chapter.settings(entry) for entry in _entries_of(runs)},
        "seconds": seconds,
    }
    with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        json.dump(content, file, indent=1)
        file.write("\n")


def table_lines(chapter: Chapter, runs: Sequence[Run], results: Sequence[Result]) -> list[str]:
    """Return the lines of the tables for the terminal."""
    summaries = summarise(runs, results)
    if not summaries:
        return []
    n_seeds = len({run.seed for run in runs if run.seed is not None})
    lines = [
        f"MAE in riders, best epoch of the validation period, median over {n_seeds} seed(s), {THREADS} thread",
        f"{'row':16} {'metric':10} {'median':>8} {'min - max':>17} {'lecture':>8} {'Keras (seeds)':>14}  goal",
    ]
    for summary in summaries:
        metric = summary.metric
        keras = "" if metric.keras_median is None else f"{metric.keras_median:,.0f} ({len(metric.keras)})"
        lecture = "" if metric.lecture is None else f"{metric.lecture:,.0f}"
        lines.append(
            f"{summary.entry.name:16} {metric.name:10} {summary.median:>8,.0f} {_spread(summary):>17} {lecture:>8} "
            f"{keras:>14}  {_goal(summary)}".rstrip()
        )
    shared = compare_on_shared_dates(chapter, runs, results)
    for first in dict.fromkeys(summary.first_forecast for summary in shared):
        of_date = [summary for summary in shared if summary.first_forecast == first]
        heads = list(dict.fromkeys(summary.metric.name for summary in of_date))
        (n_forecasts,) = {
            result.n_forecasts[first] for result in results if result.name == of_date[0].entry.name and not result.error
        }
        lines += ["", f"The same {n_forecasts} forecasts, from {first} on"]
        lines.append(f"{'row':16}" + "".join(f" {head:>10}" for head in heads))
        for entry in {summary.entry.name: summary.entry for summary in of_date}.values():
            medians = {each.metric.name: each.median for each in of_date if each.entry.name == entry.name}
            note = "  (earlier inputs than the validation period's)" if first < entry.first_forecast else ""
            lines.append(f"{entry.name:16}" + "".join(f" {medians[head]:>10,.0f}" for head in heads) + note)
    return lines


def _spread(summary: Summary) -> str:
    low, high = min(summary.errors), max(summary.errors)
    return "" if len(summary.errors) == 1 else f"{low:,.0f} - {high:,.0f}"


def _goal(summary: Summary) -> str:
    if summary.metric.goal is None:
        return ""
    whose = {"lecture": "the lecture's", "keras": "Keras'"}[summary.metric.goal]
    slack = f" and {summary.metric.slack:.0%}" if summary.metric.slack else ""
    reached = {True: "met", False: "NOT MET", None: "seeds are missing"}[summary.met]
    return f"{whose}{slack}: {reached}"
