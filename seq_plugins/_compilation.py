"""Functions compiled by numba: announced once, kept on the disk, and done without where numba fails.

What is compiled stands in one file for each purpose, because numba's cache on the disk notices changes of a function's
own file only. Those files import this one, which imports numba; so they are imported when they are first needed.
"""

import logging
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from functools import cache
from importlib import import_module
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
    context: AbstractContextManager[Any] = event.install_listener("numba:compile", _Listener(at_start))
    return context


def compile_all(
    calls: Iterable[Callable[[], None]],
    subject: str,
    fallback: str,
    folder: str | None,
    switch: str,
    logger: logging.Logger,
) -> bool:
    """Make the first call of each function, and return whether numba was able to compile them.

    Parameters
    ----------
    calls
        Calls with the smallest arguments.
    subject
        What is compiled, for the log.
    fallback
        What runs where numba fails, for the log.
    folder
        Where numba keeps the machine code; ``None`` if nowhere.
    switch
        The environment variable that switches compiled code off.
    logger
        Where the compilation and its failure are told.
    """
    try:
        with _listening_to_compilation(lambda: announce(subject, folder, logger)):
            for call in calls:
                try:
                    call()
                except OSError:  # it was compiled, but could not be written to a full disk
                    call()
    except Exception as error:  # whatever numba raises, PyTorch can do the work
        logger.warning(
            "%s, since numba failed: %s. Install another numba, or set %s=torch to keep this quiet.",
            fallback,
            error,
            switch,
        )
        return False
    return True


@cache  # once in a process
def announce(subject: str, folder: str | None, logger: logging.Logger) -> None:
    """Tell that numba compiles."""
    kept = "in every process, since numba finds no folder to keep it in" if folder is None else f"kept in {folder}"
    logger.warning("Compiling %s for this processor (some seconds, %s).", subject, kept)
