"""The report of a backtest: one page with rankings and pictures."""

import datetime
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
from markupsafe import Markup

from benchmarks.backtest.evaluation import Evaluation
from benchmarks.backtest.pictures import draw_curves, draw_forecasts, draw_horizon, draw_ranking
from benchmarks.backtest.tables import ModelSummary, lead_text, number
from benchmarks.core.page import PICTURE_STYLE, embed, write_page
from benchmarks.harness.rows import BacktestRow

N_IN_PICTURES = 10
"""Number of models in pictures of errors by horizon."""


def write_report(path: Path, evaluation: Evaluation, failures: Sequence[BacktestRow], processor: str) -> None:
    """Write the report as one HTML file.

    Parameters
    ----------
    path
        Path of the file.
    evaluation
        The backtest.
    failures
        Rows of what failed.
    processor
        What the results were made on.
    """
    task = evaluation.plan.task
    by_period = {
        period.name: [summary for summary in evaluation.summaries if summary.period == period.name]
        for period in task.tests
    }
    with mpl.rc_context(PICTURE_STYLE):
        write_page(
            path,
            Path(__file__).with_name("report.html.jinja"),
            title=f"Backtest: {task.name}",
            task=task,
            plan=evaluation.plan,
            best_of_ours=evaluation.best_of_ours,
            unit=_unit(evaluation),
            n_seeds=max(len(summary.rows) for summary in evaluation.summaries),
            processor=processor,
            versions=evaluation.summaries[0].rows[0].versions,
            made=datetime.datetime.now(),
            failures=failures,
            periods=[_period(evaluation, name, found) for name, found in by_period.items() if found],
            curves=_curves(evaluation),
            rows=evaluation.rows,
            as_json=lambda settings: json.dumps(settings, indent=1),
        )


def _unit(evaluation: Evaluation) -> str:
    task = evaluation.plan.task
    return "standard deviations of the training period" if task.is_standardised else task.unit


@dataclass(frozen=True)
class _Period:
    """What is told of a test period."""

    name: str
    tables: "list[_Table]"
    ranking: Markup
    horizon: Markup
    forecasts: Markup | None


@dataclass(frozen=True)
class _Table:
    """A ranking of models, or of ensembles: for each what stands under which head."""

    caption: str
    summaries: Sequence[ModelSummary]
    cells: list[dict[str, str]]


def _period(evaluation: Evaluation, period: str, summaries: Sequence[ModelSummary]) -> _Period:
    single = [summary for summary in summaries if not summary.is_ensemble]
    ensembles = [summary for summary in summaries if summary.is_ensemble]
    return _Period(
        name=period,
        tables=[_rank(evaluation, ranked, period) for ranked in (single, ensembles) if ranked],
        ranking=_show_ranking(summaries, period, _unit(evaluation)),
        horizon=_show_horizon(summaries[:N_IN_PICTURES], _unit(evaluation)),
        forecasts=_show_forecasts(evaluation, summaries),
    )


def _show_ranking(summaries: Sequence[ModelSummary], period: str, unit: str) -> Markup:
    return embed(
        draw_ranking(summaries, unit),
        "Mean absolute error over the horizon: a dot for each seed, a bar at the median; ours in red.",
        f"Mean absolute error of each model in {period}, one dot a seed, a bar at the median; the best is "
        f"{summaries[0].name} with {number(summaries[0].median())}, the last {summaries[-1].name} with "
        f"{number(summaries[-1].median())}.",
    )


def _show_horizon(best: Sequence[ModelSummary], unit: str) -> Markup:
    return embed(
        draw_horizon(best, unit),
        f"Median over seeds; the {len(best)} best models.",
        "Mean absolute error by step ahead. "
        + " ".join(
            f"{summary.name}: {number(summary.median(0))} at the first step, {number(summary.median(-1))} at the last."
            for summary in best
        ),
    )


def _show_forecasts(evaluation: Evaluation, summaries: Sequence[ModelSummary]) -> Markup | None:
    names = {summary.name: (summary.period, summary.label, summary.is_ensemble) for summary in _depicted(summaries)}
    shown = {name: evaluation.shown[key] for name, key in names.items() if key in evaluation.shown}
    if not shown:
        return None
    days = ", ".join(str(forecast.start)[:16].replace("T", " ") for forecast in next(iter(shown.values())))
    intervals = any(forecasts[0].low is not None for forecasts in shown.values())
    levels = evaluation.plan.levels
    shade = f" Shaded: from the {levels[0]:g} to the {levels[-1]:g} quantile." if intervals else ""
    task = evaluation.plan.task
    assert task.source is not None  # noqa: S101
    return embed(
        draw_forecasts(shown, task.source.freq, task.unit),
        f"Evenly spaced forecasts, starting {days}; {task.target[0]}; the first of several seeds.{shade}",
        f"Forecasts of {', '.join(shown)} beside the truth, starting {days}.{shade}",
    )


def _depicted(summaries: Sequence[ModelSummary]) -> list[ModelSummary]:
    """Return the best of ours and the best rival."""
    ours = [summary for summary in summaries if summary.rows[0].is_ours][:1]
    rivals = [summary for summary in summaries if not summary.rows[0].is_ours][:1]
    return ours + rivals


def _rank(evaluation: Evaluation, summaries: Sequence[ModelSummary], period: str) -> _Table:
    is_ensemble = summaries[0].is_ensemble
    rival = evaluation.best_rivals.get((period, is_ensemble))
    caption = (
        ("Means of all seeds' forecasts. " if is_ensemble else "Medians over seeds. ")
        + (f"Differences are those to {rival}, the best rival in this period; negative is better. " if rival else "")
        + "Intervals: paired circular block bootstrap over forecasts, blocks of one horizon."
    )
    errors = {"RMSE": "rmse", "MASE": "mase", "sMAPE": "smape"}
    if evaluation.plan.task.is_standardised:
        errors["MSE"] = "mse"
    if any(summary.rows[0].crps for summary in summaries):
        errors |= {"CRPS": "crps", "coverage": "coverage"}
    return _Table(caption, summaries, [_cells(summary, rival, errors) for summary in summaries])


def _cells(summary: ModelSummary, rival: str | None, errors: Mapping[str, str]) -> dict[str, str]:
    row = summary.rows[0]
    horizon = len(row.mae)
    low, high = summary.spread()
    return {
        "model": summary.name,
        **{
            f"t+{step + 1}": number(summary.median(step))
            for step in sorted({0, horizon // 2 - 1 if horizon > 2 else 0, horizon - 1})
        },
        "mean MAE": number(summary.median()),
        "smallest to largest": "" if len(summary.rows) == 1 else f"{number(low)} to {number(high)}",
        "difference to the best rival, 95 % interval": (
            "best rival" if summary.name == rival else lead_text(summary.lead)
        ),
        **{
            head: "" if error in ("crps", "coverage") and not row.crps else number(summary.median(error=error))
            for head, error in errors.items()
        },
        "seeds": str(len(row.members) or len(summary.rows)),
        "fit, s": f"{summary.fit_seconds:.1f}",
        "predict, s": f"{row.predict_seconds or 0:.1f}",
        "weights": f"{row.n_parameters:,}" if row.n_parameters else "",
        "evaluations": str(max(row.evaluations for row in summary.rows)),
    }


def _curves(evaluation: Evaluation) -> Markup | None:
    curves = {model: of_model for model, of_model in evaluation.curves.items() if of_model and of_model[0][1]}
    if not curves:
        return None
    epochs = {model: max(len(validation) for _, validation in of_model) for model, of_model in curves.items()}
    longest = ", ".join(f"{model} {count} epochs" for model, count in epochs.items())
    return embed(
        draw_curves(curves),
        "Loss after each epoch, one line a fit: red on the early-stopping period, grey on the epoch's last batch.",
        f"Loss by epoch, one panel a network. Longest training: {longest}.",
    )
