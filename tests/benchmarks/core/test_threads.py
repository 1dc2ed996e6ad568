"""Threads and memory of a piece of work."""

import torch

from benchmarks.core.threads import limit_threads


def test_the_number_of_threads_is_put_back() -> None:
    torch.set_num_threads(1)
    with limit_threads(2):
        assert torch.get_num_threads() == 2
    assert torch.get_num_threads() == 1
