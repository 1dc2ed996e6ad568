"""The network that all models share: features of a step, states, forecasts and the loss."""

import copy
import inspect
from abc import ABC, ABCMeta
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from functools import partial
from math import ceil
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import torch
import torchmetrics
from darts.models.forecasting.pl_forecasting_module import PLForecastingModule, io_processor
from darts.utils.data.torch_datasets.utils import (
    ModuleStage,
    PLModuleInput,
    PLModuleOutput,
    TorchInferenceBatch,
    TorchTrainingBatch,
)
from darts.utils.likelihood_models.torch import QuantileRegression
from torch import nn

from seq_plugins.layers import HorizonHead, SegmentHead
from seq_plugins.layers.dropout import DrawsByMember
from seq_plugins.layers.instance_norm import InstanceNorm, InstanceNormOfKnownValues
from seq_plugins.layers.local_normalization import LocalNormalization, LocalNormalizationName, LocalScale
from seq_plugins.layers.members import SeparateMembers, by_member, stack_members
from seq_plugins.layers.missing_values import (
    LossInputs,
    Missing,
    fill_from_earlier_seasons,
    flag_missing_values,
    leave_out_incomplete_steps,
    leave_out_missing_targets,
)
from seq_plugins.layers.mixture import quantiles_of_mixture
from seq_plugins.layers.seasonal_skip import SeasonalSkip, season_lengths_of
from seq_plugins.lightning.callbacks import forget_earlier_fits
from seq_plugins.lightning.clipping import clip_norms_of_members
from seq_plugins.lightning.divergence import LossWatch, raise_if_diverged, should_watch
from seq_plugins.lightning.resuming import restore_training_state, training_state
from seq_plugins.lightning.training_loop import (
    FastTrainingEpochLoop,
    is_enabled,
    network_sees_batches,
    sees_batches,
    validates_within_epochs,
)
from seq_plugins.lightning.update_schedule import UpdateSchedule
from seq_plugins.lightning.weight_updates import forget_gradients

if TYPE_CHECKING:
    from darts.utils.onnx.export import OnnxExportBundle  # which imports onnx; that is not needed otherwise

# B: batch, L: input chunk length, s: output chunk shift, H: output chunk length, C: target components,
# P: past covariates, F: future covariates, S: static covariates (flattened), I = C + P + F + S: features of a step
# (with flags of missing values, 2C + 2P + 2F + S, and F stands for 2F in the head),
# L': steps after down-sampling, D: features of a state, T: steps with a loss, N: likelihood parameters,
# K: members of an ensemble, whose samples follow one another, so that B stands for K * B


class StepForecasts(NamedTuple):
    """Forecasts of all steps that have a loss, with what came true; both relative to a local scale, if it is used."""

    prediction: torch.Tensor  # (B, T, H, C, N)
    target: torch.Tensor  # (B, T, H, C)


class StepContext(NamedTuple):
    """What there is about the steps that have a loss, or about the last one."""

    ends: torch.Tensor  # (T,), position in the window of the newest input of each
    past_target: torch.Tensor  # (B, L, C), on the scale of the series
    local: LocalScale | None  # (B, T, C)
    seasons: torch.Tensor | None  # (B, T, H, C, J), relative to the local scale
    target: torch.Tensor | None  # (B, T, H, C), relative to the local scale

    @property
    def newest(self) -> torch.Tensor:
        """The newest value of the target of each step, `(B, T, C)`, relative to the local scale; 0 where missing."""
        values = self.past_target[:, self.ends]
        if self.local is not None:
            values = (values - self.local.level) / self.local.scale
        return values.masked_fill(values.isnan(), 0.0)


# whether a batch to predict from holds the samples of one member after another, or is that of all of them
_has_samples_of_members: ContextVar[bool] = ContextVar("has_samples_of_members", default=False)

_INPUTS = (
    "past_target",
    "past_covariates",
    "historic_future_covariates",
    "future_covariates",
    "static_covariates",
    "future_target",
)
_WITHOUT_MEMBERS = ("criterion", "train_criterion", "val_criterion", "train_metrics", "val_metrics")
_MEANS_OVER_ERRORS = (nn.MSELoss, nn.L1Loss, nn.SmoothL1Loss, nn.HuberLoss)


class _OfMembers(ABCMeta):
    """Gives the weights of a network their dimension of members, when the last of its constructors is done."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        # not `super()`, by which Lightning would take this for a constructor
        module: Any = ABCMeta.__call__(cls, *args, **kwargs)
        if module.ensemble_size > 1:
            module.stack_members()
        return module


class SequenceModule(PLForecastingModule, ABC, metaclass=_OfMembers):
    """Base class of the networks: from Darts' input to forecasts from the last step and, in training, from every step.

    A subclass either calls :meth:`set_encoder` with its encoder at the end of its constructor, or overrides
    :meth:`forecast_last_step`.

    Parameters
    ----------
    activation
        Name of the ``torch.nn`` activation between the head's layers.
    hidden_fc_sizes
        Sizes of the head's hidden layers.
    segment_length
        Number of steps that the head forecasts at a time, or ``None`` for all.
    sequence_to_sequence
        Whether the loss is on every step of the input, or on the last one only; by default as the class says.
    season_length
        Time steps of a season, or of several, whose last values the forecast is a difference to; ``None`` for none.
    local_normalization
        Kind of local normalisation, or ``None``.
    missing
        ``"mask"`` if values may be missing, ``"error"`` if none is. With ``"mask"`` every input but static covariates
        holds a flag beside each value, and `input_dim` and `future_dim` count them.
    sort_quantiles
        Whether quantiles are put in order in prediction.
    ensemble_size
        Number of members, `K`. Networks with more than one have weights `(K, ...)`. In training they are given a batch
        `(K * B, ...)`, otherwise one that is that of every member.
    **kwargs
        Parameters of :class:`darts.models.forecasting.pl_forecasting_module.PLForecastingModule`.
    """

    optimizer_kwargs: dict[str, Any]
    _current_fx_name: str | None
    rin: Any
    lr_scheduler_cls: Any

    generators: Sequence[torch.Generator] | None = None
    """Random numbers of each member: the order of its batches and, on a CPU, its dropout masks."""

    generators_on_device: Sequence[torch.Generator] | None = None
    """In training, random numbers of each member on its device: its dropout masks."""

    sequence_to_sequence: bool = False
    """Whether the loss is on every step of the input, or on the last one only."""

    takes_large_values: bool = False
    """Whether the network trains on values of any size, since none of its layers saturates."""

    def __init__(
        self,
        activation: str = "ReLU",
        hidden_fc_sizes: Sequence[int] | None = None,
        segment_length: int | None = None,
        sequence_to_sequence: bool | None = None,
        season_length: int | Sequence[int] | None = None,
        local_normalization: LocalNormalizationName | None = None,
        missing: Missing = "error",
        sort_quantiles: bool = True,
        ensemble_size: int = 1,
        **kwargs: Any,
    ) -> None:
        # Darts' default is one object for all networks, which has the mode of the one that used it last
        super().__init__(**{"loss_fn": nn.MSELoss()} | kwargs)
        if sequence_to_sequence is not None:
            self.sequence_to_sequence = sequence_to_sequence
        self.sort_quantiles = sort_quantiles
        self.ensemble_size = ensemble_size
        self._masks_missing_values = missing == "mask"
        if self.rin is not None:
            norm = InstanceNormOfKnownValues if self._masks_missing_values else InstanceNorm
            self.rin = norm(self.rin.input_dim, self.rin.eps, self.rin.affine)
        self.logs_every_batch = True
        self._last_train_loss: tuple[torch.Tensor, int] | None = None
        self._validation_losses: list[tuple[torch.Tensor, int | torch.Tensor]] = []
        self._n_targets_with_loss: int | torch.Tensor = 0
        self.loss_watch: LossWatch | None = None
        self.update_schedule: UpdateSchedule | None = None
        self.warnings_given: list[str] = []
        self._state_to_resume: dict[str, Any] | None = None
        self.activation = activation
        self.hidden_fc_sizes = list(hidden_fc_sizes or [])
        self.segment_length = segment_length
        shapes = self.train_sample_shape
        features_of_a_value = 2 if self._masks_missing_values else 1
        self.future_dim = features_of_a_value * _n_features(shapes["future_covariates"])
        self.static_dim = int(np.prod(shapes["static_covariates"])) if shapes["static_covariates"] else 0
        past_dim = features_of_a_value * (self.n_targets + _n_features(shapes["past_covariates"]))
        self.input_dim = past_dim + self.future_dim + self.static_dim
        n_parameters = 1 if self.likelihood is None else self.likelihood.num_parameters
        self.output_shape = (self.output_chunk_length, self.n_targets, n_parameters)
        self.season_lengths = season_lengths_of(season_length)
        self.seasons = self._seasonal_skip(state_dim=0)
        self.local_normalization = None
        if local_normalization is not None:
            self.local_normalization = LocalNormalization(local_normalization, self.season_lengths, self.likelihood)
            if self._has_loss_on_every_step:
                self.input_dim += features_of_a_value * self.n_targets * (self.local_normalization.n_features - 1)
        self.register_buffer("_last_end", torch.tensor([self.input_chunk_length - 1]), persistent=False)

    def _seasonal_skip(self, state_dim: int) -> SeasonalSkip | None:
        if not self.season_lengths:
            return None
        return SeasonalSkip(
            self.season_lengths, self.output_chunk_shift, self.output_chunk_length, state_dim, self.likelihood
        )

    def set_encoder(self, encoder: "Encoder", step_ends: Sequence[int] | None = None) -> None:
        """Set the encoder and, after it, the head.

        Parameters
        ----------
        encoder
            Layer from features `(B, L, I)` to states `(B, L', D)` or, called with ``last_only=True``, to the last one,
            `(B, 1, D)`. A state may depend on no later step than its own.
        step_ends
            Position in ``0..L - 1`` of the newest input that each of the `L'` states has seen. By default, one state
            a step.
        """
        self.encoder = encoder
        known_dim = self.future_dim
        if self.local_normalization is not None:
            known_dim += len(self.season_lengths) * (self.future_dim + self.n_targets)
        make_head = HorizonHead if self.segment_length is None else partial(SegmentHead, self.segment_length)
        self.head = make_head(encoder.output_dim, known_dim, self.output_shape, self.hidden_fc_sizes, self.activation)
        self.set_step_ends(range(self.input_chunk_length) if step_ends is None else step_ends)
        self.seasons = self._seasonal_skip(encoder.output_dim)

    def set_step_ends(self, step_ends: Sequence[int]) -> None:
        """Set which steps there can be a loss on, by the newest input of each; the last is that of the window."""
        self.step_ends = list(step_ends)
        loss_steps, targets = self._steps_with_targets(self.step_ends)
        self.register_buffer("_loss_steps", torch.tensor(loss_steps), persistent=False)
        self.register_buffer(
            "_loss_ends", torch.tensor([self.step_ends[step] for step in loss_steps]), persistent=False
        )
        self.register_buffer("_target_positions", torch.tensor(targets), persistent=False)
        self._slice_with_loss = _as_slice(loss_steps)
        self._slice_of_windows = _as_slice([times[0] for times in targets])

    def _steps_with_targets(self, step_ends: Sequence[int]) -> tuple[list[int], list[list[int]]]:
        """Return the states that have a loss, and the positions of their targets in a sample.

        They are those whose `H` targets all exist in it, and that have seen the seasons, and what local normalisation
        needs, if there are such. The last state is always one of them.
        Positions count the time steps that exist: with a shift, those between input and output chunk do not.
        """
        length, shift, horizon = self.input_chunk_length, self.output_chunk_shift, self.output_chunk_length
        seasons = self.season_lengths
        n_needed = max(seasons, default=1) + (seasons[0] if len(seasons) > 1 else 0)
        if self.local_normalization is not None:
            n_needed = max(n_needed, self.local_normalization.n_steps_needed)
        loss_steps, targets = [], []
        for step, end in enumerate(step_ends):
            if end + 1 < min(n_needed, length):
                continue
            times = range(end + shift + 1, end + shift + horizon + 1)
            if times[-1] < length:
                loss_steps.append(step)
                targets.append(list(times))
            elif shift == 0 or end == length - 1:
                loss_steps.append(step)
                targets.append([time - shift for time in times])
        return loss_steps, targets

    def stack_members(self) -> None:
        """Give all weights a dimension of members, all alike."""
        if next(self.parameters(recurse=False), None) is not None:
            raise NotImplementedError(
                f"Expected {type(self).__name__} to have its weights in layers with ensemble_size="
                f"{self.ensemble_size}, got some of its own. Put them into a module."
            )
        for name, child in list(self.named_children()):
            if name not in _WITHOUT_MEMBERS:
                setattr(self, name, stack_members(child, self.ensemble_size))

    def load_members(self, networks: Sequence["SequenceModule"]) -> None:
        """Take over the weights of networks that stand alone, one for each member."""
        states = [network.state_dict() for network in networks]
        shared = self._names_without_members()
        self.load_state_dict(
            {
                name: states[0][name]
                if name in shared
                else torch.stack([state[self._name_alone(name)] for state in states])
                for name in self.state_dict()
            }
        )

    def state_of_member(self, state: Mapping[str, Any], member: int) -> dict[str, Any]:
        """Return the weights of a network that stands alone and is one of the members, out of those of all."""
        shared = self._names_without_members()
        return {self._name_alone(name): values if name in shared else values[member] for name, values in state.items()}

    def _name_alone(self, name: str) -> str:
        """Return the name that a weight has in a network without members."""
        child, _, rest = name.partition(".")
        if isinstance(getattr(self, child), SeparateMembers):
            return f"{child}.{rest.removeprefix(f'{SeparateMembers.attribute}.')}"
        return name

    def _names_without_members(self) -> set[str]:
        return {name for name in self.state_dict() if name.partition(".")[0] in _WITHOUT_MEMBERS}

    def forward(self, x_in: PLModuleInput) -> PLModuleOutput:
        """Return the last step's forecast `(B, H, C, N)` and, where the loss is of something else, what it is of.

        Of members, it is what all of them forecast together; in training and validation, the forecasts of one member
        after another, `(K * B, H, C, N)`.
        """
        if self.ensemble_size == 1:
            return self._forward(x_in)
        if x_in.stage is not ModuleStage.TRAIN and not self._predicts_by_member:
            x_in = self._for_every_member(x_in)
        output = self._forward(x_in)
        if x_in.stage in (ModuleStage.TRAIN, ModuleStage.VALIDATE) or self._predicts_by_member:
            return output
        return output.replace(prediction=self._put_together(output.prediction), state=None)

    @property
    def _predicts_by_member(self) -> bool:
        """Whether each sample to predict is forecast by one member, or by the one network that there is."""
        return self.ensemble_size == 1 or _has_samples_of_members.get()

    def _for_every_member(self, x_in: PLModuleInput) -> PLModuleInput:
        given = {name: getattr(x_in, name) for name in _INPUTS}
        return x_in.replace(**{name: self._repeat(values) for name, values in given.items() if values is not None})

    def _repeat(self, values: torch.Tensor) -> torch.Tensor:
        return values.repeat(self.ensemble_size, *[1] * (values.ndim - 1))

    def _put_together(self, predictions: torch.Tensor) -> torch.Tensor:
        """Return what members forecast together, `(B, H, C, N)`: the quantiles of their mixture, or their mean."""
        predictions = by_member(predictions, self.ensemble_size)
        if isinstance(self.likelihood, QuantileRegression):
            return quantiles_of_mixture(predictions, self.likelihood.quantiles)
        return predictions.mean(dim=0)

    @io_processor
    def _forward(self, x_in: PLModuleInput) -> PLModuleOutput:
        """Return the forecasts of a network or, if the batch holds samples of members, of each with its own samples."""
        is_of_every_step = self._has_loss_on_every_step and x_in.stage is ModuleStage.TRAIN
        ends = self._loss_ends if is_of_every_step else self._last_end
        given = past_target = x_in.past_target
        has_begun: torch.Tensor | None = None
        seasons: Any = None
        local: Any = None
        if self._masks_missing_values and (self.seasons is not None or self.local_normalization is not None):
            has_begun = (~given.isnan()).cumsum(dim=1) > 0
            past_target = fill_from_earlier_seasons(given, min(self.season_lengths, default=1))
        if self.local_normalization is not None:
            local_of_window = self.local_normalization(past_target, has_begun)
            local = local_of_window.at(ends)
            if self._has_loss_on_every_step:
                relative = self.local_normalization.features(given, local_of_window)
            else:  # the only state of which there is a forecast has seen the whole window
                relative = (given - local.level) / local.scale
            x_in = x_in.replace(past_target=relative)
        if self.seasons is not None:
            seasons = self.seasons(past_target, ends, has_begun)  # -> (B, T, H, C, J)
            if local is not None:
                seasons = local.normalise(seasons)
        target = None if x_in.future_target is None else x_in.future_target.unsqueeze(1)  # -> (B, 1, H, C)
        if is_of_every_step:
            target = self._windows_ahead(_join(given, x_in.future_target))  # -> (B, T, H, C)
        if local is not None and target is not None:
            target = local.normalise(target)
            if has_begun is not None:  # what a step knows nothing of is no error of its forecast
                target = target.masked_fill(~has_begun[:, ends].unsqueeze(2), torch.nan)
        features = flag_missing_values(x_in) if self._masks_missing_values else x_in
        context = StepContext(ends, given, local, seasons, target)
        forecasts, states = self._forecast(features, context, is_of_every_step)
        if self.seasons is not None:
            forecasts = self.seasons.added_to(forecasts, seasons, states)
        is_of_batch = not is_of_every_step and local is None  # then the loss is of forecasts and targets as they are
        steps = None if target is None or is_of_batch else StepForecasts(forecasts, target)
        last = forecasts if forecasts.shape[1] == 1 else forecasts[:, -1:]  # a slice copies gradients on the way back
        if self.local_normalization is not None:
            last = self.local_normalization.restore(last, local.at(slice(-1, None)))
        return PLModuleOutput(prediction=last.squeeze(1), state=steps)

    @property
    def _has_loss_on_every_step(self) -> bool:
        return has_loss_on_every_step(self.sequence_to_sequence, self.use_reversible_instance_norm)

    def forecast_last_step(self, x_in: PLModuleInput, seasons: torch.Tensor | None) -> torch.Tensor:
        """Return the forecast `(B, H, C, N)` of a network that is not an encoder with a head, without the season.

        Parameters
        ----------
        x_in
            Input. With local normalisation, `past_target` is relative to it.
        seasons
            What each season forecasts, `(B, 1, H, C, J)`, which is added to the forecast; ``None`` if there is none.
        """
        raise NotImplementedError(f"Expected {type(self).__name__} to call `set_encoder` or override this.")

    def _forecast(
        self, x_in: PLModuleInput, context: StepContext, is_of_every_step: bool
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return forecasts `(B, T, H, C, N)`, without the season, and states `(B, T, D)`, if there are any.

        They are those of the steps that have a loss, or of the last one.
        """
        if type(self).forecast_last_step is not SequenceModule.forecast_last_step:
            return self.forecast_last_step(x_in, context.seasons).unsqueeze(1), None
        states = self.encoder(self._step_features(x_in), last_only=not is_of_every_step)  # -> (B, L' or 1, D)
        if is_of_every_step:
            if states.shape[1] != len(self.step_ends):
                raise ValueError(
                    f"Expected {type(self.encoder).__name__} to return {len(self.step_ends)} states, one for each of "
                    f"`step_ends`, got {states.shape[1]}. Give `set_encoder` the newest input of every state."
                )
            if len(self._loss_steps) < len(self.step_ends):
                states = states[:, self._loss_steps if self._slice_with_loss is None else self._slice_with_loss]
        return self.head(states, self._known_ahead(x_in, context.seasons, is_of_every_step)), states

    def _known_ahead(
        self, x_in: PLModuleInput, seasons: torch.Tensor | None, is_of_every_step: bool
    ) -> torch.Tensor | None:
        """Return what is known of the steps forecast from the steps that have a loss, or from the last one.

        These are their covariates. With local normalisation and seasons there are also the seasons' values, which the
        forecast is a difference to, `(B, T, H, C, J)`, and what the covariates have changed since:
        `(B, T, H, F + J * (C + F))` in all. Values that are not relative to a level would bind the head to those of its
        training.
        """
        past, future = x_in.historic_future_covariates, x_in.future_covariates
        known = []
        if future is not None:
            ahead = self._windows_ahead(_join(past, future)) if is_of_every_step else future.unsqueeze(1)
            known.append(ahead)  # (B, T, H, F)
        if self.local_normalization is not None and self.seasons is not None and seasons is not None:
            if future is not None:
                ends = self._loss_ends if is_of_every_step else self._last_end
                known += [ahead - past[:, positions] for positions in self.seasons.positions(ends)]
            known.append(seasons.flatten(start_dim=3))
        return torch.cat(known, dim=-1) if known else None

    def _windows_ahead(self, values: torch.Tensor) -> torch.Tensor:
        """Return of values of all time steps what each state with a loss forecasts, `(B, T, H, ...)`."""
        starts = self._slice_of_windows
        if starts is None:
            return values[:, self._target_positions]
        # a view, which takes no time
        return values[:, starts.start :].unfold(1, self.output_chunk_length, starts.step).transpose(-1, -2)

    def _step_features(self, x_in: PLModuleInput) -> torch.Tensor:
        """Return the features `(B, L, I)` of every step: what is known at it and, without a shift, of the next one."""
        features = [x_in.past_target]
        if x_in.past_covariates is not None:
            features.append(x_in.past_covariates)
        if x_in.historic_future_covariates is not None:
            future = x_in.historic_future_covariates
            if self.output_chunk_shift == 0:
                future = torch.cat([future[:, 1:], x_in.future_covariates[:, :1]], dim=1)
            features.append(future)
        if x_in.static_covariates is not None:
            static = x_in.static_covariates.flatten(start_dim=1).unsqueeze(1)  # -> (B, 1, S)
            features.append(static.expand(-1, self.input_chunk_length, -1))
        return features[0] if len(features) == 1 else torch.cat(features, dim=-1)

    def _compute_loss(
        self,
        output: PLModuleOutput,
        target: torch.Tensor,
        criterion: nn.Module,
        sample_weight: torch.Tensor | None,
    ) -> torch.Tensor:
        """Return the loss or, of members, the sum of their losses: each learns from its own as if it stood alone."""
        n_members = self.ensemble_size
        if n_members == 1:
            return self._loss_of_one(output, target, criterion, sample_weight)
        is_mean_over_errors = (
            self.likelihood is None
            and type(criterion) in _MEANS_OVER_ERRORS
            and criterion.reduction == "mean"
            and not self._masks_missing_values
        )
        if is_mean_over_errors:
            return n_members * self._loss_of_one(output, target, criterion, sample_weight)
        losses = []
        for member in range(n_members):
            forecasts = output.replace(prediction=by_member(output.prediction, n_members)[member])
            if output.state is not None:
                steps = StepForecasts(*(by_member(values, n_members)[member] for values in output.state))
                forecasts = forecasts.replace(state=steps)
            weight = None if sample_weight is None else by_member(sample_weight, n_members)[member]
            losses.append(self._loss_of_one(forecasts, by_member(target, n_members)[member], criterion, weight))
        return torch.stack(losses).sum()

    def _loss_of_one(
        self,
        output: PLModuleOutput,
        target: torch.Tensor,
        criterion: nn.Module,
        sample_weight: torch.Tensor | None,
    ) -> torch.Tensor:
        steps: StepForecasts | None = output.state
        if sample_weight is not None:
            if sample_weight.shape[1] == self.output_chunk_length:
                if steps is not None:  # weights as Darts' own data set gives them: those of the output chunk only
                    steps = StepForecasts(steps.prediction[:, -1:], steps.target[:, -1:])
            elif steps is not None and steps.target.shape[1] > 1:
                sample_weight = self._windows_ahead(sample_weight).flatten(end_dim=1)  # -> (B * T, H, C)
            else:
                sample_weight = sample_weight[:, -self.output_chunk_length :]
        if steps is not None:
            output, target = (
                output.replace(prediction=steps.prediction.flatten(end_dim=1)),
                steps.target.flatten(end_dim=1),
            )
        if self.loss_watch is not None:
            self.loss_watch.see_targets(target)
        if self._masks_missing_values:
            self._n_targets_with_loss = (~target.isnan()).sum()
            output, target, sample_weight = leave_out_missing_targets(
                LossInputs(output, target, sample_weight), self.likelihood
            )
            if not target.numel():
                zero: torch.Tensor = output.prediction.sum()  # of no forecast at all: its gradient is zero, too
                return zero
        try:
            loss: torch.Tensor = super()._compute_loss(output, target, criterion, sample_weight)
        except ValueError as error:  # a distribution refuses parameters that are NaN
            raise_if_diverged(self, output.prediction, error)
            raise
        return loss

    def _update_metrics(
        self, output: PLModuleOutput, target: torch.Tensor, metrics: torchmetrics.MetricCollection
    ) -> None:
        if self._masks_missing_values:
            output, target = leave_out_incomplete_steps(output, target)
            if not target.numel():
                return
        super()._update_metrics(output, target, metrics)

    def _compute_metrics(self, metrics: torchmetrics.MetricCollection) -> None:
        """Log the metrics as Darts does, without asking for a logger that need not be there."""
        if len(metrics):
            self.log_dict(metrics.compute(), on_step=False, on_epoch=True, prog_bar=True, sync_dist=True)
            metrics.reset()

    def on_train_start(self) -> None:
        """Go on with a training that was interrupted, and find out whether anybody looks at the loss of every batch.

        Logging a loss takes longer than computing it.
        """
        trainer = self.trainer
        if trainer.ckpt_path is None:
            forget_earlier_fits(trainer.callbacks)
        self.loss_watch = LossWatch(self, trainer) if should_watch(trainer) else None
        self.forget_losses()
        if self.generators is not None:
            self.generators_on_device = [_on_device(generator, self.device) for generator in self.generators]
        self._let_members_draw(self.generators_on_device)
        state, self._state_to_resume = self._state_to_resume, None
        if state is not None and trainer.ckpt_path is not None:
            restore_training_state(trainer, state)
        self.logs_every_batch = (
            # which logs the loss where training ends
            not isinstance(trainer.fit_loop.epoch_loop, FastTrainingEpochLoop)
            or bool(trainer.loggers)
            or is_enabled(trainer.progress_bar_callback)
            or validates_within_epochs(trainer)
            or network_sees_batches(self)
            or any(map(sees_batches, trainer.callbacks))
            or (
                self.update_schedule is None
                and any(config.interval == "step" for config in trainer.lr_scheduler_configs)
            )  # one may go by the loss
        )

    def _train_val_step(
        self,
        batch: TorchTrainingBatch,
        stage: ModuleStage,
        criterion: nn.Module,
        metrics: torchmetrics.MetricCollection,
    ) -> torch.Tensor:
        loss = self.loss_of(batch, stage, criterion, metrics)
        if stage is ModuleStage.VALIDATE:
            self._validation_losses.append((loss.detach(), self._weight_in_validation(batch)))
            if self._is_last_validation_batch:
                self._log_validation_loss()
        elif self.logs_every_batch or self.trainer.is_last_batch:
            self.log_train_loss()
        return loss

    shared_train_val_step = _train_val_step
    """What the fast path stands for; a network with another step is trained with that."""

    def loss_of(
        self,
        batch: TorchTrainingBatch,
        stage: ModuleStage,
        criterion: nn.Module,
        metrics: torchmetrics.MetricCollection,
    ) -> torch.Tensor:
        """Forecast a batch and return its loss; in training, it is looked at before the weights are updated with it."""
        output = self(batch.to_module_input(stage=stage))
        target, sample_weight, n_members = batch.future_target, batch.sample_weight, self.ensemble_size
        if n_members > 1 and stage is ModuleStage.VALIDATE:
            target = self._repeat(target)
            sample_weight = None if sample_weight is None else self._repeat(sample_weight)
        loss = self._compute_loss(output, target, criterion, sample_weight)
        mean = loss.detach() if n_members == 1 else loss.detach() / n_members
        if stage is ModuleStage.TRAIN:
            if self.loss_watch is not None:
                self.loss_watch.see(mean)
            self._last_train_loss = mean, batch.past_target.shape[0]
        if len(metrics):
            if n_members > 1 and stage is ModuleStage.VALIDATE:
                output, target = output.replace(prediction=self._put_together(output.prediction)), batch.future_target
            self._update_metrics(output, target, metrics)
        return loss if stage is ModuleStage.TRAIN else mean

    @property
    def has_trained_a_batch(self) -> bool:
        """Whether the training in progress, or the one that was broken off, has seen a batch."""
        return self._last_train_loss is not None

    def forget_losses(self) -> None:
        """Begin anew."""
        self._last_train_loss = None

    def log_train_loss(self) -> None:
        """Log the loss of the last training batch, if there was one."""
        if self._last_train_loss is None:
            return
        loss, n_samples = self._last_train_loss
        hook, self._current_fx_name = self._current_fx_name, "training_step"
        self.log("train_loss", loss, batch_size=n_samples, prog_bar=True, sync_dist=True)
        self._current_fx_name = hook

    @property
    def _is_last_validation_batch(self) -> bool:
        trainer = self.trainer
        loop = trainer.validate_loop if trainer.state.fn == "validate" else trainer.fit_loop.epoch_loop.val_loop
        return bool(loop.batch_progress.is_last_batch)

    def _log_validation_loss(self) -> None:
        """Log the mean loss of all validation samples, or of all their targets that are there.

        Logging every batch would take longer than computing its loss. With the last one, callbacks see the mean at the
        end of the validation, as they do in Darts.
        """
        losses, weights = zip(*self._validation_losses, strict=True)
        total = max(int(sum(weights)), 1)
        mean = sum(loss * weight for loss, weight in zip(losses, weights, strict=True)) / total
        self.log("val_loss", mean, batch_size=total, prog_bar=True, sync_dist=True)
        self._validation_losses.clear()

    def _weight_in_validation(self, batch: TorchTrainingBatch) -> int | torch.Tensor:
        """Return how much a batch counts for: its number of samples or, if some may be missing, that of its targets."""
        return self._n_targets_with_loss if self._masks_missing_values else batch.past_target.shape[0]

    def on_train_epoch_end(self) -> None:
        """Make sure that training has not diverged, before the callbacks keep the weights, and log the metrics."""
        if self.loss_watch is not None:
            self.loss_watch.check()
        super().on_train_epoch_end()

    def on_train_end(self) -> None:
        """Let go of the losses."""
        self.loss_watch = self._last_train_loss = self.generators_on_device = None
        self._let_members_draw(None)

    def _let_members_draw(self, generators: Sequence[torch.Generator] | None) -> None:
        """Let what layers draw come from each member's random numbers; with ``None``, from PyTorch's."""
        for module in self.modules():
            if isinstance(module, DrawsByMember):
                module.generators = generators

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip as Lightning does, the gradients of each member by their own norm."""
        if self.ensemble_size > 1 and gradient_clip_val and gradient_clip_algorithm in (None, "norm"):
            clip_norms_of_members(self.parameters(), gradient_clip_val)
        else:
            super().configure_gradient_clipping(optimizer, gradient_clip_val, gradient_clip_algorithm)

    shared_gradient_clipping = configure_gradient_clipping
    """What the fast path need not call where nothing is to be clipped."""

    def optimizer_zero_grad(self, epoch: int, batch_idx: int, optimizer: torch.optim.Optimizer) -> None:
        """Forget the gradients, without the time that PyTorch takes to record it for its profiler."""
        forget_gradients(optimizer)

    shared_optimizer_zero_grad = optimizer_zero_grad

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what Darts and a resumed training need."""
        super().on_save_checkpoint(checkpoint)
        if self._trainer is None or (state := training_state(self._trainer)) is None:
            return
        if self.loss_watch is not None:
            self.loss_watch.check()
        checkpoint["training_state"] = state

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take up what was kept."""
        super().on_load_checkpoint(checkpoint)
        if self._trainer is None:  # made anew: Darts restores the loss, but not the copies that are trained with
            self.train_criterion = copy.deepcopy(self.criterion)
            self.val_criterion = copy.deepcopy(self.criterion)
        self._state_to_resume = checkpoint.get("training_state")

    def on_validation_epoch_start(self) -> None:
        """Start collecting the losses of the validation batches."""
        self._validation_losses.clear()

    def configure_optimizers(self) -> Any:
        """Make optimizer and scheduler as Darts does; the optimizer updates all weights in one call if it can."""
        arguments, scheduler = self.optimizer_kwargs, self.lr_scheduler_cls
        if self._can_fuse_optimizer():
            self.optimizer_kwargs = arguments | {"fused": True}
        if self.update_schedule is not None:
            self.lr_scheduler_cls = None
        try:
            made = super().configure_optimizers()
        finally:
            self.optimizer_kwargs, self.lr_scheduler_cls = arguments, scheduler
        if self.update_schedule is None:
            return made
        return self.update_schedule.configure(made, int(self.trainer.estimated_stepping_batches))

    def _can_fuse_optimizer(self) -> bool:
        return (
            "fused" in inspect.signature(self.optimizer_cls).parameters
            and not {"fused", "foreach", "differentiable"} & self.optimizer_kwargs.keys()
            # mixed precision refuses to clip the gradients of a fused optimizer
            and self.trainer.precision in ("32-true", "64-true")
            and self.device.type in ("cpu", "cuda")
        )

    @property
    def supports_probabilistic_prediction(self) -> bool:
        """Whether a forecast can have several samples: those of an ensemble come from its members in turn."""
        return self.ensemble_size > 1 or bool(super().supports_probabilistic_prediction)

    def predict_step(self, batch: TorchInferenceBatch, batch_idx: int, dataloader_idx: int | None = None) -> Any:
        """Predict as Darts does; of an ensemble, sample `j` is one of member `j` modulo `K`."""
        n_samples, n_members = self.pred_num_samples or 1, self.ensemble_size
        if n_members == 1 or n_samples == 1:
            return super().predict_step(batch, batch_idx, dataloader_idx)
        n_series = batch.past_target.shape[0]
        n_rounds = ceil(n_samples / n_members)  # in each, every member gives a sample
        draws = self.pred_mc_dropout or (self.likelihood is not None and not self.predict_likelihood_parameters)
        n_drawn = n_rounds if draws else 1
        n_at_once = min(max((self.pred_batch_size or 1) // (n_series * n_members), 1), n_drawn)
        drawn: list[torch.Tensor] = []
        token = _has_samples_of_members.set(True)
        try:
            for first in range(0, n_drawn, n_at_once):
                tiled = batch.tile_tensors(n_members * min(n_at_once, n_drawn - first))
                samples = self._get_batch_prediction(self.pred_n, tiled, self.pred_roll_size)
                drawn.append(samples.reshape(n_members, -1, n_series, *samples.shape[1:]).transpose(0, 1))
        finally:
            _has_samples_of_members.reset(token)
        rounds = torch.cat(drawn)  # -> (rounds, K, series, n, C)
        if not draws:
            rounds = rounds.expand(n_rounds, *rounds.shape[1:])
        return rounds.flatten(0, 1)[:n_samples], batch.series_schema, batch.pred_time

    shared_predict_step = predict_step
    """What the prediction without a trainer stands for; a network with another step is predicted with by a trainer."""

    @property
    def gives_quantiles_in_order(self) -> bool:
        """Whether quantiles are sorted in prediction."""
        return self.sort_quantiles and isinstance(self.likelihood, QuantileRegression)

    def _produce_predict_output(self, x: PLModuleInput) -> PLModuleOutput:
        """Sample, or give the parameters, as Darts does, but of quantiles that do not cross."""
        if not self.gives_quantiles_in_order:
            return super()._produce_predict_output(x)
        output = self(x)
        quantiles = output.prediction.sort(dim=-1).values  # -> (B, H, C, N)
        if self.predict_likelihood_parameters:
            return output.replace(prediction=self.likelihood.predict_likelihood_parameters(quantiles))
        return output.replace(prediction=self.likelihood.sample(quantiles))

    def to_dtype(self, dtype: torch.dtype) -> None:
        """Cast all weights; of the types that PyTorch Lightning trains in, Darts leaves bfloat16 out."""
        if dtype == torch.bfloat16:
            self.bfloat16()
        else:
            super().to_dtype(dtype)

    def _onnx_wrapper(self, input_sample: PLModuleInput) -> "OnnxExportBundle":
        bundle: OnnxExportBundle = super()._onnx_wrapper(input_sample)
        # a batch of one would be taken for a constant
        bundle.example_inputs = tuple(example.repeat(2, 1, 1) for example in bundle.example_inputs)
        if self.gives_quantiles_in_order:
            bundle.wrapper = _SortedQuantiles(bundle.wrapper)
        return bundle


class _SortedQuantiles(nn.Module):
    """An exported network whose quantiles do not cross."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        prediction: torch.Tensor = self.network(*inputs)  # -> (B, H, C, N)
        return prediction.sort(dim=-1).values


class Encoder(Protocol):
    """A layer from the features of every step, `(B, L, I)`, to states, `(B, L', D)`."""

    output_dim: int
    """Number of features of a state, `D`."""

    def __call__(self, features: torch.Tensor, last_only: bool = False) -> torch.Tensor:
        """Return the states or, where no other is needed, the last one, `(B, 1, D)`."""


def has_loss_on_every_step(sequence_to_sequence: bool, use_reversible_instance_norm: bool | dict[str, Any]) -> bool:
    """Return whether the loss is on every step: the normalisation's statistics come from the whole window, and peek."""
    return sequence_to_sequence and not use_reversible_instance_norm


def _on_device(generator: torch.Generator, device: torch.device) -> torch.Generator:
    """Return what a model with the seed of `generator` draws from on a device."""
    if generator.device.type == device.type:
        return generator
    return torch.Generator(device).manual_seed(generator.initial_seed())


def _as_slice(positions: Sequence[int]) -> slice | None:
    """Return ascending positions as a slice, if they are evenly spaced."""
    spacings = set(np.diff(positions).tolist()) or {1}
    return slice(positions[0], positions[-1] + 1, spacings.pop()) if len(spacings) == 1 else None


def _n_features(shape: tuple[int, ...] | None) -> int:
    return 0 if shape is None else shape[-1]


def _join(past: torch.Tensor, future: torch.Tensor) -> torch.Tensor:
    return torch.cat([past, future], dim=1)
