"""Local normalisation: at each time step, values relative to the level and scale of the series up to then."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import torch
from darts.utils.likelihood_models.torch import QuantileRegression, TorchLikelihood
from torch import nn
from torch.nn import functional

from seq_plugins.layers.seasonal_skip import (
    ON_THE_SCALE_OF_THE_TARGET,
    is_on_the_scale_of_the_target,
    trailing_mean,
)

# B: batch, L: input chunk length, T: states, H: output chunk length, C: target components, N: likelihood parameters

LocalNormalizationName: TypeAlias = Literal["level", "level_scale"]


class LocalScale(NamedTuple):
    """Level and scale of the target at time steps, `(B, T, C)`."""

    level: torch.Tensor
    scale: torch.Tensor

    def at(self, steps: torch.Tensor | slice) -> "LocalScale":
        """Return those of `steps`, positions in the window."""
        return LocalScale(self.level[:, steps], self.scale[:, steps])

    def normalise(self, values: torch.Tensor) -> torch.Tensor:
        """Return values `(B, T, H, C)`, or `(B, T, H, C, J)`, relative to each step's level and scale."""
        level, scale = self.level.unsqueeze(2), self.scale.unsqueeze(2)
        if values.ndim > level.ndim:
            level, scale = level.unsqueeze(-1), scale.unsqueeze(-1)
        return (values - level) / scale


class LocalNormalization(nn.Module):
    """Level and scale of the target at each time step, of values up to that step; nothing is learned.

    The level is the mean of the last season or, without a season, the last value. The scale is the mean absolute
    difference, over the window so far, of each value to the level just before it: how wrong the level is as a forecast
    of the next step. Where a window has not changed at all, the scale is the size of its level or, at zero, 1.

    Parameters
    ----------
    kind
        ``"level"``, with a scale of 1, or ``"level_scale"``.
    season_lengths
        Time steps of each season, the shortest first; none for a series without.
    likelihood
        Likelihood of the forecast: it says which of its parameters is a value of the target.
    """

    def __init__(
        self, kind: LocalNormalizationName, season_lengths: Sequence[int], likelihood: TorchLikelihood | None
    ) -> None:
        super().__init__()
        self.has_scale = kind == "level_scale"
        self._seasons = list(season_lengths) or [1]
        self.season_length = self._seasons[0]
        self.n_steps_needed = self.season_length + 1
        """Number of time steps that a state is to have seen before it has a loss."""
        self.has_width = likelihood is not None and not isinstance(likelihood, QuantileRegression)

    def forward(self, past_target: torch.Tensor, is_known: torch.Tensor | None = None) -> LocalScale:
        """Return level and scale of every step, `(B, L, C)`.

        Parameters
        ----------
        past_target
            Target `(B, L, C)`, missing values filled.
        is_known
            Whether there has been a value up to each step, `(B, L, C)`; ``None`` if there has at every one. Before,
            the level is 0 and the scale 1.
        """
        dtype = past_target.dtype
        if dtype.itemsize < 4:  # with so few digits, means of what hardly changes would not differ
            local = self(past_target.float(), is_known)
            return LocalScale(local.level.to(dtype), local.scale.to(dtype))
        level = trailing_mean(past_target, self.season_length, is_known)
        if not self.has_scale:
            return LocalScale(level, torch.ones_like(level))
        differences = (past_target[:, 1:] - level[:, :-1]).abs()  # -> (B, L - 1, C)
        if is_known is None:
            n_differences = torch.arange(1, past_target.shape[1], device=level.device).to(level).unsqueeze(-1)
        else:
            differences = differences * is_known[:, :-1]
            n_differences = is_known[:, :-1].to(level).cumsum(dim=1).clamp(min=1.0)
        scale = functional.pad(differences.cumsum(dim=1) / n_differences, (0, 0, 1, 0))  # -> (B, L, C)
        size = level.abs()
        unchanged = scale <= 8 * torch.finfo(scale.dtype).eps * size  # rounding makes means of equal values differ
        return LocalScale(level, torch.where(unchanged, size.masked_fill(size == 0, 1.0), scale))

    @property
    def n_features(self) -> int:
        """Number of features of each target component."""
        return len(self._seasons) + (self.season_length > 1)

    def features(self, past_target: torch.Tensor, local: LocalScale) -> torch.Tensor:
        """Return what the network is given of the target at each step, `(B, L, n_features * C)`.

        It is the change since each season, for a longer one beyond the change of the level and, if a season is longer
        than a step, the value relative to the level; all in units of the scale.
        """
        relative = past_target - local.level
        features = [_change(past_target, self.season_length)]
        features += [_change(relative, season) for season in self._seasons[1:]]
        if self.season_length > 1:
            features.append(relative)
        return torch.cat([feature / local.scale for feature in features], dim=-1)

    def restore(self, forecasts: torch.Tensor, local: LocalScale) -> torch.Tensor:
        """Return forecasts `(B, T, H, C, N)` on the scale of the series."""
        level, scale = local.level[:, :, None, :, None], local.scale[:, :, None, :, None]
        if not self.has_width:
            return level + scale * forecasts
        location, width = forecasts[..., :1], forecasts[..., 1:]
        if self.has_scale:  # likelihoods take the softplus of it
            smallest = torch.finfo(width.dtype).tiny
            wide = (functional.softplus(width) * scale).clamp(min=smallest)
            width = wide + torch.log(-torch.expm1(-wide))
        return torch.cat([level + scale * location, width], dim=-1)


def _change(values: torch.Tensor, season_length: int) -> torch.Tensor:
    """Return the change of values `(B, L, C)` since a season before, zero in the first season."""
    return functional.pad(values[:, season_length:] - values[:, :-season_length], (0, 0, season_length, 0))


def check_local_normalization(kind: str | None, use_reversible_instance_norm: Any, likelihood: Any) -> None:
    """Check that a forecast can be brought back to the scale of its series.

    Parameters
    ----------
    kind
        Kind of local normalisation, or ``None``.
    use_reversible_instance_norm
        Argument of Darts' other normalisation.
    likelihood
        Likelihood of the forecast, or ``None``.

    Raises
    ------
    ValueError
        If both normalisations are asked for, or the likelihood has no parameter in the target's unit, or a prior.
    """
    if kind is None:
        return
    if use_reversible_instance_norm:
        raise ValueError(
            f"Expected `use_reversible_instance_norm` to be False with local_normalization={kind!r}, which normalises "
            f"the target already, got {use_reversible_instance_norm!r}. Leave one of the two out."
        )
    if not is_on_the_scale_of_the_target(likelihood):
        raise ValueError(
            f"Expected `likelihood` to be {ON_THE_SCALE_OF_THE_TARGET} with local_normalization={kind!r}, got "
            f"{type(likelihood).__name__}, none of whose parameters is a value of the target. Leave "
            "`local_normalization` out."
        )
    settings = {} if likelihood is None else vars(likelihood)
    priors = {name for name in settings if name.startswith("prior_")} - {"prior_strength"}
    if any(settings[name] is not None for name in priors):
        raise ValueError(
            f"Expected `likelihood` to have no prior with local_normalization={kind!r}, since a prior is in the "
            f"series' unit and parameters are relative to a local level, got {likelihood}. Leave one of the two out."
        )
