"""Updates by an optimizer's kernel alone are the optimizer's own, and leave it to it where somebody looks."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import ExponentialLR
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from seq_plugins.lightning.weight_updates import Updates

N_UPDATES = 6


def in_two_groups(weights: Sequence[Any]) -> list[dict[str, Any]]:
    return [{"params": list(weights[:1]), "lr": 0.3}, {"params": list(weights[1:])}]


OPTIMIZERS: dict[str, Callable[[Sequence[Any]], Optimizer]] = {
    "Adam": lambda weights: Adam(weights, lr=0.1, fused=True),
    "Adam, settings": lambda weights: Adam(
        weights, lr=0.1, betas=(0.5, 0.7), eps=1e-3, weight_decay=0.1, amsgrad=True, maximize=True, fused=True
    ),
    "AdamW": lambda weights: AdamW(weights, lr=0.1, weight_decay=0.1, fused=True),
    "Adam, two groups": lambda weights: Adam(in_two_groups(weights), fused=True),
    "Adam, not fused": lambda weights: Adam(weights, lr=0.1),
    "Adam, lr in a tensor": lambda weights: Adam(weights, lr=torch.tensor(0.1), fused=True),
    "SGD": lambda weights: SGD(weights, lr=0.1, momentum=0.5),
}


def make_weights() -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(shape, generator=generator, dtype=torch.float64)) for shape in ((3, 2), (4,), ())]


def gradients_of(weights: Sequence[nn.Parameter], number: int) -> None:
    """Give the weights gradients, but the last one none in some updates."""
    generator = torch.Generator().manual_seed(number)
    for weight in weights:
        weight.grad = torch.randn(weight.shape, generator=generator, dtype=weight.dtype)
    if number in (0, 3):
        weights[-1].grad = None


def make_closure(weights: Sequence[nn.Parameter], number: int) -> Any:
    def differentiate() -> torch.Tensor:
        gradients_of(weights, number)
        return torch.tensor(0.0)

    return differentiate


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_updates_are_those_of_the_optimizer_to_the_last_digit(name: str) -> None:
    found = []
    for is_plain in (True, False):
        weights = make_weights()
        optimizer = OPTIMIZERS[name](weights)
        updates = Updates(optimizer)
        for number in range(N_UPDATES):
            if number == 4:
                optimizer.param_groups[0]["lr"] *= 0.5
            differentiate = make_closure(weights, number)
            if is_plain:
                updates.update(differentiate)
            else:
                optimizer.step(differentiate)
        remembered = [value for weight in weights for value in optimizer.state[weight].values()]
        found.append([*weights, *remembered])

    for ours, theirs in zip(*found, strict=True):
        assert torch.equal(ours, theirs)


def test_only_the_first_update_is_made_by_the_step_of_a_fused_adam(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = []
    step: Any = Adam.step

    def counted(*args: Any) -> Any:
        steps.append(args)
        return step(*args)

    monkeypatch.setattr(Adam, "step", counted)
    weights = make_weights()[:2]
    updates = Updates(Adam(weights, fused=True))

    for number in range(N_UPDATES):
        updates.update(make_closure(weights, number + 10))

    assert len(steps) == 1


@pytest.mark.parametrize("kind", ["hook before", "hook after", "hook before all", "hook after all", "patched"])
def test_who_looks_at_updates_sees_all_of_them(kind: str) -> None:
    seen: list[int] = []
    weights = make_weights()
    optimizer = Adam(weights, fused=True)
    updates = Updates(optimizer)
    updates.update(make_closure(weights, 1))
    updates.update(make_closure(weights, 2))

    def look(*_: Any) -> None:
        seen.append(1)

    handle: Any = None
    if kind == "patched":
        step = optimizer.step
        optimizer.step = lambda *args: look() or step(*args)  # type: ignore[method-assign, func-returns-value]
    elif kind == "hook before all":
        handle = register_optimizer_step_pre_hook(look)
    elif kind == "hook after all":
        handle = register_optimizer_step_post_hook(look)
    elif kind == "hook before":
        optimizer.register_step_pre_hook(look)
    else:
        optimizer.register_step_post_hook(look)
    try:
        updates.update(make_closure(weights, 4))
        updates.update(make_closure(weights, 5))
    finally:
        if handle is not None:
            handle.remove()

    assert len(seen) == 2


def test_a_scheduler_hears_of_updates_and_its_rates_count() -> None:
    found = []
    for is_plain in (True, False):
        weights = make_weights()
        optimizer = Adam(weights, lr=0.1, fused=True)
        scheduler = ExponentialLR(optimizer, 0.5)
        updates = Updates(optimizer)
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # PyTorch warns if the optimizer has not been asked first
            for number in range(N_UPDATES):
                differentiate = make_closure(weights, number + 10)
                if is_plain:
                    updates.update(differentiate)
                else:
                    optimizer.step(differentiate)
                scheduler.step()
        found.append(weights)

    for ours, theirs in zip(*found, strict=True):
        assert torch.equal(ours, theirs)
