"""Choosing settings: every candidate of a task is a model of its own, and the best of each model is told."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace

from benchmarks.backtest.tables import Summary
from benchmarks.harness.entries import ModelEntry, entry_of, is_of
from benchmarks.harness.task import Task


def with_candidates(task: Task, entries: Sequence[ModelEntry]) -> tuple[Task, list[ModelEntry]]:
    """Return `task` with the settings of its candidates, and `entries`, each followed by its candidates.

    Parameters
    ----------
    task
        A task for choosing settings.
    entries
        The models for which they are chosen.
    """
    models, found = dict(task.models), []
    for entry in entries:
        found.append(entry)
        for candidate in task.candidates:
            if is_of(entry, candidate.models):
                found.append(replace(entry, name=f"{entry.name} {candidate.name}"))
                models[found[-1].name] = candidate.settings
    return replace(task, models=models), found


def choice_lines(summaries: Sequence[Summary]) -> list[str]:
    """Return what to print: for each model, candidates and errors, the best first.

    Parameters
    ----------
    summaries
        Summaries of all models and periods; ensembles are passed over.
    """
    found: dict[str, dict[str, list[Summary]]] = {}
    for summary in summaries:
        if not summary.is_ensemble:
            entry = entry_of(summary.model)
            candidates = found.setdefault(entry.without_candidate, {})
            candidates.setdefault(entry.candidate or "as fixed", []).append(summary)
    lines = ["Mean over the periods of the median over seeds of the mean absolute error, best candidate first:"]
    return lines + [f"{model}: " + "; ".join(_ranked(candidates)) for model, candidates in found.items()]


def _ranked(candidates: Mapping[str, Sequence[Summary]]) -> list[str]:
    """Return a text for each candidate, the best first; those that lack a period or a seed are not comparable."""
    n_rows = {name: sum(len(summary.rows) for summary in summaries) for name, summaries in candidates.items()}
    means = {name: statistics.mean(summary.median() for summary in summaries) for name, summaries in candidates.items()}
    whole = max(n_rows.values())
    ordered = sorted(candidates, key=lambda name: (n_rows[name] < whole, means[name]))
    return [f"{name} {means[name]:,.6g}" + (" (not all seeds)" if n_rows[name] < whole else "") for name in ordered]
