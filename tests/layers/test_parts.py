import os
import threading
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seq_plugins.layers import GRU, RecurrentLayer, SimpleRNN
from seq_plugins.layers.parts import parts_of, run_parts


@given(n_sequences=st.integers(1, 2000), most=st.integers(1, 300))
def test_parts_cover_the_batch_once_and_are_no_larger_than_allowed(n_sequences: int, most: int) -> None:
    parts = parts_of(n_sequences, most)

    assert [sequence for first, last in parts for sequence in range(first, last)] == list(range(n_sequences))
    assert all(0 < last - first <= most for first, last in parts)
    assert len({last - first for first, last in parts[:-1]}) <= 1


@pytest.mark.parametrize(("n_sequences", "n_parts"), [(240, 1), (241, 2), (512, 4), (1200, 6)])
def test_several_parts_are_an_even_number(n_sequences: int, n_parts: int) -> None:
    assert len(parts_of(n_sequences, 240)) == n_parts


@pytest.fixture
def two_threads() -> Iterator[None]:
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)


@pytest.mark.usefixtures("two_threads")
def test_every_part_is_worked_on_once_and_by_several_threads() -> None:
    parts = [(number, number + 1) for number in range(5)]
    seen: list[tuple[int, int, int]] = []
    both_are_there = threading.Barrier(2, timeout=20)

    def work(number: int, first: int, last: int) -> None:
        if number < 2:
            both_are_there.wait()
        seen.append((number, first, last))

    run_parts(work, parts)

    assert sorted(seen) == [(number, *part) for number, part in enumerate(parts)]


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("failing", [0, 1])
def test_what_fails_in_a_part_is_raised_when_all_are_done(failing: int) -> None:
    done = []

    def work(number: int, first: int, last: int) -> None:
        if number == failing:
            raise MemoryError(f"part {number}")
        done.append(number)

    with pytest.raises(MemoryError, match=f"part {failing}"):
        run_parts(work, [(0, 1), (1, 2)])
    assert done == [1 - failing]


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("layer_class", [SimpleRNN, GRU])
def test_states_and_gradients_of_large_batches_are_the_same_with_any_number_of_threads(
    layer_class: type[RecurrentLayer],
) -> None:
    torch.manual_seed(0)
    layer, inputs = layer_class(3, 32), torch.randn(700, 9, 3, requires_grad=True)
    results = []
    for n_threads in (1, 2, 3):
        torch.set_num_threads(n_threads)
        states = layer(inputs)
        results.append((states, *torch.autograd.grad(states.pow(2).sum(), list(layer.parameters()))))
    for result in results[1:]:
        torch.testing.assert_close(result, results[0], rtol=0, atol=0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks on this system")
# Python warns of threads at a fork from 3.12 on, and this is what is tested
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
@pytest.mark.usefixtures("two_threads")
def test_parts_are_worked_on_after_a_fork() -> None:
    run_parts(lambda *part: None, [(0, 1), (1, 2)])
    child = os.fork()
    if child == 0:
        seen: list[int] = []
        run_parts(lambda number, first, last: seen.append(number), [(0, 1), (1, 2)])
        os._exit(0 if sorted(seen) == [0, 1] else 1)

    _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 0
