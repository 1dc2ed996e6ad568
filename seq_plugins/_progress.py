"""Progress bars that leave nothing behind where they are not shown."""

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
