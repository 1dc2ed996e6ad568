"""The learning rate of a network that was trained before and is now updated with new data."""

from dataclasses import dataclass
from typing import Any

import torch

SHARE_OF_LEARNING_RATE = 0.1
"""Share of the learning rate of training, from which that of an update starts by default."""


@dataclass(frozen=True)
class UpdateSchedule:
    """A learning rate that falls to zero along half a cosine, from the first update of the weights to the last.

    At the learning rate of training, the first updates lead away from what has been learnt, and a few epochs do not
    lead back.

    Parameters
    ----------
    learning_rate
        Rate at the start; ``None`` is a tenth of the optimizer's own.
    """

    learning_rate: float | None = None

    def configure(self, optimizer: torch.optim.Optimizer, n_updates: int) -> dict[str, Any]:
        """Return what Lightning is to train with.

        Parameters
        ----------
        optimizer
            Optimizer, at the learning rate of training.
        n_updates
            Number of updates of the weights.
        """
        for group in optimizer.param_groups:
            group["lr"] = self.learning_rate or group["lr"] * SHARE_OF_LEARNING_RATE
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=n_updates)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
