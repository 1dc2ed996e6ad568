"""Training ends with an error when it diverges.

The network itself looks, not a callback: a `trainer` that is handed to `fit` would lack it, and one with a hook for
each batch leads to Lightning's own loop.
"""

import copy
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from darts import TimeSeries
from torch import nn

from seq_plugins._private_names import LearningRateSearch
from seq_plugins.lightning.scale import warn_unless_scaled

_LOSSES_OF_ERRORS = (nn.MSELoss, nn.L1Loss, nn.SmoothL1Loss, nn.HuberLoss)
_LARGEST_GROWTH = 1e4
_COARSE_PRECISIONS = ("16-true", "bf16-true")
_FORECASTS_TRIED = (0.0, 0.5)  # as those of a network that knows nothing yet
_REMEDIES = (
    "Lower the learning rate (`optimizer_kwargs`), clip the gradients "
    '(`pl_trainer_kwargs={"gradient_clip_val": 1.0}`) or scale the series, for example with '
    "`darts.dataprocessing.transformers.Scaler`."
)


class DivergenceError(ValueError):
    """Training has diverged; the model keeps the state it had before :meth:`fit`.

    The loss or the weights are no longer finite, the network's output is not valid for its `likelihood`, or an error
    loss (``MSELoss``, ``L1Loss``, ``SmoothL1Loss``, ``HuberLoss``) has grown without bound. Growth is not checked with
    a `likelihood` or another loss, or when several processes train together.
    """


class LossWatch:
    """Looks at the losses of a training, of every batch where that costs nothing, and at the weights after an epoch.

    Processes that train together have the same weights, but each has losses of its own: there, only weights count.

    Parameters
    ----------
    module
        Network that is trained.
    trainer
        Its trainer.
    """

    def __init__(self, module: Any, trainer: Any) -> None:
        self._module = module
        self._trainer = trainer
        # processes that train together must all stop or none
        self._is_alone = trainer.world_size == 1
        # a GPU would have to wait
        self._looks_at_every_batch = trainer.strategy.root_device.type == "cpu" and self._is_alone
        self._has_seen_targets = False
        self._first_loss: torch.Tensor | None = None
        self._last_loss: torch.Tensor | None = None

    def see_targets(self, target: torch.Tensor) -> None:
        """Take the targets of a batch; of a network's first one, tell the user if they are far too large or small."""
        if self._has_seen_targets or not self._trainer.is_global_zero:
            return
        self._has_seen_targets = True
        given: list[str] = self._module.warnings_given
        if "scale" not in given and warn_unless_scaled(self._module, target):
            given.append("scale")

    def see(self, loss: torch.Tensor) -> None:
        """Take the loss of a batch, before the weights are updated with it."""
        if self._looks_at_every_batch and not math.isfinite(loss.item()):
            step = self._trainer.global_step
            raise DivergenceError(f"The loss is {loss.item()} at step {step}, in {self._epoch}. {self._advice}")
        self._last_loss = loss.detach()
        if self._first_loss is None:
            self._first_loss = self._last_loss

    def check(self) -> None:
        """Raise a :class:`DivergenceError` if the weights are not finite, or the last loss is out of all bounds."""
        if not all_finite(self._module.parameters()):
            raise DivergenceError(f"Weights of the network are NaN or infinite after {self._epoch}. {self._advice}")
        if self._first_loss is None or self._last_loss is None or not self._is_alone:
            return
        first, last = float(self._first_loss), float(self._last_loss)
        # a first loss may be tiny by chance: where data are near zero, or where the network knows the first batch
        if last > _LARGEST_GROWTH * max(first, 1.0) and last > _LARGEST_GROWTH * self._loss_of_the_largest_error():
            raise DivergenceError(
                f"The loss has grown from {first:.3g} to {last:.3g} after {self._epoch}, which is worse "
                f"than predicting zero. {_advice_on_precision(self._trainer) or _REMEDIES}"
            )

    @property
    def _advice(self) -> str:
        return _advice(self._module, self._trainer)

    @property
    def _epoch(self) -> str:
        return f"epoch {self._trainer.current_epoch} (the first is 0)"

    def _loss_of_the_largest_error(self) -> float:
        """Return the loss of errors as large as the largest target; infinity where a loss does not say how large."""
        criterion, data_set = self._module.train_criterion, self._trainer.datamodule.train_dataset
        series, weights = getattr(data_set, "series", None), getattr(data_set, "sample_weight", None)
        comparable = self._module.likelihood is None and type(criterion) in _LOSSES_OF_ERRORS
        if not comparable or series is None or criterion.reduction != ("mean" if weights is None else "none"):
            return math.inf
        mean = copy.copy(criterion)
        mean.reduction = "mean"  # of weighted errors, Darts takes it after they are weighted
        largest_weight = 1.0 if weights is None else _largest(weights)
        return largest_weight * float(mean(torch.zeros(1), torch.full((1,), _largest(series))))


def raise_if_diverged(module: Any, forecasts: torch.Tensor, error: ValueError) -> None:
    """Raise a :class:`DivergenceError` in place of a likelihood's error, if what it refuses came from divergence.

    A distribution refuses parameters that are NaN, but also finite ones: a scale, say, that has become zero. As long as
    no weight has been updated, the latter are the likelihood's own affair.

    Parameters
    ----------
    module
        Network that is trained.
    forecasts
        What it gave, before the likelihood makes its parameters of it.
    error
        The likelihood's error.
    """
    has_no_parameters = module.global_step > 0 and str(error).startswith("Expected parameter")
    if has_no_parameters or not bool(torch.isfinite(forecasts).all()):
        raise DivergenceError(
            f"The network gives no valid parameters of its likelihood at step {module.global_step}, in epoch "
            f"{module.current_epoch} (the first is 0). {_advice(module, module.trainer)}"
        ) from error


def _advice(module: Any, trainer: Any) -> str:
    """Return what helps where losses or weights are not finite: it depends on what made them so."""
    advice = _advice_on_precision(trainer) or _advice_on_targets(module, trainer)
    if advice is None and trainer.global_step == 0:
        advice = (
            "No weight has been updated yet, so it is not the learning rate: targets or covariates are too large. "
            "Scale them, for example with `darts.dataprocessing.transformers.Scaler`."
        )
    return advice or _REMEDIES


def _advice_on_precision(trainer: Any) -> str | None:
    if trainer.precision not in _COARSE_PRECISIONS:
        return None
    return (
        f'The precision is "{trainer.precision}", often too coarse for training. Make the model with '
        '`pl_trainer_kwargs={"precision": "bf16-mixed"}` or `"32-true"`. If that diverges, too, lower the learning '
        "rate."
    )


def _advice_on_targets(module: Any, trainer: Any) -> str | None:
    """Return what helps if the loss of some target is not finite, or its gradient, whatever the network does."""
    series = getattr(trainer.datamodule.train_dataset, "series", None)
    targets = None if series is None else _extremes(series)
    criterion = module.train_criterion if module.likelihood is None else module.likelihood.compute_loss
    if targets is None or not _fails(module, targets):
        return None
    lowest, nearest_to_zero, highest = targets
    name = type(module.likelihood or criterion).__name__
    if name == "function":
        name = criterion.__name__
    found = (
        f"{name} or its gradient is not finite for the targets, which reach from {lowest:.3g} to {highest:.3g}, "
        f"{nearest_to_zero:.3g} being the nearest to zero."
    )
    if module.likelihood is not None:
        return f"{found} Give the model a `likelihood` under which they are possible, or scale the series accordingly."
    if max(-lowest, highest) > 1e18:
        return f"{found} Scale the series, for example with `darts.dataprocessing.transformers.Scaler`."
    return (
        f"{found} Make the model with an error loss, such as `loss_fn=torch.nn.L1Loss()`, or keep the series away "
        "from zero, for example with `Scaler(MinMaxScaler((1, 2)))`."
    )


def _fails(module: Any, targets: tuple[float, ...]) -> bool:
    """Return whether the loss of a target, or its gradient, is not finite for forecasts as at the start of training."""
    target = torch.tensor(targets, dtype=torch.float32).reshape(-1, 1, 1)
    n_parameters = 1 if module.likelihood is None else module.likelihood.num_parameters
    for value in _FORECASTS_TRIED:
        forecast = torch.full((*target.shape, n_parameters), value, requires_grad=True)
        try:
            with torch.enable_grad():
                if module.likelihood is None:
                    loss = copy.deepcopy(module.train_criterion)(forecast.squeeze(-1), target).mean()
                else:
                    loss = copy.deepcopy(module.likelihood).compute_loss(forecast, target, None)
                loss.backward()
        except Exception:  # of a loss that must have other shapes, or for which the targets are none
            return False
        if not math.isfinite(loss.detach()) or not bool(torch.as_tensor(forecast.grad).isfinite().all()):
            return True
    return False


def _extremes(series: Sequence[TimeSeries]) -> tuple[float, float, float] | None:
    """Return the lowest target, the one nearest to zero, and the highest; those not finite are passed over."""
    values = (series[index].all_values(copy=False) for index in range(len(series)))
    finite = (each[np.isfinite(each)] for each in values)
    found = [(each.min(), each[np.abs(each).argmin()], each.max()) for each in finite if each.size]
    if not found:
        return None
    lowest, nearest, highest = zip(*found, strict=True)
    return float(min(lowest)), float(min(nearest, key=abs)), float(max(highest))


def _largest(series: Sequence[TimeSeries]) -> float:
    """Return the largest absolute value; those that are missing, or that no window holds, may be NaN or infinite."""
    return max(
        float(np.max(np.abs(values), initial=0, where=np.isfinite(values)))
        for values in (series[index].all_values(copy=False) for index in range(len(series)))
    )


def should_watch(trainer: Any) -> bool:
    """Return whether training is meant to succeed: a search for the learning rate goes on until it diverges."""
    return not any(isinstance(callback, LearningRateSearch) for callback in trainer.callbacks)


def all_finite(weights: Iterable[torch.Tensor]) -> bool:
    """Return whether no weight is NaN or infinite; on a GPU it waits for the answer once."""
    sums = [weight.detach().sum(dtype=torch.promote_types(weight.dtype, torch.float32)) for weight in weights]
    return not sums or bool(torch.isfinite(torch.stack(sums)).all())
