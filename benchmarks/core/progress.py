"""The progress bar of long work."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm


class Progress:
    """A progress bar with the time left; in a log file a line every half minute is enough.

    Parameters
    ----------
    unit
        What is counted.
    """

    def __init__(self, unit: str) -> None:
        self._unit = unit
        self._is_seen = sys.stderr.isatty()
        self._bar: tqdm[Any] | None = None

    @contextmanager
    def over(self, n_all: int, n_done: int = 0) -> Iterator["Progress"]:
        """Show the bar for `n_all`, of which `n_done` were done before."""
        interval = 0.1 if self._is_seen else 30
        with tqdm(total=n_all, initial=n_done, unit=self._unit, mininterval=interval) as self._bar:
            yield self
            self.tell("")
        self._bar = None

    def start(self, what: str) -> None:
        """Tell what is being done."""
        if self._bar is not None:
            self._bar.set_description(what, refresh=self._is_seen)

    def tell(self, text: str) -> None:
        """Tell how it goes on."""
        if self._bar is not None:
            self._bar.set_postfix_str(text, refresh=self._is_seen)

    def warn(self, text: str) -> None:
        """Write a line of its own above the bar."""
        tqdm.write(text, file=sys.stderr)

    def advance(self, what: str) -> None:
        """Tell that one is done, and what it was."""
        self.start(what)
        if self._bar is not None:
            self._bar.update()
