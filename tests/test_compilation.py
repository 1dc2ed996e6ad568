import logging
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numba
import pytest

from seq_plugins._compilation import compile_all, tell_once

LOGGER = logging.getLogger("seq_plugins")
KEPT = SimpleNamespace(stats=SimpleNamespace(cache_path="folder"))
"""Stands for a function whose machine code is kept."""


def compile_calls(*calls: Callable[[], Any], function: Any = KEPT) -> bool:
    return compile_all([function], calls, "the loops", "The loops run slower", "SOME_SWITCH", LOGGER)


@pytest.fixture(autouse=True)
def _nothing_told() -> Iterator[None]:
    tell_once.cache_clear()
    yield
    tell_once.cache_clear()


def compile_something() -> None:
    assert numba.njit(lambda number: number + 1)(1) == 2


def never() -> None:
    raise AssertionError("nothing is to be compiled")


def test_code_that_cannot_be_kept_runs_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    calls = []

    def loop() -> None:
        calls.append("called")
        if len(calls) == 1:
            raise OSError("No space left on device")

    assert compile_calls(loop)
    assert calls == ["called"] * 2
    assert not caplog.records


def test_what_cannot_be_compiled_is_told_once_with_its_remedy(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise TypeError("no such function")

    for _ in range(2):
        assert not compile_calls(lambda: None, fail)
    assert [record.message for record in caplog.records] == [
        "The loops run slower, since numba failed: no such function. Install another version of numba, or set "
        "SOME_SWITCH=torch to silence this warning."
    ]


def test_without_a_folder_nothing_is_compiled_and_the_remedy_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        assert not compile_calls(never, function=numba.njit(never))
    assert [record.message for record in caplog.records] == [
        "The loops run slower, since numba finds no folder that it can write to, and would have to compile in every "
        "process. Set the environment variable NUMBA_CACHE_DIR to such a folder, or SOME_SWITCH=torch to silence "
        "this warning."
    ]


def test_where_numba_is_switched_off_nothing_is_compiled_and_nobody_is_warned(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(numba.config, "DISABLE_JIT", 1)
    with caplog.at_level(logging.INFO, "seq_plugins"):
        assert not compile_calls(never, function=numba.njit(never))
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("INFO", "The loops run slower, since NUMBA_DISABLE_JIT is set.")
    ]


def test_numba_s_records_stay_away_where_every_logger_is_at_debug_level(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        assert compile_calls(compile_something)
        assert {record.name for record in caplog.records} == {"seq_plugins"}
        compile_something()  # afterwards numba is as before
    assert any(record.name.startswith("numba") for record in caplog.records)
    assert logging.getLogger("numba").level == logging.NOTSET


def test_a_level_that_the_user_gave_to_numba_s_logger_counts(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "numba"):
        assert compile_calls(compile_something)
        assert logging.getLogger("numba").level == logging.DEBUG
    assert any(record.name.startswith("numba") for record in caplog.records)
