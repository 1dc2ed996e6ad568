"""Memory that is used again.

The system takes large blocks back as soon as they are free, and hands them out again page by page, each page filled
with zeros first. For what a layer remembers of a batch this takes as long as the arithmetic.
"""

from collections import deque
from collections.abc import Sequence
from math import prod
from typing import Any, Final

import numpy as np

ALIGNMENT: Final = 64
"""Bytes at whose multiples arrays start, as in PyTorch: vector registers read them fastest from there."""


class ScratchMemory:
    """Blocks of memory, some of which are kept for later when they are given back. Threads may share it.

    Parameters
    ----------
    n_blocks
        Number of blocks that are kept at most.
    max_bytes
        Size of the largest block that is kept.
    """

    def __init__(self, n_blocks: int, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._free: deque[np.ndarray] = deque(maxlen=n_blocks)

    def take(self, n_bytes: int) -> np.ndarray:
        """Return a block of at least `n_bytes`, with anything in it.

        Parameters
        ----------
        n_bytes
            Size of the block.
        """
        for _ in range(len(self._free)):
            try:
                block = self._free.popleft()
            except IndexError:  # another thread was faster
                break
            if n_bytes <= len(block) <= 2 * n_bytes:
                return block
            self._free.append(block)
        return _aligned_block(n_bytes)

    def give_back(self, block: np.ndarray) -> None:
        """Take a block back that nobody reads or writes any more; the oldest is let go if there are too many.

        Parameters
        ----------
        block
            What `take` returned.
        """
        if len(block) <= self.max_bytes:
            self._free.append(block)


def _aligned_block(n_bytes: int) -> np.ndarray:
    block = np.empty(n_bytes + ALIGNMENT, np.uint8)
    start = -block.ctypes.data % ALIGNMENT
    return block[start : start + n_bytes]


def carve(block: np.ndarray, shapes: Sequence[tuple[int, ...]], dtype: Any) -> list[np.ndarray]:
    """Return arrays of `shapes` that lie one after another in `block`."""
    arrays, start = [], 0
    for shape in shapes:
        n_bytes = _n_bytes(shape, dtype)
        arrays.append(block[start : start + n_bytes].view(dtype).reshape(shape))
        start += _padded(n_bytes)
    return arrays


def n_bytes_of(shapes: Sequence[tuple[int, ...]], dtype: Any) -> int:
    """Return the size of the block from which `carve` can take arrays of `shapes`."""
    return sum(_padded(_n_bytes(shape, dtype)) for shape in shapes)


def _n_bytes(shape: tuple[int, ...], dtype: Any) -> int:
    return prod(shape) * int(np.dtype(dtype).itemsize)


def _padded(n_bytes: int) -> int:
    return -(-n_bytes // ALIGNMENT) * ALIGNMENT
