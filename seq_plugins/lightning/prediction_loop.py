"""Prediction without PyTorch Lightning's work around each batch."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import torch
from darts.models.forecasting.pl_forecasting_module import PLForecastingModule
from pytorch_lightning.callbacks import (
    Callback,
    EarlyStopping,
    ModelCheckpoint,
    ModelSummary,
    ProgressBar,
    RichModelSummary,
    RichProgressBar,
    TQDMProgressBar,
)
from pytorch_lightning.plugins.precision import DoublePrecision, Precision
from pytorch_lightning.profilers import PassThroughProfiler
from pytorch_lightning.strategies import SingleDeviceStrategy
from tqdm.auto import tqdm

from seq_plugins._private_names import OrdinaryPredictionLoop, TorchDataModule
from seq_plugins._progress import progress_bar
from seq_plugins.lightning.training_loop import has_hook_of_its_own, is_enabled, is_overridden

_MODULE_HOOKS = (
    "configure_callbacks",
    "configure_model",
    "setup",
    "teardown",
    "on_predict_model_eval",
    "on_predict_batch_start",
    "on_predict_batch_end",
    "on_predict_epoch_start",
    "on_predict_epoch_end",
    "on_before_batch_transfer",
    "on_after_batch_transfer",
    "transfer_batch_to_device",
)
_CALLBACK_HOOKS = ("setup", "teardown", *(name for name in dir(Callback) if "predict" in name))
_MOST_WINDOWS = 512
_MOST_ACTIVATIONS = 2**23
# they have some of the hooks, but do nothing in prediction, or what is done here, too
_NOT_MISSED = (EarlyStopping, ModelCheckpoint, ModelSummary, RichModelSummary, RichProgressBar, TQDMProgressBar)


_lock = threading.Lock()
_n_predicting: WeakKeyDictionary[PLForecastingModule, int] = WeakKeyDictionary()
_modes: WeakKeyDictionary[PLForecastingModule, dict[torch.nn.Module, bool]] = WeakKeyDictionary()


class KeptTrainer:
    """A trainer that is made once for predictions with the same settings: making one takes longer than most of them.

    It is only asked for its settings, never used.
    """

    def __init__(self) -> None:
        self._kept: tuple[dict[str, Any], Any] | None = None

    def get(self, settings: Mapping[str, Any], make: Callable[[], Any]) -> Any:
        """Return the trainer with the `settings`: the one that is kept, or what `make` makes."""
        # lists are copied, since callbacks may be added to the one at hand
        settings = {name: list(value) if isinstance(value, list) else value for name, value in settings.items()}
        kept = self._kept
        if kept is None or kept[0] != settings:
            kept = self._kept = (settings, make())
        return kept[1]


class PredictionLoop:
    """Stands for a trainer in Darts' prediction: a loop over the batches, and nothing else.

    Parameters
    ----------
    trainer
        The trainer that it stands for, from which it takes precision and progress bar.
    """

    def __init__(self, trainer: Any) -> None:
        self.trainer = trainer

    def predict(self, model: PLForecastingModule, datamodule: TorchDataModule) -> list[Any]:
        """Return the predictions of every batch, as ``Trainer.predict`` does."""
        bar = self.trainer.progress_bar_callback
        precision = self.trainer.precision_plugin
        batches = datamodule.predict_dataloader()
        with (
            evaluating(model),
            torch.inference_mode() if self.trainer.predict_loop.inference_mode else torch.no_grad(),
            precision.predict_step_context(),
            # not around the batches: it would draw from the random numbers once more
            progress_bar(total=len(batches), desc="Predicting", disable=not is_enabled(bar), kind=tqdm) as progress,
        ):
            predictions = []
            for index, batch in enumerate(batches):
                predictions.append(model.predict_step(self._in_precision(model, batch), index))
                progress.update()
            return predictions

    def _in_precision(self, model: PLForecastingModule, batch: Any) -> Any:
        if batch.past_target.dtype == model.dtype:
            return batch
        return self.trainer.precision_plugin.convert_input(batch)


@contextmanager
def evaluating(model: PLForecastingModule) -> Iterator[None]:
    """Put a network into the mode of prediction until the last of the threads that predict with it has ended."""
    with _lock:
        if _n_predicting.setdefault(model, 0) == 0:
            _modes[model] = {module: module.training for module in model.modules()}
        _n_predicting[model] += 1
    try:
        with _lock:
            model.eval()
            model.on_predict_start()
        yield
    finally:
        with _lock:
            _n_predicting[model] -= 1
            if _n_predicting[model] == 0:
                model.on_predict_end()
                for module, training in _modes.pop(model).items():
                    module.training = training


def can_predict_plainly(trainer: Any, module: PLForecastingModule) -> bool:
    """Return whether nothing that the user configured could tell a plain loop from the trainer's prediction."""
    return not (
        type(trainer.strategy) is not SingleDeviceStrategy
        or trainer.strategy.root_device.type != "cpu"
        or module.device.type != "cpu"
        or type(trainer.precision_plugin) not in (Precision, DoublePrecision)
        or type(trainer.profiler) is not PassThroughProfiler
        or trainer.fast_dev_run
        or trainer.limit_predict_batches not in (None, 1.0)
        or any(has_hook_of_its_own(module, hook) for hook in _MODULE_HOOKS)
        or module.predict_step != module.shared_predict_step
        or type(trainer.predict_loop) is not OrdinaryPredictionLoop
        or any(map(_sees_predictions, trainer.callbacks))
    )


def _sees_predictions(callback: Callback) -> bool:
    if isinstance(callback, ProgressBar) and type(callback) not in _NOT_MISSED:
        return True  # another bar is not to be replaced by one of tqdm
    base = type(callback) if type(callback) in _NOT_MISSED else Callback
    return any(is_overridden(callback, base, hook) for hook in _CALLBACK_HOOKS)


def prediction_batch_size(module: PLForecastingModule) -> int:
    """Return how many windows to predict at once where nothing depends on it but time and memory.

    What is drawn at random would depend on it, and so Darts' batches stay wherever something is.
    """
    is_random = module.pred_mc_dropout or (module.likelihood is not None and not module.predict_likelihood_parameters)
    if is_random or module.pred_num_samples != 1:
        return 1
    n_members = int(module.ensemble_size)
    widest = max(int(weight.shape[n_members > 1]) for weight in module.parameters())
    fitting = _MOST_ACTIVATIONS // (n_members * widest * int(module.input_chunk_length))
    return max(min(_MOST_WINDOWS, fitting), 1)
