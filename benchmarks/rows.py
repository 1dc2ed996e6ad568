"""Result rows: one a model, seed and test period, with what is needed to run it again."""

import csv
import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from typing import Any, TextIO

from seq_plugins._files import whole_file


@dataclass(frozen=True)
class Row:
    """One result.

    Parameters
    ----------
    task
        Name of the task.
    model
        Name of the model.
    seed
        Seed of the training, or ``None`` where nothing is random.
    period
        Name of the test period.
    mae
        Mean absolute error at each step forecast, in the target's unit.
    rmse
        Root mean squared error at each step forecast, in the target's unit.
    n_forecasts
        Number of forecasts.
    fit_seconds
        Seconds that fitting took.
    predict_seconds
        Seconds that the period's forecasts took.
    n_parameters
        Number of a network's weights.
    n_epochs
        Number of epochs trained.
    covariates
        Kinds of covariates that the model was able to use.
    model_settings
        Settings of the model.
    task_settings
        Settings of the task.
    threads
        Number of PyTorch's threads.
    versions
        Versions of Python and of the packages that matter.
    error
        What went wrong, or ``None``.
    """

    task: str
    model: str
    seed: int | None
    period: str | None = None
    mae: list[float] = field(default_factory=list)
    rmse: list[float] = field(default_factory=list)
    n_forecasts: int = 0
    fit_seconds: float | None = None
    predict_seconds: float | None = None
    n_parameters: int | None = None
    n_epochs: int | None = None
    covariates: list[str] = field(default_factory=list)
    model_settings: dict[str, Any] = field(default_factory=dict)
    task_settings: dict[str, Any] = field(default_factory=dict)
    threads: int = 0
    versions: dict[str, str] = field(default_factory=dict)
    error: str | None = None

    @property
    def mean_mae(self) -> float:
        """Mean of the absolute errors over all steps forecast."""
        return statistics.fmean(self.mae)


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that matter."""
    packages = ("seq-plugins", "darts", "torch", "pytorch-lightning", "numpy", "pandas", "scikit-learn")
    return {"python": python_version()} | {package: version(package) for package in packages}


def append_row(file: TextIO, row: Row) -> None:
    """Write a row as a line of JSON, at once."""
    file.write(json.dumps(asdict(row)) + "\n")
    file.flush()


@dataclass(frozen=True)
class Summary:
    """The rows of one model and test period over all seeds."""

    period: str
    model: str
    rows: Sequence[Row]

    def median(self, step: int | None = None) -> float:
        """Return the median over seeds of the MAE at `step`, counted from 0, or of the mean over all steps."""
        return statistics.median(self._errors(step))

    def spread(self) -> tuple[float, float]:
        """Return the smallest and the largest mean MAE over seeds."""
        return min(self._errors(None)), max(self._errors(None))

    def _errors(self, step: int | None) -> list[float]:
        return [row.mean_mae if step is None else row.mae[step] for row in self.rows]

    @property
    def fit_seconds(self) -> float:
        """Median seconds of fitting."""
        return statistics.median(row.fit_seconds or 0.0 for row in self.rows)


def summarise(rows: Iterable[Row]) -> list[Summary]:
    """Group rows by test period and model, the best model first."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row.error is None and row.period is not None:
            groups.setdefault((row.period, row.model), []).append(row)
    periods = list(dict.fromkeys(period for period, _ in groups))
    summaries = [Summary(period, model, group) for (period, model), group in groups.items()]
    return sorted(summaries, key=lambda summary: (periods.index(summary.period), summary.median()))


def table_lines(summaries: Sequence[Summary], unit: str) -> list[str]:
    """Return the lines of a table of `summaries` for the terminal."""
    lines = []
    for period in dict.fromkeys(summary.period for summary in summaries):
        of_period = [summary for summary in summaries if summary.period == period]
        steps = _shown_steps(len(of_period[0].rows[0].mae))
        example = of_period[0].rows[0]
        lines += [
            "",
            f"MAE{' in ' + unit if unit else ''}, test period {period}, {example.n_forecasts} forecasts, "
            f"median over seeds, {example.threads} thread(s)",
        ]
        heads = [f"t+{step + 1}" for step in steps] + ["mean", "min - max", "seeds", "fit s"]
        lines.append(f"{'model':24}" + "".join(f"{head:>{_width(head)}}" for head in heads))
        for summary in of_period:
            low, high = summary.spread()
            cells = [
                f"{summary.median(step):,.4g}" if summary.median() < 10 else f"{summary.median(step):,.0f}"
                for step in [*steps, None]
            ]
            cells += [f"{low:,.4g} - {high:,.4g}" if low < 10 else f"{low:,.0f} - {high:,.0f}"]
            cells += [str(len(summary.rows)), f"{summary.fit_seconds:.1f}"]
            lines.append(
                f"{summary.model:24}"
                + "".join(f"{cell:>{_width(head)}}" for head, cell in zip(heads, cells, strict=True))
            )
    return lines


def _width(head: str) -> int:
    return 20 if head == "min - max" else 9


def _shown_steps(horizon: int) -> list[int]:
    return sorted({0, horizon // 2 - 1 if horizon > 2 else 0, horizon - 1})


def write_csv(path: Path, summaries: Sequence[Summary]) -> None:
    """Write the table as a CSV file: one line a model and test period."""
    with whole_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        horizon = max(len(summary.rows[0].mae) for summary in summaries)
        steps = [f"mae_t+{step + 1}" for step in range(horizon)]
        writer.writerow(["period", "model", "seeds", "mean_mae", "mean_mae_min", "mean_mae_max", "fit_seconds", *steps])
        for summary in summaries:
            start = [summary.period, summary.model, len(summary.rows), summary.median(), *summary.spread()]
            writer.writerow([*start, summary.fit_seconds, *(summary.median(step) for step in range(horizon))])
