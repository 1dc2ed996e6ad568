"""Parts of a batch, worked on at once by as many threads as PyTorch may use."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from math import ceil

import torch


def parts_of(n_sequences: int, most: int) -> list[tuple[int, int]]:
    """Return the parts of a batch, each by its first sequence and the one after its last.

    They depend on no number of threads, so that results do not, and are of one size. There is an even number of them
    if there are several, since processors have.

    Parameters
    ----------
    n_sequences
        Number of sequences in the batch.
    most
        Number of sequences that a part may have.
    """
    n_parts = ceil(n_sequences / most)
    if n_parts > 1:
        n_parts += n_parts % 2
    size = ceil(n_sequences / n_parts)
    return [(first, min(first + size, n_sequences)) for first in range(0, n_sequences, size)]


def run_parts(work: Callable[[int, int, int], None], parts: Sequence[tuple[int, int]]) -> None:
    """Call `work` with the number of each part, its first sequence and the one after its last.

    Parameters
    ----------
    work
        Function that lets go of Python's global lock.
    parts
        Parts of the batch.
    """
    n_threads = min(torch.get_num_threads(), len(parts))
    if n_threads == 1:
        for number, (first, last) in enumerate(parts):
            work(number, first, last)
        return

    def work_on_every(start: int) -> None:
        for number in range(start, len(parts), n_threads):
            work(number, *parts[number])

    others = [_workers(os.getpid()).submit(work_on_every, start) for start in range(1, n_threads)]
    try:
        work_on_every(0)
    finally:
        for other in others:
            other.result()


@cache  # threads do not outlive a fork
def _workers(process: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=os.cpu_count(), thread_name_prefix="seq_plugins")
