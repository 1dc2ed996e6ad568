"""How much memory a piece of work takes."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.core.memory import PeakMemory


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux")
def test_a_peak_is_that_of_the_block_alone() -> None:
    np.ones(30 * 2**17)  # 30 MB, given back
    with PeakMemory() as peak:
        np.ones(10 * 2**17)
    assert peak.megabytes == pytest.approx(10, abs=3)


def test_there_is_no_peak_where_the_kernel_tells_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.core.memory._PROCESS", tmp_path)
    with PeakMemory() as peak:
        pass
    assert peak.megabytes is None
