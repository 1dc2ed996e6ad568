"""Training as Darts' users know it: optimizers, schedulers, losses, metrics, precision, batches, weights taken over."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
import torchmetrics
from darts import TimeSeries
from darts.models import BlockRNNModel
from pytorch_lightning.callbacks import ModelCheckpoint
from torch.optim.lr_scheduler import ExponentialLR, OneCycleLR, ReduceLROnPlateau, StepLR
from torch.utils.data import SequentialSampler

from seq_plugins.models import SequenceModel
from tests.conftest import INPUT, OUTPUT, make_model, make_series, takes, values_of

SCHEDULERS: dict[str, tuple[type[Any], dict[str, Any]]] = {
    "every epoch": (StepLR, {"step_size": 1}),
    "every batch": (OneCycleLR, {"max_lr": 0.01, "total_steps": 10, "interval": "step"}),
    "plateau of the training loss": (ReduceLROnPlateau, {"monitor": "train_loss"}),
    "plateau of the training loss of every batch": (ReduceLROnPlateau, {"monitor": "train_loss", "interval": "step"}),
    "plateau of the validation loss": (ReduceLROnPlateau, {"monitor": "val_loss"}),
}


def _weights(model: SequenceModel) -> dict[str, torch.Tensor]:
    return {name: weight.clone() for name, weight in model.model.state_dict().items()}


def _differ(weights: dict[str, torch.Tensor], others: dict[str, torch.Tensor]) -> set[str]:
    return {name for name, weight in weights.items() if not torch.equal(weight, others[name])}


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.AdamW])
def test_each_optimizer_trains(model_name: str, optimizer: type[torch.optim.Optimizer]) -> None:
    arguments = {"optimizer_cls": optimizer, "optimizer_kwargs": {"lr": 0.01}}
    models = [make_model(model_name, n_epochs=n, **arguments).fit(make_series()) for n in (1, 2)]
    assert np.isfinite(values_of(models[1].predict(OUTPUT))).all()
    assert _differ(_weights(models[0]), _weights(models[1]))


@pytest.mark.parametrize("name", SCHEDULERS)
def test_each_kind_of_scheduler_has_the_loss_that_it_goes_by(model_name: str, name: str) -> None:
    scheduler, arguments = SCHEDULERS[name]
    model = make_model(model_name, n_epochs=2, lr_scheduler_cls=scheduler, lr_scheduler_kwargs=arguments)
    model.fit(make_series(), val_series=make_series(seed=1))
    assert model.epochs_trained == 2
    assert np.isfinite(values_of(model.predict(OUTPUT))).all()


def test_a_scheduler_changes_the_rate_of_learning(model_name: str) -> None:
    arguments = {"lr_scheduler_cls": ExponentialLR, "lr_scheduler_kwargs": {"gamma": 0.0}}
    scheduled = make_model(model_name, n_epochs=3, **arguments).fit(make_series())
    assert not _differ(_weights(scheduled), _weights(make_model(model_name, n_epochs=1).fit(make_series())))


@pytest.mark.parametrize(
    "metrics",
    [
        torchmetrics.MeanAbsoluteError(),
        torchmetrics.MetricCollection([torchmetrics.MeanAbsoluteError(), torchmetrics.MeanSquaredError()]),
        {"own name": torchmetrics.MeanAbsoluteError()},
    ],
    ids=["one", "collection", "named"],
)
def test_each_form_of_metrics_is_logged_in_training_and_validation(model_name: str, metrics: Any) -> None:
    model = make_model(model_name, torch_metrics=metrics)
    model.fit(make_series(components=2), val_series=make_series(components=2, seed=1))
    logged = model.trainer.logged_metrics.keys() | model.trainer.callback_metrics.keys()
    name = "own name" if isinstance(metrics, dict) else "MeanAbsoluteError"
    assert {"train_loss", "val_loss", f"train_{name}", f"val_{name}"} <= logged


def test_something_else_than_a_metric_is_refused(model_name: str) -> None:
    with pytest.raises((ValueError, AttributeError), match=r"torch_metrics|torchmetrics"):
        make_model(model_name, torch_metrics=["mean error"]).fit(make_series())


def test_a_loss_of_the_user_s_is_minimized_and_comes_back_with_a_checkpoint(model_name: str, tmp_path: Path) -> None:
    arguments = {"loss_fn": torch.nn.L1Loss(), "torch_metrics": torchmetrics.MeanAbsoluteError()}
    kept = {"save_checkpoints": True, "work_dir": str(tmp_path / "work"), "model_name": "run"}
    model = make_model(model_name, n_epochs=2, **arguments, **kept)
    model.fit(make_series(), val_series=make_series(seed=1))
    assert float(model.trainer.callback_metrics["val_loss"]) == pytest.approx(
        float(model.trainer.callback_metrics["val_MeanAbsoluteError"]), rel=1e-5
    )
    loaded = type(model).load_from_checkpoint("run", str(tmp_path / "work"), best=False)
    assert isinstance(loaded.model.criterion, torch.nn.L1Loss)
    assert loaded.predict(OUTPUT, make_series()) == model.predict(OUTPUT, make_series())


def test_without_checkpoints_nothing_is_written(model_name: str, tmp_path: Path) -> None:
    make_model(model_name, work_dir=str(tmp_path)).fit(make_series(), val_series=make_series()).predict(OUTPUT)
    assert not list(tmp_path.rglob("*"))


def test_weights_of_a_checkpoint_are_trained_on_with_another_rate(model_name: str, tmp_path: Path) -> None:
    work_dir = str(tmp_path / "work")
    model = make_model(model_name, save_checkpoints=True, work_dir=work_dir, model_name="first", n_epochs=2)
    model.fit(make_series(), val_series=make_series(seed=1))
    other = make_model(model_name, work_dir=work_dir, model_name="second", optimizer_kwargs={"lr": 0.0})
    other.load_weights_from_checkpoint("first", work_dir, best=False)
    assert not _differ(_weights(model), _weights(other))
    other.fit(make_series())
    assert other.epochs_trained == 1
    assert not _differ(_weights(model), _weights(other))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"skip_checks": True, "load_encoders": True}, "mutually exclusive"),
        ({"skip_checks": True, "load_encoders": True, "file_name": "nothing.pt.ckpt"}, "mutually exclusive"),
        ({"weights_only": True, "file_name": "nothing.pt.ckpt"}, "`weights_only` argument is not supported"),
    ],
)
def test_arguments_that_exclude_each_other_are_told_before_a_checkpoint_is_looked_for(
    model_name: str, arguments: dict[str, Any], expected: str
) -> None:
    for model in make_model(model_name), BlockRNNModel(INPUT, OUTPUT):
        with pytest.raises(ValueError, match=expected):
            model.load_weights_from_checkpoint(**arguments)


def test_the_checkpoint_of_a_saved_model_may_be_named_by_a_path_object(model_name: str, tmp_path: Path) -> None:
    model, other = make_model(model_name).fit(make_series()), make_model(model_name, random_state=2)
    model.save(tmp_path / "model.pt")
    other.load_weights_from_checkpoint(file_name=tmp_path / "model.pt.ckpt")
    assert not _differ(_weights(model), _weights(other))


def test_weights_of_a_network_of_another_shape_are_refused(model_name: str, tmp_path: Path) -> None:
    path = str(tmp_path / "model.pt")
    make_model(model_name).fit(make_series()).save(path)
    others: list[dict[str, Any]] = [{"input_chunk_length": INPUT + 1}]
    others += [{"hidden_dim": 9}] if takes(model_name, "hidden_dim") else []
    for arguments in others:
        with pytest.raises(ValueError, match=rf"hyper-parameters(.|\n)*{next(iter(arguments))}"):
            make_model(model_name, **arguments).load_weights(path)


def test_frozen_weights_stay_what_they_were_when_loaded(model_name: str, tmp_path: Path) -> None:
    path = str(tmp_path / "model.pt")
    base = make_model(model_name).fit(make_series())
    base.save(path)
    (first, *_), before = [name for name, _ in base.model.named_parameters()], _weights(base)
    tuned = make_model(model_name, enable_finetuning={"freeze": [first]}, random_state=5)
    tuned.load_weights(path)
    tuned.fit(make_series(seed=1))
    assert first not in _differ(before, _weights(tuned))
    assert _differ(before, _weights(tuned))


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"melt": ["head"]}, "freeze"),
        ({"freeze": "head"}, "list of strings"),
        ({"freeze": ["a"], "unfreeze": ["b"]}, "exactly one"),
    ],
)
def test_fine_tuning_that_nobody_can_follow_is_refused(model_name: str, wrong: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        make_model(model_name, enable_finetuning=wrong)


def _fit_with(model: SequenceModel, dtype: Any, **arguments: Any) -> None:
    model.fit(make_series(dtype=dtype), **arguments)


def test_values_that_a_precision_of_32_bits_does_not_convert_are_refused(model_name: str) -> None:
    told = r"`series` has values of type float64, expected float32.*astype\(np.float32\)"
    for precision in (32, "32", "32-true"):
        with pytest.raises(ValueError, match=told):
            _fit_with(make_model(model_name, pl_trainer_kwargs={"precision": precision}), np.float64)
    with pytest.raises(ValueError, match=told):
        _fit_with(make_model(model_name), np.float64, trainer=pl.Trainer(max_epochs=1, accelerator="cpu", logger=False))


def test_a_fitted_network_is_told_the_type_of_values_that_it_computes_in(model_name: str) -> None:
    covariates = make_series(60, seed=1)
    given: dict[str, TimeSeries] = {"past_covariates": covariates, "future_covariates": covariates}
    model = make_model(model_name).fit(make_series(), **given)
    for name in ("series", *given):
        wrong = {"series": make_series(), **given}
        wrong[name] = wrong[name].astype(np.float64)
        with pytest.raises(ValueError, match=f"`{name}` has values of type float64, expected float32"):
            model.predict(OUTPUT, **wrong)
        with pytest.raises(ValueError, match=f"`{name}` has values of type float64, expected float32"):
            model.historical_forecasts(**wrong, retrain=False)
    with pytest.raises(ValueError, match="`series` has values of type float64, expected float32"):
        model.fit(make_series(dtype=np.float64), **{name: one.astype(np.float64) for name, one in given.items()})
    with pytest.raises(ValueError, match="`val_series` has values of type float64, expected float32"):
        make_model(model_name).fit(make_series(), val_series=make_series(dtype=np.float64))


def test_a_network_of_64_bits_takes_values_of_32(model_name: str) -> None:
    model = make_model(model_name).fit(make_series(dtype=np.float64))
    np.testing.assert_allclose(
        values_of(model.predict(OUTPUT, make_series())),
        values_of(model.predict(OUTPUT, make_series().astype(np.float64))),
        rtol=1e-5,
    )


def test_the_largest_batch_size_of_a_forecast_is_looked_for_with_the_trainer(model_name: str) -> None:
    target = [make_series(20, seed=seed) for seed in range(4)]
    model = make_model(model_name).fit(target)
    before = values_of(model.predict(OUTPUT, target[0]))
    found = model.scale_batch_size(target, method="predict", n=OUTPUT, max_trials=2, steps_per_trial=1)
    assert found == model.batch_size > 1
    assert model.fast_prediction
    np.testing.assert_allclose(values_of(model.predict(OUTPUT, target[0])), before, rtol=1e-5)


def test_the_largest_batch_size_of_training_is_looked_for_without_training() -> None:
    model = make_model("LinearModel")
    found = model.scale_batch_size(make_series(20), update_model=False, max_trials=2, steps_per_trial=1)
    assert found > 1
    assert model.batch_size == 16
    with pytest.raises(ValueError, match="fit"):
        model.predict(OUTPUT, make_series())
    with pytest.raises(ValueError, match="`method`"):
        model.scale_batch_size(make_series(), method="backtest")


def test_arguments_of_the_data_loader_stand_above_the_model_s(model_name: str) -> None:
    loader = {"batch_size": 7, "shuffle": False, "drop_last": True}
    model = make_model(model_name, batch_size=64)
    model.fit(make_series(), dataloader_kwargs=dict(loader))
    module = make_model(model_name, batch_size=7)
    parameters = module._setup_for_fit_from_dataset(make_series(), dataloader_kwargs=dict(loader))[1]
    data_loader = module._setup_for_train(**parameters)["datamodule"].train_dataloader()
    assert (data_loader.batch_size, data_loader.drop_last) == (7, True)
    assert isinstance(data_loader.sampler, SequentialSampler)
    forecast = values_of(model.predict(OUTPUT, [make_series()] * 3, dataloader_kwargs={"batch_size": 2})[2])
    np.testing.assert_allclose(forecast, values_of(model.predict(OUTPUT)), rtol=1e-5)


def test_a_trainer_of_the_user_s_keeps_the_best_weights(model_name: str, tmp_path: Path) -> None:
    checkpoints = ModelCheckpoint(dirpath=tmp_path / "checkpoints", monitor="val_loss")
    trainer = pl.Trainer(
        max_epochs=3, accelerator="cpu", logger=False, callbacks=[checkpoints], enable_progress_bar=False
    )
    model = make_model(model_name, optimizer_kwargs={"lr": 0.05})
    model.fit(make_series(), val_series=make_series(seed=1), trainer=trainer, load_best=True)
    best = torch.load(checkpoints.best_model_path, weights_only=False)["state_dict"]
    assert not _differ(_weights(model), best)
