"""What rows and forecasts of a folder say together: ensembles of seeds, leads over the best rival, forecasts."""

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmarks.backtest.tables import ModelSummary, summarise
from benchmarks.harness.forecasts import PeriodForecasts, RunResult, join_folds, mean_forecasts
from benchmarks.harness.metrics import Difference, paired_difference
from benchmarks.harness.plan import Plan, Run, runs_of
from benchmarks.harness.rows import BacktestRow, RowMaker

# W: forecasts, H: steps forecast, C: target components, Q: quantile levels

_Key = tuple[str, str, bool]  # period, label of the model, whether it is an ensemble


@dataclass
class Evaluation:
    """A backtest as a whole.

    Parameters
    ----------
    plan
        What all runs share.
    rows
        Rows of single seeds.
    row_maker
        Maker of rows, which knows what came true.
    load
        Returns what a run has given, or ``None`` if it has not been made.
    """

    plan: Plan
    rows: list[BacktestRow]
    row_maker: RowMaker
    load: Callable[[Run], RunResult | None]
    ensemble_rows: list[BacktestRow] = field(default_factory=list)
    """Rows of the means of all seeds' forecasts."""
    summaries: list[ModelSummary] = field(default_factory=list)
    """One for each model and period, and for each ensemble, the best first."""
    curves: dict[str, list[tuple[list[float], list[float]]]] = field(default_factory=dict)
    """Losses of each epoch in training and validation, one pair a fit, by the label of the model."""
    best_rivals: dict[tuple[str, bool], str] = field(default_factory=dict)
    """Rival that the others are compared with, by period and whether they are ensembles."""

    @property
    def best_of_ours(self) -> str | None:
        """Model of ours with the lowest error over the early-stopping period, median over seeds."""
        found: dict[str, list[float]] = {}
        for row in self.rows:
            if row.is_ours and row.early_stopping_error is not None:
                found.setdefault(row.label, []).append(row.early_stopping_error)
        return min(found, key=lambda model: statistics.median(found[model])) if found else None

    def forecasts(self, summary: ModelSummary) -> list[PeriodForecasts]:
        """Return the forecasts of each seed of a model in a test period, or of an ensemble, read anew.

        There are none of what others have published, or if some are missing.
        """
        row = summary.rows[0]
        seeds: list[int | None] = [*row.members] or [of_seed.seed for of_seed in summary.rows]
        finished = [] if summary.is_published else self.finished(row, seeds)
        if len(finished) < len(seeds):
            return []
        forecasts = [_of_period(of_seed, summary.period) for of_seed in finished]
        return [mean_forecasts(forecasts)] if summary.is_ensemble else forecasts

    def in_each_period(self, row: BacktestRow) -> list[PeriodForecasts]:
        """Return the forecasts in each test period of a model and seed, or their mean over the seeds of an ensemble.

        They are read anew; there are none if some are missing.
        """
        seeds: list[int | None] = [*row.members] or [row.seed]
        finished = self.finished(row, seeds)
        if len(finished) < len(seeds):
            return []
        return [
            mean_forecasts([_of_period(of_seed, period.name) for of_seed in finished])
            for period in self.plan.task.tests
        ]

    def finished(self, row: BacktestRow, seeds: Iterable[int | None]) -> list[list[RunResult]]:
        """Return what the runs of each seed of a row's model have given; seeds that lack a run are left out."""
        groups = [runs_of(self.plan, row.model, row.candidate, seed) for seed in seeds]
        results = [[self.load(run) for run in group] for group in groups]
        return [[made for made in of_seed if made is not None] for of_seed in results if all(of_seed)]


def evaluate(
    plan: Plan,
    row_maker: RowMaker,
    rows: Sequence[BacktestRow],
    load: Callable[[Run], RunResult | None],
) -> Evaluation:
    """Look at all finished results together.

    Parameters
    ----------
    plan
        What all runs share.
    row_maker
        Maker of rows.
    rows
        Rows of single seeds.
    load
        Returns what a run has given, or ``None`` if it has not been made.
    """
    evaluation = Evaluation(plan, list(rows), row_maker, load)
    errors: dict[_Key, np.ndarray] = {}  # of each forecast, (W,), or of each series of a panel, (S,)
    by_model: dict[str, list[BacktestRow]] = {}
    for row in sorted(rows, key=lambda row: (row.label, row.seed or 0)):
        by_model.setdefault(row.label, []).append(row)
    for label, of_model in by_model.items():
        finished = evaluation.finished(of_model[0], dict.fromkeys(row.seed for row in of_model))
        evaluation.curves[label] = [
            (made.train_losses, made.validation_losses) for of_seed in finished for made in of_seed
        ]  # fmt: skip
        for period in plan.task.tests:
            of_period = [row for row in of_model if row.period == period.name]
            forecasts = [_of_period(of_seed, period.name) for of_seed in finished]
            if not of_period or len(of_period) != len(forecasts):
                continue
            key = (period.name, label, False)
            errors[key] = np.mean([row_maker.error_of_each(made) for made in forecasts], axis=0)
            if len(forecasts) > 1:
                key = (period.name, label, True)
                mean = mean_forecasts(forecasts)
                errors[key] = row_maker.error_of_each(mean)
                evaluation.ensemble_rows.append(row_maker.make_ensemble_row(of_period, forecasts))
    leads = _leads(evaluation, errors)
    evaluation.summaries = summarise([*rows, *evaluation.ensemble_rows, *row_maker.published], leads)
    return evaluation


def _of_period(results: Sequence[RunResult], period: str) -> PeriodForecasts:
    return join_folds([made for result in results for made in result.forecasts if made.period == period])


def _leads(evaluation: Evaluation, errors: Mapping[_Key, np.ndarray]) -> dict[_Key, Difference]:
    """Return each model's difference to the best rival, and each ensemble's to the best rival's ensemble.

    The best rival is that of the test period itself, so that none is spared the comparison. Rivals in which nothing is
    random stand beside the ensembles as they are.
    """
    summaries = summarise([*evaluation.rows, *evaluation.ensemble_rows])
    leads = {}
    for period in {summary.period for summary in summaries}:
        for is_ensemble in (False, True):
            entrants = [
                summary
                for summary in summaries
                if summary.period == period
                and (summary.is_ensemble == is_ensemble or (is_ensemble and summary.rows[0].seed is None))
            ]
            rivals = [summary for summary in entrants if not summary.rows[0].is_ours]
            if not rivals or not any(summary.is_ensemble == is_ensemble for summary in entrants):
                continue
            rival = rivals[0]
            evaluation.best_rivals[period, is_ensemble] = rival.name
            for summary in entrants:
                if summary is rival or summary.is_ensemble != is_ensemble:
                    continue
                ours, theirs = (
                    errors[period, summary.label, is_ensemble],
                    errors[period, rival.label, rival.is_ensemble],
                )
                if np.isfinite(ours - theirs).any():
                    leads[period, summary.label, is_ensemble] = paired_difference(
                        ours, theirs, evaluation.plan.task.forecasts_that_overlap
                    )
    return leads
