"""The skip connection from the last seasons of the target to the forecast."""

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
from torch.nn import functional

from seq_plugins.layers.members import for_each_sample, linear

# B: batch, L: input chunk length, T: states, D: features of a state, H: output chunk length, C: target components,
# N: likelihood parameters, J: seasons

WITH_A_LOCATION = (GaussianLikelihood, LaplaceLikelihood, CauchyLikelihood, GumbelLikelihood)  # their first parameter


class SeasonalSkip(nn.Module):
    """The value of each step forecast in the last whole season that a state has seen: a seasonal naive forecast.

    With several seasons, it is a mean whose weights are computed from each state. The values of a longer season are
    adjusted by the change in level, the mean of the shortest season, since then.

    Parameters
    ----------
    season_lengths
        Time steps of each season, the shortest first.
    output_chunk_shift
        Number of time steps between a state's newest input and the first step that it forecasts.
    output_chunk_length
        Number of time steps forecast, `H`.
    state_dim
        Number of features of a state, `D`; 0 for weights that are the same for all states.
    likelihood
        Likelihood of the forecast: it says which of its parameters a value of the target can be added to.
    """

    takes_members = True

    ahead: torch.Tensor
    share: torch.Tensor
    weight: Any

    def __init__(
        self,
        season_lengths: Sequence[int],
        output_chunk_shift: int,
        output_chunk_length: int,
        state_dim: int,
        likelihood: TorchLikelihood | None,
    ) -> None:
        super().__init__()
        self.season_lengths = list(season_lengths)
        steps = torch.arange(output_chunk_shift, output_chunk_shift + output_chunk_length)
        ahead = torch.stack([1 - season + steps % season for season in self.season_lengths])
        self.register_buffer("ahead", ahead, persistent=False)  # (J, H)
        self.register_buffer("share", torch.tensor(_shares(likelihood)), persistent=False)  # (N,)
        if len(self.season_lengths) > 1:
            # zero: all seasons alike
            weight = torch.zeros(len(self.season_lengths), state_dim)
            self.register_parameter("weight", nn.Parameter(weight) if state_dim else None)
            self.bias = nn.Parameter(torch.zeros(len(self.season_lengths)))

    def forward(
        self, past_target: torch.Tensor, step_ends: torch.Tensor, has_begun: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return what each season forecasts, `(B, T, H, C, J)`.

        Parameters
        ----------
        past_target
            Target `(B, L, C)`, missing values filled.
        step_ends
            Position in the window of the newest input of each state, `(T,)`.
        has_begun
            Whether there has been a value up to each step, `(B, L, C)`; ``None`` if there has at every one. Seasons
            from before are at the level that a state knows.
        """
        positions = self.positions(step_ends)
        seasons = [past_target[:, found] for found in positions]  # -> (B, T, H, C) each
        if len(seasons) == 1 and has_begun is None:
            return seasons[0].unsqueeze(-1)
        level = trailing_mean(past_target, self.season_lengths[0], has_begun)
        at_ends = level[:, step_ends]  # -> (B, T, C)
        for season, season_length in enumerate(self.season_lengths):
            before = step_ends - season_length
            if season > 0:
                seasons[season] = seasons[season] + (at_ends - level[:, before]).unsqueeze(2)
            if has_begun is not None:
                is_known = has_begun[:, positions[season]]
                if season > 0:
                    is_known = is_known & has_begun[:, before].unsqueeze(2)
                seasons[season] = torch.where(is_known, seasons[season], at_ends.unsqueeze(2))
        return torch.stack(seasons, dim=-1)

    def positions(self, step_ends: torch.Tensor) -> list[torch.Tensor]:
        """Return the positions in the window of what each season has for the steps forecast, `(T, H)` each."""
        return [step_ends.unsqueeze(-1) + ahead for ahead in self.ahead]

    def added_to(self, forecasts: torch.Tensor, seasons: torch.Tensor, states: Any = None) -> torch.Tensor:
        """Return forecasts with the seasons added to those of their parameters that are values of the target.

        Parameters
        ----------
        forecasts
            Forecasts `(B, T, H, C, N)`.
        seasons
            What each season forecasts, `(B, T, H, C, J)`.
        states
            States, `(B, T, D)`; ``None`` if there are none.
        """
        if len(self.season_lengths) == 1:
            mean = seasons
        else:
            weights = self._scores(seasons, states).softmax(dim=-1)[..., None, None, :]  # -> (B or 1, T, 1, 1, J)
            mean = (seasons * weights).sum(dim=-1, keepdim=True)
        return forecasts + mean * self.share.to(mean)  # (B, T, H, C, 1) * (N,)

    def _scores(self, seasons: torch.Tensor, states: Any) -> torch.Tensor:
        """Return the score of each season, `(B, T, J)`, or `(B or 1, 1, J)` where there are no states."""
        if states is not None:
            return linear(states, self.weight, self.bias)
        bias = self.bias.unsqueeze(0) if self.bias.ndim == 1 else for_each_sample(self.bias, seasons.shape[0])
        return bias.unsqueeze(1)


def trailing_mean(values: torch.Tensor, length: int, counts: torch.Tensor | None = None) -> torch.Tensor:
    """Return the mean of the last `length` values at each time step, of fewer at the first ones.

    Parameters
    ----------
    values
        Values `(B, L, C)`.
    length
        Number of time steps.
    counts
        Whether each value counts, `(B, L, C)`; by default all do. Where none does, the mean is 0.
    """
    if length == 1 and counts is None:
        return values
    if counts is None:
        n_values = torch.arange(1, values.shape[1] + 1, device=values.device).clamp(max=length)
        return _trailing_sum(values, length) / n_values.to(values).unsqueeze(-1)
    counts = counts.to(values)
    return _trailing_sum(values * counts, length) / _trailing_sum(counts, length).clamp(min=1.0)


def _trailing_sum(values: torch.Tensor, length: int) -> torch.Tensor:
    padded = functional.pad(values.transpose(1, 2), (length - 1, 0))  # -> (B, C, length - 1 + L)
    return functional.avg_pool1d(padded, length, stride=1).transpose(1, 2) * length


def _shares(likelihood: TorchLikelihood | None) -> list[float]:
    """Return 1 for each parameter that is a value of the target, such as a quantile, and 0 for the others."""
    if likelihood is None:
        return [1.0]
    if isinstance(likelihood, QuantileRegression):
        return [1.0] * likelihood.num_parameters
    return [1.0] + [0.0] * (likelihood.num_parameters - 1)


def season_lengths_of(season_length: int | Sequence[int] | None) -> list[int]:
    """Return the time steps of each season, the shortest first; none for ``None``."""
    if season_length is None:
        return []
    return sorted(season_length) if isinstance(season_length, list | tuple) else [int(season_length)]  # type: ignore[arg-type]


def check_season_length(season_length: int | Sequence[int] | None, input_chunk_length: int, likelihood: Any) -> None:
    """Check that a window holds the seasons, and that their values can be added to the forecast.

    Parameters
    ----------
    season_length
        Time steps of a season, or of several, or ``None``.
    input_chunk_length
        Time steps of the window.
    likelihood
        Likelihood of the forecast, or ``None``.

    Raises
    ------
    ValueError
        If the window is shorter, or the likelihood has no parameter in the target's unit.
    """
    seasons = season_lengths_of(season_length)
    if not seasons:
        return
    if len(seasons) > 1 and sum(seasons) - sum(seasons[1:-1]) > input_chunk_length:
        raise ValueError(
            f"Expected `season_length` to be at most input_chunk_length={input_chunk_length} in the sum of its longest "
            f"and its shortest season, so that a window shows how the level has changed since the longest, got "
            f"{season_length}. Make the input chunk at least {seasons[0] + seasons[-1]} long, or leave out season "
            f"{seasons[-1]}."
        )
    if seasons[-1] > input_chunk_length:
        raise ValueError(
            f"Expected `season_length` to be at most input_chunk_length={input_chunk_length}, so that a window holds a "
            f"season, got {season_length}. Make the input chunk longer, or leave `season_length` out."
        )
    if not is_on_the_scale_of_the_target(likelihood):
        raise ValueError(
            f"Expected `likelihood` to be {ON_THE_SCALE_OF_THE_TARGET} with season_length={season_length}, got "
            f"{type(likelihood).__name__}, none of whose parameters is a value of the target. Leave `season_length` "
            "out."
        )


ON_THE_SCALE_OF_THE_TARGET = f"None, {', '.join(found.__name__ for found in WITH_A_LOCATION)} or QuantileRegression"


def is_on_the_scale_of_the_target(likelihood: TorchLikelihood | None) -> bool:
    """Return whether a forecast, or a parameter of it, is a value of the target and can be added to one."""
    return likelihood is None or isinstance(likelihood, (*WITH_A_LOCATION, QuantileRegression))
