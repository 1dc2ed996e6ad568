"""How many threads a piece of work may use."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)


def thread_environment(threads: int) -> dict[str, str]:
    """Return the environment of a process that is to use this number of threads."""
    return dict(os.environ) | dict.fromkeys(_THREAD_VARIABLES, str(threads))


@contextmanager
def limit_threads(threads: int) -> Iterator[None]:
    """Let PyTorch and the libraries of linear algebra use this number of threads, for a while."""
    import torch  # only here: commands tell wrong arguments before it is imported
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # comes with scikit-learn

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with threadpool_limits(threads):
            yield
    finally:
        torch.set_num_threads(before)
