"""One go at a backtest: makes the runs that are missing, and writes rows as soon as a model and seed are complete."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from benchmarks.harness.engines import Engine
from benchmarks.harness.plan import Failure, Plan, Run, RunResult
from benchmarks.harness.results import Results
from benchmarks.harness.rows import BacktestRow, RowMaker, start_row


class Session:
    """The runs of a backtest that are still to be made, and what becomes of them.

    Parameters
    ----------
    plan
        What all runs share.
    row_maker
        Maker of rows.
    groups
        Runs of each model and seed.
    results
        Where results are; what is there is not made again.
    """

    def __init__(self, plan: Plan, row_maker: RowMaker, groups: Sequence[Sequence[Run]], results: Results) -> None:
        self._plan = plan
        self._row_maker = row_maker
        self._results = results
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

    def make(self, engine: Engine) -> Iterator[tuple[str, str | None]]:
        """Make the runs; yield the name of each that has finished, and what went wrong with it.

        Parameters
        ----------
        engine
            Who makes them.
        """
        waiting = [run for group in self._groups for run in group if run.key in self._waiting]
        missing = [run for run in waiting if run.key not in self._made]
        for group in {id(group): group for group in self._waiting.values()}.values():
            self._write_if_complete(group)
        for result in engine(self._plan, missing):
            self._made[result.key] = result
            if isinstance(result, RunResult):
                self._results.store(result)
            self._write_if_complete(self._waiting[result.key])
            yield result.key, result.error if isinstance(result, Failure) else None

    def _write_if_complete(self, group: Sequence[Run]) -> None:
        if not all(run.key in self._made for run in group):
            return
        made = [self._made.pop(run.key) for run in group]
        failures = [result for result in made if isinstance(result, Failure)]
        if failures:
            row = replace(start_row(self._plan, group[0]), error=failures[0].error)
            self.failures.append(row)
            self._results.append([row])
            return
        counts = self._results.count_evaluations(group[0], self._plan.task.name, self._periods)
        evaluations = {period: count + self._plan.task.earlier_evaluations for period, count in counts.items()}
        results = [result for result in made if isinstance(result, RunResult)]
        self._results.append(self._row_maker.make_rows(group, results, evaluations))
