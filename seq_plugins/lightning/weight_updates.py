"""Updates of the weights without PyTorch's work around each.

PyTorch's optimizers look up all that they need for every update, and record it for a profiler. For a small network
that takes several times as long as the update itself.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch.optim import Adam, AdamW
from torch.optim.optimizer import Optimizer

from seq_plugins._private_names import global_hooks_after_updates, global_hooks_before_updates


def forget_gradients(optimizer: Any) -> None:
    """Set the gradients of all weights to none, as the optimizer does unless it has a way of its own.

    Parameters
    ----------
    optimizer
        The optimizer.
    """
    zero_grad = getattr(optimizer.zero_grad, "__func__", None)
    if zero_grad is not Optimizer.zero_grad:
        optimizer.zero_grad()
        return
    for group in optimizer.param_groups:
        for weight in group["params"]:
            weight.grad = None


class Updates:
    """Updates weights as their optimizer does, by its kernel alone where that is all that it would run.

    That is so for ``Adam`` and ``AdamW`` with ``fused=True`` on a CPU, from the second update on, unless somebody has
    hooks on them. Learning rates and other settings may change between updates, but not what the optimizer remembers.

    Parameters
    ----------
    optimizer
        The optimizer.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self._optimizer: Any = optimizer
        self._groups: list[_Group] | None = None

    def update(self, differentiate: Callable[[], torch.Tensor]) -> None:
        """Update the weights.

        Parameters
        ----------
        differentiate
            Gives the weights their gradients and returns the loss.
        """
        if self._groups is None or not _is_plain(self._optimizer):
            self._optimizer.step(differentiate)
            self._groups = _groups_of(self._optimizer)
            return
        differentiate()
        if all(group.has_the_same_weights for group in self._groups):
            with torch.no_grad():
                for group in self._groups:
                    group.update()
        else:
            self._optimizer.step()
            self._groups = _groups_of(self._optimizer)


class _Group(NamedTuple):
    """Weights that are updated together, and what is remembered of those that have gradients."""

    settings: dict[str, Any]
    have_gradients: list[bool]
    weights: list[torch.Tensor]
    remembered: tuple[list[torch.Tensor], ...]

    @property
    def has_the_same_weights(self) -> bool:
        """Whether those weights have gradients that had some at the update before."""
        return self.have_gradients == [weight.grad is not None for weight in self.settings["params"]]

    def update(self) -> None:
        """Update the weights once."""
        settings = self.settings
        if not self.weights:
            return
        kernel = torch._fused_adamw_ if settings["decoupled_weight_decay"] else torch._fused_adam_
        beta1, beta2 = settings["betas"]
        gradients: list[Any] = [weight.grad for weight in self.weights]
        torch._foreach_add_(self.remembered[-1], 1)
        kernel(
            self.weights,
            gradients,
            *self.remembered,
            amsgrad=settings["amsgrad"],
            lr=settings["lr"],
            beta1=beta1,
            beta2=beta2,
            weight_decay=settings["weight_decay"],
            eps=settings["eps"],
            maximize=settings["maximize"],
        )


def _is_plain(optimizer: Optimizer) -> bool:
    """Return whether nothing has been done to the optimizer's step but what a learning rate scheduler does to it."""
    step = vars(optimizer).get("step")
    return (
        type(optimizer) in (Adam, AdamW)
        and (step is None or (hasattr(step, "_wrapped_by_lr_sched") and step.__wrapped__ is type(optimizer).step))
        and not optimizer._optimizer_step_pre_hooks
        and not optimizer._optimizer_step_post_hooks
        and not global_hooks_before_updates
        and not global_hooks_after_updates
    )


def _groups_of(optimizer: Optimizer) -> list[_Group] | None:
    """Return the groups of weights after an update, or ``None`` if its kernel alone would not do for the next."""
    if not _is_plain(optimizer) or not all(map(_runs_kernel_alone, optimizer.param_groups)):
        return None
    groups = []
    for settings in optimizer.param_groups:
        have_gradients = [weight.grad is not None for weight in settings["params"]]
        weights = [weight for weight in settings["params"] if weight.grad is not None]
        states = [optimizer.state[weight] for weight in weights]
        names = ["exp_avg", "exp_avg_sq", "max_exp_avg_sq", "step"]
        remembered = tuple([state[name] for state in states if name in state] for name in names)
        groups.append(_Group(settings, have_gradients, weights, remembered))
    return groups


def _runs_kernel_alone(settings: dict[str, Any]) -> bool:
    """Return whether the kernel is all that the optimizer would run for a group of weights."""
    numbers = [settings["lr"], settings["weight_decay"], settings["eps"], *settings["betas"]]
    dtypes = {weight.dtype for weight in settings["params"]}
    return bool(
        settings["fused"]
        and not settings["differentiable"]
        and all(isinstance(number, float | int) for number in numbers)
        and all(weight.is_cpu for weight in settings["params"])
        and (dtypes == {torch.float32} or dtypes == {torch.float64})
    )
