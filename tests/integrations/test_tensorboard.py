"""TensorBoard: losses and metrics of every epoch are really in the file."""

from pathlib import Path

import pytest
import torchmetrics
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.conftest import make_model, make_series

EPOCHS = 3


def test_losses_and_metrics_of_every_epoch_are_in_the_event_file(model_name: str, tmp_path: Path) -> None:
    model = make_model(
        model_name,
        n_epochs=EPOCHS,
        log_tensorboard=True,
        work_dir=str(tmp_path),
        model_name="run",
        torch_metrics=torchmetrics.MeanAbsoluteError(),
        pl_trainer_kwargs={"log_every_n_steps": 1},
    )
    model.fit(make_series(), val_series=make_series(seed=1))
    (file,) = (tmp_path / "run").rglob("events.out.tfevents.*")
    events = EventAccumulator(str(file))
    events.Reload()
    assert {"train_loss", "val_loss", "train_MeanAbsoluteError", "val_MeanAbsoluteError"} <= set(
        events.Tags()["scalars"]
    )
    for name in ("val_loss", "val_MeanAbsoluteError", "train_MeanAbsoluteError"):
        assert len(events.Scalars(name)) == EPOCHS, name
        assert events.Scalars(name)[-1].value == pytest.approx(float(model.trainer.callback_metrics[name]), rel=1e-5)
    n_batches = -(-(40 - 12 - 4 + 1) // 16)
    assert len(events.Scalars("train_loss")) == EPOCHS * n_batches


def test_nothing_is_written_without_it(tmp_path: Path) -> None:
    make_model("SimpleRNNModel", work_dir=str(tmp_path / "work")).fit(make_series())
    assert not list(tmp_path.rglob("events.out.tfevents.*"))
