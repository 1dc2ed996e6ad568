"""The best of ours, as the package can make and train it on all data."""

import statistics
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from benchmarks.backtest.evaluation import Evaluation
from benchmarks.backtest.tables import number
from benchmarks.harness.entries import ModelEntry, ModelSettings, find_entry
from benchmarks.harness.plan import Plan
from benchmarks.harness.run import first_seed
from seq_plugins.forecasting.best_model import BestModel

_CHUNKS = ("input_chunk_length", "output_chunk_length")


def best_model(evaluation: Evaluation) -> BestModel | None:
    """Return the best of ours by the early-stopping period, with the epochs after which its training stopped.

    There is none if no model of ours has finished or stopped early, or if it was trained as only a backtest can.
    """
    rows = [row for row in evaluation.rows if row.is_ours and row.label == evaluation.best_of_ours]
    entry = find_entry(rows[0].model) if rows else None
    if entry is None:
        return None
    finished = evaluation.finished(rows[0], dict.fromkeys(row.seed for row in rows))
    epochs = [made.best_epoch for of_seed in finished for made in of_seed if made.best_epoch is not None]
    entry = replace(entry, candidate=rows[0].candidate)
    if not epochs or only_in_backtests(entry, evaluation.plan):
        return None
    return as_best_model(entry, evaluation.plan, round(statistics.median(epochs)))


def rivals_ahead(evaluation: Evaluation) -> list[str]:
    """Return what is to be told of rivals with a smaller error in a test period than the best of ours."""
    told = []
    for period in evaluation.plan.task.tests:
        entrants = [
            summary
            for summary in evaluation.summaries
            if summary.period == period.name and not summary.is_ensemble and not summary.is_published
        ]  # the best first
        best = next((summary for summary in entrants if summary.label == evaluation.best_of_ours), None)
        rival = next((summary for summary in entrants if not summary.rows[0].is_ours), None)
        if best is not None and rival is not None and rival.ranking < best.ranking:
            told.append(
                f"In {period.name}, {rival.name} was ahead of {best.name}: {best.ranked_by.upper()} "
                f"{number(rival.ranking)} versus {number(best.ranking)}."
            )
    return told


def only_in_backtests(entry: ModelEntry, plan: Plan) -> Sequence[str]:
    """Return the settings of a model that the package cannot train it with on a table."""
    settings = entry.settings_in(plan.task)
    return [
        *(["by_component"] if settings.by_component else []),
        *(["shuffle_buffer"] if "shuffle_buffer" in settings.training else []),
        *(["max_samples_per_ts"] if "max_samples_per_ts" in settings.sampling else []),
    ]


def as_best_model(entry: ModelEntry, plan: Plan, n_epochs: int) -> BestModel:
    """Return a model of ours with its settings in the task of a backtest.

    Parameters
    ----------
    entry
        The model.
    plan
        What all runs of the backtest share.
    n_epochs
        Number of epochs.
    """
    task, settings = plan.task, entry.settings_in(plan.task)
    return BestModel(
        name=entry.class_name,
        horizon=task.output_chunk_length,
        input_length=task.input_chunk_length,
        season_length=task.season_length,
        n_epochs=n_epochs,
        stride=settings.sampling.get("stride", 1),
        seed=first_seed(settings, 1) or 0,
        quantiles=[level for level in plan.levels if level != 0.5],
        settings=_arguments(settings),
    )


def _arguments(settings: ModelSettings) -> dict[str, Any]:
    """Return the arguments of a model's class, with classes by name; those of its loss are the quantiles'."""
    training = settings.training
    arguments = {name: value for name, value in settings.constructor.items() if name not in _CHUNKS} | {
        "batch_size": training["batch_size"],
        "optimizer_cls": training.get("optimizer", "Adam"),
        "optimizer_kwargs": settings.optimizer_arguments,
        "pl_trainer_kwargs": {"gradient_clip_val": training.get("gradient_clip_val")},
    }
    if "schedule" in training:  # over as many epochs as in the backtest, whenever that stopped
        arguments["lr_scheduler_cls"] = "CosineAnnealingLR"
        arguments["lr_scheduler_kwargs"] = {"T_max": training["n_epochs"]}
    return arguments
