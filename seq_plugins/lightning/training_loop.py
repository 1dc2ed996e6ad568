"""Training without PyTorch Lightning's work around each batch.

A small network on a CPU trains a batch in less time than Lightning spends around it. Where nothing that the user
configured could tell the difference, the batches of an epoch are trained in a plain loop: the same batches, in the same
order, with the same updates. All that happens at the end of an epoch (logging, validation, callbacks, checkpoints,
schedulers) stays Lightning's. A request to stop counts after the current batch, as it does there.

Lightning has no public place for such a loop. If its private names move, training takes the ordinary way.
"""

import logging
import time
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch
from darts.models.forecasting.pl_forecasting_module import PLForecastingModule
from darts.utils.data.torch_datasets.utils import ModuleStage
from pytorch_lightning.callbacks import Callback, ModelCheckpoint, ProgressBar, RichProgressBar, TQDMProgressBar
from pytorch_lightning.plugins.precision import DoublePrecision, Precision
from pytorch_lightning.profilers import PassThroughProfiler
from pytorch_lightning.strategies import SingleDeviceStrategy

from seq_plugins._private_names import AutomaticOptimization, TrainingEpochLoop
from seq_plugins.layers import RecurrentLayer
from seq_plugins.layers.recurrent_kernels import threads_of_members
from seq_plugins.lightning.weight_updates import Updates, forget_gradients

logger = logging.getLogger(__name__)

_BATCH_HOOKS = (
    "on_train_batch_start",
    "on_train_batch_end",
    "on_before_zero_grad",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
)
_MODULE_HOOKS = (
    *_BATCH_HOOKS,
    "backward",
    "on_before_batch_transfer",
    "on_after_batch_transfer",
    "optimizer_step",
    "optimizer_zero_grad",
    "transfer_batch_to_device",
)
_SECONDS_BETWEEN_BAR_UPDATES = 0.2


class FastTrainingEpochLoop(TrainingEpochLoop):
    """Lightning's loop over the batches of an epoch, as a plain loop where that is wanted and possible."""

    is_fast: bool = True
    """Whether the plain loop is wanted."""

    _path = ""

    def advance(self, data_fetcher: Any) -> None:
        """Train the next batch, as Lightning does, or all of the epoch until somebody wants training to stop."""
        trainer = self.trainer
        module: Any = trainer.lightning_module
        is_alone = trainer.world_size == 1  # logging is common work: one process must not wait for the others
        try:
            if self._takes_fast_path():
                self._train_epoch(data_fetcher)
            else:
                super().advance(data_fetcher)
        except BaseException:
            if is_alone:
                module.log_train_loss()
            raise
        if is_alone and not module.logs_every_batch and (self._is_training_done or self._is_to_stop()):
            module.log_train_loss()
            trainer._logger_connector.on_batch_end()

    def _takes_fast_path(self) -> bool:
        if self.batch_progress.current.ready > 0 or self.restarting:
            return False
        try:
            reason = why_not_fast(self.trainer) if self.is_fast else "`fast_training` is off"
        except AttributeError as error:
            reason = f"PyTorch Lightning has changed ({error})"
        path = f"ordinary path: {reason}" if reason else "fast path"
        if path != self._path:
            logger.debug("Training takes the %s.", path)
            self._path = path
        return reason is None

    def _train_epoch(self, data_fetcher: Any) -> None:
        trainer, progress = self.trainer, self.batch_progress
        connector = trainer._logger_connector
        batches = _PlainBatches(trainer, self.automatic_optimization.optim_progress.optimizer)
        bar = trainer.progress_bar_callback if is_enabled(trainer.progress_bar_callback) else None
        next_bar_update = time.monotonic() + _SECONDS_BETWEEN_BAR_UPDATES
        next_batch = _source_of_batches(data_fetcher)
        is_last = False
        module = batches.module
        layers = [layer for layer in module.modules() if isinstance(layer, RecurrentLayer)]
        widths = [layer.input_dim + layer.hidden_dim for layer in layers]
        module._current_fx_name = "training_step"  # to which belongs what the network logs by itself
        with trainer.precision_plugin.train_step_context(), threads_of_members(widths, module.ensemble_size):
            for batch_index in range(int(trainer.num_training_batches)):
                if batch_index > 0:
                    self._batches_that_stepped += 1  # Lightning counts the last one
                batch = next_batch()
                # counted as Lightning would have done, so that steps, checkpoints and resumed runs agree
                progress.is_last_batch = data_fetcher.done
                progress.increment_ready()
                connector.on_batch_start(batch)
                progress.increment_started()
                batches.train(batch)
                progress.increment_processed()
                is_last = self._num_ready_batches_reached() or self._is_to_stop()
                if is_last:
                    self._end_batch()
                progress.increment_completed()
                if bar is not None and (is_last or time.monotonic() > next_bar_update):
                    bar.on_train_batch_end(trainer, module, {}, batch, batch_index)
                    next_bar_update = time.monotonic() + _SECONDS_BETWEEN_BAR_UPDATES
                if is_last:
                    break
        module._current_fx_name = None
        connector.update_train_step_metrics()

    def _is_to_stop(self) -> bool:
        """Return whether somebody wants training to stop: a callback, another thread, or who ends the process."""
        trainer = self.trainer
        return bool((trainer.should_stop and trainer.fit_loop._can_stop_early) or trainer.received_sigterm)

    def _end_batch(self) -> None:
        """Log the last batch's loss and let schedulers act, as Lightning does after the last batch."""
        module: Any = self.trainer.lightning_module
        module.log_train_loss()
        if self._num_ready_batches_reached():
            self.update_lr_schedulers("epoch", update_plateau_schedulers=False)
        self.trainer._logger_connector.on_batch_end()


class _PlainBatches:
    """Trains batches: loss, gradients, clipping, update.

    Parameters
    ----------
    trainer
        Trainer whose network and optimizer are used.
    progress
        What counts the optimizer's steps.
    """

    def __init__(self, trainer: Any, progress: Any) -> None:
        self.module: Any = trainer.lightning_module
        self._trainer = trainer
        self._progress = progress
        self._optimizer = trainer.optimizers[0]
        self._updates = Updates(self._optimizer)
        self._clips = (
            trainer.gradient_clip_val is not None
            or self.module.configure_gradient_clipping != self.module.shared_gradient_clipping
        )

    def train(self, batch: Any) -> None:
        """Update the weights once."""
        if batch.past_target.dtype != self.module.dtype:
            batch = self._trainer.precision_plugin.convert_input(batch)
        self._progress.step.increment_ready()
        self._updates.update(lambda: self._differentiate(batch))
        self._progress.step.increment_completed()

    def _differentiate(self, batch: Any) -> torch.Tensor:
        """Compute loss and gradients, as Lightning's closure does."""
        module = self.module
        with torch.enable_grad():
            loss: torch.Tensor = module.loss_of(batch, ModuleStage.TRAIN, module.train_criterion, module.train_metrics)
            self._progress.zero_grad.increment_ready()
            self._progress.zero_grad.increment_started()
            forget_gradients(self._optimizer)
            self._progress.zero_grad.increment_completed()
            loss.backward()
            if self._clips:
                trainer = self._trainer
                module.configure_gradient_clipping(
                    self._optimizer, trainer.gradient_clip_val, trainer.gradient_clip_algorithm
                )
        return loss


def _source_of_batches(data_fetcher: Any) -> Callable[[], Any]:
    """Return what gives the next batch: PyTorch's loader in this process, without Lightning's wrappers if possible."""
    try:
        (loader,) = data_fetcher.combined_loader._iterator.iterators
        sampler, fetch, pins_memory = loader._sampler_iter, loader._dataset_fetcher.fetch, loader._pin_memory
    except (AttributeError, ValueError):  # worker processes, or names that have moved
        return lambda: next(data_fetcher)[0]
    if pins_memory:
        return lambda: next(data_fetcher)[0]

    def next_batch() -> Any:
        batch = fetch(next(sampler))
        data_fetcher.fetched += 1
        data_fetcher.done = data_fetcher.fetched >= data_fetcher.length
        return batch

    return next_batch


def use_fast_training(trainer: Any, is_fast: bool) -> None:
    """Give `trainer`, which must not have been used yet, the loop that may take the fast path.

    Parameters
    ----------
    trainer
        Trainer that Darts has made.
    is_fast
        Whether to take it where that makes no difference.
    """
    ordinary = trainer.fit_loop.epoch_loop
    if type(ordinary) is not TrainingEpochLoop:
        return
    loop = FastTrainingEpochLoop(trainer, ordinary.min_steps, ordinary.max_steps)
    loop.is_fast = is_fast
    trainer.fit_loop.epoch_loop = loop


def why_not_fast(trainer: Any) -> str | None:
    """Return what the user configured that could tell the two paths apart; ``None`` if nothing could."""
    module = trainer.lightning_module
    checks = {
        "there are several devices, or one that is not the CPU": type(trainer.strategy) is not SingleDeviceStrategy
        or trainer.strategy.root_device.type != "cpu",
        "the precision is mixed or low": type(trainer.precision_plugin) not in (Precision, DoublePrecision),
        "gradients are accumulated": trainer.accumulate_grad_batches != 1,
        "steps are limited": trainer.fit_loop.max_steps != -1 or trainer.fit_loop.min_steps is not None,
        "there is a logger": bool(trainer.loggers),
        "there is a profiler": type(trainer.profiler) is not PassThroughProfiler,
        "anomalies are detected": torch.is_anomaly_enabled() or trainer._detect_anomaly,
        "validation runs within an epoch": validates_within_epochs(trainer),
        "the number of batches is unknown": trainer.num_training_batches == float("inf"),
        "the loops are not Lightning's": type(trainer.fit_loop.epoch_loop.automatic_optimization)
        is not AutomaticOptimization,
        "there is no backward pass": trainer.fit_loop._skip_backward,
        "optimization is manual": not module.automatic_optimization or len(trainer.optimizers) != 1,
        "a scheduler acts on every step": any(config.interval != "epoch" for config in trainer.lr_scheduler_configs),
        "the network has hooks of its own": any(has_hook_of_its_own(module, hook) for hook in _MODULE_HOOKS),
        "the network has a training step of its own": is_overridden(module, PLForecastingModule, "training_step")
        or module._train_val_step != module.shared_train_val_step,
    }
    for reason, holds in checks.items():
        if holds:
            return reason
    for callback in trainer.callbacks:
        if sees_batches(callback):
            return f"the callback {type(callback).__name__} sees every batch"
    return None


def validates_within_epochs(trainer: Any) -> bool:
    """Return whether validation may run after other batches than the last of an epoch."""
    by_batches = trainer.val_check_batch not in (None, trainer.num_training_batches)
    return trainer.enable_validation and (by_batches or trainer._val_check_time_interval is not None)


def network_sees_batches(module: Any) -> bool:
    """Return whether a network has a hook for every batch, be it of its class or its own."""
    return any(has_hook_of_its_own(module, hook) for hook in _BATCH_HOOKS)


def has_hook_of_its_own(module: Any, hook: str) -> bool:
    """Return whether a network has another hook than Lightning's and the one that all of our networks share."""
    shared = getattr(module, f"shared_{hook}", None)
    return is_overridden(module, pl.LightningModule, hook) and getattr(module, hook) != shared


def sees_batches(callback: Callback) -> bool:
    """Return whether a callback has a hook for every batch; Lightning's own bars are kept up to date without theirs."""
    base = next((bar for bar in (TQDMProgressBar, RichProgressBar) if isinstance(callback, bar)), Callback)
    if isinstance(callback, ModelCheckpoint) and not (callback._every_n_train_steps or callback._train_time_interval):
        base = ModelCheckpoint  # it has the hook, but acts on epochs only
    return any(is_overridden(callback, base, hook) for hook in _BATCH_HOOKS)


def is_enabled(bar: ProgressBar | None) -> bool:
    """Return whether there is a progress bar to be shown; not every one says."""
    return bar is not None and bool(getattr(bar, "is_enabled", True))


def is_overridden(instance: object, base: type, method: str) -> bool:
    """Return whether a method is another than that of a base class, be it the class's or the object's own."""
    found = getattr(instance, method)
    return getattr(found, "__func__", found) is not getattr(base, method)
