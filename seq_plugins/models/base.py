"""The model that all models share: input validation, data sets, training, prediction, ONNX export."""

import copy
import functools
import inspect
import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import numpy as np
import pytorch_lightning as pl
import torch
from darts import TimeSeries
from darts.models.forecasting.pl_forecasting_module import PLForecastingModule
from darts.utils.data.torch_datasets.utils import (
    TorchTrainingSample,
)
from pytorch_lightning.strategies import SingleDeviceStrategy

from seq_plugins._files import atomic_file
from seq_plugins.layers.head import check_segment_length
from seq_plugins.layers.local_normalization import LocalNormalizationName, check_local_normalization
from seq_plugins.layers.missing_values import (
    Missing,
)
from seq_plugins.layers.recurrent import check_dilations
from seq_plugins.layers.seasonal_skip import check_season_length
from seq_plugins.lightning.divergence import all_finite
from seq_plugins.lightning.output import only_what_concerns_the_user
from seq_plugins.lightning.prediction_loop import (
    KeptTrainer,
    PredictionLoop,
    can_predict_plainly,
    prediction_batch_size,
)
from seq_plugins.lightning.training_loop import (
    is_overridden,
    use_fast_training,
)
from seq_plugins.models._constructors import (
    check_names,
    full_signature,
    note_arguments,
    noted_arguments,
    without_numpy_integers,
)
from seq_plugins.models._docstrings import fill_in_shared_parameters
from seq_plugins.models._members import ModelOfMembers, check_optimizer_of_members
from seq_plugins.models.arguments import ArgumentCheck, check_arguments, integer_from
from seq_plugins.models.module import SequenceModule, has_loss_on_every_step
from seq_plugins.windows import (
    ChunkLengths,
    SeriesChecks,
    WindowsInferenceDataset,
    WindowsTrainingDataset,
    check_one_type,
    check_time_axes,
    configure_dataloaders,
    leave_batches_on_cpu,
    value_types_of,
)
from seq_plugins.windows.dtypes import check_optimizer, check_type, converts_values, required_type
from seq_plugins.windows.forecasts import build_forecasts

_setting_up_prediction = threading.RLock()

# not in the models, whose copies and files would hold them
_trainers_of_predictions: WeakKeyDictionary["SequenceModel", KeptTrainer] = WeakKeyDictionary()

# arguments that models of older versions lack, with the values that they have there
_LEFT_OUT = {"missing": "error", "ensemble_size": 1}

# prefixes of the arguments of the data sets that a fit has yet to make
_prefixes_of_fit: ContextVar[Iterator[str] | None] = ContextVar("prefixes_of_fit", default=None)


class SequenceModel(ModelOfMembers, ABC):
    """Base class of the public models. A subclass only names its network and the arguments of its constructor.

    Those arguments that the network's constructor also names are passed to it.
    """

    fast_training: bool = True
    """Whether to train around PyTorch Lightning's work for each batch where that changes no result."""

    fast_prediction: bool = True
    """Whether to predict around it, likewise; where no batch size is named, often more than `batch_size` at a time."""

    _module_class: ClassVar[type[SequenceModule]]

    _argument_checks: ClassVar[dict[str, ArgumentCheck]] = {}
    """Checks of arguments that no other model has, by name."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.__doc__:
            cls.__doc__ = fill_in_shared_parameters(cls.__doc__)
        if "__init__" in vars(cls):
            cls.__init__ = note_arguments(cls.__init__)  # type: ignore[method-assign]
        # Darts' metaclass hides the arguments from `inspect`, and with them from `help()` and tab completion
        cls.__signature__ = full_signature(cls)

    @abstractmethod
    def __init__(
        self,
        season_length: int | Sequence[int] | None = None,
        local_normalization: LocalNormalizationName | None = None,
        missing: Missing = "error",
        sort_quantiles: bool = True,
        ensemble_size: int = 1,
    ) -> None:
        arguments = noted_arguments(self)
        self._check_arguments(arguments)
        # Darts takes no integers of NumPy, such as a search of hyper-parameters gives
        arguments = without_numpy_integers(arguments)
        super().__init__(**self._extract_torch_model_params(**arguments))
        self._model_params: dict[str, Any] = without_numpy_integers(self.model_params)
        for name, default in _LEFT_OUT.items():
            if self._model_params.get(name) == default:
                del self._model_params[name]
        names = _argument_names(self._module_class)
        self._module_params = copy.deepcopy({name: value for name, value in arguments.items() if name in names})
        self.pl_module_params = self._extract_pl_module_params(**arguments)
        self._considers_static_covariates = arguments["use_static_covariates"]
        self._warnings_given: list[str] = []
        self._draw_for_members()

    @classmethod
    def _validate_model_params(cls, **kwargs: Any) -> None:
        check_names(cls, kwargs)

    def _check_arguments(self, arguments: dict[str, Any]) -> None:
        """Raise a ``ValueError`` for arguments that are wrong by themselves or together."""
        check_arguments(arguments, self._argument_checks)
        check_season_length(
            arguments.get("season_length"), arguments["input_chunk_length"], arguments.get("likelihood")
        )
        if "hidden_fc_sizes" in arguments:  # a model without such a head has no segments
            check_segment_length(
                arguments.get("segment_length"), arguments["output_chunk_length"], arguments["hidden_fc_sizes"]
            )
        if "n_rnn_layers" in arguments:
            check_dilations(arguments.get("dilations"), arguments["n_rnn_layers"], arguments["input_chunk_length"])
        check_local_normalization(
            arguments.get("local_normalization"),
            arguments.get("use_reversible_instance_norm"),
            arguments.get("likelihood"),
        )
        check_optimizer_of_members(arguments.get("ensemble_size", 1), arguments.get("optimizer_cls"))

    @property
    def supports_static_covariates(self) -> bool:
        return True

    @property
    def min_input_chunk_length(self) -> int:
        """Number of past time steps that a forecast needs: 1 where the oldest of a window may be missing."""
        return 1 if self._masks_missing_values else self.input_chunk_length

    @property
    def _ckpt_skipped_params(self) -> list[str]:
        return [*super()._ckpt_skipped_params, "sort_quantiles"]  # the weights are the same

    @property
    def _chunk_lengths(self) -> ChunkLengths:
        return ChunkLengths(
            self.input_chunk_length, self.output_chunk_shift, self.output_chunk_length, self.min_input_chunk_length
        )

    @property
    def _masks_missing_values(self) -> bool:
        return bool(self._module_params.get("missing") == "mask")

    @property
    def _has_loss_on_every_step(self) -> bool:
        default = self._module_class.sequence_to_sequence
        return has_loss_on_every_step(
            self._module_params.get("sequence_to_sequence", default),
            self.pl_module_params.get("use_reversible_instance_norm", False),
        )

    def _create_model(self, train_sample: TorchTrainingSample) -> SequenceModule:
        arguments = self._module_params | self.pl_module_params
        module = self._module_class(**arguments) if self.ensemble_size == 1 else self._create_members(arguments)
        module.warnings_given = self._warnings_given
        return module

    def untrained_model(self) -> "SequenceModel":
        model: SequenceModel = super().untrained_model()
        model._warnings_given = self._warnings_given  # a backtest that refits need not hear them each time
        _trainers_of_predictions[model] = _trainers_of_predictions.setdefault(self, KeptTrainer())
        return model

    def _setup_for_fit_from_dataset(
        self,
        series: TimeSeries | Sequence[TimeSeries],
        past_covariates: TimeSeries | Sequence[TimeSeries] | None = None,
        future_covariates: TimeSeries | Sequence[TimeSeries] | None = None,
        **kwargs: Any,
    ) -> Any:
        named = {"series": series, "past_covariates": past_covariates, "future_covariates": future_covariates}
        arguments = kwargs | named
        prefixes = _prefixes_of_fit.set(iter(("", "val_")))
        try:
            with self.restored_after():
                given, parameters = super()._setup_for_fit_from_dataset(**arguments)
                self._check_precision(parameters)
        except Exception:
            if self.add_encoders:  # they say little of covariates that they can't extend
                for prefix in ("", "val_"):
                    names = ("past_covariates", "future_covariates")
                    covariates = {name: arguments.get(prefix + name) for name in names}
                    check_time_axes(arguments.get(f"{prefix}series"), covariates, prefix)
            raise
        finally:
            _prefixes_of_fit.reset(prefixes)
        return given, parameters

    def _checks(self, **arguments: Any) -> SeriesChecks:
        return SeriesChecks(
            self._chunk_lengths, allow_missing=self._masks_missing_values, encoded=self._encoded, **arguments
        )

    @property
    def _encoded(self) -> list[str]:
        """Names of the covariates' components that `add_encoders` makes."""
        return [] if self.encoders is None else [name for names in self.encoders.components for name in names]

    def _check_precision(self, parameters: dict[str, Any]) -> None:
        trainer = parameters["trainer"]
        precision = self.trainer_params.get("precision") if trainer is None else trainer.precision
        check_optimizer(
            precision,
            self.pl_module_params.get("optimizer_cls", torch.optim.Adam),
            self.pl_module_params.get("optimizer_kwargs") or {},
        )
        expected = required_type(precision, None if self.model is None else self.model.dtype)
        for data_set in (parameters["train_dataset"], parameters["val_dataset"]):
            if data_set is None:
                continue
            types = value_types_of(data_set)
            if not converts_values(precision):
                check_one_type(types)
            check_type(expected, types)
            if not converts_values(precision):  # the validation set's type is that of the training set
                expected = next(iter(types))

    def _setup_trainer(
        self, trainer: pl.Trainer | None, model: SequenceModule, verbose: bool | None = None, epochs: int = 0
    ) -> pl.Trainer:
        with only_what_concerns_the_user():
            made: pl.Trainer = super()._setup_trainer(trainer, model, verbose, epochs)
        if trainer is None:
            use_fast_training(made, self.fast_training)
        return made

    def _setup_for_train(
        self, *args: Any, dataloader_kwargs: dict[str, Any] | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        given = dict(dataloader_kwargs or {})  # Darts takes entries out of it
        arguments: dict[str, Any] = super()._setup_for_train(*args, dataloader_kwargs=dict(given), **kwargs)
        device = _single_device(arguments["trainer"])
        configure_dataloaders(arguments["datamodule"], given, device)
        moves_batches_itself = is_overridden(arguments["model"], pl.LightningModule, "transfer_batch_to_device")
        if device is not None and device.type == "cpu" and not moves_batches_itself:
            leave_batches_on_cpu(arguments["datamodule"])
        return arguments

    def _setup_for_predict(
        self,
        *args: Any,
        trainer: pl.Trainer | None = None,
        batch_size: int | None = None,
        verbose: bool | None = None,
        dataloader_kwargs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        if self.model is not None and not all_finite(self.model.parameters()):
            raise ValueError(
                "Weights of the network are NaN or infinite, so all forecasts would be, too. Load earlier weights, or "
                "fit again with a lower learning rate."
            )
        with _setting_up_prediction:  # another thread's trainer must not be taken for that of training
            trainer_of_training, given = self.trainer, dict(dataloader_kwargs or {})
            plain_loop = None if trainer is not None or self.model is None else self._plain_prediction(verbose)
            arguments: dict[str, Any] = super()._setup_for_predict(
                *args,
                trainer=plain_loop or trainer,
                batch_size=batch_size,
                verbose=verbose,
                dataloader_kwargs=dict(given),
                **kwargs,
            )
            told = arguments["trainer"] if plain_loop is None else plain_loop.trainer
            check_type(
                required_type(told.precision, arguments["model"].dtype),
                value_types_of(arguments["datamodule"].predict_dataset),
            )
            configure_dataloaders(arguments["datamodule"], given, _single_device(told))
            if plain_loop is not None:
                # the network keeps its trainer, and with it the number of its epochs and the state of its optimizer
                self.trainer = trainer_of_training
                if batch_size is None and "batch_size" not in given:
                    data_module = arguments["datamodule"]
                    data_module.batch_size = max(data_module.batch_size, prediction_batch_size(arguments["model"]))
        return arguments

    def _plain_prediction(self, verbose: bool | None) -> PredictionLoop | None:
        """Return the loop that stands for a trainer, if it may; `None` if a trainer is needed."""
        if not self.fast_prediction:
            return None
        trainer = _trainers_of_predictions.setdefault(self, KeptTrainer()).get(
            self.trainer_params | {"verbose": verbose},
            lambda: self._setup_trainer(None, self.model, verbose, self.n_epochs),
        )
        return PredictionLoop(trainer) if can_predict_plainly(trainer, self.model) else None

    def scale_batch_size(self, *args: Any, **kwargs: Any) -> int:
        fast_prediction = self.fast_prediction
        self.fast_prediction = False  # the batch size is looked for with the trainer
        try:
            batch_size: int = super().scale_batch_size(*args, **kwargs)
        finally:
            self.fast_prediction = fast_prediction
        return batch_size

    # decorators would hide from mypy that these are methods
    functools.update_wrapper(scale_batch_size, ModelOfMembers.scale_batch_size)

    def historical_forecasts(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().historical_forecasts(*args, **kwargs)
        except ValueError as error:
            if str(error).startswith("Cannot build any dataset") and not self._masks_missing_values:
                raise ValueError(
                    f'{error} Give longer series, or make the model with `missing="mask"`, which treats the start '
                    "of a short series as missing."
                ) from error
            raise

    functools.update_wrapper(historical_forecasts, ModelOfMembers.historical_forecasts)

    def _predict(self, trainer: Any, *args: Any, values_only: bool = False, **kwargs: Any) -> Any:
        if values_only or not isinstance(trainer, PredictionLoop):
            with only_what_concerns_the_user():
                return super()._predict(trainer, *args, values_only=values_only, **kwargs)
        values, schemas, starts = super()._predict(trainer, *args, values_only=True, **kwargs)
        names = self.likelihood.component_names if kwargs.get("predict_likelihood_parameters") else None
        return build_forecasts(values, schemas, starts, names)

    def _build_train_dataset(
        self,
        series: Sequence[TimeSeries],
        past_covariates: Sequence[TimeSeries] | None,
        future_covariates: Sequence[TimeSeries] | None,
        sample_weight: Sequence[TimeSeries] | str | None,
        max_samples_per_ts: int | None,
        stride: int = 1,
    ) -> Any:
        if not self._requires_training:  # Darts' data set is of inputs only, then
            return super()._build_train_dataset(
                series, past_covariates, future_covariates, sample_weight, max_samples_per_ts, stride
            )
        prefix = next(_prefixes_of_fit.get() or iter(()), "")
        return WindowsTrainingDataset(
            series=series,
            past_covariates=past_covariates,
            future_covariates=future_covariates,
            input_chunk_length=(self.min_input_chunk_length, self.input_chunk_length),
            output_chunk_length=self.output_chunk_length,
            output_chunk_shift=self.output_chunk_shift,
            stride=stride,
            max_samples_per_ts=max_samples_per_ts,
            use_static_covariates=self.uses_static_covariates,
            sample_weight=sample_weight,
            # the loss of a validation set is on the last step
            window_weights=self._has_loss_on_every_step and not prefix,
            checks=self._checks(prefix=prefix, use_static_covariates=self.considers_static_covariates),
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
        integer_from(1)("n", n)
        return WindowsInferenceDataset(
            series=series,
            past_covariates=past_covariates,
            future_covariates=future_covariates,
            n=n,
            stride=stride,
            bounds=bounds,
            input_chunk_length=(self.min_input_chunk_length, self.input_chunk_length),
            output_chunk_length=self.output_chunk_length,
            output_chunk_shift=self.output_chunk_shift,
            use_static_covariates=self.uses_static_covariates,
            checks=self._checks(in_training=False, use_static_covariates=self.uses_static_covariates),
        )

    def to_onnx(self, path: str | os.PathLike[str] | None = None, **kwargs: Any) -> None:
        """Export the fitted network to ONNX, for batches of any size.

        Names and shapes of inputs are as in Darts: `past_target` `(batch, L, C)` and, where the model uses them,
        `past_covariates`, `historic_future_covariates`, `future_covariates` and `static_covariates`. The output is
        `prediction`, `(batch, H, C, N)`; quantiles are in order, unless `sort_quantiles` is off.

        Parameters
        ----------
        path
            Path of the file to write. By default, the name consists of the model's name and the time.
        **kwargs
            Further arguments of ``torch.onnx.export``.

        Raises
        ------
        ValueError
            If the model has not been fitted, or if `dynamo` is switched off.
        """
        if not kwargs.get("dynamo", True):
            raise ValueError("Expected `dynamo` to be left out or True: a dynamic batch size needs torch.export.")
        if self.model is not None and "dynamic_shapes" not in kwargs:
            shapes = self.model.train_sample_shape
            n_inputs = sum(shape is not None for name, shape in shapes.items() if name != "future_target")
            kwargs["dynamic_shapes"] = (({0: torch.export.Dim("batch")},) * n_inputs,)
        path = self._default_save_path() + ".onnx" if path is None else os.fspath(path)
        with only_what_concerns_the_user(), torch.no_grad(), atomic_file(path) as temporary:
            super().to_onnx(str(temporary), **kwargs)


def _single_device(trainer: Any) -> torch.device | None:
    device: torch.device = trainer.strategy.root_device
    return device if isinstance(trainer.strategy, SingleDeviceStrategy) else None


def _argument_names(module_class: type[SequenceModule]) -> set[str]:
    """Return the names of the arguments that a network takes beside those of Darts' networks."""
    own_classes = module_class.__mro__[: module_class.__mro__.index(PLForecastingModule)]
    # the class itself has the signature of its metaclass
    constructors: list[Any] = [
        vars(own_class)["__init__"] for own_class in own_classes if "__init__" in vars(own_class)
    ]
    names = {name for constructor in constructors for name in inspect.signature(constructor).parameters}
    return names - {"self", "args", "kwargs"}
