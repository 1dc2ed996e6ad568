"""How much memory a piece of work takes."""

import mmap
from pathlib import Path

import pytest

from benchmarks.core.memory import PeakMemory


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux")
def test_a_peak_is_that_of_the_block_alone() -> None:
    _take_and_give_back(300)
    with PeakMemory() as peak:
        _take_and_give_back(100)
    assert peak.megabytes == pytest.approx(100, abs=10)


def _take_and_give_back(megabytes: int) -> None:
    with mmap.mmap(-1, megabytes * 2**20) as memory:
        for _ in range(megabytes):
            memory.write(b"1" * 2**20)


def test_there_is_no_peak_where_the_kernel_tells_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.core.memory._PROCESS", tmp_path)
    with PeakMemory() as peak:
        pass
    assert peak.megabytes is None
