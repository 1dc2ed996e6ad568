"""Seeds of methods that draw at random, as Darts sets them, without those of devices that are not there."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import torch
from darts.utils.utils import MAX_TORCH_SEED_VALUE


def seeded(method: Callable[..., Any]) -> Callable[..., Any]:
    """Let a method that Darts seeds be seeded as fast as the devices of the machine allow.

    Darts' decorator ``random_method`` seeds all kinds of devices there are. PyTorch notes the seed of each that has not
    been used yet, with a stack trace, for when it will be: that takes longer than the forecast of a small network, and
    the notes are never thrown away. Without such a device, what is drawn is the same with the CPU's seed alone.

    Parameters
    ----------
    method
        A method that Darts has decorated.
    """
    undecorated = inspect.unwrap(method)

    @functools.wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        has_own_seed = kwargs.get("random_state") is not None or "_random_instance" not in vars(self)
        if has_own_seed or torch.accelerator.is_available():
            return method(self, *args, **kwargs)
        seed, state = self._random_instance.randint(0, high=MAX_TORCH_SEED_VALUE), torch.get_rng_state()
        try:
            torch.default_generator.manual_seed(seed)
            return undecorated(self, *args, **kwargs)
        finally:
            torch.set_rng_state(state)

    return call
