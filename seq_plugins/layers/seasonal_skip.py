"""The skip connection from the last season of the target to the forecast."""

from collections.abc import Sequence
from typing import Any

import torch
from darts.utils.likelihood_models.torch import (
    CauchyLikelihood,
    GaussianLikelihood,
    GumbelLikelihood,
    LaplaceLikelihood,
    QuantileRegression,
    TorchLikelihood,
)
from torch import nn

# B: batch, L: input chunk length, T: states, H: output chunk length, C: target components, N: likelihood parameters

WITH_A_LOCATION = (GaussianLikelihood, LaplaceLikelihood, CauchyLikelihood, GumbelLikelihood)  # their first parameter


class SeasonalSkip(nn.Module):
    """The value of each step forecast in the last whole season that a state has seen: a seasonal naive forecast.

    Parameters
    ----------
    season_length
        Time steps of a season.
    step_ends
        Position in the window of the newest input of each of the `T` states.
    output_chunk_shift
        Number of time steps between a state's newest input and the first step that it forecasts.
    output_chunk_length
        Number of time steps forecast, `H`.
    likelihood
        Likelihood of the forecast: it says which of its parameters a value of the target can be added to.
    """

    positions: torch.Tensor
    share: torch.Tensor

    def __init__(
        self,
        season_length: int,
        step_ends: Sequence[int],
        output_chunk_shift: int,
        output_chunk_length: int,
        likelihood: TorchLikelihood | None,
    ) -> None:
        super().__init__()
        ahead = torch.arange(output_chunk_shift, output_chunk_shift + output_chunk_length) % season_length
        newest = torch.tensor(step_ends).unsqueeze(-1)  # -> (T, 1)
        self.register_buffer("positions", newest + 1 - season_length + ahead, persistent=False)  # (T, H)
        self.register_buffer("share", torch.tensor(_shares(likelihood)), persistent=False)  # (N,)

    def forward(self, past_target: torch.Tensor) -> torch.Tensor:
        """Return what is added to the forecasts, `(B, T, H, C, N)`, from `past_target` `(B, L, C)`."""
        return past_target[:, self.positions].unsqueeze(-1) * self.share.to(past_target)  # -> (B, T, H, C, N)


def _shares(likelihood: TorchLikelihood | None) -> list[float]:
    """Return 1 for each parameter that is a value of the target, such as a quantile, and 0 for the others."""
    if likelihood is None:
        return [1.0]
    if isinstance(likelihood, QuantileRegression):
        return [1.0] * likelihood.num_parameters
    return [1.0] + [0.0] * (likelihood.num_parameters - 1)


def check_season_length(season_length: int | None, input_chunk_length: int, likelihood: Any) -> None:
    """Check that a window holds a season, and that a season's values can be added to the forecast.

    Parameters
    ----------
    season_length
        Time steps of a season, or ``None``.
    input_chunk_length
        Time steps of the window.
    likelihood
        Likelihood of the forecast, or ``None``.

    Raises
    ------
    ValueError
        If the window is shorter, or the likelihood has no parameter in the target's unit.
    """
    if season_length is None:
        return
    if season_length > input_chunk_length:
        raise ValueError(
            f"Expected `season_length` to be at most input_chunk_length={input_chunk_length}, so that a window holds a "
            f"season, got {season_length}. Make the input chunk longer, or leave `season_length` out."
        )
    if likelihood is not None and not isinstance(likelihood, (*WITH_A_LOCATION, QuantileRegression)):
        raise ValueError(
            f"Expected `likelihood` to be None, {', '.join(found.__name__ for found in WITH_A_LOCATION)} or "
            f"QuantileRegression with season_length={season_length}, got {type(likelihood).__name__}, none of whose "
            "parameters is a value of the target. Leave `season_length` out."
        )
