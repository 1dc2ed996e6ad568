"""Who makes the runs of backtests: this process, several processes of this machine, or a Ray cluster.

Each engine takes plans of several tasks and the same runs, and yields the same results, seed for seed, as they finish.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

from benchmarks.core.processes import DIED, map_in_processes
from benchmarks.core.progress import Progress
from benchmarks.harness.forecasts import Failure, RunResult
from benchmarks.harness.plan import Plan, Run
from benchmarks.harness.run import make_run

Plans = Mapping[str, Plan]
"""What the runs of each task share, by the task's name."""

Engine = Callable[[Plans, Sequence[Run]], Iterator[tuple[Run, RunResult | Failure]]]


def in_this_process(progress: Progress) -> Engine:
    """Return the engine that makes one run after the other, here.

    Parameters
    ----------
    progress
        Told what is being done.
    """

    def make_runs(plans: Plans, runs: Sequence[Run]) -> Iterator[tuple[Run, RunResult | Failure]]:
        for run in runs:
            progress.start(f"{run.task}: {run.key}")
            yield run, make_run(plans[run.task], run, progress.tell)

    return make_runs


def in_processes(n_processes: int) -> Engine:
    """Return the engine that makes runs in processes of this machine.

    Parameters
    ----------
    n_processes
        Number of processes.
    """

    def make_runs(plans: Plans, runs: Sequence[Run]) -> Iterator[tuple[Run, RunResult | Failure]]:
        for run, result in map_in_processes(make_run_of, plans, runs, n_processes):
            yield run, Failure(run.key, DIED) if result is None else result

    return make_runs


def make_run_of(plans: Plans, run: Run) -> RunResult | Failure:
    """Make a run of one of several tasks."""
    return make_run(plans[run.task], run)
