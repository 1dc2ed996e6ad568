import logging
from collections.abc import Callable

import pytest

from seq_plugins._compilation import compile_all


def compile_calls(*calls: Callable[[], None]) -> bool:
    return compile_all(
        calls, "the loops", "The loops run slower", None, "SOME_SWITCH", logging.getLogger("seq_plugins")
    )


def test_code_that_cannot_be_kept_runs_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    calls = []

    def loop() -> None:
        calls.append("called")
        if len(calls) == 1:
            raise OSError("No space left on device")

    assert compile_calls(loop)
    assert calls == ["called"] * 2
    assert not caplog.records


def test_what_cannot_be_compiled_is_told_with_its_remedy(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise TypeError("no such function")

    assert not compile_calls(lambda: None, fail)
    assert [record.message for record in caplog.records] == [
        "The loops run slower, since numba failed: no such function. Install another numba, or set SOME_SWITCH=torch "
        "to keep this quiet."
    ]
