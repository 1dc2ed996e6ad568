"""Tables of results: one line a model, the best first."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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
    def is_published(self) -> bool:
        """Whether the result was published by others, and not made here."""
        return self.rows[0].published_in is not None

    @property
    def ranked_by(self) -> str:
        """Name of the error that the task ranks models by."""
        return str(self.rows[0].task_settings.get("ranked_by", "mae"))

    def errors(self) -> list[float]:
        """Return each seed's error that the task ranks models by."""
        return self._errors(None, self.ranked_by)

    @property
    def ranking(self) -> float:
        """Median over seeds of the error that the task ranks models by; infinite if it is not known."""
        return self.median(error=self.ranked_by) if self.has(self.ranked_by) else math.inf

    @property
    def has_steps(self) -> bool:
        """Whether errors are known of each step ahead."""
        return bool(self.rows[0].mae)

    def has(self, error: str) -> bool:
        """Whether an error is known."""
        return all(row.mse is not None if error == "mse" else error in row.means for row in self.rows)

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
        return [row.means.get(error, math.nan) if step is None else getattr(row, error)[step] for row in self.rows]

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
    published = []
    for row in rows:
        if row.published_in is not None:
            published.append(ModelSummary(str(row.period), [row]))
        elif row.error is None and row.period is not None:
            groups.setdefault((row.period, row.label, bool(row.members)), []).append(row)
    periods = list(dict.fromkeys(period for period, _, _ in groups))
    summaries = [
        ModelSummary(key[0], group, (leads or {}).get(key)) for key, group in groups.items()
    ]  # fmt: skip
    return sorted([*summaries, *published], key=lambda summary: (periods.index(summary.period), summary.ranking))


def number(value: float) -> str:
    """Return a number for a table: whole if it is large, and nothing if it is not known."""
    if math.isnan(value):
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.4g}"


def table_lines(summaries: Sequence[ModelSummary], unit: str) -> list[str]:
    """Return the lines of a table of `summaries` for the terminal."""
    lines: list[str] = []
    for period in dict.fromkeys(summary.period for summary in summaries):
        of_period = [summary for summary in summaries if summary.period == period]
        example = next(summary for summary in of_period if not summary.is_published).rows[0]
        lines += [
            "",
            f"MAE{' in ' + unit if unit else ''}, test period {period}, {example.n_forecasts} forecasts of "
            f"{len(example.mae)} steps, median over seeds, {example.threads} thread(s); "
            + ", ".join(f"{name} {version}" for name, version in example.versions.items() if name in _SHOWN_VERSIONS),
        ]
        for ranked in blocks(of_period):
            lines += [*_table(ranked), ""]
        lines.pop()
    return lines


def blocks(summaries: Sequence[ModelSummary]) -> list[list[ModelSummary]]:
    """Return single models, ensembles and what others have published, each for a table of its own, if there are any."""
    single = [summary for summary in summaries if not summary.is_ensemble and not summary.is_published]
    ensembles = [summary for summary in summaries if summary.is_ensemble]
    published = [summary for summary in summaries if summary.is_published]
    return [block for block in (single, ensembles, published) if block]


ERROR_HEADS = {
    "rmse": "RMSE",
    "mase": "MASE",
    "smape": "sMAPE",
    "rmae": "rMAE",
    "owa": "OWA",
    "crps": "CRPS",
    "revision": "revision",
    "mse": "MSE",
}


def shown_errors(summaries: Sequence[ModelSummary]) -> list[str]:
    """Return the names of the errors that a table shows beside the mean absolute error."""
    names = list(summaries[0].rows[0].task_settings.get("errors", ["rmse", "mase", "smape"]))
    if any(summary.rows[0].crps for summary in summaries):
        names.append("crps")
    return names


_SHOWN_VERSIONS = ("python", "darts", "torch")


def _table(summaries: Sequence[ModelSummary]) -> list[str]:
    steps = shown_steps(max(len(summary.rows[0].mae) for summary in summaries))
    errors = shown_errors(summaries)
    heads = [f"t+{step + 1}" for step in steps] + ["mean", "min - max", *(ERROR_HEADS[error] for error in errors)]
    heads += ["seeds", "fit s", "difference from the best rival"]
    lines = [f"{'model':24}" + "".join(f"{head:>{_width(head)}}" for head in heads)]
    for summary in summaries:
        cells = [number(summary.median(step)) if summary.has_steps else "" for step in steps]
        cells += [number(summary.median()) if summary.has("mae") else ""]
        cells += ["" if len(summary.rows) == 1 else " - ".join(map(number, summary.spread(summary.ranked_by)))]
        cells += [number(summary.median(error=error)) if summary.has(error) else "" for error in errors]
        seeds = len(summary.rows[0].members) if summary.is_ensemble else len(summary.rows)
        if summary.is_published:
            cells += ["", "", "published"]
        else:
            cells += [str(seeds), f"{summary.fit_seconds:.1f}", lead_text(summary.lead)]
        lines.append(
            f"{summary.name:24}" + "".join(f"{cell:>{_width(head)}}" for head, cell in zip(heads, cells, strict=True))
        )
    return lines


def lead_text(lead: Difference | None) -> str:
    """Return the difference to the best rival with its interval, if there is one."""
    if lead is None:
        return ""
    numbers = (lead.mean, lead.low, lead.high) if has_interval(lead) else (lead.mean,)
    largest = max(map(abs, numbers))
    decimals = 3 - math.floor(math.log10(largest)) if 0 < largest < 100 else 0
    shape = f"+,.{decimals}f"  # the same for all three
    mean, *interval = (format(value, shape) for value in numbers)
    return f"{mean} [{', '.join(interval)}]" if interval else mean


def has_interval(lead: Difference) -> bool:
    """Whether there were enough forecasts to put an interval around a difference."""
    return math.isfinite(lead.low)


def _width(head: str) -> int:
    return {"min - max": 18, "difference from the best rival": 34}.get(head, 8)


def shown_steps(horizon: int) -> list[int]:
    """Return the steps ahead, counted from 0, whose errors tables show: the first, one in the middle, the last."""
    if not horizon:
        return []
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
        if not summary.is_ensemble and not summary.is_published:
            row = summary.rows[0]
            candidates = found.setdefault(row.model, {})
            candidates.setdefault(settings_text(row.candidate) or "as fixed", []).append(summary)
    name = {"mae": "the mean absolute error"} | ERROR_HEADS
    ranked_by = name[summaries[0].ranked_by]
    lines = [f"Mean over the periods of the median over seeds of {ranked_by}, best candidate first:"]
    return lines + [f"{model}: " + "; ".join(_ranked(candidates)) for model, candidates in found.items()]


def _ranked(candidates: Mapping[str, Sequence[ModelSummary]]) -> list[str]:
    """Return a text for each candidate, the best first; those that lack a period or a seed are not comparable."""
    n_rows = {name: sum(len(summary.rows) for summary in summaries) for name, summaries in candidates.items()}
    means = {name: statistics.mean(summary.ranking for summary in summaries) for name, summaries in candidates.items()}
    whole = max(n_rows.values())
    ordered = sorted(candidates, key=lambda name: (n_rows[name] < whole, means[name]))
    return [f"{name} {means[name]:,.6g}" + (" (not all seeds)" if n_rows[name] < whole else "") for name in ordered]


def write_csv(results: Results, summaries: Sequence[ModelSummary]) -> None:
    """Write the table into the folder of results: one line a model and test period, with how they were made."""
    horizon = max(len(summary.rows[0].mae) for summary in summaries)
    lines = [_cells_of(summary, horizon) for summary in summaries]
    write_table(results.path / "table.csv", results.about(), list(lines[0]), [list(line.values()) for line in lines])


def _cells_of(summary: ModelSummary, horizon: int) -> dict[str, Any]:
    """Return what stands in each column; a cell is empty where there is nothing to tell."""
    first, lead, by = summary.rows[0], summary.lead, summary.ranked_by
    lowest, highest = summary.spread() if summary.has("mae") else ("", "")
    best, worst = summary.spread(by) if summary.has(by) else ("", "")
    errors = {error if error == "mse" else f"mean_{error}": error for error in ERROR_HEADS}
    return {
        "period": summary.period,
        "model": first.model,
        "candidate": settings_text(first.candidate),
        "ours": _word(first.is_ours),
        "seeds": len(first.members) or len(summary.rows),
        "averaged": _word(summary.is_ensemble),
        "mean_mae": summary.median() if summary.has("mae") else "",
        "mean_mae_min": lowest,
        "mean_mae_max": highest,
        **{column: summary.median(error=error) if summary.has(error) else "" for column, error in errors.items()},
        "ranked_by": by,
        "ranked_min": best,
        "ranked_max": worst,
        "lead": "" if lead is None else lead.mean,
        "lead_low": "" if lead is None or not has_interval(lead) else lead.low,
        "lead_high": "" if lead is None or not has_interval(lead) else lead.high,
        "fit_seconds": "" if summary.is_published else summary.fit_seconds,
        "published_in": first.published_in or "",
        **{f"mae_t+{step + 1}": summary.median(step) if summary.has_steps else "" for step in range(horizon)},
    }


def _word(is_true: bool) -> str:
    return "yes" if is_true else "no"
