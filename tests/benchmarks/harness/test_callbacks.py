"""What trainings of the benchmarks do and keep beside what Darts has arguments for."""

import torch

from benchmarks.harness.callbacks import BufferedSampler


def test_a_buffered_order_holds_each_window_once_oldest_first_and_never_ahead_of_its_buffer() -> None:
    def draw(seed: int) -> list[int]:
        torch.manual_seed(seed)
        return list(BufferedSampler(100, 10))

    order = draw(1)
    assert sorted(order) == list(range(100))
    ages = [99 - window for window in order]
    assert all(age < place + 10 for place, age in enumerate(ages))
    assert order == draw(1)
    assert order != draw(2)
    assert list(BufferedSampler(5, 1)) == [4, 3, 2, 1, 0]
    assert sorted(BufferedSampler(5, 100)) == [0, 1, 2, 3, 4]
