import threading

import numpy as np
import pytest

from seq_plugins.layers.scratch_memory import ALIGNMENT, ScratchMemory, carve, n_bytes_of


def test_a_block_that_was_given_back_is_handed_out_again() -> None:
    memory = ScratchMemory(n_blocks=2, max_bytes=1000)
    block = memory.take(100)
    memory.give_back(block)

    assert memory.take(90) is block


@pytest.mark.parametrize("n_bytes", [101, 49])
def test_a_block_of_another_size_is_left_for_others(n_bytes: int) -> None:
    memory = ScratchMemory(n_blocks=2, max_bytes=1000)
    block = memory.take(100)
    memory.give_back(block)

    other = memory.take(n_bytes)

    assert len(other) == n_bytes
    assert not np.shares_memory(block, other)
    assert memory.take(100) is block


def test_blocks_in_use_do_not_overlap() -> None:
    memory = ScratchMemory(n_blocks=2, max_bytes=1000)

    assert not np.shares_memory(memory.take(100), memory.take(100))


def test_no_more_and_no_larger_blocks_are_kept_than_asked() -> None:
    memory = ScratchMemory(n_blocks=2, max_bytes=100)
    blocks = [memory.take(n_bytes) for n_bytes in (101, 100, 99, 98)]
    for block in blocks:
        memory.give_back(block)

    kept = [memory.take(98), memory.take(98), memory.take(98)]

    assert kept[0] is blocks[2]
    assert kept[1] is blocks[3]
    assert not any(kept[2] is block for block in blocks)


def test_arrays_of_a_block_are_aligned_and_apart() -> None:
    shapes = [(3, 5), (0, 2), (7,)]
    block = ScratchMemory(1, 1000).take(n_bytes_of(shapes, np.float32))

    arrays = carve(block, shapes, np.float32)

    assert [array.shape for array in arrays] == shapes
    for number, array in enumerate(arrays):
        array[...] = number
        assert array.ctypes.data % ALIGNMENT == 0
        assert array.flags.c_contiguous
    assert [np.unique(array).tolist() for array in arrays] == [[0], [], [2]]


def test_threads_never_share_a_block() -> None:
    memory = ScratchMemory(n_blocks=4, max_bytes=10_000)
    clashes = []

    def work(number: int) -> None:
        for _ in range(300):
            block = memory.take(4096)
            block[:] = number
            if (block != number).any():
                clashes.append(number)
            memory.give_back(block)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert not clashes
