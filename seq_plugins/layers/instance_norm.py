"""Darts' reversible instance normalisation, for members and for windows with missing values."""

import torch
from darts.models.components.layer_norm_variants import RINorm

from seq_plugins.layers.members import for_each_sample

# B: batch, L: input chunk length, H: output chunk length, C: target components, N: likelihood parameters


class InstanceNorm(RINorm):
    """Darts' layer, which members can share."""

    takes_members = True

    def transform(self, x: torch.Tensor) -> torch.Tensor:  # (B, L, C)
        if not self._has_members:
            return super().transform(x)
        weight, bias = self._affine_of(x)
        return (x - self.mean) / self.stdev * weight + bias

    def inverse(self, x: torch.Tensor) -> torch.Tensor:  # (B, H, C, N)
        if not self._has_members:
            return super().inverse(x)
        weight, bias = (each.unsqueeze(-1) for each in self._affine_of(x))
        return (x - bias) / (weight + self.eps * self.eps) * self.stdev.unsqueeze(-1) + self.mean.unsqueeze(-1)

    @property
    def _has_members(self) -> bool:
        return self.affine and self.affine_weight.ndim == 2

    def _affine_of(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return weight and bias of each sample, `(B, 1, C)`."""
        return [for_each_sample(each, x.shape[0]).unsqueeze(1) for each in (self.affine_weight, self.affine_bias)]


class InstanceNormOfKnownValues(InstanceNorm):
    """The same with the statistics of the values that are there.

    Missing values stay missing. A window without any value has mean 0 and standard deviation 1, so that the network's
    forecast of it is on the scale of the series.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # (B, L, C)
        missing = x.isnan()
        n_known = (~missing).sum(dim=1, keepdim=True).to(x.dtype)  # -> (B, 1, C)
        at_least_one = n_known.clamp(min=1.0)
        values = x.masked_fill(missing, 0.0)
        mean = values.sum(dim=1, keepdim=True) / at_least_one
        variance = (values - mean).masked_fill(missing, 0.0).square().sum(dim=1, keepdim=True) / at_least_one
        self.mean = mean.detach()
        self.stdev = (variance + self.eps).sqrt().masked_fill(n_known == 0, 1.0).detach()
        # values, not `x`: the gradient of a weight that multiplies NaN is NaN, whatever is done to the product
        normalised: torch.Tensor = self.transform(values)
        return normalised.masked_fill(missing, torch.nan)
