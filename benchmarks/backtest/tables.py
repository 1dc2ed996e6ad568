"""Tables of results: one line a model, the best first."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.core.provenance import write_table
from benchmarks.harness.entries import settings_text
from benchmarks.harness.metrics import Difference
from benchmarks.harness.results import Results
from benchmarks.harness.rows import BacktestRow


@dataclass(frozen=True)
class ModelSummary:
    """The rows of one model, settings that are tried and test period over all seeds, or of the mean of their forecasts.

    Parameters
    ----------
    period
        Name of the test period.
    rows
        The rows.
    lead
        Difference of its errors to those of the best rival; negative if it leads.
    """

    period: str
    rows: Sequence[BacktestRow]
    lead: Difference | None = None

    @property
    def is_ensemble(self) -> bool:
        """Whether forecasts of several seeds were averaged."""
        return bool(self.rows[0].members)

    @property
    def label(self) -> str:
        """Name of the model, and behind it the settings that are tried."""
        return self.rows[0].label

    @property
    def name(self) -> str:
        """Name in tables."""
        return f"{self.label} x{len(self.rows[0].members)}" if self.is_ensemble else self.label

    def median(self, step: int | None = None, error: str = "mae") -> float:
        """Return the median over seeds of an error at `step`, counted from 0, or of its mean over all steps."""
        return statistics.median(self._errors(step, error))

    def spread(self, error: str = "mae") -> tuple[float, float]:
        """Return the smallest and the largest mean error over seeds."""
        errors = self._errors(None, error)
        return min(errors), max(errors)

    def _errors(self, step: int | None, error: str) -> list[float]:
        if error == "mse":
            return [row.mse or 0.0 for row in self.rows]
        return [row.means[error] if step is None else getattr(row, error)[step] for row in self.rows]

    @property
    def fit_seconds(self) -> float:
        """Median seconds of fitting; for a statistical model, those of its refits, which are in its forecasts' time."""
        return statistics.median(
            (row.predict_seconds if row.model_settings.get("refit_every") else row.fit_seconds) or 0.0
            for row in self.rows
        )


def summarise(
    rows: Iterable[BacktestRow], leads: Mapping[tuple[str, str, bool], Difference] | None = None
) -> list[ModelSummary]:
    """Group rows by test period, model and settings that are tried, the best model first.

    Parameters
    ----------
    rows
        Rows of single seeds and of ensembles.
    leads
        Differences to the best rival, by period, label of the model and whether it is an ensemble.
    """
    groups: dict[tuple[str, str, bool], list[BacktestRow]] = {}
    for row in rows:
        if row.error is None and row.period is not None:
            groups.setdefault((row.period, row.label, bool(row.members)), []).append(row)
    periods = list(dict.fromkeys(period for period, _, _ in groups))
    summaries = [
        ModelSummary(key[0], group, (leads or {}).get(key)) for key, group in groups.items()
    ]  # fmt: skip
    return sorted(summaries, key=lambda summary: (periods.index(summary.period), summary.median()))


def number(value: float) -> str:
    """Return a number for a table: whole if it is large."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.4g}"


def table_lines(summaries: Sequence[ModelSummary], unit: str) -> list[str]:
    """Return the lines of a table of `summaries` for the terminal."""
    lines: list[str] = []
    for period in dict.fromkeys(summary.period for summary in summaries):
        of_period = [summary for summary in summaries if summary.period == period]
        example = of_period[0].rows[0]
        lines += [
            "",
            f"MAE{' in ' + unit if unit else ''}, test period {period}, {example.n_forecasts} forecasts of "
            f"{len(example.mae)} steps, median over seeds, {example.threads} thread(s); "
            + ", ".join(f"{name} {version}" for name, version in example.versions.items() if name in _SHOWN_VERSIONS),
        ]
        single = [summary for summary in of_period if not summary.is_ensemble]
        ensembles = [summary for summary in of_period if summary.is_ensemble]
        lines += _table(single) + (["", *_table(ensembles)] if ensembles else [])
    return lines


_SHOWN_VERSIONS = ("python", "darts", "torch")


def _table(summaries: Sequence[ModelSummary]) -> list[str]:
    steps = _shown_steps(len(summaries[0].rows[0].mae))
    heads = [f"t+{step + 1}" for step in steps] + ["mean", "min - max", "RMSE", "MASE", "sMAPE"]
    errors = ["rmse", "mase", "smape"]
    if any(summary.rows[0].task_settings.get("is_standardised") for summary in summaries):
        heads.append("MSE")
        errors.append("mse")
    if any(summary.rows[0].crps for summary in summaries):
        heads += ["CRPS"]
        errors.append("crps")
    heads += ["seeds", "fit s", "beside the best rival"]
    lines = [f"{'model':24}" + "".join(f"{head:>{_width(head)}}" for head in heads)]
    for summary in summaries:
        low, high = summary.spread()
        cells = [number(summary.median(step)) for step in [*steps, None]]
        cells += ["" if len(summary.rows) == 1 else f"{number(low)} - {number(high)}"]
        cells += [
            number(summary.median(error=error)) if error in summary.rows[0].means | {"mse": 0} else ""
            for error in errors
        ]
        seeds = len(summary.rows[0].members) if summary.is_ensemble else len(summary.rows)
        cells += [str(seeds), f"{summary.fit_seconds:.1f}", lead_text(summary.lead)]
        lines.append(
            f"{summary.name:24}" + "".join(f"{cell:>{_width(head)}}" for head, cell in zip(heads, cells, strict=True))
        )
    return lines


def lead_text(lead: Difference | None) -> str:
    """Return the difference to the best rival with its interval."""
    if lead is None:
        return ""
    numbers = lead.mean, lead.low, lead.high
    shape = "+,.0f" if max(map(abs, numbers)) >= 100 else "+,.4g"  # the same for all three
    mean, low, high = (format(value, shape) for value in numbers)
    return f"{mean} [{low}, {high}]"


def _width(head: str) -> int:
    return {"min - max": 18, "beside the best rival": 34}.get(head, 8)


def _shown_steps(horizon: int) -> list[int]:
    return sorted({0, horizon // 2 - 1 if horizon > 2 else 0, horizon - 1})


def choice_lines(summaries: Sequence[ModelSummary]) -> list[str]:
    """Return what to print: for each model, candidates and errors, the best first.

    Parameters
    ----------
    summaries
        Summaries of all models and periods; ensembles are passed over.
    """
    found: dict[str, dict[str, list[ModelSummary]]] = {}
    for summary in summaries:
        if not summary.is_ensemble:
            row = summary.rows[0]
            candidates = found.setdefault(row.model, {})
            candidates.setdefault(settings_text(row.candidate) or "as fixed", []).append(summary)
    lines = ["Mean over the periods of the median over seeds of the mean absolute error, best candidate first:"]
    return lines + [f"{model}: " + "; ".join(_ranked(candidates)) for model, candidates in found.items()]


def _ranked(candidates: Mapping[str, Sequence[ModelSummary]]) -> list[str]:
    """Return a text for each candidate, the best first; those that lack a period or a seed are not comparable."""
    n_rows = {name: sum(len(summary.rows) for summary in summaries) for name, summaries in candidates.items()}
    means = {name: statistics.mean(summary.median() for summary in summaries) for name, summaries in candidates.items()}
    whole = max(n_rows.values())
    ordered = sorted(candidates, key=lambda name: (n_rows[name] < whole, means[name]))
    return [f"{name} {means[name]:,.6g}" + (" (not all seeds)" if n_rows[name] < whole else "") for name in ordered]


def write_csv(results: Results, summaries: Sequence[ModelSummary]) -> None:
    """Write the table into the folder of results: one line a model and test period, with how they were made."""
    horizon = max(len(summary.rows[0].mae) for summary in summaries)
    means = ["rmse", "mase", "smape", "crps"]
    columns = ["period", "model", "candidate", "ours", "seeds", "averaged", "mean_mae", "mean_mae_min", "mean_mae_max"]
    columns += [f"mean_{error}" for error in means] + ["mse", "lead", "lead_low", "lead_high", "fit_seconds"]
    rows = []
    for summary in summaries:
        first, lead = summary.rows[0], summary.lead
        rows.append(
            [summary.period, first.model, settings_text(first.candidate), _word(first.is_ours)]
            + [len(first.members) or len(summary.rows), _word(summary.is_ensemble), summary.median()]
            + [*summary.spread()]
            + [summary.median(error=error) if error in first.means else "" for error in means]
            + [summary.median(error="mse")]
            + (["", "", ""] if lead is None else [lead.mean, lead.low, lead.high])
            + [summary.fit_seconds, *(summary.median(step) for step in range(horizon))]
        )
    columns += [f"mae_t+{step + 1}" for step in range(horizon)]
    write_table(results.path / "table.csv", results.about(), columns, rows)


def _word(is_true: bool) -> str:
    return "yes" if is_true else "no"
