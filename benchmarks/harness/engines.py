"""Who makes the runs of a backtest: this process, several processes of this machine, or a Ray cluster.

Each engine takes the same runs and yields the same results, seed for seed, as they finish.
"""

from collections.abc import Callable, Iterator, Sequence

from benchmarks.core.processes import DIED, map_in_processes
from benchmarks.core.progress import Progress
from benchmarks.harness.forecasts import Failure, RunResult
from benchmarks.harness.plan import Plan, Run
from benchmarks.harness.run import make_run

Engine = Callable[[Plan, Sequence[Run]], Iterator[RunResult | Failure]]


def in_this_process(progress: Progress) -> Engine:
    """Return the engine that makes one run after the other, here.

    Parameters
    ----------
    progress
        Told what is being done.
    """

    def make_runs(plan: Plan, runs: Sequence[Run]) -> Iterator[RunResult | Failure]:
        for run in runs:
            progress.start(f"{plan.task.name}: {run.key}")
            yield make_run(plan, run, progress.tell)

    return make_runs


def in_processes(n_processes: int) -> Engine:
    """Return the engine that makes runs in processes of this machine.

    Parameters
    ----------
    n_processes
        Number of processes.
    """

    def make_runs(plan: Plan, runs: Sequence[Run]) -> Iterator[RunResult | Failure]:
        for run, result in map_in_processes(make_run, plan, runs, n_processes):
            yield Failure(run.key, DIED) if result is None else result

    return make_runs
