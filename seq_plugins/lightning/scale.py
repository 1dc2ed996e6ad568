"""A word to the user about targets of a size that the network does not train on."""

import logging
from typing import Any

import torch

from seq_plugins.layers.seasonal_skip import is_on_the_scale_of_the_target

logger = logging.getLogger(__name__)

# Measured with 450 days of a weekly pattern and the defaults (100 epochs, Adam with 1e-3; SimpleRNN, LSTM, GRU and
# convolution): mean absolute error of the forecast, in standard deviations of the series.
#   pattern times       0.0001      0.001       0.01        0.1 to 3    10          30          100         1,000
#   around that level   1.3-1.4     0.64-1.37   0.20-0.29   0.18-0.21   0.75-0.84   0.90-0.91   2.6-2.8     4.4
#   around zero         1.0-1.5     0.22-0.32   0.19-0.21   0.17-0.21   0.17-0.18   0.20-0.32   0.59-0.74   0.86-0.87
# Recurrent layers saturate at large values; below 0.001 an update of the weights is larger than the values are. From 20
# on the first row is lost and the second begins to be; logarithms of anything stay below it.
_SMALLEST, _LARGEST = 1e-3, 20.0
_FARTHEST = 100.0


def warn_unless_scaled(module: Any, target: torch.Tensor) -> bool:
    """Log a warning if targets are far too large or too small for the network, and return whether they are.

    Parameters
    ----------
    module
        Network that is to be trained.
    target
        Targets of its first batch, `(B, H, C)`; those that are missing may be NaN.
    """
    if module.local_normalization is not None:
        return _warn_of_quiet_windows(target)
    if module.use_reversible_instance_norm or not is_on_the_scale_of_the_target(module.likelihood):
        return False
    sizes = [_typical_size(values) for values in target.detach().unbind(dim=-1)]
    largest = float("inf") if module.takes_large_values else _LARGEST
    for component, size in enumerate(sizes):
        if size is None or _SMALLEST <= size <= largest:
            continue
        where = f" of component {component} (the first is 0)" if len(sizes) > 1 else ""
        logger.warning(
            "Values of the target%s are around %s, but networks train well only on values of the order of 1: "
            "forecasts may be far off. Scale the series with `darts.dataprocessing.transformers.Scaler`%s.",
            where,
            f"{size:,.0f}" if size > largest else f"{size:.1g}",
            " or make the model with `use_reversible_instance_norm=True`" if size > largest else "",
        )
        return True
    return False


def _warn_of_quiet_windows(relative: torch.Tensor) -> bool:
    """Log a warning if targets are far away in units of the scale of windows that hardly change."""
    largest = float(relative.detach().nan_to_num(0.0).abs().max())
    if largest <= _FARTHEST:
        return False
    logger.warning(
        "After windows that hardly change, targets are up to %s times as far from the local level as the series "
        "usually moves: with a squared loss, a few such windows outweigh all others. Give `loss_fn=torch.nn.L1Loss()` "
        'and `pl_trainer_kwargs={"gradient_clip_val": 1.0}`, or leave such series out.',
        f"{largest:,.0f}",
    )
    return True


def _typical_size(values: torch.Tensor) -> float | None:
    """Return the median size of the values, zeros and missing ones aside."""
    sizes = values.float().abs()
    sizes = sizes[(sizes > 0) & sizes.isfinite()]
    return float(sizes.median()) if sizes.numel() else None
