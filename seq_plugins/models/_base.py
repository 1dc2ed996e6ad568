"""What all models share: features of a step, shape of a forecast, loss, checks at the door, ONNX export."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol
from uuid import uuid4

import numpy as np
import torch
from darts import TimeSeries
from darts.models.forecasting.pl_forecasting_module import PLForecastingModule, io_processor
from darts.models.forecasting.torch_forecasting_model import MixedCovariatesTorchModel
from darts.utils.data.torch_datasets.utils import (
    ModuleStage,
    PLModuleInput,
    PLModuleOutput,
    TorchTrainingSample,
)
from darts.utils.onnx.export import OnnxExportBundle
from torch import nn

from seq_plugins.layers import HorizonHead
from seq_plugins.models._arguments import check_arguments
from seq_plugins.models._docstrings import fill_in_shared_parameters
from seq_plugins.windows import (
    ChunkLengths,
    WeightedWindowsTrainingDataset,
    check_inference_values,
    check_training_series,
)

# B: batch, L: input chunk length, s: output chunk shift, H: output chunk length, C: target components,
# P: past covariates, F: future covariates, S: static covariates (flattened), I = C + P + F + S: features of a step,
# L': steps after down-sampling, D: features of a state, T: steps with a loss, N: likelihood parameters


class StepForecasts(NamedTuple):
    """Forecasts of all steps that have a loss, steps folded into the batch, with what came true."""

    prediction: torch.Tensor  # (B * T, H, C, N)
    target: torch.Tensor  # (B * T, H, C)


class SequenceModule(PLForecastingModule, ABC):
    """Base of the networks: from Darts' input to the forecast of the last step and, in training, of every step.

    A subclass either calls :meth:`connect` with its encoder at the end of its constructor, or overrides
    :meth:`forecast_last_step`.

    Parameters
    ----------
    activation
        Name of the ``torch.nn`` activation between the head's layers.
    hidden_fc_sizes
        Sizes of the head's hidden layers.
    **kwargs
        Parameters of :class:`darts.models.forecasting.pl_forecasting_module.PLForecastingModule`.
    """

    sequence_to_sequence: bool = False
    """Whether the loss is on every step of the input, or on the last one only."""

    def __init__(self, activation: str = "ReLU", hidden_fc_sizes: Sequence[int] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.activation = activation
        self.hidden_fc_sizes = list(hidden_fc_sizes or [])
        shapes = self.train_sample_shape
        self.future_dim = _n_features(shapes["future_covariates"])
        self.static_dim = int(np.prod(shapes["static_covariates"])) if shapes["static_covariates"] else 0
        self.input_dim = (
            self.n_targets + _n_features(shapes["past_covariates"]) + self.future_dim + self.static_dim
        )  # fmt: skip
        n_parameters = 1 if self.likelihood is None else self.likelihood.num_parameters
        self.output_shape = (self.output_chunk_length, self.n_targets, n_parameters)

    def connect(self, encoder: "Encoder", step_ends: Sequence[int] | None = None) -> None:
        """Set the encoder and, after it, the head.

        Parameters
        ----------
        encoder
            Layer from features `(B, L, I)` to states `(B, L', D)`. A state may depend on no later step than its own.
        step_ends
            Position in ``0..L - 1`` of the newest input that each of the `L'` states has seen. By default, one state
            a step.
        """
        self.encoder = encoder
        self.head = HorizonHead(
            encoder.output_dim, self.future_dim, self.output_shape, self.hidden_fc_sizes, self.activation
        )
        if step_ends is None:
            step_ends = range(self.input_chunk_length)
        loss_steps, targets = self._steps_with_targets(step_ends)
        self.register_buffer("_loss_steps", torch.tensor(loss_steps), persistent=False)
        self.register_buffer("_target_positions", torch.tensor(targets), persistent=False)

    def _steps_with_targets(self, step_ends: Sequence[int]) -> tuple[list[int], list[list[int]]]:
        """Return the states whose `H` targets all exist in a sample, and those targets' positions in it.

        Positions count the time steps that exist: with a shift, those between input and output chunk do not.
        """
        length, shift, horizon = self.input_chunk_length, self.output_chunk_shift, self.output_chunk_length
        loss_steps, targets = [], []
        for step, end in enumerate(step_ends):
            times = range(end + shift + 1, end + shift + horizon + 1)
            if times[-1] < length:
                loss_steps.append(step)
                targets.append(list(times))
            elif shift == 0 or end == length - 1:
                loss_steps.append(step)
                targets.append([time - shift for time in times])
        return loss_steps, targets

    @io_processor
    def forward(self, x_in: PLModuleInput) -> PLModuleOutput:
        """Return the last step's forecast `(B, H, C, N)` and, in training of every step, all steps' forecasts too."""
        if self._has_loss_on_every_step and x_in.stage is ModuleStage.TRAIN:
            return self._forecast_every_step(x_in)
        return PLModuleOutput(prediction=self.forecast_last_step(x_in))

    @property
    def _has_loss_on_every_step(self) -> bool:
        # the statistics of reversible instance normalisation come from the whole window: earlier steps would peek
        return self.sequence_to_sequence and not self.use_reversible_instance_norm

    def forecast_last_step(self, x_in: PLModuleInput) -> torch.Tensor:
        """Return the forecast `(B, H, C, N)` from the state that has seen the newest input."""
        states = self.encoder(self._step_features(x_in))  # -> (B, L', D)
        future = x_in.future_covariates
        forecasts = self.head(states[:, -1:], None if future is None else future.unsqueeze(1))  # -> (B, 1, H, C, N)
        last_forecast: torch.Tensor = forecasts.squeeze(1)
        return last_forecast

    def _forecast_every_step(self, x_in: PLModuleInput) -> PLModuleOutput:
        states = self.encoder(self._step_features(x_in))[:, self._loss_steps]  # -> (B, T, D)
        future = None
        if x_in.future_covariates is not None:
            # -> (B, T, H, F)
            future = _join(x_in.historic_future_covariates, x_in.future_covariates)[:, self._target_positions]
        forecasts = self.head(states, future)  # -> (B, T, H, C, N)
        targets = _join(x_in.past_target, x_in.future_target)[:, self._target_positions]  # -> (B, T, H, C)
        every_step = StepForecasts(forecasts.flatten(end_dim=1), targets.flatten(end_dim=1))
        return PLModuleOutput(prediction=forecasts[:, -1], state=every_step)

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
        return torch.cat(features, dim=-1)

    def _compute_loss(
        self,
        output: PLModuleOutput,
        target: torch.Tensor,
        criterion: nn.Module,
        sample_weight: torch.Tensor | None,
    ) -> torch.Tensor:
        every_step: StepForecasts | None = output.state
        if sample_weight is not None:
            if sample_weight.shape[1] == self.output_chunk_length:
                every_step = None  # weights as Darts' own data set gives them: those of the output chunk only
            elif every_step is not None:
                sample_weight = sample_weight[:, self._target_positions].flatten(end_dim=1)  # -> (B * T, H, C)
            else:
                sample_weight = sample_weight[:, -self.output_chunk_length :]
        if every_step is not None:
            output, target = output.replace(prediction=every_step.prediction), every_step.target
        loss: torch.Tensor = super()._compute_loss(output, target, criterion, sample_weight)
        return loss

    def _onnx_wrapper(self, input_sample: PLModuleInput) -> OnnxExportBundle:
        bundle: OnnxExportBundle = super()._onnx_wrapper(input_sample)
        # a batch of one would be taken for a constant
        bundle.example_inputs = tuple(example.repeat(2, 1, 1) for example in bundle.example_inputs)
        return bundle


class Encoder(Protocol):
    """A layer from the features of every step, `(B, L, I)`, to states, `(B, L', D)`."""

    output_dim: int
    """Number of features of a state, `D`."""

    def __call__(self, features: torch.Tensor) -> torch.Tensor:
        """Return the states."""


def _n_features(shape: tuple[int, ...] | None) -> int:
    return 0 if shape is None else shape[-1]


def _join(past: torch.Tensor, future: torch.Tensor) -> torch.Tensor:
    return torch.cat([past, future], dim=1)


_weights_saved_apart: ContextVar[bool] = ContextVar("weights_saved_apart", default=False)


class SequenceModel(MixedCovariatesTorchModel, ABC):
    """Base of the public models. A subclass names its network and its constructor's arguments, and no more.

    The arguments that the network's constructor names reach it under the same names.
    """

    _module_class: ClassVar[type[SequenceModule]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.__doc__:
            cls.__doc__ = fill_in_shared_parameters(cls.__doc__)

    @abstractmethod
    def __init__(self) -> None:
        arguments = self.model_params
        self._check_arguments(arguments)
        super().__init__(**self._extract_torch_model_params(**arguments))
        self.pl_module_params = self._extract_pl_module_params(**arguments)
        self._considers_static_covariates = arguments["use_static_covariates"]

    def _check_arguments(self, arguments: dict[str, Any]) -> None:
        """Raise a ``ValueError`` for arguments that are wrong by themselves or together."""
        check_arguments(arguments)

    @property
    def supports_static_covariates(self) -> bool:
        return True

    @property
    def _chunk_lengths(self) -> ChunkLengths:
        return ChunkLengths(self.input_chunk_length, self.output_chunk_shift, self.output_chunk_length)

    @property
    def _has_loss_on_every_step(self) -> bool:
        default = self._module_class.sequence_to_sequence
        sequence_to_sequence: bool = self.model_params.get("sequence_to_sequence", default)
        return sequence_to_sequence and not self.model_params.get("use_reversible_instance_norm", False)

    def _create_model(self, train_sample: TorchTrainingSample) -> SequenceModule:
        own_arguments = {
            name: value for name, value in self.model_params.items() if name in _argument_names(self._module_class)
        }
        return self._module_class(**(own_arguments | self.pl_module_params))

    def _setup_for_fit_from_dataset(
        self,
        series: TimeSeries | Sequence[TimeSeries],
        past_covariates: TimeSeries | Sequence[TimeSeries] | None = None,
        future_covariates: TimeSeries | Sequence[TimeSeries] | None = None,
        **kwargs: Any,
    ) -> Any:
        arguments = kwargs | {
            "series": series,
            "past_covariates": past_covariates,
            "future_covariates": future_covariates,
        }
        for prefix in ("", "val_"):
            if arguments.get(f"{prefix}series") is not None:
                check_training_series(
                    arguments[f"{prefix}series"],
                    arguments.get(f"{prefix}past_covariates"),
                    arguments.get(f"{prefix}future_covariates"),
                    arguments.get(f"{prefix}sample_weight"),
                    self._chunk_lengths,
                    max_samples_per_ts=arguments.get("max_samples_per_ts"),
                    stride=arguments.get("stride", 1),
                    prefix=prefix,
                )
        return super()._setup_for_fit_from_dataset(series, past_covariates, future_covariates, **kwargs)

    def _build_train_dataset(
        self,
        series: Sequence[TimeSeries],
        past_covariates: Sequence[TimeSeries] | None,
        future_covariates: Sequence[TimeSeries] | None,
        sample_weight: Sequence[TimeSeries] | str | None,
        max_samples_per_ts: int | None,
        stride: int = 1,
    ) -> Any:
        if sample_weight is None or not self._has_loss_on_every_step or not self._requires_training:
            return super()._build_train_dataset(
                series, past_covariates, future_covariates, sample_weight, max_samples_per_ts, stride
            )
        return WeightedWindowsTrainingDataset(
            series=series,
            past_covariates=past_covariates,
            future_covariates=future_covariates,
            input_chunk_length=self.input_chunk_length,
            output_chunk_length=self.output_chunk_length,
            output_chunk_shift=self.output_chunk_shift,
            stride=stride,
            max_samples_per_ts=max_samples_per_ts,
            use_static_covariates=self.uses_static_covariates,
            sample_weight=sample_weight,
        )

    def _build_inference_dataset(
        self,
        n: int,
        series: Sequence[TimeSeries],
        past_covariates: Sequence[TimeSeries] | None,
        future_covariates: Sequence[TimeSeries] | None,
        stride: int = 0,
        bounds: np.ndarray | None = None,
    ) -> Any:
        dataset = super()._build_inference_dataset(n, series, past_covariates, future_covariates, stride, bounds)
        check_inference_values(dataset, self._chunk_lengths)
        return dataset

    def save(self, path: str | None = None, clean: bool = False) -> None:
        """Save the model, as Darts does; a file that stands at `path` is replaced only when the new one is whole.

        Parameters
        ----------
        path
            Path of the file; the network's weights go into a second one, ``path + ".ckpt"``. By default, a name made of
            the model's and the time.
        clean
            Whether to leave out the training series and the trainer's settings.
        """
        path = self._default_save_path() + ".pt" if path is None else str(path)
        if self.trainer is None and self.model is not None:  # a copy, or loaded: Darts would save it without weights
            trainer = self._setup_trainer(None, self.model)
            trainer.strategy.connect(self.model)
            self.trainer: Any = trainer
        temporary = f"{path}.{uuid4().hex}.tmp"
        token = _weights_saved_apart.set(True)
        try:
            super().save(temporary, clean)
            for ending in (".ckpt", ""):
                if Path(temporary + ending).exists():
                    Path(temporary + ending).replace(path + ending)
        finally:
            _weights_saved_apart.reset(token)
            for ending in (".ckpt", ""):
                Path(temporary + ending).unlink(missing_ok=True)

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()
        if self.model is not None and not _weights_saved_apart.get():
            # arrays and no tensors, so that Darts' restricted loading takes them
            weights = self.model.state_dict()
            state["_pickled_weights"] = {
                name: (str(weight.dtype).removeprefix("torch."), weight.detach().cpu().double().numpy())
                for name, weight in weights.items()
            }
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        weights = state.pop("_pickled_weights", None)
        super().__setstate__(state)
        if weights is not None:
            tensors = {
                name: torch.from_numpy(value).to(getattr(torch, dtype)) for name, (dtype, value) in weights.items()
            }
            self.model = self._create_model(self.train_sample)
            self.model.to(next(iter(tensors.values())).dtype)
            self.model.load_state_dict(tensors)

    def to_onnx(self, path: str | None = None, **kwargs: Any) -> None:
        """Export the fitted network to ONNX, for batches of any size.

        Inputs are named and shaped as in Darts: `past_target` `(batch, L, C)` and, where the model uses them,
        `past_covariates`, `historic_future_covariates`, `future_covariates` and `static_covariates`. The output is
        `prediction`, `(batch, H, C, N)`.

        Parameters
        ----------
        path
            Path of the file to write. By default, a name made of the model's and the time.
        **kwargs
            Further arguments of ``torch.onnx.export``.

        Raises
        ------
        ValueError
            If the model has not been fitted.
        """
        if self.model is not None and "dynamic_shapes" not in kwargs:
            shapes = self.model.train_sample_shape
            n_inputs = sum(shape is not None for name, shape in shapes.items() if name != "future_target")
            kwargs["dynamic_shapes"] = (({0: torch.export.Dim("batch")},) * n_inputs,)
        with torch.no_grad():
            super().to_onnx(path, **kwargs)


def _argument_names(module_class: type[SequenceModule]) -> set[str]:
    """Return the names of the arguments that a network takes beside those of Darts' networks."""
    own_classes = module_class.__mro__[: module_class.__mro__.index(PLForecastingModule)]
    names = {name for own_class in own_classes for name in inspect.signature(own_class).parameters}
    return names - {"self", "args", "kwargs"}
