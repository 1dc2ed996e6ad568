"""The report of a backtest: one page with rankings and pictures."""

import datetime
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
from markupsafe import Markup

from benchmarks.backtest.evaluation import Evaluation
from benchmarks.backtest.pictures import draw_curves, draw_forecasts, draw_horizon, draw_ranking
from benchmarks.backtest.tables import ERROR_HEADS, ModelSummary, blocks, lead_text, number, shown_errors, shown_steps
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
            versions=evaluation.rows[0].versions,
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
    tables = [_rank(evaluation, ranked, period) for ranked in blocks(summaries)]
    summaries = [summary for summary in summaries if not summary.is_published]
    return _Period(
        name=period,
        tables=tables,
        ranking=_show_ranking(summaries, period, _unit(evaluation)),
        horizon=_show_horizon(summaries[:N_IN_PICTURES], _unit(evaluation)),
        forecasts=_show_forecasts(evaluation, summaries),
    )


def _show_ranking(summaries: Sequence[ModelSummary], period: str, unit: str) -> Markup:
    error = ERROR_HEADS.get(summaries[0].ranked_by, "Mean absolute error")
    return embed(
        draw_ranking(summaries, unit),
        f"{error} over the horizon: a dot for each seed, a bar at the median; ours in red.",
        f"{error} of each model in {period}, one dot a seed, a bar at the median; the best is "
        f"{summaries[0].name} with {number(summaries[0].ranking)}, the last {summaries[-1].name} with "
        f"{number(summaries[-1].ranking)}.",
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
    if summaries[0].is_published:
        sources = dict.fromkeys(str(summary.rows[0].published_in) for summary in summaries)
        caption = f"Published by others, not run here: {'; '.join(sources)}."
        return _Table(caption, summaries, [_cells(summary, None, shown_errors(summaries)) for summary in summaries])
    is_ensemble = summaries[0].is_ensemble
    rival = evaluation.best_rivals.get((period, is_ensemble))
    caption = (
        ("Means of all seeds' forecasts. " if is_ensemble else "Medians over seeds. ")
        + (f"Differences are those to {rival}, the best rival in this period; negative is better. " if rival else "")
        + (
            "Intervals: bootstrap over the series' MASE."
            if evaluation.plan.task.is_panel
            else "Intervals: paired circular block bootstrap over forecasts, blocks of one horizon."
        )
    )
    errors = shown_errors(summaries)
    if "crps" in errors:
        errors.append("coverage")
    if any(summary.has("revision") for summary in summaries):
        errors.append("revision")
        caption += " Revision: mean absolute change of the forecast of a date from one forecast to the next."
    return _Table(caption, summaries, [_cells(summary, rival, errors) for summary in summaries])


def _cells(summary: ModelSummary, rival: str | None, errors: Sequence[str]) -> dict[str, str]:
    row = summary.rows[0]
    task = row.task_settings
    cells = {"model": summary.name}
    for step in shown_steps(task["output_chunk_length"]):
        cells[f"t+{step + 1}"] = number(summary.median(step)) if summary.has_steps else ""
    cells["mean MAE"] = number(summary.median()) if summary.has("mae") else ""
    heads = {"coverage": "coverage"} | ERROR_HEADS
    means = {heads[error]: number(summary.median(error=error)) if summary.has(error) else "" for error in errors}
    if summary.is_published:
        return cells | means
    low, high = summary.spread(summary.ranked_by)
    return {
        **cells,
        "smallest to largest": "" if len(summary.rows) == 1 else f"{number(low)} to {number(high)}",
        "difference to the best rival, 95 % interval": (
            "best rival" if summary.name == rival else lead_text(summary.lead)
        ),
        **means,
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
    stops = "red on the early-stopping period, " if evaluation.plan.task.early_stopping else ""
    return embed(
        draw_curves(curves),
        f"Loss after each epoch, one line a fit: {stops}grey on the epoch's last batch.",
        f"Loss by epoch, one panel a network. Longest training: {longest}.",
    )
