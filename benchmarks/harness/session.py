"""One go at backtests: makes the runs that are missing, and writes rows as soon as a model and seed are complete."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from benchmarks.core.progress import Progress
from benchmarks.core.provenance import provenance
from benchmarks.core.versions import versions
from benchmarks.harness.engines import Engine
from benchmarks.harness.entries import ModelEntry, label
from benchmarks.harness.forecasts import Failure, RunResult
from benchmarks.harness.plan import Plan, Run, plan_runs
from benchmarks.harness.results import Results, open_results, writing_to
from benchmarks.harness.rows import BacktestRow, RowMaker, start_row


class Session:
    """The runs of a backtest that are still to be made, and what becomes of them.

    Parameters
    ----------
    plan
        What all runs share.
    groups
        Runs of each model and seed.
    results
        Where results are; what is there is not made again.
    """

    def __init__(self, plan: Plan, groups: Sequence[Sequence[Run]], results: Results) -> None:
        self.plan = plan
        self.row_maker = RowMaker(plan)
        self.results = results
        self._periods = [period.name for period in plan.task.tests]
        self._groups = groups
        self.failures: list[BacktestRow] = []
        """Rows of what failed."""
        self._waiting: dict[str, Sequence[Run]] = {}  # the group that a run belongs to
        self._made: dict[str, RunResult | Failure] = {}
        for group in groups:
            if results.is_finished(group, self._periods):
                continue
            results.drop(group)
            for run in group:
                self._waiting[run.key] = group
                if (result := results.load(run)) is not None:
                    self._made[run.key] = result
        self.n_runs = sum(map(len, groups))
        self.n_made = self.n_runs - len(self._waiting) + len(self._made)
        """Number of runs that need not be made."""

    def start(self) -> list[Run]:
        """Write the rows of what has been made without them, and return the runs that are to be made."""
        waiting = [run for group in self._groups for run in group if run.key in self._waiting]
        missing = [run for run in waiting if run.key not in self._made]
        with writing_to(self.results.path):
            for group in {id(group): group for group in self._waiting.values()}.values():
                self._write_if_complete(group)
        return missing

    def take(self, result: RunResult | Failure) -> None:
        """Keep what a run has given, and write the rows of its model and seed if they are complete."""
        self._made[result.key] = result
        with writing_to(self.results.path):
            if isinstance(result, RunResult):
                self.results.store(result)
            self._write_if_complete(self._waiting[result.key])

    def _write_if_complete(self, group: Sequence[Run]) -> None:
        if not all(run.key in self._made for run in group):
            return
        made = [self._made.pop(run.key) for run in group]
        failures = [result for result in made if isinstance(result, Failure)]
        if failures:
            row = replace(start_row(self.plan, group[0]), error=failures[0].error)
            self.failures.append(row)
            self.results.append([row])
            return
        counts = self.results.count_evaluations(group[0], self._periods)
        evaluations = {period: count + self.plan.task.earlier_evaluations for period, count in counts.items()}
        results = [result for result in made if isinstance(result, RunResult)]
        self.results.append(self.row_maker.make_rows(group, results, evaluations))


@contextmanager
def open_session(
    path: Path, plan: Plan, entries: Sequence[ModelEntry], n_seeds: int, resume: bool
) -> Iterator[Session]:
    """Open a folder for the results of a backtest, and find what is to be made.

    Parameters
    ----------
    path
        The folder.
    plan
        What all runs share.
    entries
        The models.
    n_seeds
        Number of seeds of each network.
    resume
        Whether to go on with what is in the folder.

    Raises
    ------
    UserError
        If it cannot be opened so.
    """
    settings = {
        "task": plan.task.settings(),
        "quantile_levels": list(plan.levels),
        "retrain_every": plan.retrain_every,
        "warm_epochs": plan.warm_epochs,
        "threads": plan.threads,
        "versions": versions(),
        "about": [provenance()],
        "models": {label(entry.name, entry.candidate): entry.settings_in(plan.task).plain() for entry in entries},
    }
    with open_results(path, settings, resume) as results:
        yield Session(plan, plan_runs(plan, entries, n_seeds), results)


def make_all(sessions: Sequence[Session], engine: Engine, progress: Progress) -> None:
    """Make the runs of all sessions, and tell what fails.

    Parameters
    ----------
    sessions
        The sessions, each of a task of its own.
    engine
        Who makes the runs.
    progress
        Told how far they are.
    """
    by_task = {session.plan.task.name: session for session in sessions}
    n_runs, n_made = sum(session.n_runs for session in sessions), sum(session.n_made for session in sessions)
    with progress.over(n_runs, n_made):
        missing = [run for session in sessions for run in session.start()]
        for run, result in engine({task: session.plan for task, session in by_task.items()}, missing):
            by_task[run.task].take(result)
            if isinstance(result, Failure):
                progress.warn(f"{run.task}: {run.key} failed: {result.error}")
            progress.advance(f"{run.task}: {run.key}")
