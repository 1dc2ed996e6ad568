"""Missing values (NaN): flagged on the way into a network, and left out of its loss and metrics."""

from typing import Literal, NamedTuple, TypeAlias

import torch
from darts.utils.data.torch_datasets.utils import PLModuleInput, PLModuleOutput
from darts.utils.likelihood_models.torch import DirichletLikelihood, TorchLikelihood

# B: batch, L: input chunk length, H: output chunk length, C: target components, N: likelihood parameters,
# W: time steps of a kind of input, V: its components, K: time steps or single values that are kept

Missing: TypeAlias = Literal["error", "mask"]

_FLAGGED_INPUTS = ("past_target", "past_covariates", "historic_future_covariates", "future_covariates")


def flag_missing_values(x_in: PLModuleInput) -> PLModuleInput:
    """Return the input with every kind of it, `(B, W, V)`, as `(B, W, 2V)`: values, then a 1 where one is missing.

    Missing values themselves become zero. Static covariates and the targets to forecast stay as they are.
    """
    given = {name: getattr(x_in, name) for name in _FLAGGED_INPUTS}
    return x_in.replace(**{name: _flag(values) for name, values in given.items() if values is not None})


def _flag(values: torch.Tensor) -> torch.Tensor:
    missing = values.isnan()
    return torch.cat([values.masked_fill(missing, 0.0), missing.to(values.dtype)], dim=-1)


def fill_from_earlier_seasons(target: torch.Tensor, season_length: int) -> torch.Tensor:
    """Return `target` `(B, L, C)` with each missing value replaced; nothing comes from a later time step.

    It is the newest known value of the same time of an earlier season or, if there is none in the window, the mean of
    what is known up to then; zero before the first known value.
    """
    length, filled, back = target.shape[1], target, season_length
    while back < length:  # filled as far as it is, the series reaches twice as far back each time
        before = torch.cat([torch.full_like(target[:, :back], torch.nan), filled[:, :-back]], dim=1)
        filled = torch.where(filled.isnan(), before, filled)
        back *= 2
    known = ~target.isnan()
    mean = target.masked_fill(~known, 0.0).cumsum(dim=1) / known.cumsum(dim=1).clamp(min=1)
    return torch.where(filled.isnan(), mean.to(target.dtype), filled)


class LossInputs(NamedTuple):
    """What a loss is computed of."""

    output: PLModuleOutput
    target: torch.Tensor  # (B, H, C)
    sample_weight: torch.Tensor | None  # (B, H, C or 1)


def leave_out_missing_targets(given: LossInputs, likelihood: TorchLikelihood | None) -> LossInputs:
    """Return what has as its loss the mean over the targets that are there; with none of them, empty tensors.

    Where all targets are there, this is what is given. A Dirichlet likelihood is of all components together: its loss
    is over the time steps at which all of them are there.
    """
    if isinstance(likelihood, DirichletLikelihood):
        return _complete_steps(given)
    missing = given.target.isnan()
    if not missing.any():
        return given
    if likelihood is None or missing.all():
        return _known_values(given, ~missing)
    return _weigh_missing_targets_zero(given, missing)


def leave_out_incomplete_steps(output: PLModuleOutput, target: torch.Tensor) -> tuple[PLModuleOutput, torch.Tensor]:
    """Return forecasts `(K, 1, C, N)` and targets `(K, 1, C)` of the time steps at which all components are there."""
    kept = _complete_steps(LossInputs(output, target, None))
    return kept.output, kept.target


def _complete_steps(given: LossInputs) -> LossInputs:
    complete = ~given.target.isnan().any(dim=-1)  # -> (B, H)
    weight = given.sample_weight
    return LossInputs(
        given.output.replace(prediction=given.output.prediction[complete].unsqueeze(1)),
        given.target[complete].unsqueeze(1),
        # one weight a step, as a loss of all components together needs them
        None if weight is None else weight[complete].mean(dim=-1, keepdim=True),
    )


def _known_values(given: LossInputs, known: torch.Tensor) -> LossInputs:
    """Keep the targets that are there, each as a sample of one step and component."""
    weight = given.sample_weight
    return LossInputs(
        given.output.replace(prediction=given.output.prediction[known][:, None, None]),  # -> (K, 1, 1, N)
        given.target[known][:, None, None],  # -> (K, 1, 1)
        None if weight is None else weight.expand_as(given.target)[known][:, None, None],
    )


def _weigh_missing_targets_zero(given: LossInputs, missing: torch.Tensor) -> LossInputs:
    """Keep all targets in their places, where a likelihood's priors of single components look for them."""
    weight = (~missing).to(given.target.dtype) * (missing.numel() / int((~missing).sum()))
    if given.sample_weight is not None:
        weight = weight * given.sample_weight
    # a target that is there is in the support of the distribution; zero need not be
    largest = given.target.masked_fill(missing, -torch.inf).flatten(end_dim=-2).amax(dim=0)  # -> (C,)
    placeholder = torch.where(largest.isinf(), largest.max(), largest)
    return LossInputs(given.output, torch.where(missing, placeholder, given.target), weight)
