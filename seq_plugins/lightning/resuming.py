"""What a checkpoint must hold beside Lightning's, so that a resumed training ends where an uninterrupted one does.

Lightning's checkpoints hold weights, optimizer, schedulers, progress and callbacks. They lack the state of the random
numbers (order of batches, dropout), a step of ``ReduceLROnPlateau`` that comes after the checkpoint of its epoch, and
that training was to stop. All is kept as tensors and plain values.

The network's own hooks save and restore it, not a callback: a `trainer` that is handed to `fit` has the network, but no
callback of ours.
"""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from seq_plugins.windows import is_stochastic

logger = logging.getLogger(__name__)


def training_state(trainer: Any) -> dict[str, Any] | None:
    """Return what a training in progress needs to go on as if it had not been interrupted; ``None`` if there is none.

    Parameters
    ----------
    trainer
        Trainer that writes a checkpoint.
    """
    if not (trainer.state.fn == "fit" and trainer.state.status == "running"):
        return None
    return {
        "random": _random_state(trainer),
        "plateau_metrics": _plateau_metrics(trainer),
        "should_stop": bool(trainer.should_stop),
    }


def restore_training_state(trainer: Any, state: dict[str, Any]) -> None:
    """Go on from :func:`training_state`; to be called when training starts, all of Lightning's own being restored.

    Parameters
    ----------
    trainer
        Trainer that resumes.
    state
        What :func:`training_state` gave.
    """
    for index, metric in state["plateau_metrics"].items():
        trainer.lightning_module.lr_scheduler_step(trainer.lr_scheduler_configs[index].scheduler, metric)
    if state["should_stop"]:
        trainer.should_stop = True
        logger.warning(
            "Training had already stopped in epoch %d before it was interrupted, and is not continued. To train these "
            "weights further, load them into a new model with `load_weights_from_checkpoint`.",
            trainer.current_epoch - 1,
        )
    if trainer.is_global_zero:
        _restore_random_state(trainer, state["random"])
    if not trainer.fit_loop.restarting:
        # the loader's iterator was made before, with other random numbers
        iter(trainer.fit_loop._data_fetcher)


def _random_state(trainer: Any) -> dict[str, Any]:
    state: dict[str, Any] = {"torch": torch.get_rng_state()}
    device = trainer.strategy.root_device
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    for name, generators in _generators_of_members(trainer).items():
        state[name] = [generator.get_state() for generator in generators]
    if _draws_from_numpy(trainer):
        _, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)  # noqa: NPY002 - Darts draws from it
        state["numpy"] = [torch.from_numpy(np.asarray(keys).astype(np.int64)), position, has_gauss, gauss]
    return state


def _restore_random_state(trainer: Any, state: dict[str, Any]) -> None:
    torch.set_rng_state(state["torch"].cpu())
    device = trainer.strategy.root_device
    if "cuda" in state and device.type == "cuda":
        torch.cuda.set_rng_state(state["cuda"].cpu(), device)
    for name, generators in _generators_of_members(trainer).items():
        if name in state:  # training may have begun on another device
            for generator, saved in zip(generators, state[name], strict=True):
                generator.set_state(saved.cpu())
    if "numpy" in state:
        keys, *rest = state["numpy"]
        np.random.set_state(("MT19937", keys.cpu().numpy().astype(np.uint32), *rest))  # noqa: NPY002


def _generators_of_members(trainer: Any) -> dict[str, Sequence[torch.Generator]]:
    """Return what the members of an ensemble draw from, by its name in a checkpoint."""
    module, device = trainer.lightning_module, trainer.strategy.root_device
    named = {"members": module.generators or ()}
    if device.type != "cpu":
        named[f"members on {device.type}"] = module.generators_on_device or ()
    return named


def _draws_from_numpy(trainer: Any) -> bool:
    """Return whether samples of a series are drawn anew for every batch, as Darts does for stochastic series."""
    data_module = trainer.datamodule
    return is_stochastic(data_module.train_dataset) or is_stochastic(data_module.val_dataset)


def _plateau_metrics(trainer: Any) -> dict[int, float]:
    """Return the metrics with which schedulers are yet to act in this epoch: Lightning saves before they do."""
    progress = trainer.fit_loop.epoch_progress.current
    if progress.completed == progress.started or not trainer.fit_loop.epoch_loop._num_ready_batches_reached():
        return {}
    metrics = {
        index: trainer.callback_metrics.get(config.monitor)
        for index, config in enumerate(trainer.lr_scheduler_configs)
        if config.reduce_on_plateau
        and config.interval == "epoch"
        and (trainer.current_epoch + 1) % config.frequency == 0
    }
    return {index: float(metric) for index, metric in metrics.items() if metric is not None}
