"""The report of a backtest: one page that needs nothing else, neither a network nor scripts."""

import base64
import datetime
import json
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

from benchmarks.backtest.evaluation import Evaluation
from benchmarks.backtest.pictures import draw_curves, draw_forecasts, draw_horizon, draw_ranking
from benchmarks.backtest.rows import Row
from benchmarks.backtest.tables import Summary, lead_text, number
from seq_plugins._files import atomic_file

N_IN_PICTURES = 10
"""Number of models in pictures of errors by horizon."""

_CSS = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #1d1d1f; background: #fff; }
main { max-width: 76rem; margin: 0 auto; padding: 1rem 1.5rem 4rem; }
h1 { font-size: 1.7rem; } h2 { margin-top: 2.5rem; border-top: 1px solid #ccc; padding-top: 1rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding: .4rem 0; color: #444; }
th, td { padding: .25rem .5rem; text-align: right; border-bottom: 1px solid #e3e3e6; white-space: nowrap; }
th { white-space: normal; vertical-align: bottom; }
th:first-child, td:first-child, td.text, th.text { text-align: left; }
td.text { white-space: normal; min-width: 14rem; }
caption { caption-side: bottom; max-width: 70rem; white-space: normal; }
tr.ours td:first-child { font-weight: 600; color: #a50d26; }
figure { margin: 1rem 0; } figure img { max-width: 100%; height: auto; } figcaption { color: #444; font-size: .9rem; }
code, pre { font-size: .82rem; } pre { background: #f6f6f8; padding: .8rem; overflow-x: auto; }
summary { cursor: pointer; }
"""


def write_report(path: Path, evaluation: Evaluation, failures: Sequence[Row]) -> None:
    """Write the report as one HTML file.

    Parameters
    ----------
    path
        Path of the file.
    evaluation
        The backtest.
    failures
        Rows of what failed.
    """
    page = "".join(_page(evaluation, failures))
    with atomic_file(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _page(evaluation: Evaluation, failures: Sequence[Row]) -> Iterable[str]:
    task = evaluation.plan.task
    title = f"Backtest: {task.name}"
    yield (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_CSS}</style></head><body><main>'
        f"<h1>{escape(title)}</h1>"
    )
    yield _introduction(evaluation)
    if failures:
        told = "".join(
            f"<li>{escape(row.model)}{_seed(row)}: {escape(str(row.error))}</li>" for row in failures
        )  # fmt: skip
        yield f"<h2>What failed</h2><ul>{told}</ul>"
    for period in task.tests:
        summaries = [summary for summary in evaluation.summaries if summary.period == period.name]
        if summaries:
            yield from _period(evaluation, period.name, summaries)
    yield from _curves(evaluation)
    yield from _settings(evaluation)
    yield "</main></body></html>\n"


def _seed(row: Row) -> str:
    return "" if row.seed is None else f", seed {row.seed}"


def _introduction(evaluation: Evaluation) -> str:
    task, plan = evaluation.plan.task, evaluation.plan
    example = evaluation.summaries[0].rows[0]
    seeds = max(len(summary.rows) for summary in evaluation.summaries)
    refits = (
        "Each model is fitted once."
        if plan.retrain_every is None
        else f"Each model is fitted anew after every {plan.retrain_every} forecasts, on everything before."
    )
    best = evaluation.best_of_ours
    chosen = f" On the early-stopping period, {best} is the best of ours." if best else ""
    versions = ", ".join(f"{name} {version}" for name, version in example.versions.items())
    return (
        f"<p>{task.output_chunk_length} steps ahead from every step of the test periods, with "
        f"{task.input_chunk_length} steps of input. Target: {escape(', '.join(task.target))}. Past covariates: "
        f"{escape(', '.join(task.past_covariates) or 'none')}. Known in advance: "
        f"{escape(', '.join(task.future_covariates) or 'nothing')}. {refits}{escape(chosen)}</p>"
        f"<p>{_span('Training', task.train)}; {_span('early stopping', task.early_stopping)}; "
        f"{'; '.join(_span('test ' + period.name, period) for period in task.tests)}. "
        f"Errors are in {escape(_unit(evaluation) or 'the unit of the target')}.</p>"
        f"<p>{seeds} seed(s), {plan.threads} thread(s) a run; {escape(versions)}. "
        f"Made {datetime.datetime.now():%Y-%m-%d %H:%M}.</p>"
    )


def _span(name: str, period: Any) -> str:
    return f"{escape(name)} {period.start:%Y-%m-%d} to {period.end:%Y-%m-%d}"


def _unit(evaluation: Evaluation) -> str:
    task = evaluation.plan.task
    return "standard deviations of the training period" if task.is_standardised else task.unit


def _period(evaluation: Evaluation, period: str, summaries: Sequence[Summary]) -> Iterable[str]:
    single = [summary for summary in summaries if not summary.is_ensemble]
    ensembles = [summary for summary in summaries if summary.is_ensemble]
    unit = _unit(evaluation)
    yield f"<h2>{escape(period)}</h2><h3>Ranking</h3>"
    yield _ranking_table(evaluation, single, period, is_ensemble=False)
    if ensembles:
        yield _ranking_table(evaluation, ensembles, period, is_ensemble=True)
    yield _figure(
        draw_ranking(summaries, unit),
        f"Mean absolute error of each model in {period}, one dot a seed, a bar at the median; the best is "
        f"{summaries[0].name} with {number(summaries[0].median())}, the last {summaries[-1].name} with "
        f"{number(summaries[-1].median())}.",
        "Mean absolute error over the horizon: a dot for each seed, a bar at the median; ours in red.",
    )
    best = summaries[:N_IN_PICTURES]
    yield "<h3>Error by horizon</h3>"
    yield _figure(
        draw_horizon(best, unit),
        "Mean absolute error by step ahead. "
        + " ".join(
            f"{summary.name}: {number(summary.median(0))} at the first step, {number(summary.median(-1))} at the last."
            for summary in best
        ),
        f"Median over seeds; the {len(best)} best models.",
    )
    names = {summary.name: (summary.period, summary.model, summary.is_ensemble) for summary in _depicted(summaries)}
    shown = {name: evaluation.shown[key] for name, key in names.items() if key in evaluation.shown}
    if shown:
        days = ", ".join(str(forecast.start)[:16].replace("T", " ") for forecast in next(iter(shown.values())))
        intervals = any(forecasts[0].low is not None for forecasts in shown.values())
        levels = evaluation.plan.levels
        shade = f" Shaded: from the {levels[0]:g} to the {levels[-1]:g} quantile." if intervals else ""
        yield "<h3>Forecasts against truth</h3>"
        task = evaluation.plan.task
        assert task.source is not None  # noqa: S101
        yield _figure(
            draw_forecasts(shown, task.source.freq, task.unit),
            f"Forecasts of {', '.join(shown)} beside the truth, starting {days}.{shade}",
            f"Evenly spaced forecasts, starting {days}; {task.target[0]}; the first of several seeds.{shade}",
        )


def _depicted(summaries: Sequence[Summary]) -> list[Summary]:
    """Return the best of ours and the best rival."""
    ours = [summary for summary in summaries if summary.rows[0].is_ours][:1]
    rivals = [summary for summary in summaries if not summary.rows[0].is_ours][:1]
    return ours + rivals


def _ranking_table(evaluation: Evaluation, summaries: Sequence[Summary], period: str, *, is_ensemble: bool) -> str:
    horizon = len(summaries[0].rows[0].mae)
    steps = sorted({0, horizon // 2 - 1 if horizon > 2 else 0, horizon - 1})
    has_crps = any(summary.rows[0].crps for summary in summaries)
    rival = evaluation.best_rivals.get((period, is_ensemble))
    heads = ["model", *(f"t+{step + 1}" for step in steps), "mean MAE", "smallest to largest"]
    heads += ["difference to the best rival, 95 % interval", "RMSE", "MASE", "sMAPE"]
    heads += ["MSE"] if evaluation.plan.task.is_standardised else []
    heads += ["CRPS", "coverage"] if has_crps else []
    heads += ["seeds", "fit, s", "predict, s", "weights", "evaluations"]
    lines = []
    for summary in summaries:
        row = summary.rows[0]
        low, high = summary.spread()
        cells = [summary.name, *(number(summary.median(step)) for step in steps), number(summary.median())]
        cells.append("" if len(summary.rows) == 1 else f"{number(low)} to {number(high)}")
        cells.append("best rival" if summary.name == rival else lead_text(summary.lead))
        cells += [number(summary.median(error=error)) for error in ("rmse", "mase", "smape")]
        cells += [number(summary.median(error="mse"))] if evaluation.plan.task.is_standardised else []
        if has_crps:
            cells += [number(summary.median(error=error)) if row.crps else "" for error in ("crps", "coverage")]
        cells += [str(len(row.members) or len(summary.rows)), f"{summary.fit_seconds:.1f}"]
        cells += [f"{row.predict_seconds or 0:.1f}", f"{row.n_parameters:,}" if row.n_parameters else ""]
        cells.append(str(max(row.evaluations for row in summary.rows)))
        values = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        cannot = "; ".join(row.cannot_take)
        lines.append(
            f'<tr class="{"ours" if row.is_ours else "rival"}">{values}<td class="text">{escape(cannot)}</td></tr>'
        )
    caption = (
        ("Means of all seeds' forecasts. " if is_ensemble else "Medians over seeds. ")
        + (f"Differences are those to {rival}, the best rival in this period; negative is better. " if rival else "")
        + "Intervals: paired circular block bootstrap over forecasts, blocks of one horizon."
    )
    head = "".join(f"<th>{escape(name)}</th>" for name in heads) + '<th class="text">cannot take</th>'
    return (
        f'<div class="scroll"><table><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _figure(svg: str, alternative: str, caption: str) -> str:
    data = base64.b64encode(svg.encode()).decode()
    return (
        f'<figure><img src="data:image/svg+xml;base64,{data}" alt="{escape(alternative)}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _curves(evaluation: Evaluation) -> Iterable[str]:
    curves = {model: of_model for model, of_model in evaluation.curves.items() if of_model and of_model[0][1]}
    if curves:
        epochs = {model: max(len(validation) for _, validation in of_model) for model, of_model in curves.items()}
        yield "<h2>Training curves</h2>"
        yield _figure(
            draw_curves(curves),
            "Loss by epoch, one panel a network. Longest training: "
            + ", ".join(f"{model} {count} epochs" for model, count in epochs.items())
            + ".",
            "Loss after each epoch, one line a fit: red on the early-stopping period, grey on the epoch's last batch.",
        )


def _settings(evaluation: Evaluation) -> Iterable[str]:
    yield "<h2>Settings</h2>"
    example = evaluation.rows[0]
    settings = escape(json.dumps(example.task_settings, indent=1))
    yield f"<details open><summary>Task</summary><pre>{settings}</pre></details>"
    for model in dict.fromkeys(row.model for row in evaluation.rows):
        row = next(row for row in evaluation.rows if row.model == model)
        yield (
            f"<details><summary>{escape(model)}</summary><pre>{escape(json.dumps(row.model_settings, indent=1))}</pre>"
            f"<p>Covariates: {escape(', '.join(row.covariates) or 'none')}. "
            f"Cannot take: {escape('; '.join(row.cannot_take) or 'nothing that there is')}.</p></details>"
        )
