"""Functions compiled by numba: announced once, kept on the disk, and done without where numba fails or keeps nothing.

What is compiled stands in one file for each purpose, because numba's cache on the disk notices changes of a function's
own file only. Those files import this one, which imports numba; so they are imported when they are first needed.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from importlib import import_module
from threading import RLock
from types import FunctionType
from typing import Any

# of any type, since numba has none, or few that differ from version to version
numba: Any = import_module("numba")
event: Any = import_module("numba.core.event")

OPTIONS: dict[str, Any] = {
    "nogil": True,
    "error_model": "numpy",
    "fastmath": {"contract"},
}  # NaN and infinity stay what they are

jit = numba.njit(**OPTIONS)

sum_in_any_order = numba.njit(**OPTIONS | {"fastmath": {"contract", "reassoc"}})
"""The same for functions whose sums may be taken in several parts at once, as vector registers need it."""


def cached_jit(function: Callable[..., None]) -> dict[str, Any]:
    """Return `function` for each type of its arrays, compiled when it is first called.

    The machine code is kept where a folder can be written, that of each type in files of its own: numba gives them
    numbers, and two processes that first compile different types at the same time would give them the same ones.
    """
    return {dtype: _cached_jit(_twin(function, f"{function.__name__}_{dtype}")) for dtype in ("float32", "float64")}


def _twin(function: Callable[..., None], name: str) -> FunctionType:
    twin = FunctionType(function.__code__, function.__globals__, name)
    twin.__qualname__ = name  # the name of the files
    return twin


def _cached_jit(function: Callable[..., None]) -> Any:
    try:
        return numba.njit(cache=True, **OPTIONS)(function)
    except RuntimeError:  # there is no such folder
        return numba.njit(**OPTIONS)(function)


class _Listener(event.Listener):
    """Calls `at_start` whenever numba is about to compile a function."""

    def __init__(self, at_start: Callable[[], None]) -> None:
        self.at_start = at_start

    def on_start(self, event: Any) -> None:
        """Hear that a function is going to be compiled."""
        self.at_start()

    def on_end(self, event: Any) -> None:
        """Hear that a function has been compiled."""


def _listening_to_compilation(at_start: Callable[[], None]) -> AbstractContextManager[Any]:
    """Return a context in which `at_start` is called before a function is compiled that is not in the cache."""
    return event.install_listener("numba:compile", _Listener(at_start))


_compiling = RLock()


@contextmanager
def _quiet_numba() -> Iterator[None]:
    """Keep away the thousands of records that numba sends where all loggers are at debug level.

    A level that the user has given to numba's logger stays.
    """
    numbas_logger = logging.getLogger("numba")
    with _compiling:  # another thread's level would be taken for the user's
        is_free = numbas_logger.level == logging.NOTSET
        if is_free:
            numbas_logger.setLevel(logging.WARNING)
        try:
            yield
        finally:
            if is_free:
                numbas_logger.setLevel(logging.NOTSET)


def compile_all(
    functions: Sequence[Any],
    calls: Iterable[Callable[[], None]],
    subject: str,
    fallback: str,
    switch: str,
    logger: logging.Logger,
) -> bool:
    """Make the first call of each function, and return whether there is machine code of them.

    There is none where numba fails, where ``NUMBA_DISABLE_JIT`` switches it off, and where it finds no folder for the
    code: to compile in every process takes longer than most trainings.

    Parameters
    ----------
    functions
        The functions, as `cached_jit` returns them.
    calls
        Calls with the smallest arguments.
    subject
        What is compiled, for the log.
    fallback
        What runs where there is no machine code, for the log.
    switch
        The environment variable that switches compiled code off.
    logger
        Where the compilation, or why there is none, is told.
    """
    if any(isinstance(function, FunctionType) for function in functions):
        tell_once(logger, logging.INFO, f"{fallback}, since NUMBA_DISABLE_JIT is set.")
        return False
    folder = functions[0].stats.cache_path
    if folder is None:
        reason = (
            f"{fallback}, since numba finds no folder that it can write to, and would have to compile in every "
            "process. Set the environment variable NUMBA_CACHE_DIR to such a folder, or "
            f"{switch}=torch to silence this warning."
        )
        tell_once(logger, logging.WARNING, reason)
        return False
    announcement = f"Compiling {subject} for this processor (some seconds, kept in {folder})."
    try:
        with _quiet_numba(), _listening_to_compilation(lambda: tell_once(logger, logging.WARNING, announcement)):
            for call in calls:
                try:
                    call()
                except OSError:  # it was compiled, but could not be written to a full disk
                    call()
    except Exception as error:  # whatever numba raises, PyTorch can do the work
        reason = (
            f"{fallback}, since numba failed: {error}. Install another version of numba, or set {switch}=torch to "
            "silence this warning."
        )
        tell_once(logger, logging.WARNING, reason)
        return False
    return True


@cache  # once in a process
def tell_once(logger: logging.Logger, level: int, message: str) -> None:
    """Tell something that holds for the whole process."""
    logger.log(level, message)
