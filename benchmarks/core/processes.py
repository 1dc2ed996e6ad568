"""Work shared out among processes of this machine, which end with this one and may die one by one."""

import multiprocessing
import os
import signal
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")

MAX_ATTEMPTS = 3
"""How often an item is tried whose process dies."""

DIED = f"its process died {MAX_ATTEMPTS} times, perhaps for want of memory. Try fewer --jobs."
"""What to say of such an item."""


def map_in_processes(
    work: Callable[[Any, ItemT], ResultT], shared: Any, items: Sequence[ItemT], n_processes: int
) -> Iterator[tuple[ItemT, ResultT | None]]:
    """Yield each item with its result as it finishes, ``None`` if its process has died `MAX_ATTEMPTS` times.

    An item whose process dies is tried again, alone, so that no other item is blamed for it.

    Parameters
    ----------
    work
        Function of a module, from `shared` and an item to the item's result.
    shared
        What is sent to each process once.
    items
        What there is to do.
    n_processes
        Number of processes.
    """
    waiting, suspects, attempts = deque(range(len(items))), deque[int](), Counter[int]()
    while waiting or suspects:
        in_flight: dict[Future[ResultT], int] = {}
        n_at_once = 1 if suspects else n_processes
        try:
            with _Processes(work, shared, n_at_once) as pool:
                for number, result in _drain(pool, items, suspects or waiting, in_flight, n_at_once):
                    yield items[number], result
        except BrokenProcessPool:
            for future, number in in_flight.items():
                if future.done() and future.exception() is None:
                    yield items[number], future.result()
                    continue
                attempts[number] += 1
                if attempts[number] < MAX_ATTEMPTS:
                    suspects.append(number)
                else:
                    yield items[number], None


class _Processes:
    """Processes that have what is shared; they end with this one, and at once if the work is broken off."""

    def __init__(self, work: Callable[[Any, ItemT], ResultT], shared: Any, n_processes: int) -> None:
        self._others = set(multiprocessing.active_children())
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(n_processes, context, initializer=_start, initargs=(work, shared))

    def __enter__(self) -> ProcessPoolExecutor:
        return self._pool

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            for child in set(multiprocessing.active_children()) - self._others:
                child.terminate()
        self._pool.shutdown(cancel_futures=True)


def _drain(
    pool: ProcessPoolExecutor,
    items: Sequence[ItemT],
    waiting: deque[int],
    in_flight: dict[Future[ResultT], int],
    limit: int,
) -> Iterator[tuple[int, ResultT]]:
    """Yield results as they finish; no more items than processes are handed over, so that a crash has few suspects."""
    while waiting or in_flight:
        while waiting and len(in_flight) < limit:
            number = waiting.popleft()
            in_flight[pool.submit(_work, items[number])] = number
        finished, _ = wait(in_flight, return_when=FIRST_COMPLETED)
        for future in finished:
            result = future.result()
            yield in_flight.pop(future), result


_here: tuple[Callable[[Any, Any], Any], Any] | None = None


def _start(work: Callable[[Any, Any], Any], shared: Any) -> None:
    global _here
    _here = work, shared
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(item: Any) -> Any:
    assert _here is not None  # noqa: S101
    work, shared = _here
    return work(shared, item)
