"""Quantiles of a mixture of forecasts, each of which is given by its quantiles."""

from collections.abc import Sequence

import torch

# K: forecasts that are mixed, N: quantiles, J = K * N


def quantiles_of_mixture(quantiles: torch.Tensor, levels: Sequence[float]) -> torch.Tensor:
    """Return the quantiles, `(..., N)`, of the mixture in equal parts of forecasts `(K, ..., N)`.

    Each forecast has a distribution function that is linear between its quantiles, and no values beyond the outermost:
    that is what Darts draws samples of ``QuantileRegression`` from. The function of the mixture is the mean of theirs.

    Parameters
    ----------
    quantiles
        Quantiles of each forecast; they are put in order.
    levels
        Levels of the quantiles, in ascending order.
    """
    quantiles = quantiles.sort(dim=-1).values
    values = quantiles.movedim(0, -1).flatten(start_dim=-2).sort(dim=-1).values  # -> (..., J)
    parts = [_shares(each, values.unsqueeze(-1), levels) for each in quantiles]
    below, reached = (torch.stack(each).mean(dim=0) for each in zip(*parts, strict=True))
    tolerance, last = 8 * torch.finfo(values.dtype).eps, values.shape[-1] - 1
    mixed = []
    for level in levels:
        after = (reached < level - tolerance).sum(dim=-1, keepdim=True).clamp(max=last)
        before = (after - 1).clamp(min=0)
        rise = below.gather(-1, after) - reached.gather(-1, before)
        share = (level - reached.gather(-1, before)) / rise.masked_fill(rise <= 0, 1.0)
        share = share.clamp(0.0, 1.0).masked_fill(rise <= 0, 1.0)
        lower = values.gather(-1, before)
        mixed.append(lower + share * (values.gather(-1, after) - lower))
    return torch.cat(mixed, dim=-1)


def _shares(
    quantiles: torch.Tensor, values: torch.Tensor, levels: Sequence[float]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what share of a forecast is below each of `values` `(..., J, 1)`, and what share is not above it."""
    edges = quantiles.unsqueeze(-2)  # -> (..., 1, N)
    lower, upper = edges[..., :-1], edges[..., 1:]
    width = upper - lower
    slope = ((values - lower) / width.masked_fill(width <= 0, 1.0)).clamp(0.0, 1.0)
    steps = torch.tensor(levels, dtype=values.dtype, device=values.device).diff()
    ends = (levels[0], edges[..., 0]), (1 - levels[-1], edges[..., -1])
    shares = []
    for is_past in (torch.gt, torch.ge):  # all at once where two quantiles are equal, and at the outermost
        passed = torch.where(width > 0, slope, is_past(values, upper).to(values))
        jumps = sum(share * is_past(values[..., 0], edge) for share, edge in ends)
        shares.append((passed * steps).sum(dim=-1) + jumps)
    return shares[0], shares[1]
