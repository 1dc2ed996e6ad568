"""What a fit or a prediction prints: the progress bar, and what concerns the user.

PyTorch Lightning tells much else. Where it has no switch for that, its words are held back around our own calls: in the
same thread, where they are log records, and by one exact filter, where they are warnings.
"""

import logging
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any

_CHATTER = re.compile(
    r"GPU available: False"
    r"|TPU available: False"
    r"|💡 Tip: "
    r"|`Trainer\.fit` stopped: `max_epochs="
    r"|Loading `train_dataloader` to estimate number of stepping batches"
)
_WARNINGS: tuple[tuple[str, type[Warning]], ...] = (
    # Lightning 2.6 uses a name that PyTorch has deprecated
    (r"`isinstance\(treespec, LeafSpec\)` is deprecated", FutureWarning),
    # Darts gives Lightning an empty list where there is no validation set
    (r"Total length of `list` across ranks is zero", UserWarning),
    # windows are cut from arrays in memory, whole batches at once: worker processes would only be in the way
    (r"The '\w+' does not have many workers which may be a bottleneck", UserWarning),
)

_is_quiet: ContextVar[bool] = ContextVar("is_quiet", default=False)
_lock = threading.Lock()
_n_quiet = 0
_own_filters: list[tuple[Any, Any]] = []


class _Chatter(logging.Filter):
    """Passes what concerns the user, and all that other threads log."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not (_is_quiet.get() and _CHATTER.match(record.getMessage()))


_logger = logging.getLogger("pytorch_lightning.utilities.rank_zero")
_chatter = _Chatter()


@contextmanager
def only_what_concerns_the_user() -> Iterator[None]:
    """Hold back what Lightning tells that concerns nobody; other threads may do the same at the same time."""
    token = _is_quiet.set(True)
    _hold_back()
    try:
        yield
    finally:
        _is_quiet.reset(token)
        _let_through()


def _hold_back() -> None:
    # filters are common to all threads: who comes first sets them, and who leaves last takes them away
    global _n_quiet
    with _lock:
        if _n_quiet == 0:
            _logger.addFilter(_chatter)
            for message, category in _WARNINGS:
                as_kept = ("ignore", re.compile(message, re.IGNORECASE), category, None, 0)
                if as_kept not in warnings.filters:
                    warnings.filterwarnings("ignore", message, category)
                    _own_filters.append((warnings.filters, as_kept))
        _n_quiet += 1


def _let_through() -> None:
    global _n_quiet
    with _lock:
        _n_quiet -= 1
        if _n_quiet == 0:
            _logger.removeFilter(_chatter)
            now: Any = warnings.filters  # another list, within somebody's `catch_warnings`
            for then, own_filter in _own_filters:
                for filters in (then, now):
                    with suppress(ValueError):  # the same list, or one that has been reset
                        filters.remove(own_filter)
            _own_filters.clear()


class _Advice(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith("Attempting to retrain/fine-tune the model without resuming")


@contextmanager
def without_advice_to_load_weights() -> Iterator[None]:
    """Hold back what Darts advises against where training goes on from the weights at hand on purpose."""
    logger, advice = logging.getLogger("darts.models.forecasting.torch_forecasting_model"), _Advice()
    logger.addFilter(advice)
    try:
        yield
    finally:
        logger.removeFilter(advice)
