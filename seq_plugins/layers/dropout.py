"""What is drawn at random in training: variational dropout, with one mask for all time steps of a sequence."""

from collections.abc import Iterable, Sequence

import torch
from darts.utils.torch import MonteCarloDropout


class DrawsByMember:
    """A layer that draws random numbers, for each member of an ensemble from its own generator."""

    training: bool

    generators: Sequence[torch.Generator] | None = None
    """In training, what each member of an ensemble draws from, on its device; by default PyTorch's generator."""

    def draw_uniform(self, like: torch.Tensor) -> torch.Tensor:
        """Draw numbers from 0 up to 1, of the shape, type and device of `like`, `(B, ...)`."""
        drawn = torch.empty_like(like)
        for part, generator in self._parts(drawn):
            part.uniform_(generator=generator)
        return drawn

    def draw_kept(self, like: torch.Tensor, p: float) -> torch.Tensor:
        """Draw ones, and zeros with probability `p`, of the shape, type and device of `like`, `(B, ...)`."""
        drawn = torch.empty_like(like)
        for part, generator in self._parts(drawn):
            part.bernoulli_(1 - p, generator=generator)
        return drawn

    def _parts(self, drawn: torch.Tensor) -> Iterable[tuple[torch.Tensor, torch.Generator | None]]:
        """Return the samples of each member, and what they are drawn from."""
        if not self.training or self.generators is None:
            return [(drawn, None)]
        return zip(drawn.chunk(len(self.generators)), self.generators, strict=True)


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
        return self.draw_kept(features, self.p).div_(1 - self.p)
