"""Who makes the runs of a backtest: this process, several processes of this machine, or a Ray cluster.

Each engine takes the same runs and yields the same results, seed for seed, as they finish.
"""

import multiprocessing
import os
import signal
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool

from benchmarks.backtest import Show, make_run
from benchmarks.runs import Failure, Plan, Run, RunResult

Engine = Callable[[Plan, Sequence[Run]], Iterator[RunResult | Failure]]

MAX_ATTEMPTS = 3
"""How often a run is tried whose process dies."""


def in_this_process(show: Callable[[Run], Show]) -> Engine:
    """Return the engine that makes one run after the other, here.

    Parameters
    ----------
    show
        Returns, for a run that starts, what is called with a line that says what is being done.
    """

    def make_runs(plan: Plan, runs: Sequence[Run]) -> Iterator[RunResult | Failure]:
        for run in runs:
            yield make_run(plan, run, show(run))

    return make_runs


def in_processes(n_processes: int) -> Engine:
    """Return the engine that makes runs in processes of this machine.

    A run whose process dies is tried again, alone, so that no other run is blamed for it.

    Parameters
    ----------
    n_processes
        Number of processes.
    """

    def make_runs(plan: Plan, runs: Sequence[Run]) -> Iterator[RunResult | Failure]:
        waiting, suspects, attempts = deque(runs), deque[Run](), Counter[str]()
        while waiting or suspects:
            in_flight: dict[Future[RunResult | Failure], Run] = {}
            try:
                with _process_pool(plan, 1 if suspects else n_processes) as pool:
                    yield from _drain(pool, suspects or waiting, in_flight, 1 if suspects else n_processes)
            except BrokenProcessPool:
                for future, run in in_flight.items():
                    if future.done() and future.exception() is None:
                        yield future.result()
                        continue
                    attempts[run.key] += 1
                    if attempts[run.key] < MAX_ATTEMPTS:
                        suspects.append(run)
                    else:
                        yield Failure(
                            run.key,
                            f"its process died {MAX_ATTEMPTS} times, perhaps for want of memory. Try fewer --jobs.",
                        )

    return make_runs


class _process_pool:  # noqa: N801  # a context
    """Processes that have the plan; they end with this one, and at once if the work is broken off."""

    def __init__(self, plan: Plan, n_processes: int) -> None:
        self._others = set(multiprocessing.active_children())
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(n_processes, context, initializer=_start_worker, initargs=(plan,))

    def __enter__(self) -> ProcessPoolExecutor:
        return self._pool

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            for child in set(multiprocessing.active_children()) - self._others:
                child.terminate()
        self._pool.shutdown(cancel_futures=True)


def _drain(
    pool: ProcessPoolExecutor, waiting: deque[Run], in_flight: dict[Future[RunResult | Failure], Run], limit: int
) -> Iterator[RunResult | Failure]:
    """Yield results as they finish; no more runs than processes are handed over, so that a crash has few suspects."""
    while waiting or in_flight:
        while waiting and len(in_flight) < limit:
            run = waiting.popleft()
            in_flight[pool.submit(_work, run)] = run
        finished, _ = wait(in_flight, return_when=FIRST_COMPLETED)
        for future in finished:
            result = future.result()
            del in_flight[future]
            yield result


_plan: Plan | None = None


def _start_worker(plan: Plan) -> None:
    global _plan
    _plan = plan
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(run: Run) -> RunResult | Failure:
    assert _plan is not None  # noqa: S101
    return make_run(_plan, run)
