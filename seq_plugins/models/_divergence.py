"""Training that has left the finite numbers, or any sensible size, ends with an error."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
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
    """Training has diverged: the loss or the weights are no longer finite, or the loss has grown out of all bounds."""


class LossWatch:
    """Looks at the losses of a training, of every batch where that costs nothing, and at the weights after an epoch.

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
        # a GPU would have to wait, and processes that train together must all stop or none
        self._looks_at_every_batch = trainer.strategy.root_device.type == "cpu" and trainer.world_size == 1
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
        if self._first_loss is None or self._last_loss is None:
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
        criterion = self._module.train_criterion
        series = getattr(self._trainer.datamodule.train_dataset, "series", None)
        comparable = self._module.likelihood is None and type(criterion) in _LOSSES_OF_ERRORS
        if not comparable or criterion.reduction != "mean" or series is None:
            return math.inf
        largest = max(float(np.abs(target.all_values(copy=False)).max()) for target in series)
        return float(criterion(torch.zeros(1), torch.full((1,), largest)))


def watches(trainer: Any) -> bool:
    """Return whether training is meant to succeed: a search for the learning rate goes on until it diverges."""
    return not any(isinstance(callback, _LRCallback) for callback in trainer.callbacks)


def all_finite(weights: Iterable[torch.Tensor]) -> bool:
    """Return whether no weight is NaN or infinite; on a GPU it waits for the answer once."""
    sums = [weight.detach().sum(dtype=torch.promote_types(weight.dtype, torch.float32)) for weight in weights]
    return not sums or bool(torch.isfinite(torch.stack(sums)).all())
