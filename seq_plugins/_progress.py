"""Progress bars that leave nothing behind where they are not shown."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm


class _HiddenBar(tqdm):  # type: ignore[type-arg]
    """A bar that nobody sees; tqdm starts a thread that watches bars with any other, and never ends it."""

    monitor_interval = 0


def progress_bar(*args: Any, disable: bool, kind: Any = tqdm, **kwargs: Any) -> "tqdm[Any]":
    """Return a progress bar.

    Parameters
    ----------
    *args
        Arguments of ``tqdm``.
    disable
        Whether to show nothing.
    kind
        Class of the bar, if one is shown.
    **kwargs
        Further arguments of ``tqdm``.
    """
    chosen: Any = _HiddenBar if disable else kind
    return chosen(*args, disable=disable, **kwargs)


@contextmanager
def epoch_bar(n_epochs: int, what: str) -> Iterator[Callable[[], None]]:
    """Show a bar of epochs where somebody looks at it, and give what advances it by one.

    Parameters
    ----------
    n_epochs
        Number of epochs.
    what
        What is trained.
    """
    with progress_bar(total=n_epochs, desc=what, unit="epoch", disable=not sys.stderr.isatty() or not n_epochs) as bar:

        def advance() -> None:
            bar.update()

        yield advance
