"""What trainings of the benchmarks do and keep beside what Darts has arguments for, as Lightning callbacks."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from darts.utils.data.torch_datasets.utils import ModuleStage
from pytorch_lightning.callbacks import Callback
from torch.utils.data import DataLoader, Sampler

Show = Callable[[str], None]
"""Called with a line that says what is being done."""


class TrainingCurve(Callback):
    """Keeps the losses of every epoch, and tells which epoch a training is in.

    Parameters
    ----------
    show
        Told how far training is.
    monitor
        Name of the metric by which training is stopped and weights are chosen.
    """

    def __init__(self, show: Show = lambda text: None, monitor: str = "val_loss") -> None:
        self._show: Show | None = show
        self.monitor = monitor
        self._monitored: list[float] = []
        self.train_losses: list[float] = []
        self.validation_losses: list[float] = []

    def __getstate__(self) -> dict[str, Any]:
        # checkpoints hold the callbacks
        return vars(self) | {"_show": None, "_monitored": [], "train_losses": [], "validation_losses": []}

    @property
    def best_epoch(self) -> int:
        """Epoch, counted from 1, whose weights are kept: the last, if nothing has been validated."""
        return len(self._monitored) if np.isnan(self._monitored).all() else 1 + int(np.nanargmin(self._monitored))

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Keep and show the losses of the epoch that has ended."""
        losses = {name: float(trainer.callback_metrics.get(name, "nan")) for name in ("train_loss", "val_loss")}
        self.train_losses.append(losses["train_loss"])
        self.validation_losses.append(losses["val_loss"])
        self._monitored.append(float(trainer.callback_metrics.get(self.monitor, "nan")))
        if self._show is not None:
            name = "training" if np.isnan(losses["val_loss"]) else "validation"
            loss = losses["train_loss" if name == "training" else "val_loss"]
            self._show(f"epoch {trainer.current_epoch + 1} of at most {trainer.max_epochs}, {name} loss {loss:.4f}")


class EveryStepError(Callback):
    """Logs the mean absolute error of the validation set's forecasts from every step, as ``val_every_step_error``.

    Our models' own validation errors are those of the last step, since that is what is forecast.
    """

    name = "val_every_step_error"

    def __init__(self) -> None:
        self._sum, self._count = 0.0, 0

    def on_validation_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Start anew."""
        self._sum, self._count = 0.0, 0

    def on_validation_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Add the errors of a batch; only in training do our networks forecast from every step."""
        every_step = pl_module(batch.to_module_input(stage=ModuleStage.TRAIN)).state
        errors = (every_step.prediction[..., 0] - every_step.target).abs()
        self._sum += float(errors.sum())
        self._count += errors.numel()

    def on_validation_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Log the mean."""
        pl_module.log(self.name, self._sum / self._count)


class TimeOrderedTraining(Callback):
    """Lets training windows come in the order of time, shuffled in a buffer.

    Parameters
    ----------
    buffer_size
        Number of windows among which the next one is drawn.
    """

    def __init__(self, buffer_size: int) -> None:
        self.buffer_size = buffer_size

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Give the training's loader another sampler; Darts' ``dataloader_kwargs`` would give it to validation too."""
        if stage != "fit":
            return
        loader = trainer.datamodule.train_dataloader()
        sampler = BufferedSampler(len(loader.dataset), self.buffer_size)
        trainer.datamodule.train_dataloader = lambda: DataLoader(
            loader.dataset, loader.batch_size, sampler=sampler, collate_fn=loader.collate_fn
        )


class BufferedSampler(Sampler[int]):
    """Indices from the oldest window, which is the last, to the newest, shuffled as ``tf.data.Dataset.shuffle`` does.

    Parameters
    ----------
    n_windows
        Number of windows.
    buffer_size
        Number of windows among which the next one is drawn.
    """

    def __init__(self, n_windows: int, buffer_size: int) -> None:
        self.n_windows = n_windows
        self.buffer_size = buffer_size

    def __len__(self) -> int:
        return self.n_windows

    def __iter__(self) -> Iterator[int]:
        buffer: list[int] = []
        for window in reversed(range(self.n_windows)):
            buffer.append(window)
            if len(buffer) == self.buffer_size:
                yield self._draw(buffer)
        while buffer:
            yield self._draw(buffer)

    @staticmethod
    def _draw(buffer: list[int]) -> int:
        place = int(torch.randint(len(buffer), ()))
        buffer[place], buffer[-1] = buffer[-1], buffer[place]
        return buffer.pop()
