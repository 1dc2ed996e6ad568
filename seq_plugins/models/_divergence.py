"""Training that has left the finite numbers, or any sensible size, ends with an error."""

import copy
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from darts import TimeSeries
from pytorch_lightning.tuner.lr_finder import _LRCallback
from torch import nn

_LOSSES_OF_ERRORS = (nn.MSELoss, nn.L1Loss, nn.SmoothL1Loss, nn.HuberLoss)
_LARGEST_GROWTH = 1e4
_REMEDIES = (
    "Lower the learning rate (`optimizer_kwargs`), clip the gradients "
    '(`pl_trainer_kwargs={"gradient_clip_val": 1.0}`) or scale the series, for example with '
    "`darts.dataprocessing.transformers.Scaler`."
)


class DivergenceError(ValueError):
    """Training has diverged; the model is what it was before :meth:`fit`.

    The loss or the weights are no longer finite, the network gives no parameters of its `likelihood`, or a loss of
    errors (``MSELoss``, ``L1Loss``, ``SmoothL1Loss``, ``HuberLoss``) has grown out of all bounds. With a `likelihood`
    or another loss, and in processes that train together, growth does not count.
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
        self._first_loss: torch.Tensor | None = None
        self._last_loss: torch.Tensor | None = None

    def see(self, loss: torch.Tensor) -> None:
        """Take the loss of a batch, before the weights are updated with it."""
        if self._looks_at_every_batch and not math.isfinite(loss.item()):
            step = self._trainer.global_step
            raise DivergenceError(f"The loss is {loss.item()} at step {step}, in {self._epoch}. {_REMEDIES}")
        self._last_loss = loss.detach()
        if self._first_loss is None:
            self._first_loss = self._last_loss

    def check(self) -> None:
        """Raise a :class:`DivergenceError` if the weights are not finite, or the last loss is out of all bounds."""
        if not all_finite(self._module.parameters()):
            raise DivergenceError(f"Weights of the network are NaN or infinite after {self._epoch}. {_REMEDIES}")
        if self._first_loss is None or self._last_loss is None or not self._is_alone:
            return
        first, last = float(self._first_loss), float(self._last_loss)
        # a first loss may be tiny by chance: where data are near zero, or where the network knows the first batch
        if last > _LARGEST_GROWTH * max(first, 1.0) and last > _LARGEST_GROWTH * self._loss_of_the_largest_error():
            raise DivergenceError(
                f"The loss has grown from {first:.3g} to {last:.3g} after {self._epoch}; forecasts of zero would give "
                f"less. {_REMEDIES}"
            )

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
            f"The network gives no parameters of its likelihood at step {module.global_step}, in epoch "
            f"{module.current_epoch} (the first is 0). {_REMEDIES}"
        ) from error


def _largest(series: Sequence[TimeSeries]) -> float:
    """Return the largest absolute value; those that are missing, or that no window holds, may be NaN or infinite."""
    return max(
        float(np.max(np.abs(values), initial=0, where=np.isfinite(values)))
        for values in (series[index].all_values(copy=False) for index in range(len(series)))
    )


def watches(trainer: Any) -> bool:
    """Return whether training is meant to succeed: a search for the learning rate goes on until it diverges."""
    return not any(isinstance(callback, _LRCallback) for callback in trainer.callbacks)


def all_finite(weights: Iterable[torch.Tensor]) -> bool:
    """Return whether no weight is NaN or infinite; on a GPU it waits for the answer once."""
    sums = [weight.detach().sum(dtype=torch.promote_types(weight.dtype, torch.float32)) for weight in weights]
    return not sums or bool(torch.isfinite(torch.stack(sums)).all())
