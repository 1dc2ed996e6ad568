import threading
from itertools import combinations

import numpy as np
import pytest
import torch

from seq_plugins.layers.scratch_memory import ALIGNMENT, ScratchMemory, carve, n_bytes_of


def address(array: np.ndarray) -> int:
    return int(array.ctypes.data)


def test_a_block_that_nobody_refers_to_is_handed_out_again() -> None:
    memory = ScratchMemory(n_blocks=2, max_bytes=1000)
    block = memory.take(100)
    place = address(block)
    part = torch.from_numpy(block[10:].view(np.int16).reshape(5, 9)).transpose(0, 1)
    del block

    other = memory.take(100)
    assert address(other) != place
    del part
    assert address(memory.take(90)) == place


@pytest.mark.parametrize("n_bytes", [101, 49])
def test_a_block_of_another_size_is_left_for_others(n_bytes: int) -> None:
    memory = ScratchMemory(n_blocks=2, max_bytes=1000)
    place = address(memory.take(100))

    other = memory.take(n_bytes)

    assert len(other) == n_bytes
    assert address(other) != place
    assert address(memory.take(100)) == place


def test_blocks_in_use_do_not_overlap() -> None:
    memory = ScratchMemory(n_blocks=2, max_bytes=1000)
    blocks = [memory.take(100) for _ in range(4)]

    assert not any(np.shares_memory(one, other) for one, other in combinations(blocks, 2))


def test_no_more_and_no_larger_blocks_are_kept_than_asked() -> None:
    memory = ScratchMemory(n_blocks=2, max_bytes=100)
    blocks = [memory.take(n_bytes) for n_bytes in (101, 100, 99, 98)]
    places = [address(block) for block in blocks]
    while blocks:
        blocks.pop(0)

    assert [address(block) for block in memory.free] == places[2:]


def test_arrays_of_a_block_are_aligned_and_apart() -> None:
    shapes = [(3, 5), (0, 2), (7,)]
    block = ScratchMemory(1, 1000).take(n_bytes_of(shapes, np.float32))

    arrays = carve(block, shapes, np.float32)

    assert [array.shape for array in arrays] == shapes
    for number, array in enumerate(arrays):
        array[...] = number
        assert address(array) % ALIGNMENT == 0
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

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert not clashes
    assert 1 <= len(memory.free) <= 4
