"""A fit that is asked to stop does so after the current batch, on both paths."""

import os
import signal
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning.callbacks import Callback, Timer
from pytorch_lightning.utilities.exceptions import SIGTERMException
from torch import nn

from tests.conftest import OUTPUT, make_model, make_series
from tests.lightning.recorded_hooks import Recorder, Seen

N_BATCHES = 4
SERIES, VALIDATION_SERIES = make_series(63), make_series(51, seed=3)


class ActsOnce(nn.MSELoss):
    """A loss that does something in a certain batch of training.

    Parameters
    ----------
    batch
        Number of the batch in the whole training, from 1.
    action
        What it does, before the loss is known.
    """

    def __init__(self, batch: int, action: Callable[[], None]) -> None:
        super().__init__()
        self.batch, self.action, self.calls = batch, action, 0

    def __deepcopy__(self, memo: Any) -> "ActsOnce":
        return self  # Darts copies losses

    def __reduce__(self) -> Any:
        return nn.MSELoss, ()  # in checkpoints

    def forward(self, forecast: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        if forecast.requires_grad:
            self.calls += 1
            if self.calls == self.batch:
                self.action()
        return super().forward(forecast, target)


class SavesOnException(Callback):
    """Writes a checkpoint when training fails."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        trainer.save_checkpoint(self.path)


class Result:
    """What is left of a fit that was asked to stop."""

    def __init__(self, loss: ActsOnce, recorder: Recorder, error: BaseException | None) -> None:
        trainer = recorder.trainer
        self.batches = loss.calls
        self.error = type(error)
        self.progress = trainer.fit_loop.state_dict()
        self.step, self.epoch = trainer.global_step, trainer.current_epoch
        self.seen: list[Seen] = recorder.seen
        self.weights = [weight.detach().clone() for weight in trainer.lightning_module.parameters()]


def _fit(fast: bool, action: str, batch: int = 6, callbacks: Sequence[Callback] = (), **trainer: Any) -> Result:
    recorder = Recorder(of_batches=False)

    def ask() -> None:
        recorder.trainer.should_stop = True

    def act() -> None:
        if action == "should_stop":
            ask()
        elif action == "thread":
            thread = threading.Thread(target=ask)
            thread.start()
            thread.join()
        elif action == "SIGTERM":
            os.kill(os.getpid(), signal.SIGTERM)
        elif action == "SIGINT":
            os.kill(os.getpid(), signal.SIGINT)
        else:
            raise LookupError

    loss = ActsOnce(batch, act)
    trainer["callbacks"] = [recorder, *callbacks]
    model = make_model("LinearModel", n_epochs=4, batch_size=12, loss_fn=loss, pl_trainer_kwargs=trainer)
    model.fast_training = fast
    error: BaseException | None = None
    try:
        model.fit(SERIES, val_series=VALIDATION_SERIES)
    except (SIGTERMException, SystemExit, LookupError) as caught:
        error = caught
    return Result(loss, recorder, error)


def _assert_equal(fast: Result, ordinary: Result) -> None:
    for name in ("batches", "error", "step", "epoch", "progress"):
        assert getattr(fast, name) == getattr(ordinary, name), name
    assert [seen.names for seen in fast.seen] == [seen.names for seen in ordinary.seen]
    for ours, theirs in zip(fast.seen, ordinary.seen, strict=True):
        assert ours.metrics == pytest.approx(theirs.metrics, rel=1e-5), ours.hook
    torch.testing.assert_close(fast.weights, ordinary.weights)


@pytest.mark.parametrize("batch", [1, 4, 6])
@pytest.mark.parametrize(
    ("action", "error"),
    [
        ("should_stop", type(None)),
        ("thread", type(None)),
        ("SIGTERM", SIGTERMException),
        ("SIGINT", SystemExit),
        ("exception", LookupError),
    ],
)
def test_training_stops_after_the_current_batch_as_in_lightning(action: str, error: type, batch: int) -> None:
    fast, ordinary = (_fit(fast, action, batch) for fast in (True, False))
    _assert_equal(fast, ordinary)
    assert fast.batches == batch
    assert fast.error is error


def test_a_fit_that_is_stopped_within_an_epoch_is_validated_and_has_the_loss_of_its_last_batch() -> None:
    result = _fit(True, "should_stop", batch=2)
    assert result.step == 2
    assert {"on_validation_end", "on_train_epoch_end", "on_train_end", "on_fit_end"} <= {
        seen.hook for seen in result.seen
    }
    assert result.seen[-1].metrics.keys() == {"train_loss", "val_loss"}


def test_a_fit_on_the_ordinary_path_that_is_stopped_within_an_epoch_has_the_loss_of_its_last_batch() -> None:
    """Nobody looks at every batch, and so only that of the last one is logged; Lightning's own loop logs all."""
    ours, lightnings = (_fit(fast, "should_stop", 3, accumulate_grad_batches=3) for fast in (True, False))
    assert ours.step == 1
    _assert_equal(ours, lightnings)


def test_the_least_number_of_epochs_is_trained_before_a_request_to_stop_counts() -> None:
    fast, ordinary = (_fit(fast, "should_stop", 2, min_epochs=2) for fast in (True, False))
    assert fast.batches == 2 * N_BATCHES
    _assert_equal(fast, ordinary)


@pytest.mark.parametrize("action", ["SIGTERM", "SIGINT", "exception"])
def test_the_checkpoint_of_an_exception_is_that_of_the_ordinary_path(action: str, tmp_path: Path) -> None:
    checkpoints = []
    for fast in (True, False):
        path = tmp_path / f"{fast}.ckpt"
        assert _fit(fast, action, callbacks=[SavesOnException(path)]).batches == 6
        checkpoints.append(torch.load(path, weights_only=False))
    for checkpoint in checkpoints:
        assert checkpoint["global_step"] in (5, 6)
    assert checkpoints[0]["loops"] == checkpoints[1]["loops"]
    torch.testing.assert_close(checkpoints[0]["state_dict"], checkpoints[1]["state_dict"])


@pytest.mark.parametrize("fast", [True, False])
def test_training_ends_after_its_time(fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = iter(range(10**6))
    monkeypatch.setattr(Timer, "time_elapsed", lambda *args: float(next(calls)))
    model = make_model("LinearModel", n_epochs=50, batch_size=12, pl_trainer_kwargs={"max_time": {"seconds": 6}})
    model.fast_training = fast
    model.fit(SERIES)
    assert 0 < model.trainer.global_step <= 2 * N_BATCHES
    assert len(model.predict(OUTPUT)) == OUTPUT
