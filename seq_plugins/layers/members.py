"""Networks that are computed as one: the weights of all members in one tensor, their samples one after another.

A network with `K` members is the network of one whose weights have a leading dimension, `(K, ...)`, and whose batch
holds an equal number of samples for each member, `(K * B, ...)`. What has no weights need not know of members. Layers
with weights say that they do with an attribute ``takes_members``; of any other, each member is computed by itself.
"""

import threading
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

# K: members, B: samples of a member, I: features given, O: features returned

_swapping_weights = threading.RLock()


def linear(inputs: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """Return ``inputs @ weight.T + bias``, `(K * B, ..., O)`, each member's samples with its own weights.

    Parameters
    ----------
    inputs
        Features `(K * B, ..., I)`.
    weight
        Weights `(K, O, I)`, or `(O, I)` of a network without members.
    bias
        Biases `(K, O)` or `(O,)`, or ``None``.
    """
    if weight.ndim == 2:
        return F.linear(inputs, weight, bias)
    rows = inputs.reshape(len(weight), -1, inputs.shape[-1])
    columns = weight.transpose(1, 2)
    outputs = torch.bmm(rows, columns) if bias is None else torch.baddbmm(bias.unsqueeze(1), rows, columns)
    return outputs.reshape(*inputs.shape[:-1], outputs.shape[-1])


def for_each_sample(weight: torch.Tensor, n_samples: int) -> torch.Tensor:
    """Return the weights `(K, ...)` of the member that each of `n_samples` belongs to, `(n_samples, ...)`."""
    n_members = len(weight)
    each = weight.unsqueeze(1).expand(-1, n_samples // n_members, *weight.shape[1:])
    return each.reshape(n_samples, *weight.shape[1:])


def by_member(values: torch.Tensor, n_members: int) -> torch.Tensor:
    """Return samples `(K * B, ...)` as `(K, B, ...)`."""
    return values.reshape(n_members, -1, *values.shape[1:])


class SeparateMembers(nn.Module):
    """A module that does not know members: each is computed by itself, with its share of the samples.

    Parameters
    ----------
    network
        The module. What it is given as tensors, and what it returns, has samples as first dimension.
    n_members
        Number of members.
    """

    takes_members = True

    attribute = "network"
    """Name under which it has the module."""

    def __init__(self, network: nn.Module, n_members: int) -> None:
        super().__init__()
        self.network = network
        self.n_members = n_members
        for module in network.modules():
            for name, tensor in _own_tensors(module):
                setattr(module, name, _repeated(tensor, n_members))

    def forward(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Return the outputs of all members, one after another."""
        state = dict(self.network.named_parameters()) | dict(self.network.named_buffers())
        outputs = []
        for member in range(self.n_members):
            own_args = [self._share(value, member) for value in args]
            own_kwargs = {name: self._share(value, member) for name, value in kwargs.items()}
            weights = {name: tensor[member] for name, tensor in state.items()}
            with _swapping_weights:  # a network is used by several threads at once
                outputs.append(torch.func.functional_call(self.network, weights, tuple(own_args), own_kwargs))
        return torch.cat(outputs)

    def _share(self, value: Any, member: int) -> Any:
        return by_member(value, self.n_members)[member] if isinstance(value, torch.Tensor) else value


def stack_members(child: nn.Module, n_members: int) -> nn.Module:
    """Return what computes `n_members` of a network's child, all with its weights to begin with.

    Parameters
    ----------
    child
        The child; its weights are replaced.
    n_members
        Number of members.
    """
    if not all(_takes_members(module) for module in child.modules()):
        return SeparateMembers(child, n_members)
    for module in child.modules():
        for name, tensor in _own_tensors(module):
            if isinstance(tensor, nn.Parameter):  # a layer that knows members shares its buffers among them
                setattr(module, name, _repeated(tensor, n_members))
    return child


def _takes_members(module: nn.Module) -> bool:
    return not _own_tensors(module) or getattr(type(module), "takes_members", False)


def _own_tensors(module: nn.Module) -> list[tuple[str, torch.Tensor]]:
    """Return the weights and buffers that a module itself has, by name."""
    return [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]


def _repeated(tensor: torch.Tensor, n_members: int) -> torch.Tensor:
    repeated = tensor.detach().unsqueeze(0).repeat(n_members, *[1] * tensor.ndim)
    return nn.Parameter(repeated, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else repeated
