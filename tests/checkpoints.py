"""Models with checkpoints, and how tests train and save them."""

from pathlib import Path
from typing import Any

import pytest
import torch
from darts.models.forecasting.torch_forecasting_model import MixedCovariatesTorchModel

from seq_plugins.models import SequenceModel
from tests.conftest import make_model, make_series, takes

EPOCHS, KILLED_IN, LAST_CHECKPOINT = 6, 3, "last-epoch=2.ckpt"


def with_checkpoints(name: str, folder: Path, **arguments: Any) -> SequenceModel:
    for dropout in ("dropout", "recurrent_dropout"):
        if takes(name, dropout):
            arguments.setdefault(dropout, 0.3)
    given = {"n_epochs": EPOCHS, "optimizer_kwargs": {"lr": 0.02}} | arguments
    return make_model(name, save_checkpoints=True, work_dir=str(folder), model_name="run", **given)


def validated() -> dict[str, Any]:
    return {"series": make_series(60), "val_series": make_series(30, seed=9)}


def assert_same_network(model: SequenceModel, other: SequenceModel) -> None:
    """Compare all weights, bit for bit, and the number of epochs."""
    weights, others = model.model.state_dict(), other.model.state_dict()
    assert weights.keys() == others.keys()
    for name, weight in weights.items():
        torch.testing.assert_close(others[name], weight, rtol=0, atol=0)
    assert other.epochs_trained == model.epochs_trained


def save_as_before(model: SequenceModel, path: Path) -> None:
    """Save as older versions did: without the digest of the checkpoint."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SequenceModel, "__getstate__", MixedCovariatesTorchModel.__getstate__)
        MixedCovariatesTorchModel.save(model, str(path))
