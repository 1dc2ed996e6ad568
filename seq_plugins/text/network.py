"""The network of the sentiment classifier: convolutions over words, their largest values, two dense layers."""

from collections.abc import Sequence
from math import sqrt

import torch
import torch.nn.functional as F
from torch import nn

from seq_plugins.text.pooled_convolution import Batch, convolve_and_pool

# N: documents, W: distinct words, D: dimensions of a word, K: kernel size, F: filters of all kernel sizes, H: hidden
# units, O: outputs


class SentimentNetwork(nn.Module):
    """Convolutional network for texts (Kim 2014 [1]_), from word vectors to logits.

    For each kernel size a convolution with valid padding, ReLU and global max pooling; then a dense layer, dropout,
    ReLU, and a dense output. Kernels start Glorot uniform and biases at zero, as in Keras.

    Parameters
    ----------
    n_dimensions
        Number of dimensions of a word, `D`.
    num_filters
        Number of filters of each kernel size.
    kernel_sizes
        Numbers of words that a filter sees at once.
    hidden_dim
        Number of units of the hidden layer, `H`.
    n_outputs
        Number of logits, `O`.

    References
    ----------
    .. [1] Y. Kim, "Convolutional Neural Networks for Sentence Classification", 2014, https://arxiv.org/abs/1408.5882
    """

    def __init__(
        self, n_dimensions: int, num_filters: int, kernel_sizes: Sequence[int], hidden_dim: int, n_outputs: int
    ) -> None:
        super().__init__()
        self.kernels = nn.ParameterList(_parameter(size, num_filters, n_dimensions) for size in kernel_sizes)
        self.kernel_biases = nn.ParameterList(_parameter(num_filters) for _ in kernel_sizes)
        self.hidden = _parameter(hidden_dim, num_filters * len(kernel_sizes))
        self.hidden_bias = _parameter(hidden_dim)
        self.output = _parameter(n_outputs, hidden_dim)
        self.output_bias = _parameter(n_outputs)

    @torch.no_grad()
    def draw_weights(self, generator: torch.Generator) -> None:
        """Draw the initial weights."""
        for kernel in self.kernels:
            size, n_filters, n_dimensions = kernel.shape
            _fill_glorot(kernel, size * n_dimensions, size * n_filters, generator)
        for matrix in (self.hidden, self.output):
            _fill_glorot(matrix, matrix.shape[1], matrix.shape[0], generator)
        for bias in (*self.kernel_biases, self.hidden_bias, self.output_bias):
            bias.zero_()

    def forward(self, words: torch.Tensor, batch: Batch, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Return the logits `(N, O)` of documents, `words` and `batch`, as :func:`convolve_and_pool` takes them.

        The hidden layer's sums are multiplied with `mask`, `(N, H)`, for dropout.
        """
        return self.classify([convolve_and_pool(words, batch, kernel)[0] for kernel in self.kernels], mask)

    def classify(self, pooled: Sequence[torch.Tensor], mask: torch.Tensor | None = None) -> torch.Tensor:
        """Return the logits `(N, O)`.

        Parameters
        ----------
        pooled
            For each kernel size the largest sums of the filters, without bias, `(N, filters)`.
        mask
            As in :meth:`forward`.
        """
        # ReLU is monotonic and the bias is the same everywhere, so that both may follow the pooling
        features = (torch.cat(list(pooled), dim=1) + torch.cat(list(self.kernel_biases))).relu()  # -> (N, F)
        hidden = F.linear(features, self.hidden, self.hidden_bias)  # -> (N, H)
        if mask is not None:
            hidden = hidden * mask
        return F.linear(hidden.relu(), self.output, self.output_bias)  # -> (N, O)


def _parameter(*shape: int) -> nn.Parameter:
    """Return a parameter that nothing has been drawn for: PyTorch's layers would disturb its global generator."""
    return nn.Parameter(torch.zeros(shape))


def _fill_glorot(weight: torch.Tensor, fan_in: int, fan_out: int, generator: torch.Generator) -> None:
    limit = sqrt(6 / (fan_in + fan_out))
    weight.copy_(torch.empty(weight.shape, dtype=weight.dtype).uniform_(-limit, limit, generator=generator))
