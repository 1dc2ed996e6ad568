"""Callbacks, hooks and progress bars are called, and see, what they do in Darts' own models, on both paths."""

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
import torchmetrics
from darts.models import BlockRNNModel
from pytorch_lightning.callbacks import (
    Callback,
    EarlyStopping,
    LambdaCallback,
    ModelCheckpoint,
    ProgressBar,
    TQDMProgressBar,
)
from torch.optim.optimizer import register_optimizer_step_post_hook

from seq_plugins.models import SequenceModel
from tests.conftest import INPUT, OUTPUT, make_model, make_series
from tests.lightning.recorded_hooks import HOOKS_OF_BATCHES, Recorder, Seen

N_BATCHES = 4
"""Batches of 12 windows in an epoch, of the series `SERIES`."""

SERIES, VALIDATION_SERIES = make_series(63), make_series(51, seed=3)


def _record(model_class: Any, of_batches: bool, fast: bool, validates: bool = True, **arguments: Any) -> list[Seen]:
    recorder = Recorder(of_batches)
    stopper = EarlyStopping("val_loss" if validates else "train_loss", patience=2, min_delta=-1e9)
    arguments = {"n_epochs": 4, **arguments}
    trainer = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False}
    trainer |= arguments.pop("pl_trainer_kwargs", {}) | {"callbacks": [recorder, stopper]}
    make = model_class if model_class is BlockRNNModel else lambda **given: make_model(model_class, **given)
    model = make(
        input_chunk_length=INPUT,
        output_chunk_length=OUTPUT,
        batch_size=12,
        random_state=1,
        torch_metrics=torchmetrics.MeanSquaredError(),
        pl_trainer_kwargs=trainer,
        **arguments,
    )
    model.fast_training = fast
    model.fit(SERIES, val_series=VALIDATION_SERIES if validates else None)
    return recorder.seen


FITS: dict[str, dict[str, Any]] = {
    "validation": {},
    "every second epoch": {"nr_epochs_val_period": 2},
    "within epochs": {"pl_trainer_kwargs": {"val_check_interval": 2}},
    "accumulated gradients": {"pl_trainer_kwargs": {"accumulate_grad_batches": 2}},
    "no validation": {"validates": False},
    "checkpoints": {"save_checkpoints": True, "force_reset": True},
    "plateau": {
        "lr_scheduler_cls": torch.optim.lr_scheduler.ReduceLROnPlateau,
        "lr_scheduler_kwargs": {"patience": 0, "factor": 0.1, "threshold": 1e9, "monitor": "val_loss"},
    },
}


@pytest.mark.parametrize("of_batches", [False, True])
@pytest.mark.parametrize("fit", FITS)
def test_callbacks_see_at_every_hook_what_they_see_in_darts(fit: str, of_batches: bool) -> None:
    expected = _record(BlockRNNModel, of_batches, fast=False, **FITS[fit])
    fast = _record("SimpleRNNModel", of_batches, fast=True, **FITS[fit])
    ordinary = _record("SimpleRNNModel", of_batches, fast=False, **FITS[fit])
    assert [seen.names for seen in fast] == [seen.names for seen in expected]
    assert [seen.names for seen in ordinary] == [seen.names for seen in expected]
    for ours, theirs in zip(fast, ordinary, strict=True):
        assert ours.metrics == pytest.approx(theirs.metrics, rel=1e-4), ours.hook


def test_the_validation_loss_is_there_when_callbacks_hear_that_validation_has_ended() -> None:
    seen = _record("SimpleRNNModel", of_batches=False, fast=True)
    at_the_end = [each.metrics["val_loss"] for each in seen if each.hook == "on_validation_epoch_end"]
    after = [each.metrics["val_loss"] for each in seen if each.hook == "on_validation_end" and each.step > 0]
    assert at_the_end[1:] == after  # the first is that of the sanity check
    assert len(set(after)) == 4


class Counts:
    """Counts calls."""

    def __init__(self) -> None:
        self.calls = 0
        self.outputs: list[Any] = []

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        self.calls += 1

    def note_outputs(self, trainer: Any, module: Any, outputs: Any, *args: Any) -> None:
        self.calls += 1
        self.outputs.append(outputs)


def _lambda_callback(hook: str, counts: Counts) -> Callback:
    return LambdaCallback(**{hook: lambda *args: counts()})


def _hook_on_an_object(hook: str, counts: Counts) -> Callback:
    callback = Callback()
    setattr(callback, hook, lambda *args: counts())
    return callback


def _hook_on_a_checkpoint(hook: str, counts: Counts) -> Callback:
    callback = ModelCheckpoint(save_top_k=0)
    setattr(callback, hook, lambda *args: counts())
    return callback


def _hook_on_a_bar(hook: str, counts: Counts) -> Callback:
    callback = TQDMProgressBar()
    setattr(callback, hook, lambda *args: counts())
    return callback


@pytest.mark.parametrize("make", [_lambda_callback, _hook_on_an_object, _hook_on_a_checkpoint, _hook_on_a_bar])
@pytest.mark.parametrize("hook", [*HOOKS_OF_BATCHES, "on_predict_batch_end"])
def test_hooks_of_an_object_are_called_for_every_batch(make: Any, hook: str) -> None:
    counts = Counts()
    callback = make(hook, counts)
    trainer: dict[str, Any] = {"callbacks": [callback]}
    if isinstance(callback, TQDMProgressBar):
        trainer["enable_progress_bar"] = True
    if isinstance(callback, ModelCheckpoint):
        trainer["enable_checkpointing"] = True
    model = make_model("LinearModel", batch_size=12, pl_trainer_kwargs=trainer).fit(SERIES)
    if hook == "on_predict_batch_end":
        model.predict(OUTPUT)
        assert counts.calls == 1
    else:
        assert counts.calls == N_BATCHES


@pytest.mark.parametrize("hook", [*HOOKS_OF_BATCHES, "on_predict_batch_end", "on_predict_epoch_start", "setup"])
def test_hooks_patched_onto_the_network_between_fits_are_called(hook: str) -> None:
    model = make_model("LinearModel", batch_size=12).fit(SERIES)
    counts = Counts()
    setattr(model.model, hook, lambda *args, **kwargs: counts())
    model.fit(SERIES)
    model.predict(OUTPUT)
    assert counts.calls == (N_BATCHES if hook in HOOKS_OF_BATCHES else 2 if hook == "setup" else 1)
    delattr(model.model, hook)
    model.fit(SERIES)
    assert counts.calls == (N_BATCHES if hook in HOOKS_OF_BATCHES else 2 if hook == "setup" else 1)


@pytest.mark.parametrize("method", ["training_step", "_train_val_step"])
def test_a_step_patched_onto_the_network_is_the_one_that_trains(method: str) -> None:
    model = make_model("LinearModel", batch_size=12).fit(SERIES)
    own, counts = getattr(model.model, method), Counts()

    def step(*args: Any, **kwargs: Any) -> Any:
        counts()
        return own(*args, **kwargs)

    setattr(model.model, method, step)
    model.fit(SERIES)
    assert counts.calls == N_BATCHES


def test_hooks_of_pytorch_are_called_on_the_fast_path(caplog: pytest.LogCaptureFixture) -> None:
    model = make_model("SimpleRNNModel", batch_size=12).fit(SERIES)
    network, counts = model.model, {name: Counts() for name in ("before", "after", "backward", "gradient", "step")}
    network.encoder.register_forward_pre_hook(lambda *args: counts["before"]())
    network.head.register_forward_hook(lambda *args: counts["after"]())
    network.head.register_full_backward_hook(lambda *args: counts["backward"]())
    next(network.parameters()).register_hook(lambda *args: counts["gradient"]())
    handle = register_optimizer_step_post_hook(lambda *args: counts["step"]())
    with caplog.at_level(logging.DEBUG, logger="seq_plugins"):
        model.fit(SERIES)
    handle.remove()
    assert "Training takes the fast path." in caplog.text
    assert {name: each.calls for name, each in counts.items()} == dict.fromkeys(counts, N_BATCHES)


def test_what_a_network_logs_by_itself_is_logged_on_the_fast_path() -> None:
    logged = []
    for fast in (True, False):
        model = make_model("LinearModel", batch_size=12, n_epochs=2).fit(SERIES)
        compute_loss, network = model.model._compute_loss, model.model

        def compute(*args: Any, compute_loss: Any = compute_loss, network: Any = network) -> torch.Tensor:
            loss: torch.Tensor = compute_loss(*args)
            network.log("mean_of_losses", loss, on_epoch=True, on_step=False)
            network.log("last_loss", loss)
            return loss

        network._compute_loss = compute
        model.fast_training = fast
        model.fit(SERIES)
        logged.append({name: float(value) for name, value in model.trainer.callback_metrics.items()})
    assert logged[0].keys() == {"train_loss", "mean_of_losses", "last_loss"}
    assert logged[0] == pytest.approx(logged[1], rel=1e-5)


class CountingBar(TQDMProgressBar):
    """A bar with a hook for every batch."""

    def __init__(self) -> None:
        super().__init__()
        self.outputs: list[Any] = []

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, *args: Any) -> None:
        super().on_train_batch_end(trainer, module, outputs, *args)
        self.outputs.append(outputs)


class PlainBar(ProgressBar):
    """A bar as in Lightning's documentation, which does not say whether it is enabled."""

    def __init__(self) -> None:
        super().__init__()
        self.batches = self.predicted = 0

    def disable(self) -> None:
        raise AssertionError

    def on_train_batch_end(self, *args: Any) -> None:
        self.batches += 1

    def on_predict_batch_end(self, *args: Any) -> None:
        self.predicted += 1


class SilentBar(ProgressBar):
    """A bar that shows nothing."""

    def disable(self) -> None:
        raise AssertionError


@pytest.mark.parametrize("fast", [True, False])
def test_a_bar_of_ones_own_sees_every_batch_and_its_loss(fast: bool) -> None:
    bar = CountingBar()
    model = make_model("LinearModel", batch_size=12, pl_trainer_kwargs=_shown(bar))
    model.fast_training = model.fast_prediction = fast
    model.fit(SERIES).predict(OUTPUT)
    assert [set(outputs) for outputs in bar.outputs] == [{"loss"}] * N_BATCHES


@pytest.mark.parametrize("fast", [True, False])
def test_a_bar_need_not_say_whether_it_is_enabled(fast: bool) -> None:
    bar = PlainBar()
    model = make_model("LinearModel", batch_size=12, pl_trainer_kwargs=_shown(bar))
    model.fast_training = model.fast_prediction = fast
    model.fit(SERIES, val_series=VALIDATION_SERIES).predict(OUTPUT)
    assert (bar.batches, bar.predicted) == (N_BATCHES, 1)


@pytest.mark.parametrize("bar", [SilentBar(), TQDMProgressBar()])
def test_bars_without_hooks_of_their_own_stay_on_the_fast_path(
    bar: ProgressBar, caplog: pytest.LogCaptureFixture
) -> None:
    model = make_model("LinearModel", batch_size=12, pl_trainer_kwargs=_shown(bar))
    with caplog.at_level(logging.DEBUG, logger="seq_plugins"):
        model.fit(SERIES)
    assert "Training takes the fast path." in caplog.text
    assert len(model.predict(OUTPUT)) == OUTPUT


def _shown(bar: ProgressBar) -> dict[str, Any]:
    return {"enable_progress_bar": True, "callbacks": [bar]}


@pytest.mark.parametrize("inference_mode", [True, False])
@pytest.mark.parametrize("fast", [True, False])
def test_the_trainers_inference_mode_holds_in_prediction(inference_mode: bool, fast: bool) -> None:
    model = make_model("LinearModel", pl_trainer_kwargs={"inference_mode": inference_mode}).fit(SERIES)
    modes = []
    model.model.register_forward_hook(
        lambda *args: modes.append((torch.is_inference_mode_enabled(), torch.is_grad_enabled()))
    )
    model.fast_prediction = fast
    model.predict(OUTPUT)
    assert modes == [(inference_mode, False)]


def test_steps_that_are_limited_and_hooks_of_the_network_leave_the_loss_to_be_seen() -> None:
    for trainer, hook in (({"max_steps": 3}, None), ({"max_steps": 7}, None), ({}, "on_train_batch_end")):
        seen: list[dict[str, list[float]]] = []
        for fast in (True, False):
            losses: list[float] = []
            recorder = LambdaCallback(
                on_train_epoch_end=lambda trainer, _, losses=losses: losses.append(
                    float(trainer.callback_metrics["train_loss"])
                )
            )
            model = make_model("SimpleRNNModel", n_epochs=2, batch_size=8)
            model.fast_training = fast
            model.trainer_params |= trainer | {"callbacks": [recorder]}
            if hook is not None:
                model.fit(make_series(50))
                setattr(model.model, hook, Counts())
            model.fit(make_series(50))
            seen.append({"losses": losses})
        assert seen[0]["losses"]
        assert seen[0]["losses"] == pytest.approx(seen[1]["losses"], rel=1e-4)
        assert len(set(seen[0]["losses"])) == len(seen[0]["losses"])


# --- from one fit to the next


def _model_that_keeps_the_best(folder: Path) -> tuple[SequenceModel, EarlyStopping, ModelCheckpoint]:
    stopper = EarlyStopping("val_loss", patience=3)
    keeper = ModelCheckpoint(folder, monitor="val_loss", mode="min")
    trainer = {"accelerator": "cpu", "enable_checkpointing": True, "callbacks": [stopper, keeper]}
    model = make_model("LinearModel", n_epochs=12, optimizer_kwargs={"lr": 0.05}, pl_trainer_kwargs=trainer)
    return model, stopper, keeper


@pytest.mark.filterwarnings("ignore:Checkpoint directory")  # which the first fit has filled
def test_early_stopping_and_checkpoints_begin_anew_with_each_fit(tmp_path: Path) -> None:
    model, stopper, keeper = _model_that_keeps_the_best(tmp_path / "first")
    model.fit(SERIES, val_series=VALIDATION_SERIES, load_best=True)
    first_score, first_path = keeper.best_model_score, keeper.best_model_path
    assert stopper.wait_count == 3  # it has stopped
    harder = VALIDATION_SERIES * 3  # no epoch comes near the best of the first fit
    model.fit(SERIES * 3, val_series=harder, load_best=True)
    assert keeper.best_model_path not in ("", first_path)
    assert keeper.best_model_score is not None
    assert first_score is not None
    assert keeper.best_model_score > first_score
    assert stopper.best_score == keeper.best_model_score


@pytest.mark.filterwarnings("ignore:Checkpoint directory")
def test_a_model_that_is_given_used_callbacks_is_trained_as_with_new_ones(tmp_path: Path) -> None:
    used = _model_that_keeps_the_best(tmp_path / "used")[0]
    used.fit(SERIES, val_series=VALIDATION_SERIES, load_best=True)
    again, new = used.untrained_model(), _model_that_keeps_the_best(tmp_path / "new")[0]
    for model in (again, new):
        model.fit(SERIES * 2, val_series=VALIDATION_SERIES, load_best=True)
    assert again.predict(OUTPUT, SERIES) == new.predict(OUTPUT, SERIES)
