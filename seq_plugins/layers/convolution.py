"""Convolution and pooling over time, with Keras' equations, initial weights and channels last."""

from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import nn

from seq_plugins.layers.members import by_member

# B: batch, L: time steps, L': time steps after down-sampling, I: features of a step, K: members of an ensemble


class Conv1D(nn.Conv1d):
    """Keras' ``Conv1D`` with valid padding, from `(B, L, I)` to `(B, L', num_filters)`.

    Kernels start Glorot uniform and biases at zero.

    Parameters
    ----------
    input_dim
        Number of features of a time step, `I`.
    num_filters
        Number of filters.
    kernel_size
        Number of time steps that a filter sees at once.
    stride
        Number of time steps from one window to the next.
    """

    takes_members = True

    def __init__(self, input_dim: int, num_filters: int, kernel_size: int, stride: int = 1) -> None:
        super().__init__(input_dim, num_filters, kernel_size, stride=stride)

    def reset_parameters(self) -> None:
        """Draw new initial weights."""
        nn.init.xavier_uniform_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Return the filters' outputs `(B, L', num_filters)` for `input` `(B, L, I)`."""
        channels_first = input.transpose(1, 2)
        if self.weight.ndim == 3:
            return super().forward(channels_first).transpose(1, 2)
        n_members = len(self.weight)  # side by side, as groups of channels
        grouped = by_member(channels_first, n_members).transpose(0, 1).flatten(1, 2)  # -> (B, K * I, L)
        bias = None if self.bias is None else self.bias.flatten()
        filtered = F.conv1d(grouped, self.weight.flatten(0, 1), bias, self.stride, groups=n_members)
        return filtered.unflatten(1, (n_members, -1)).transpose(0, 1).flatten(0, 1).transpose(1, 2)


class MaxPooling1D(nn.MaxPool1d):
    """Keras' ``MaxPooling1D``, from `(B, L, I)` to `(B, L // pool_size, I)`: windows do not overlap."""

    def __init__(self, pool_size: int = 2) -> None:
        super().__init__(pool_size)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Return the largest value of each window."""
        return super().forward(input.transpose(1, 2)).transpose(1, 2)


class AveragePooling1D(nn.AvgPool1d):
    """Keras' ``AveragePooling1D``, from `(B, L, I)` to `(B, L // pool_size, I)`: windows do not overlap."""

    def __init__(self, pool_size: int = 2) -> None:
        super().__init__(pool_size)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Return the mean of each window."""
        return super().forward(input.transpose(1, 2)).transpose(1, 2)


class GlobalMaxPooling1D(nn.Module):
    """Keras' ``GlobalMaxPooling1D``, from `(B, L, I)` to `(B, I)`."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Return the largest value over time of each feature."""
        return input.amax(dim=1)


PoolingName: TypeAlias = Literal["max", "average"]

POOLING_LAYERS: dict[PoolingName, type[MaxPooling1D] | type[AveragePooling1D]] = {
    "max": MaxPooling1D,
    "average": AveragePooling1D,
}
"""The pooling layers by the name that the argument `pooling` gives them."""


def window_ends(length: int, window: int, stride: int) -> list[int]:
    """Return the position at which each window over `length` steps ends, counted so that the last one sees the newest.

    The oldest steps, which do not fill a window, belong to none: the first window starts at the first returned
    position minus ``window - 1``.
    """
    return list(range(length - 1, window - 2, -stride))[::-1]


def down_sampled_step_ends(
    length: int, kernel_size: int, stride: int, pooling: PoolingName | None = None, pool_size: int = 2
) -> list[int]:
    """Return the position in ``0..length - 1`` of the newest input that each step of :class:`DownSampling` has seen.

    The list is empty if the windows leave no step.
    """
    ends = window_ends(length, kernel_size, stride)
    if pooling is None:
        return ends
    return [ends[end] for end in window_ends(len(ends), pool_size, pool_size)]


class DownSampling(nn.Module):
    """Strided convolution and optional pooling from `(B, L, I)` to `(B, L', num_filters)`, counted from the end.

    :class:`~seq_plugins.Conv1DGRUModel` explains the arguments.
    """

    def __init__(
        self,
        length: int,
        input_dim: int,
        num_filters: int,
        kernel_size: int,
        stride: int,
        activation: str,
        pooling: PoolingName | None = None,
        pool_size: int = 2,
    ) -> None:
        super().__init__()
        self.convolution = Conv1D(input_dim, num_filters, kernel_size, stride)
        self.activation: nn.Module = getattr(nn, activation)()
        self.pooling = None if pooling is None else POOLING_LAYERS[pooling](pool_size)
        self.first_input = (length - kernel_size) % stride
        n_convolved = len(window_ends(length, kernel_size, stride))
        self.first_convolved = 0 if pooling is None else n_convolved % pool_size
        self.step_ends = down_sampled_step_ends(length, kernel_size, stride, pooling, pool_size)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the down-sampled steps `(B, L', num_filters)` of `inputs` `(B, L, I)`."""
        convolved: torch.Tensor = self.activation(self.convolution(inputs[:, self.first_input :]))
        if self.pooling is None:
            return convolved
        return self.pooling(convolved[:, self.first_convolved :])
