"""How every model is trained: validation, weights, encoders, continued and custom training."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchmetrics
from darts.dataprocessing.transformers import Scaler
from darts.utils.data import SequentialTorchTrainingDataset
from darts.utils.data.torch_datasets.utils import ModuleStage, TorchTrainingBatch, _batch_collate_fn_train
from darts.utils.likelihood_models.torch import GaussianLikelihood
from pytorch_lightning.callbacks import Callback, EarlyStopping

from seq_plugins.models import SequenceModel
from tests.conftest import INPUT, OUTPUT, make_model, make_series, values_of


class RecordLosses(Callback):
    """Keeps the validation loss and error of every epoch."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.errors: list[float] = []

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        self.losses.append(float(trainer.callback_metrics["val_loss"]))
        self.errors.append(float(trainer.callback_metrics.get("val_MeanAbsoluteError", np.nan)))


def test_early_stopping_stops_and_the_best_weights_can_be_loaded(model_name: str, tmp_path: Path) -> None:
    record = RecordLosses()
    model = make_model(
        model_name,
        n_epochs=40,
        optimizer_kwargs={"lr": 0.1},
        save_checkpoints=True,
        work_dir=str(tmp_path / "work"),
        pl_trainer_kwargs={"callbacks": [EarlyStopping("val_loss", patience=2), record]},
    )
    validation = make_series(30, seed=9)
    model.fit(make_series(), val_series=validation, load_best=True)
    assert len(record.losses) < 40
    dataset = model._build_train_dataset([validation], None, None, None, None)
    batch = _batch_collate_fn_train([dataset[index] for index in range(len(dataset))])
    model.model.eval()
    output = model.model(batch.to_module_input(ModuleStage.VALIDATE))
    loss = model.model._compute_loss(output, batch.future_target, torch.nn.MSELoss(), None)
    assert loss.item() == pytest.approx(min(record.losses), rel=1e-4)


def test_validation_loss_and_metrics_are_those_of_the_forecast_from_the_last_state(model_name: str) -> None:
    model = make_model(model_name, torch_metrics=torchmetrics.MeanAbsoluteError(), batch_size=64)
    record = RecordLosses()
    model.trainer_params["callbacks"] = [record]
    validation = make_series(30, components=2, seed=9)
    model.fit(make_series(components=2), val_series=validation)
    forecasts = model.historical_forecasts(
        validation, forecast_horizon=OUTPUT, retrain=False, last_points_only=False, show_warnings=False
    )
    errors = np.stack([values_of(forecast) - values_of(validation.slice_intersect(forecast)) for forecast in forecasts])
    assert record.losses[-1] == pytest.approx(np.square(errors).mean(), rel=1e-4)
    assert record.errors[-1] == pytest.approx(np.abs(errors).mean(), rel=1e-4)


@pytest.mark.parametrize("weight", ["linear", "exponential", "series", "series of each component"])
def test_sample_weights_are_taken_in_training(model_name: str, weight: str) -> None:
    target = make_series(components=2)
    given: Any = weight
    if weight.startswith("series"):
        given = make_series(components=2 if weight.endswith("component") else 1, seed=3).map(np.abs)
    weighted = make_model(model_name, n_epochs=2).fit(target, sample_weight=given)
    plain = make_model(model_name, n_epochs=2).fit(target)
    assert not np.allclose(values_of(weighted.predict(OUTPUT)), values_of(plain.predict(OUTPUT)), atol=1e-6)


def test_sample_weights_are_taken_in_validation(model_name: str) -> None:
    target, validation = make_series(components=2), make_series(components=2, seed=9)
    weight = make_series(components=2, seed=3).map(np.abs)
    record = RecordLosses()
    model = make_model(model_name, batch_size=64, pl_trainer_kwargs={"callbacks": [record]})
    model.fit(target, sample_weight=weight, val_series=validation, val_sample_weight=weight)
    forecasts = model.historical_forecasts(
        validation, forecast_horizon=OUTPUT, retrain=False, last_points_only=False, show_warnings=False
    )
    losses = [
        np.square(values_of(forecast) - values_of(validation.slice_intersect(forecast)))
        * values_of(weight.slice_intersect(forecast))
        for forecast in forecasts
    ]
    assert record.losses == [pytest.approx(np.mean(losses), rel=1e-4)]


def test_weights_of_one_change_nothing(model_name: str) -> None:
    target = make_series()
    weighted = make_model(model_name, n_epochs=2).fit(target, sample_weight=target * 0 + 1)
    plain = make_model(model_name, n_epochs=2).fit(target)
    np.testing.assert_allclose(values_of(weighted.predict(OUTPUT)), values_of(plain.predict(OUTPUT)), rtol=1e-4)


@pytest.mark.parametrize("likelihood", [None, GaussianLikelihood()])
def test_values_without_weight_do_not_count(model_name: str, likelihood: GaussianLikelihood | None) -> None:
    """With the weights of the newest steps at zero, what is targeted there changes nothing."""
    usual = make_series(40)
    weight = usual.with_values(np.where(np.arange(40) < 34, 1, 0).astype(np.float32)[:, None, None])
    forecasts = []
    for jump in (0.0, 50.0):
        # the last six steps are never inputs of a target that counts
        target = usual + (1 - weight) * jump
        model = make_model(model_name, n_epochs=2, likelihood=likelihood, batch_size=64)
        model.fit(target, sample_weight=weight)
        forecasts.append(values_of(model.predict(OUTPUT, usual, predict_likelihood_parameters=bool(likelihood))))
    np.testing.assert_allclose(forecasts[0], forecasts[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("explicit", [False, True])
@pytest.mark.parametrize("shift", [0, 3])
def test_encoders_make_covariates_that_are_fitted_and_forecast_with(
    model_name: str, explicit: bool, shift: int
) -> None:
    encoders = {"cyclic": {"future": ["dayofweek"]}, "position": {"past": ["relative"]}, "transformer": Scaler()}
    target = make_series()
    given = {"future_covariates": make_series(60, seed=1)} if explicit else {}
    model = make_model(model_name, add_encoders=encoders, output_chunk_shift=shift).fit(target, **given)
    assert model.train_sample.future_covariates.shape == (OUTPUT, 3 if explicit else 2)
    assert np.isfinite(values_of(model.predict(OUTPUT))).all()


def test_encoders_equal_the_covariates_that_they_stand_for(model_name: str) -> None:
    target = make_series()
    model = make_model(model_name, output_chunk_shift=2, add_encoders={"cyclic": {"future": ["dayofweek"]}})
    model.fit(target)
    _, future = model.encoders.encode_train_inference(n=OUTPUT + 2, target=target)
    explicit = make_model(model_name, output_chunk_shift=2).fit(target, future_covariates=future.astype(np.float32))
    np.testing.assert_allclose(values_of(model.predict(OUTPUT)), values_of(explicit.predict(OUTPUT)), rtol=1e-5)


def test_training_can_be_continued(model_name: str) -> None:
    target = make_series()
    model = make_model(model_name).fit(target)
    once = values_of(model.predict(OUTPUT))
    model.fit(target, epochs=3)
    assert model.epochs_trained == 3
    assert not np.array_equal(values_of(model.predict(OUTPUT)), once)


def test_the_data_set_of_darts_can_be_trained_from(model_name: str) -> None:
    target, covariates = make_series(components=2), make_series(44, seed=1)
    dataset = SequentialTorchTrainingDataset(
        target,
        future_covariates=covariates,
        input_chunk_length=INPUT,
        output_chunk_length=OUTPUT,
        sample_weight=make_series(seed=2).map(np.abs),
    )
    model = make_model(model_name).fit_from_dataset(dataset, val_dataset=dataset)
    assert np.isfinite(values_of(model.predict(OUTPUT, target, future_covariates=covariates))).all()


def test_a_learning_rate_can_be_looked_for(model_name: str) -> None:
    finder = make_model(model_name).lr_find(make_series(), num_training=10)
    assert finder is not None
    assert len(finder.results["lr"]) > 1


@pytest.mark.parametrize("mode", ["freeze", "unfreeze"])
def test_chosen_weights_can_be_frozen_and_every_one_of_them_learns(model_name: str, mode: str) -> None:
    """Patterns of names reach every weight: what is frozen stays, everything else moves."""
    target, covariates = make_series(components=2), make_series(44, seed=1)
    initial = make_model(model_name, optimizer_kwargs={"lr": 0.0}).fit(target, future_covariates=covariates).model
    names = [name for name, _ in initial.named_parameters()]
    model = make_model(model_name, enable_finetuning={mode: [names[0]]}, n_epochs=2)
    model.fit(target, future_covariates=covariates)
    before, after = initial.state_dict(), model.model.state_dict()
    moved = {name for name in names if not torch.equal(before[name], after[name])}
    assert moved == ({names[0]} if mode == "unfreeze" else set(names[1:]))


def _step_by_step_loss(
    model: SequenceModel, batch: TorchTrainingBatch, shift: int, weight: torch.Tensor | None
) -> torch.Tensor:
    """The mean squared error of every step whose targets exist, one step after the other."""
    module = model.model
    features = module._step_features(batch.to_module_input(ModuleStage.TRAIN))
    states = module.encoder(features)
    step_ends = module.step_ends
    values: dict[int, torch.Tensor] = {time: batch.past_target[:, time] for time in range(INPUT)}
    values |= {INPUT + shift + time: batch.future_target[:, time] for time in range(OUTPUT)}
    future = {time: batch.historic_future_covariates[:, time] for time in range(INPUT)}
    future |= {INPUT + shift + time: batch.future_covariates[:, time] for time in range(OUTPUT)}
    weights = None if weight is None else {time: weight[:, row] for row, time in enumerate(values)}
    losses = []
    for step, end in enumerate(step_ends):
        times = [end + shift + 1 + ahead for ahead in range(OUTPUT)]
        if not all(time in values for time in times):
            continue
        known = torch.stack([future[time] for time in times], dim=1)
        forecast = module.head(states[:, step : step + 1], known.unsqueeze(1))[:, 0, :, :, 0]
        loss = (forecast - torch.stack([values[time] for time in times], dim=1)) ** 2
        losses.append(loss if weights is None else loss * torch.stack([weights[time] for time in times], dim=1))
    assert len(losses) > 1
    return torch.stack(losses).mean()


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shift", [0, 2])
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("Seq2SeqRNNModel", {}),
        ("Conv1DGRUModel", {}),
        ("Conv1DGRUModel", {"kernel_size": 3, "stride": 1, "pooling": "max", "pool_size": 3}),
    ],
)
def test_the_loss_on_every_step_equals_the_loop_over_steps(
    name: str, arguments: dict[str, Any], shift: int, weighted: bool
) -> None:
    target = make_series(components=2, dtype=np.float64)
    future = make_series(50, components=3, seed=1, dtype=np.float64)
    weight = make_series(seed=2, dtype=np.float64).map(np.abs) if weighted else None
    model = make_model(name, output_chunk_shift=shift, **arguments)
    model.fit(target, future_covariates=future, sample_weight=weight)
    dataset = model._build_train_dataset([target], None, [future], [weight] if weighted else None, None)
    batch = _batch_collate_fn_train([dataset[index] for index in range(len(dataset))])
    output = model.model(batch.to_module_input(ModuleStage.TRAIN))
    criterion = torch.nn.MSELoss(reduction="none" if weighted else "mean")
    loss = model.model._compute_loss(output, batch.future_target, criterion, batch.sample_weight)
    expected = _step_by_step_loss(model, batch, shift, batch.sample_weight)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-10)
    plain = model.model(batch.to_module_input(ModuleStage.VALIDATE)).prediction
    torch.testing.assert_close(output.prediction, plain, rtol=1e-10, atol=1e-12)


def test_weights_of_darts_data_set_count_for_the_last_step_only() -> None:
    target, weight = make_series(dtype=np.float64), make_series(seed=2, dtype=np.float64).map(np.abs)
    model = make_model("Seq2SeqRNNModel").fit(target)
    dataset = SequentialTorchTrainingDataset(
        target, input_chunk_length=INPUT, output_chunk_length=OUTPUT, sample_weight=weight
    )
    batch = _batch_collate_fn_train([dataset[index] for index in range(len(dataset))])
    output = model.model(batch.to_module_input(ModuleStage.TRAIN))
    loss = model.model._compute_loss(
        output, batch.future_target, torch.nn.MSELoss(reduction="none"), batch.sample_weight
    )
    errors = (output.prediction[..., 0] - batch.future_target) ** 2
    assert loss.item() == pytest.approx((errors * batch.sample_weight).mean().item(), rel=1e-10)
