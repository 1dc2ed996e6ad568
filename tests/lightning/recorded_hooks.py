"""What callbacks see of a fit: which hooks are called, and what the trainer knows by then."""

from functools import partial
from typing import Any, NamedTuple

from pytorch_lightning.callbacks import Callback

HOOKS_OF_BATCHES = (
    "on_train_batch_start",
    "on_train_batch_end",
    "on_before_zero_grad",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
)
_ALL_HOOKS = tuple(name for name in dir(Callback) if name.startswith("on_"))


class Seen(NamedTuple):
    """What a callback sees when one of its hooks is called."""

    hook: str
    epoch: int
    step: int
    metrics: dict[str, float]
    logged: frozenset[str]
    shown: frozenset[str]
    learning_rate: float | None

    @property
    def names(self) -> tuple[Any, ...]:
        """All but the values of the metrics, which differ from network to network."""
        return (*self[:3], frozenset(self.metrics), *self[4:])


class Recorder(Callback):
    """Notes what is seen at every hook of a fit, or at every one that is not of training batches.

    Parameters
    ----------
    of_batches
        Whether it has hooks for every training batch.
    """

    def __init__(self, of_batches: bool) -> None:
        self.seen: list[Seen] = []
        self.trainer: Any = None
        for name in _ALL_HOOKS:
            if of_batches or name not in HOOKS_OF_BATCHES:
                setattr(self, name, partial(self._note, name))

    def _note(self, hook: str, trainer: Any, *args: Any, **kwargs: Any) -> None:
        self.trainer = trainer
        if trainer.state.fn == "fit":
            self.seen.append(
                Seen(
                    hook,
                    trainer.current_epoch,
                    trainer.global_step,
                    {metric: float(value) for metric, value in trainer.callback_metrics.items()},
                    frozenset(trainer.logged_metrics),
                    frozenset(trainer.progress_bar_metrics),
                    trainer.optimizers[0].param_groups[0]["lr"] if trainer.optimizers else None,
                )
            )

    def __deepcopy__(self, memo: Any) -> "Recorder":
        return self  # Darts copies arguments
