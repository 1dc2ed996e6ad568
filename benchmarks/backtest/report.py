"""The report of a backtest: one interactive page, from the verdict down to single forecasts."""

import datetime
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.backtest.browser import N_BOUNDS, N_VALUES, choose, pack_browser
from benchmarks.backtest.diagnostics import Diagnostics, Grouping, diagnose, find_groupings, worst_forecasts
from benchmarks.backtest.evaluation import Evaluation
from benchmarks.backtest.tables import (
    ERROR_HEADS,
    ModelSummary,
    blocks,
    has_interval,
    lead_text,
    number,
    shown_errors,
    shown_steps,
)
from benchmarks.backtest.verdict import is_significant, verdict
from benchmarks.core.page import Cell, Table, make_table, write_page
from benchmarks.harness.forecasts import PeriodForecasts
from benchmarks.harness.metrics import mean_of_known
from benchmarks.harness.rows import BacktestRow
from benchmarks.harness.series import TaskData
from benchmarks.harness.task import Task
from seq_plugins.tables.times import local_times

N_SWITCHED_ON = 2
"""Number of models of ours, and of rivals, that are switched on when the page opens."""


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
    unit = "standard deviations of the training period" if task.is_standardised else task.unit
    by_period = {
        period.name: [summary for summary in evaluation.summaries if summary.period == period.name]
        for period in task.tests
    }
    periods = [_Period(evaluation, name, found, unit) for name, found in by_period.items() if found]
    n_seeds = max(len(summary.rows) for summary in evaluation.summaries)
    names = dict.fromkeys(summary.name for period in periods for summary in period.shown)
    write_page(
        path,
        Path(__file__).with_name("report.html.jinja"),
        scripts=[Path(__file__).with_name("report.js")],
        data={
            "models": _models(periods, list(names)),
            "switched_on": _switched_on(periods[0].shown),
            "unit": unit,
            "ranked_by": ERROR_HEADS.get(task.ranked_by, ""),
            "is_scaled": task.is_scaled,
            "stride": task.stride,
            "components": task.names,
            "periods": [period.data for period in periods],
            "curves": _curves(evaluation),
            "stops_early": task.early_stopping is not None,
            "has_seeds": n_seeds > 1,
        },
        title=f"Backtest: {task.name}",
        task=task,
        plan=evaluation.plan,
        best_of_ours=evaluation.best_of_ours,
        unit=unit,
        n_seeds=n_seeds,
        spans=_spans(task),
        processor=processor,
        versions=evaluation.rows[0].versions,
        made=datetime.datetime.now(),
        failures=failures,
        periods=periods,
        rows=evaluation.rows,
        as_json=lambda settings: json.dumps(settings, indent=1),
    )


def _spans(task: Task) -> list[str]:
    """Return first and last day of each period, by the clock of the table's zone; none of series without dates."""
    if task.numbers is not None:
        return []
    names = ["training", "early stopping", *(f"test {test.name}".replace("test test", "test") for test in task.tests)]
    spans = []
    for name, period in zip(names, [task.train, task.early_stopping, *task.tests], strict=True):
        if period is not None:
            start, end = local_times(pd.DatetimeIndex([period.start, period.end]), task.zone)
            spans.append(f"{name} {start:%Y-%m-%d} to {end:%Y-%m-%d}")
    return spans


class _Period:
    """What is told of a test period.

    Parameters
    ----------
    evaluation
        The backtest.
    name
        Name of the period.
    summaries
        Summaries of the period, the best model first.
    unit
        Unit of the errors.
    """

    def __init__(self, evaluation: Evaluation, name: str, summaries: Sequence[ModelSummary], unit: str) -> None:
        self.name = name
        self.verdict = verdict(summaries, unit)
        self.tables = [_rank(evaluation, ranked, name) for ranked in blocks(summaries)]
        self.shown = [summary for summary in summaries if not summary.is_published]
        """Models that were run here, and ensembles: those in the pictures."""
        self.data = {
            "name": name,
            "ranking": {summary.name: _significant_digits(summary.errors()) for summary in self.shown},
            "steps": {
                summary.name: _significant_digits([summary.median(step) for step in range(len(summary.rows[0].mae))])
                for summary in self.shown
            },
            "fit_seconds": {summary.name: summary.fit_seconds for summary in self.shown},
            **_diagnostics(evaluation, name, self.shown),
        }


def _diagnostics(evaluation: Evaluation, period: str, summaries: Sequence[ModelSummary]) -> dict[str, Any]:
    """Return what is told of the forecasts of a period, ready for JSON."""
    task, true = evaluation.plan.task, evaluation.row_maker.truth[period]
    scale = evaluation.row_maker.scale
    groupings: list[Grouping] | None = None
    starts = np.empty(0)
    found: dict[str, Diagnostics] = {}
    for summary in summaries:
        forecasts = evaluation.forecasts(summary)
        if not forecasts:  # of a run that went on, whose earlier forecasts were removed
            continue
        if groupings is None:
            starts = forecasts[0].starts
            groupings = find_groupings(task, starts)
        found[summary.name] = diagnose(true, forecasts, groupings, scale)
    worst = {
        name: worst_forecasts(of_model.of_forecasts, task.forecasts_that_overlap) for name, of_model in found.items()
    }
    levels = evaluation.plan.levels
    n_lines = sum(1 if of_model.reached is None else 1 + N_BOUNDS for of_model in found.values())
    by_component = {name: of_model.by_component for name, of_model in found.items()}
    choice = choose(
        true.shape,
        n_lines,
        [place for places in worst.values() for place in places],
        mean_of_known(np.array(list(by_component.values())), axis=0),
        N_VALUES,
    )
    depicted = [summary for summary in summaries if summary.name in found]
    return {
        "groupings": [
            {
                "title": grouping.title,
                "labels": grouping.labels,
                "counts": grouping.counts(true).tolist(),
                "errors": {name: _significant_digits(of.by_category[place]) for name, of in found.items()},
            }
            for place, grouping in enumerate(groupings or [])
        ],
        "bias": {name: _significant_digits(of_model.bias) for name, of_model in found.items()},
        "autocorrelation": {name: _significant_digits(of_model.autocorrelation, 3) for name, of_model in found.items()},
        "n_forecasts": len(true),
        "levels": list(levels),
        "reached": {
            name: _significant_digits(of_model.reached)
            for name, of_model in found.items()
            if of_model.reached is not None
        },
        "by_component": {name: _significant_digits(errors) for name, errors in by_component.items()},
        "worst": {
            name: [
                {
                    "origin": forecast,
                    "component": component,
                    "errors": {
                        other: _significant_digits(of_other.of_forecasts[[forecast], component])[0]
                        for other, of_other in found.items()
                    },
                }
                for forecast, component in places
            ]
            for name, places in worst.items()
        },
        "forecasts": pack_browser(
            TaskData(task), choice, starts, {summary.name: _first(evaluation, summary) for summary in depicted}, levels
        ),
    }


def _first(evaluation: Evaluation, summary: ModelSummary) -> Callable[[], PeriodForecasts]:
    return lambda: evaluation.forecasts(summary)[0]


def _significant_digits(values: Any, n_digits: int = 5) -> list[float | None]:
    """Return numbers for JSON, which knows no NaN."""
    return [float(f"{value:.{n_digits}g}") if np.isfinite(value) else None for value in values]


def _models(periods: Sequence[_Period], names: Sequence[str]) -> list[dict[str, Any]]:
    """Return name and kind of each model, the best of the first period first; an ensemble looks like its model."""
    by_name = {summary.name: summary for period in periods for summary in period.shown}
    looks = {label: place for place, label in enumerate(dict.fromkeys(by_name[name].label for name in names))}
    return [
        {
            "name": name,
            "look": looks[by_name[name].label],
            "is_ours": by_name[name].rows[0].is_ours,
            "is_ensemble": by_name[name].is_ensemble,
        }
        for name in names
    ]


def _switched_on(summaries: Sequence[ModelSummary]) -> list[str]:
    """Return the names of the best models of ours and the best rivals."""
    single = [summary for summary in summaries if not summary.is_ensemble]
    ours = [summary.name for summary in single if summary.rows[0].is_ours][:N_SWITCHED_ON]
    return ours + [summary.name for summary in single if not summary.rows[0].is_ours][:N_SWITCHED_ON]


def _rank(evaluation: Evaluation, summaries: Sequence[ModelSummary], period: str) -> Table:
    if summaries[0].is_published:
        sources = dict.fromkeys(str(summary.rows[0].published_in) for summary in summaries)
        caption = f"Published by others, not run here: {'; '.join(sources)}."
        return make_table(caption, [_cells(summary, None, shown_errors(summaries)) for summary in summaries])
    is_ensemble = summaries[0].is_ensemble
    rival = evaluation.best_rivals.get((period, is_ensemble))
    caption = (
        ("Averages of the forecasts of all seeds. " if is_ensemble else "")
        + ("Medians over seeds. " if max(len(summary.rows) for summary in summaries) > 1 else "")
        + (f"Differences are those to {rival}, the best rival in this period; negative is better. " if rival else "")
        + _how_intervals_are_made(evaluation.plan.task, summaries)
    )
    errors = shown_errors(summaries)
    if "crps" in errors:
        errors.append("coverage")
    if any(summary.has("revision") for summary in summaries):
        errors.append("revision")
        caption += " Revision: mean absolute change of the forecast for a date from one forecast origin to the next."
    return make_table(caption, [_cells(summary, rival, errors) for summary in summaries])


def _how_intervals_are_made(task: Task, summaries: Sequence[ModelSummary]) -> str:
    leads = [summary.lead for summary in summaries if summary.lead is not None]
    if leads and not any(map(has_interval, leads)):
        return "There are too few forecasts for intervals."
    if task.is_panel:
        return "Intervals: bootstrap over the series' MASE."
    return "Intervals: paired circular block bootstrap over forecasts, blocks of one horizon."


def _cells(summary: ModelSummary, rival: str | None, errors: Sequence[str]) -> dict[str, Cell]:
    """Return what stands under each head of a ranking; columns with nothing in them are left out of the table."""
    row = summary.rows[0]
    heads = {"mae": "mean MAE", "coverage": "coverage"} | ERROR_HEADS
    means = {
        heads[error]: _number(summary.median(error=error)) if summary.has(error) else Cell()
        for error in dict.fromkeys([summary.ranked_by, "mae", *errors])
    }
    steps = {
        f"t+{step + 1}": _number(summary.median(step)) if summary.has_steps else Cell()
        for step in shown_steps(row.task_settings["output_chunk_length"])
    }
    name = Cell(summary.name, kind="ours" if row.is_ours else "", model="" if summary.is_published else summary.name)
    if summary.is_published:
        return {"model": name, **means}
    ranked, *others = means.items()
    n_seeds = len(row.members) or len(summary.rows)
    low, high = summary.spread(summary.ranked_by)
    return {
        "model": name,
        ranked[0]: ranked[1],
        "difference from the best rival, 95 % interval": _difference(summary, rival),
        **steps,
        **dict(others),
        "range over seeds": Cell(f"{number(low)} to {number(high)}", low) if len(summary.rows) > 1 else Cell(),
        "seeds": Cell(str(n_seeds), n_seeds) if n_seeds > 1 else Cell(),
        "fit, s": _seconds(summary.fit_seconds),
        "predict, s": _seconds(row.predict_seconds or 0.0),
        "weights": Cell(f"{row.n_parameters:,}", row.n_parameters) if row.n_parameters else Cell(),
        "evaluations": Cell(str(most := max(row.evaluations for row in summary.rows)), most),
        "cannot take": Cell("; ".join(row.cannot_take), kind="text"),
    }


def _number(value: float) -> Cell:
    return Cell() if math.isnan(value) else Cell(number(value), value)


def _seconds(seconds: float) -> Cell:
    return Cell("< 0.1" if seconds < 0.05 else f"{seconds:,.1f}" if seconds < 100 else f"{seconds:,.0f}", seconds)


def _difference(summary: ModelSummary, rival: str | None) -> Cell:
    if summary.name == rival:
        return Cell("best rival", 0.0)
    if summary.lead is None:
        return Cell()
    return Cell(lead_text(summary.lead), summary.lead.mean, kind="" if is_significant(summary.lead) else "level")


def _curves(evaluation: Evaluation) -> dict[str, list[dict[str, list[float | None]]]]:
    """Return the losses of each fit by model, of networks only."""
    return {
        model: [{"train": _significant_digits(train), "validation": _significant_digits(of)} for train, of in fits]
        for model, fits in evaluation.curves.items()
        if fits and fits[0][1]
    }
