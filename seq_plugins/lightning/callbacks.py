"""What callbacks remember of an earlier fit, and should forget before the next."""

from collections.abc import Iterable

import torch
from pytorch_lightning.callbacks import Callback, EarlyStopping, ModelCheckpoint


def forget_earlier_fits(callbacks: Iterable[Callback]) -> None:
    """Let early stopping and checkpoints begin anew.

    Lightning keeps the best score and the epochs waited for it from one fit to the next. The next fit, of this model or
    of another that is given the same callback, would stop after its first epoch, and keep the best weights of the
    earlier one.

    Parameters
    ----------
    callbacks
        Callbacks of a training that starts, and does not resume from a checkpoint.
    """
    for callback in callbacks:
        if isinstance(callback, EarlyStopping):
            callback.wait_count = callback.stopped_epoch = 0
            callback.best_score = torch.tensor(_worst(callback))
        elif isinstance(callback, ModelCheckpoint):
            callback.best_k_models = {}
            callback.best_model_score = callback.current_score = None
            callback.best_model_path = callback.kth_best_model_path = ""
            callback.kth_value = torch.tensor(_worst(callback))
            callback._last_global_step_saved = 0  # steps are counted anew, and none would be saved at this one


def _worst(callback: EarlyStopping | ModelCheckpoint) -> float:
    return float("-inf") if callback.mode == "max" else float("inf")
