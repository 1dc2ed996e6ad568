"""What is drawn at random in training: variational dropout, with one mask for all time steps of a sequence."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from darts.utils.torch import MonteCarloDropout


class DrawsByMember:
    """A layer that draws random numbers, for each member of an ensemble from its own generator."""

    training: bool

    generators: Sequence[torch.Generator] | None = None
    """In training, what each member of an ensemble draws from; by default all draw from PyTorch's generator."""

    def draw_uniform(self, like: torch.Tensor) -> torch.Tensor:
        """Draw numbers from 0 up to 1, of the shape, type and device of `like`, `(B, ...)`."""
        if not self.training or self.generators is None:
            return torch.rand_like(like)
        shape = len(like) // len(self.generators), *like.shape[1:]
        return torch.cat([torch.rand(shape, dtype=like.dtype, generator=each) for each in self.generators]).to(like)


class VariationalDropout(DrawsByMember, MonteCarloDropout):
    """Dropout with one mask per sequence, shared by all of its time steps [1]_.

    The layer is active in training, and in prediction when Darts switches it on (``predict(..., mc_dropout=True)``).

    Parameters
    ----------
    p
        Probability that a feature is zeroed. The others are divided by ``1 - p``.

    References
    ----------
    .. [1] Y. Gal and Z. Ghahramani, "A Theoretically Grounded Application of Dropout in Recurrent Neural Networks",
           2016, https://arxiv.org/abs/1512.05287
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Drop features of `input`, of shape `(B, L, I)`, the same ones at every step of a sequence."""
        mask = self.sample_mask(input[:, 0])
        return input if mask is None else input * mask.unsqueeze(1)

    def sample_mask(self, features: torch.Tensor) -> torch.Tensor | None:
        """Draw one mask of the shape, type and device of `features`, `(B, I)`; ``None`` where dropout is off."""
        if not self.mc_dropout_enabled or self.p == 0.0:
            return None
        if not self.training or self.generators is None:
            return F.dropout(torch.ones_like(features), self.p, training=True)
        shape = len(features) // len(self.generators), *features.shape[1:]
        masks = [
            torch.empty(shape, dtype=features.dtype).bernoulli_(1 - self.p, generator=generator)
            for generator in self.generators
        ]
        return torch.cat(masks).div_(1 - self.p).to(features.device)
