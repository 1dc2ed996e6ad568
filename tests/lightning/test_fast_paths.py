"""Training and prediction around Lightning give what they give through it, and step aside where somebody looks."""

import copy
import logging
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
import torchmetrics
from darts.models.forecasting.torch_forecasting_model import MixedCovariatesTorchModel
from darts.utils.data.torch_datasets.utils import TorchTrainingBatch
from darts.utils.likelihood_models.torch import GaussianLikelihood
from pytorch_lightning.callbacks import Callback, EarlyStopping

from seq_plugins._private_names import TorchDataModule
from seq_plugins.lightning.training_loop import FastTrainingEpochLoop
from seq_plugins.models import SequenceModel
from seq_plugins.windows import leave_batches_on_cpu
from seq_plugins.windows.forecasts import _OWN_PARTS
from tests.conftest import OUTPUT, make_model, make_series, takes, values_of, with_static_covariates


class History(Callback):
    """Keeps what an epoch ends with."""

    def __init__(self) -> None:
        self.epochs: list[dict[str, float]] = []

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self.epochs.append(metrics | {"step": trainer.global_step, "epoch": trainer.current_epoch})


class EveryBatch(Callback):
    """Looks at every batch."""

    def __init__(self) -> None:
        self.losses: list[float] = []

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.losses.append(float(trainer.callback_metrics["train_loss"]))


CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "clipped by norm": {"pl_trainer_kwargs": {"gradient_clip_val": 0.1}},
    "clipped by value": {"pl_trainer_kwargs": {"gradient_clip_val": 0.01, "gradient_clip_algorithm": "value"}},
    "scheduler": {
        "lr_scheduler_cls": torch.optim.lr_scheduler.ExponentialLR,
        "lr_scheduler_kwargs": {"gamma": 0.5},
    },
    "scheduler that looks at the validation loss": {
        "lr_scheduler_cls": torch.optim.lr_scheduler.ReduceLROnPlateau,
        "lr_scheduler_kwargs": {"patience": 0, "factor": 0.1, "monitor": "val_loss"},
    },
    "momentum": {"optimizer_cls": torch.optim.SGD, "optimizer_kwargs": {"lr": 0.05, "momentum": 0.9}},
    # each step goes down: without a line search some networks diverge, and then the last digit decides where to
    "closure": {
        "optimizer_cls": torch.optim.LBFGS,
        "optimizer_kwargs": {"max_iter": 3, "line_search_fn": "strong_wolfe"},
    },
    "likelihood and metrics": {"likelihood": GaussianLikelihood(), "torch_metrics": torchmetrics.MeanSquaredError()},
    "normalised": {"use_reversible_instance_norm": True},
    "one batch": {"batch_size": 100},
}


def _train(name: str, arguments: dict[str, Any], fast: bool, **fit: Any) -> tuple[SequenceModel, History]:
    history = History()
    arguments = {"n_epochs": 4, "batch_size": 8} | arguments
    trainer = arguments.pop("pl_trainer_kwargs", {}) | {"callbacks": [history]}
    model = make_model(name, pl_trainer_kwargs=trainer, **arguments)
    model.fast_training = fast
    model.fit(make_series(60, dtype=np.float64), val_series=make_series(30, dtype=np.float64, seed=3), **fit)
    return model, history


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_the_fast_path_gives_the_same_updates_and_losses_as_the_ordinary_one(
    model_name: str, configuration: str, caplog: pytest.LogCaptureFixture
) -> None:
    arguments = CONFIGURATIONS[configuration]
    if configuration == "plain":
        arguments = {name: 0.2 for name in ("dropout", "recurrent_dropout") if takes(model_name, name)}
    with caplog.at_level(logging.DEBUG, logger="seq_plugins"):
        fast, fast_history = _train(model_name, dict(arguments), fast=True)
    assert "Training takes the fast path." in caplog.text
    ordinary, ordinary_history = _train(model_name, dict(arguments), fast=False)
    for (name, weight), expected in zip(fast.model.named_parameters(), ordinary.model.parameters(), strict=True):
        torch.testing.assert_close(weight, expected, rtol=1e-8, atol=1e-12, msg=name)
    assert len(fast_history.epochs) == 4
    for ours, theirs in zip(fast_history.epochs, ordinary_history.epochs, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-8)
    assert fast.epochs_trained == ordinary.epochs_trained == 4


def test_sample_weights_count_on_the_fast_path(model_name: str) -> None:
    weight = make_series(60, dtype=np.float64, seed=5).map(np.abs)
    fast, _ = _train(model_name, {}, fast=True, sample_weight=weight)
    ordinary, _ = _train(model_name, {}, fast=False, sample_weight=weight)
    for ours, theirs in zip(fast.model.parameters(), ordinary.model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("verbose", [False, True])
def test_the_loss_of_the_last_batch_is_that_of_darts(verbose: bool) -> None:
    """The same weights, the same batches: Darts logs each batch's loss, and the last one is what stays."""
    history = EveryBatch()
    looking = make_model("Seq2SeqRNNModel", n_epochs=3, pl_trainer_kwargs={"callbacks": [history]})
    looking.fit(make_series(60), verbose=verbose)
    n_batches = len(history.losses) // 3
    alone = History()
    model = make_model("Seq2SeqRNNModel", n_epochs=3, pl_trainer_kwargs={"callbacks": [alone]})
    model.fit(make_series(60), verbose=verbose)
    assert n_batches > 1
    assert [epoch["train_loss"] for epoch in alone.epochs] == pytest.approx(history.losses[n_batches - 1 :: n_batches])


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"pl_trainer_kwargs": {"accumulate_grad_batches": 2}}, "gradients are accumulated"),
        ({"pl_trainer_kwargs": {"max_steps": 3}}, "steps are limited"),
        ({"pl_trainer_kwargs": {"callbacks": [EveryBatch()]}}, "the callback EveryBatch sees every batch"),
        ({"pl_trainer_kwargs": {"max_time": "00:01:00:00"}}, "the callback Timer sees every batch"),
        ({"pl_trainer_kwargs": {"profiler": "simple"}}, "there is a profiler"),
        ({"pl_trainer_kwargs": {"val_check_interval": 2}}, "validation runs within an epoch"),
        ({"pl_trainer_kwargs": {"precision": "bf16-mixed"}}, "the precision is mixed or low"),
        ({"pl_trainer_kwargs": {"detect_anomaly": True}}, "anomalies are detected"),
        ({"log_tensorboard": True}, "there is a logger"),
        (
            {
                "lr_scheduler_cls": torch.optim.lr_scheduler.ExponentialLR,
                "lr_scheduler_kwargs": {"gamma": 0.9, "interval": "step"},
            },
            "a scheduler acts on every step",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:The number of training batches .* is smaller than the logging interval")
def test_training_takes_the_ordinary_path_where_somebody_could_tell(
    arguments: dict[str, Any], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    model = make_model("SimpleRNNModel", batch_size=8, **arguments)
    with caplog.at_level(logging.DEBUG, logger="seq_plugins"):
        model.fit(make_series(60), val_series=make_series(30, seed=3))
    assert f"Training takes the ordinary path: {reason}." in caplog.text


def test_a_trainer_of_the_user_is_left_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    trainer = pl.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False
    )
    with caplog.at_level(logging.DEBUG, logger="seq_plugins"):
        make_model("SimpleRNNModel").fit(make_series(), trainer=trainer)
    assert not isinstance(trainer.fit_loop.epoch_loop, FastTrainingEpochLoop)
    assert "path" not in caplog.text


def test_the_fast_path_can_be_switched_off(caplog: pytest.LogCaptureFixture) -> None:
    model = make_model("SimpleRNNModel")
    model.fast_training = model.fast_prediction = False
    with caplog.at_level(logging.DEBUG, logger="seq_plugins"):
        model.fit(make_series())
    assert "Training takes the ordinary path: `fast_training` is off." in caplog.text
    assert len(model.predict(OUTPUT)) == OUTPUT


@pytest.mark.parametrize("hook", ["optimizer_zero_grad", "transfer_batch_to_device", "on_after_backward"])
@pytest.mark.filterwarnings("ignore:You have overridden `transfer_batch_to_device`")
def test_hooks_of_a_network_of_its_own_are_called_for_every_batch(
    hook: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[str] = []
    model = make_model("SimpleRNNModel", batch_size=100, n_epochs=2)
    shared = getattr(model._module_class, hook)

    def own(*args: Any, **kwargs: Any) -> Any:
        calls.append(hook)
        return shared(*args, **kwargs)

    monkeypatch.setattr(model._module_class, hook, own)
    with caplog.at_level(logging.DEBUG, logger="seq_plugins"):
        model.fit(make_series())

    assert "Training takes the ordinary path: the network has hooks of its own." in caplog.text
    assert len(calls) == 2


def test_a_batch_on_the_cpu_is_trained_on_as_it_is() -> None:
    data_module = TorchDataModule()
    batch = TorchTrainingBatch(past_target=torch.zeros(2, 3, 1), future_target=torch.zeros(2, 1, 1))
    leave_batches_on_cpu(data_module)

    assert data_module.transfer_batch_to_device(batch, torch.device("cpu"), 0) is batch
    moved = data_module.transfer_batch_to_device([torch.zeros(2)], torch.device("meta"), 0)
    assert moved[0].is_meta


def test_where_lightning_has_changed_training_takes_the_ordinary_path(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    expected = values_of(make_model("SimpleRNNModel").fit(make_series()).predict(OUTPUT))

    def moved(trainer: Any) -> str | None:
        raise AttributeError("'Trainer' object has no attribute 'val_check_batch'")

    monkeypatch.setattr("seq_plugins.lightning.training_loop.why_not_fast", moved)
    with caplog.at_level(logging.DEBUG, logger="seq_plugins"):
        model = make_model("SimpleRNNModel").fit(make_series())
    assert "ordinary path: PyTorch Lightning has changed" in caplog.text
    np.testing.assert_array_equal(values_of(model.predict(OUTPUT)), expected)


def test_early_stopping_stops_in_the_same_epoch_on_both_paths() -> None:
    epochs = []
    for fast in (True, False):
        stopper = EarlyStopping("val_loss", patience=1)
        model = make_model(
            "LinearModel", n_epochs=50, optimizer_kwargs={"lr": 0.5}, pl_trainer_kwargs={"callbacks": [stopper]}
        )
        model.fast_training = fast
        model.fit(make_series(60), val_series=make_series(30, seed=3))
        epochs.append(model.epochs_trained)
    assert epochs[0] == epochs[1] < 50


@pytest.mark.parametrize("case", ["plain", "covariates", "sampled", "parameters", "dropout", "long"])
def test_a_plain_prediction_equals_that_of_a_trainer(model_name: str, case: str) -> None:
    arguments: dict[str, Any] = {}
    if case in ("sampled", "parameters"):
        arguments["likelihood"] = GaussianLikelihood()
    if case == "dropout" and not takes(model_name, "dropout"):
        case = "plain"
    if case == "dropout":
        arguments["dropout"] = 0.3
    given = {"past_covariates": make_series(70, seed=1)} if case in ("covariates", "long") else {}
    model = make_model(model_name, **arguments).fit(make_series(60), **given)
    arguments_of_cases: dict[str, dict[str, Any]] = {
        "sampled": {"num_samples": 7, "random_state": 3},
        "parameters": {"predict_likelihood_parameters": True},
        "dropout": {"num_samples": 7, "random_state": 3, "mc_dropout": True},
    }
    predict = arguments_of_cases.get(case, {})
    n = 2 * OUTPUT if case == "long" else OUTPUT
    forecasts = []
    for fast in (True, False):
        model.fast_prediction = fast
        forecasts.append(values_of(model.predict(n, **predict)))
    np.testing.assert_array_equal(forecasts[0], forecasts[1])
    assert model.model.training == model.untrained_model().fit(make_series(60), **given).model.training


def test_a_callback_sees_its_predictions(model_name: str) -> None:
    class Counter(Callback):
        count = 0

        def on_predict_batch_end(self, *args: Any, **kwargs: Any) -> None:
            Counter.count += 1

    model = make_model(model_name, pl_trainer_kwargs={"callbacks": [Counter()]}).fit(make_series())
    model.predict(OUTPUT)
    assert Counter.count == 1


@pytest.fixture
def trainers_made(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The settings of every trainer that is made."""
    made: list[dict[str, Any]] = []
    make = pl.Trainer.__init__

    def note(trainer: pl.Trainer, *args: Any, **kwargs: Any) -> None:
        made.append(kwargs)
        make(trainer, *args, **kwargs)

    monkeypatch.setattr(pl.Trainer, "__init__", note)
    return made


def test_only_the_first_prediction_makes_a_trainer(
    model_name: str, trainers_made: list[dict[str, Any]], tmp_path: Path
) -> None:
    make_model(model_name).fit(make_series()).save(str(tmp_path / "model.pt"))
    model = type(make_model(model_name)).load(str(tmp_path / "model.pt"))
    trainers_made.clear()
    for _ in range(3):
        model.predict(OUTPUT)
    assert len(trainers_made) == 1
    model.untrained_model().fit(make_series()).predict(OUTPUT)
    assert len(trainers_made) == 2  # that of training


def test_a_prediction_with_other_settings_makes_its_own_trainer(trainers_made: list[dict[str, Any]]) -> None:
    class Counter(Callback):
        count = 0

        def on_predict_batch_end(self, *args: Any, **kwargs: Any) -> None:
            Counter.count += 1

    model = make_model("LinearModel").fit(make_series())
    model.predict(OUTPUT, verbose=False)
    model.predict(OUTPUT, verbose=True)
    assert [made["enable_progress_bar"] for made in trainers_made[-2:]] == [False, True]
    model.trainer_params["callbacks"].append(Counter())
    model.predict(OUTPUT, verbose=True)
    assert Counter.count == 1
    model.trainer_params["callbacks"].clear()
    model.predict(OUTPUT, verbose=True)
    assert Counter.count == 1


def test_a_model_s_copies_and_files_hold_no_trainer_of_predictions() -> None:
    model = make_model("LinearModel").fit(make_series())
    forecast = model.predict(OUTPUT)
    pickled = pickle.dumps(model)
    assert b"Trainer" not in pickled
    for other in (copy.deepcopy(model), pickle.loads(pickled)):
        assert other.predict(OUTPUT) == forecast


@pytest.mark.parametrize("random_state", [None, 4])
def test_predictions_at_random_are_seeded_as_darts_seeds_them(random_state: int | None) -> None:
    model = make_model("LinearModel", likelihood=GaussianLikelihood()).fit(make_series())
    as_in_darts = copy.deepcopy(model)
    torch.manual_seed(3)
    state, forecasts = torch.get_rng_state(), []
    for _ in range(2):
        forecasts.append(model.predict(OUTPUT, num_samples=5, random_state=random_state))
        assert torch.equal(torch.get_rng_state(), state)

    for forecast in forecasts:
        assert forecast == MixedCovariatesTorchModel.predict(
            as_in_darts, OUTPUT, num_samples=5, random_state=random_state
        )
    assert (forecasts[0] == forecasts[1]) == (random_state is not None)


def test_a_prediction_leaves_no_notes_of_seeds_for_devices_that_are_not_there() -> None:
    if torch.accelerator.is_available():
        pytest.skip("there is such a device")
    model = make_model("LinearModel").fit(make_series())
    noted = len(torch.cuda._queued_calls)
    model.predict(OUTPUT)
    assert len(torch.cuda._queued_calls) == noted


def test_after_a_prediction_the_model_still_knows_its_epochs_and_can_be_saved(model_name: str, tmp_path: Any) -> None:
    model = make_model(model_name, n_epochs=2).fit(make_series())
    model.predict(OUTPUT)
    assert model.epochs_trained == 2
    model.save(str(tmp_path / "model.pt"))
    checkpoint = torch.load(tmp_path / "model.pt.ckpt", weights_only=False)
    assert checkpoint["epoch"] == 2
    assert len(checkpoint["optimizer_states"]) == 1


def test_optimizers_are_fused_where_they_can_be_and_the_user_did_not_choose() -> None:
    def fused(**arguments: Any) -> bool | None:
        model = make_model("LinearModel", **arguments).fit(make_series())
        chosen: bool | None = model.trainer.optimizers[0].defaults.get("fused")
        return chosen

    assert fused() is True
    assert fused(optimizer_cls=torch.optim.SGD, optimizer_kwargs={"lr": 0.1}) is True
    assert fused(optimizer_kwargs={"lr": 0.1, "foreach": True}) is None
    assert fused(optimizer_kwargs={"lr": 0.1, "fused": False}) is False
    assert fused(optimizer_cls=torch.optim.RMSprop) is None
    assert fused(pl_trainer_kwargs={"precision": "bf16-mixed", "gradient_clip_val": 1.0}) is None
    model = make_model("LinearModel", optimizer_kwargs={"lr": 0.1}).fit(make_series())
    assert model.model.optimizer_kwargs == {"lr": 0.1}


@pytest.mark.parametrize("freq", ["D", "h", "MS", "B", 1, 3])
@pytest.mark.parametrize("case", ["plain", "stride", "overlapping end", "parameters", "samples"])
def test_historical_forecasts_are_the_series_that_darts_builds(freq: str | int, case: str) -> None:
    targets = [with_static_covariates(make_series(length, 2, freq, seed=length)) for length in (25, 34)]
    arguments_of_cases: dict[str, dict[str, Any]] = {
        "plain": {},
        "stride": {"stride": 3},
        "overlapping end": {"overlap_end": True},
        "parameters": {"predict_likelihood_parameters": True},
        "samples": {"num_samples": 3},
    }
    model = make_model("LinearModel", likelihood=GaussianLikelihood()).fit(targets)
    made = []
    for fast in (True, False):
        model.fast_prediction = fast
        made.append(
            model.historical_forecasts(
                targets,
                forecast_horizon=OUTPUT,
                retrain=False,
                last_points_only=False,
                show_warnings=False,
                random_state=1,
                **arguments_of_cases[case],
            )
        )
    for ours, theirs in zip(*made, strict=True):
        assert len(ours) == len(theirs) > 2
        for forecast, expected in zip(ours, theirs, strict=True):
            assert vars(forecast).keys() == vars(expected).keys()
            assert forecast.time_index.equals(expected.time_index)
            assert (forecast.freq, forecast.time_index.name) == (expected.freq, expected.time_index.name)
            assert forecast.components.equals(expected.components)
            np.testing.assert_array_equal(values_of(forecast), values_of(expected))
            if case == "parameters":
                assert forecast.static_covariates is None
            else:
                assert forecast.static_covariates.equals(expected.static_covariates)
            assert len(forecast[1:]) == OUTPUT - 1
            assert forecast.append(forecast.shift(OUTPUT)).freq == expected.freq


def test_what_darts_builds_has_the_parts_that_fast_forecasts_replace() -> None:
    """If this fails, Darts has renamed them, and forecasts are built one by one again."""
    assert vars(make_series()).keys() >= _OWN_PARTS


@pytest.mark.parametrize("cell", ["RNN", "LSTM", "GRU"])
def test_the_compiled_layers_give_the_same_updates_as_those_of_pytorch(
    recurrent_model_name: str, cell: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """20 updates in float64 agree."""
    trained = []
    for kernel in ("auto", "torch"):
        monkeypatch.setenv("SEQ_PLUGINS_RECURRENT_KERNEL", kernel)
        model, _ = _train(recurrent_model_name, {"model": cell, "n_epochs": 4, "batch_size": 9}, fast=True)
        assert model.trainer.global_step == 20
        trained.append(model)
    compiled, plain = trained
    for ours, theirs in zip(compiled.model.parameters(), plain.model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-12)
