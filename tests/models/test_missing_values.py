"""Models made with ``missing="mask"`` learn and forecast from what is there."""

import copy
import logging
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
import torchmetrics
from darts import TimeSeries
from darts.metrics import mae
from darts.models import NaiveEnsembleModel, RegressionEnsembleModel
from darts.models.components.layer_norm_variants import RINorm
from darts.utils.data.torch_datasets.utils import (
    ModuleStage,
    PLModuleInput,
    PLModuleOutput,
    TorchTrainingBatch,
    _batch_collate_fn_train,
)
from darts.utils.likelihood_models.torch import (
    DirichletLikelihood,
    GaussianLikelihood,
    LogNormalLikelihood,
    PoissonLikelihood,
    QuantileRegression,
)
from darts.utils.losses import MAELoss
from pytorch_lightning.callbacks import Callback

from seq_plugins.layers.instance_norm import InstanceNormOfKnownValues
from seq_plugins.layers.missing_values import LossInputs, leave_out_missing_targets
from seq_plugins.models import SequenceModel
from tests.conftest import INPUT, MODEL_NAMES, OUTPUT, make_model, make_series, takes, values_of, with_static_covariates

NAN = float("nan")


def with_holes(series: TimeSeries, share: float = 0.1, seed: int = 0) -> TimeSeries:
    """Remove single values at random."""
    holes = np.random.default_rng(seed).random(values_of(series).shape) < share
    assert holes.any()
    return series.with_values(np.where(holes, NAN, values_of(series)).astype(series.dtype))


def with_gap(series: TimeSeries, start: int, stop: int | None = None) -> TimeSeries:
    """Remove the values of all components from `start` up to, but not including, `stop`."""
    values = values_of(series).copy()
    values[start:stop] = NAN
    return series.with_values(values)


def make_inputs(length: int = 40, seed: int = 0, **arguments: Any) -> dict[str, TimeSeries]:
    """Make a target and covariates, all with holes."""
    seeds = 3 * seed, 3 * seed + 1, 3 * seed + 2
    return {
        "series": with_holes(make_series(length, components=2, seed=seeds[0], **arguments), seed=seeds[0]),
        "past_covariates": with_holes(make_series(length + 20, seed=seeds[1], **arguments), seed=seeds[1]),
        "future_covariates": with_holes(
            make_series(length + 20, components=3, seed=seeds[2], **arguments), seed=seeds[2]
        ),
    }


def make_masking_model(name: str, **arguments: Any) -> SequenceModel:
    return make_model(name, missing="mask", **arguments)


def training_batch(
    model: SequenceModel, weight: TimeSeries | None = None, max_samples: int | None = None, **given: TimeSeries
) -> TorchTrainingBatch:
    """Return all training samples of a model, or the newest ones, as one batch."""
    dataset = model._build_train_dataset(
        [given["series"]],
        [given["past_covariates"]] if "past_covariates" in given else None,
        [given["future_covariates"]] if "future_covariates" in given else None,
        None if weight is None else [weight],
        max_samples,
    )
    return _batch_collate_fn_train([dataset[index] for index in range(len(dataset))])


# What is refused


@pytest.mark.parametrize("value", ["zero", None, True, 0])
def test_a_wrong_argument_is_named_with_what_came(model_name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"Expected `missing` to be one of 'error', 'mask', got {value!r}"):
        make_model(model_name, missing=value)


def test_the_argument_is_documented(model_name: str) -> None:
    assert "\nmissing\n    How to treat missing values (NaN)" in (type(make_model(model_name)).__doc__ or "")


def test_by_default_nan_is_refused_with_both_remedies(model_name: str) -> None:
    remedies = r'Fill the gaps first, .*fill_missing_values`, or make the model with `missing="mask"`'
    complete = {"series": make_series(), "past_covariates": make_series(60), "future_covariates": make_series(60)}
    model = make_model(model_name).fit(**complete)
    for argument, series in complete.items():
        given = complete | {argument: with_gap(series, 35, 36)}
        with pytest.raises(ValueError, match=f"`{argument}` holds NaN at 2020-02-05.*{remedies}"):
            make_model(model_name).fit(**given)
        with pytest.raises(ValueError, match=f"`{argument}` holds NaN at 2020-02-05.*{remedies}"):
            model.predict(OUTPUT, **given)


@pytest.mark.parametrize("missing", ["error", "mask"])
@pytest.mark.parametrize("argument", ["series", "past_covariates", "future_covariates"])
def test_infinity_is_refused_and_no_missing_value(model_name: str, argument: str, missing: str) -> None:
    given = {"series": make_series(), "past_covariates": make_series(60), "future_covariates": make_series(60)}
    model = make_model(model_name, missing=missing).fit(**given)
    values = values_of(given[argument]).copy()
    values[35] = np.inf
    given[argument] = given[argument].with_values(values)
    told = rf"`{argument}` holds an infinite value at 2020-02-05.*\(1 such values in all\). Put a number in the place"
    with pytest.raises(ValueError, match=told) as error:
        make_model(model_name, missing=missing).fit(**given)
    assert "mask" not in str(error.value)
    with pytest.raises(ValueError, match=told):
        model.predict(OUTPUT, **given)


def test_nan_in_weights_and_static_covariates_is_refused_all_the_same(model_name: str) -> None:
    weight = with_gap(make_series().map(np.abs), 20, 21)
    with pytest.raises(ValueError, match=r"`sample_weight` holds NaN at 2020-01-21.*Give a weight everywhere") as error:
        make_masking_model(model_name).fit(make_series(), sample_weight=weight)
    assert "mask" not in str(error.value)
    described = with_static_covariates(make_series(), value=NAN)
    with pytest.raises(ValueError, match="static covariates of `series` hold NaN or infinity"):
        make_masking_model(model_name).fit(described)


def test_a_series_without_any_target_is_refused(model_name: str) -> None:
    known, unknown = make_series(), with_gap(make_series(), 1)
    told = r"holds nothing but NaN from 2020-01-02 .* to 2020-02-09 .*Give a series with values there, or leave it out"
    with pytest.raises(ValueError, match="`series` " + told):
        make_masking_model(model_name).fit(unknown)
    with pytest.raises(ValueError, match=r"`series\[1\]` " + told):
        make_masking_model(model_name).fit([known, unknown])
    with pytest.raises(ValueError, match="`val_series` " + told):
        make_masking_model(model_name).fit(known, val_series=unknown)
    assert make_masking_model(model_name).fit(with_gap(known, 0, INPUT + 1)).model_created


def test_lengths_and_reach_are_checked_all_the_same(model_name: str) -> None:
    expected = rf"`series` has {OUTPUT} time steps, expected at least {OUTPUT + 1}: one step of input"
    with pytest.raises(ValueError, match=expected):
        make_masking_model(model_name).fit(make_series(OUTPUT))
    with pytest.raises(ValueError, match="`past_covariates` reaches from"):
        make_masking_model(model_name).fit(make_series(), past_covariates=with_holes(make_series(30)))


# What the network is given


def test_only_a_model_that_masks_is_given_flags(model_name: str) -> None:
    series = with_static_covariates(make_series(components=2))
    given = {"past_covariates": make_series(60), "future_covariates": make_series(60, components=3)}
    modules = [make_model(model_name, missing=missing).fit(series, **given).model for missing in ("error", "mask")]
    assert [module.input_dim for module in modules] == [2 + 1 + 3 + 2, 2 * (2 + 1 + 3) + 2]
    assert [module.future_dim for module in modules] == [3, 6]


def test_naming_the_default_changes_nothing(model_name: str) -> None:
    named, left_out = (
        make_model(model_name, **arguments).fit(make_series()) for arguments in ({"missing": "error"}, {})
    )
    assert named.model_params == left_out.model_params
    np.testing.assert_array_equal(values_of(named.predict(OUTPUT)), values_of(left_out.predict(OUTPUT)))


@pytest.mark.parametrize("argument", ["series", "past_covariates", "future_covariates"])
def test_a_missing_value_is_not_a_zero(model_name: str, argument: str) -> None:
    given = make_inputs()
    model = make_masking_model(model_name).fit(**given)
    forecasts = []
    # with future covariates, the newest step and the first one of the horizon
    for value in (0.0, NAN):
        values = values_of(given[argument]).copy()
        values[39:41] = value
        forecasts.append(values_of(model.predict(OUTPUT, **(given | {argument: given[argument].with_values(values)}))))
    assert np.isfinite(forecasts).all()
    assert not np.allclose(forecasts[0], forecasts[1], atol=1e-5)


def test_whole_batches_hold_the_missing_values_of_single_samples() -> None:
    model = make_masking_model("Seq2SeqRNNModel").fit(**make_inputs())
    given = make_inputs()
    one_by_one = training_batch(model, **given)
    dataset = model._build_train_dataset(*([each] for each in given.values()), None, None)
    dataset.returns_batches = True
    gathered = dataset.__getitems__(list(range(len(dataset))))
    for name in ("past_target", "future_target", "past_covariates", "historic_future_covariates", "future_covariates"):
        assert getattr(gathered, name).isnan().any(), name
        np.testing.assert_array_equal(getattr(gathered, name), getattr(one_by_one, name), err_msg=name)


# What counts in the loss

CRITERIA = {"squares": torch.nn.MSELoss, "Darts' absolute": MAELoss, "sum": lambda: torch.nn.MSELoss(reduction="sum")}


def _loop_over_known(prediction: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None, loss: Any) -> Any:
    """The mean of the losses of all single targets that are there."""
    losses = []
    for place in np.ndindex(*target.shape):
        if not target[place].isnan():
            single = loss(prediction[place][None, None, None], target[place][None, None, None])
            losses.append(single if weight is None else single * weight[place])
    assert 1 < len(losses) < target.numel()
    return torch.stack(losses)


@pytest.mark.parametrize(
    ("criterion", "weighted"), [("squares", False), ("squares", True), ("Darts' absolute", False), ("sum", False)]
)
@pytest.mark.parametrize("name", ["LinearModel", "Seq2SeqRNNModel"])
def test_the_loss_is_that_of_the_loop_over_the_targets_that_are_there(
    name: str, criterion: str, weighted: bool
) -> None:
    given = make_inputs(dtype=np.float64)
    weight = None
    if weighted:  # for each component, or for both together
        components = 2 if name == "LinearModel" else 1
        weight = make_series(components=components, seed=3, dtype=np.float64).map(np.abs)
    model = make_masking_model(name).fit(**given)
    batch = training_batch(model, weight, **given)
    output = model.model(batch.to_module_input(ModuleStage.TRAIN))
    made = CRITERIA[criterion]()
    if weighted:
        made.reduction = "none"
    loss = model.model._compute_loss(output, batch.future_target, made, batch.sample_weight)
    prediction, target, weights = output.prediction, batch.future_target, batch.sample_weight
    if output.state is not None:
        positions = model.model._target_positions
        assert len(positions) == INPUT
        prediction = output.state.prediction.flatten(end_dim=1)
        target = torch.cat([batch.past_target, batch.future_target], dim=1)[:, positions].flatten(end_dim=1)
        weights = None if weights is None else weights[:, positions].flatten(end_dim=1)
    weights = None if weights is None else weights.expand_as(target)
    losses = _loop_over_known(prediction, target, weights, lambda made, came: CRITERIA[criterion]()(made[..., 0], came))
    expected = losses.sum() if criterion == "sum" else losses.mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-10)


LIKELIHOODS = {
    "Gaussian": GaussianLikelihood,
    "weighted Gaussian": lambda: GaussianLikelihood(beta_nll=0.5),
    "quantiles": lambda: QuantileRegression([0.1, 0.5, 0.9]),
    "Poisson": PoissonLikelihood,
    "log-normal": LogNormalLikelihood,  # zero is not in its support
}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_the_loss_of_a_likelihood_is_that_of_the_loop_over_the_targets_that_are_there(
    likelihood: str, weighted: bool
) -> None:
    generator = torch.Generator().manual_seed(0)
    made = LIKELIHOODS[likelihood]()
    prediction = torch.randn(5, 4, 3, made.num_parameters, generator=generator, dtype=torch.float64).requires_grad_()
    target = torch.rand(5, 4, 3, generator=generator, dtype=torch.float64) + 0.1
    target[torch.rand(target.shape, generator=generator) < 0.2] = NAN
    target[:, :, 2] = NAN  # a component that is never there
    weight = torch.rand(target.shape, generator=generator, dtype=torch.float64) if weighted else None
    output, filled, weights = leave_out_missing_targets(LossInputs(PLModuleOutput(prediction), target, weight), made)
    loss = made.compute_loss(output.prediction, filled, weights)
    expected = _loop_over_known(prediction, target, weight, lambda *given: made.compute_loss(*given, None)).mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-10)
    gradients = [torch.autograd.grad(each, prediction)[0] for each in (loss, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-12)


def test_priors_of_single_components_stay_with_their_components() -> None:
    generator = torch.Generator().manual_seed(0)
    prediction, target = torch.randn(5, 4, 2, 2, generator=generator), torch.randn(5, 4, 2, generator=generator)
    losses = []
    for prior in ([0.0, 0.0], [0.0, 3.0]):
        target[0, 0, 0] = NAN
        made = GaussianLikelihood(prior_mu=prior, prior_sigma=[1.0, 1.0])
        output, filled, weights = leave_out_missing_targets(LossInputs(PLModuleOutput(prediction), target, None), made)
        losses.append(made.compute_loss(output.prediction, filled, weights).item())
    mean, sigma = prediction[..., 1, 0], torch.nn.functional.softplus(prediction[..., 1, 1])
    expected = ((mean - 3) ** 2 - mean**2) / (2 * sigma**2)  # what the divergences differ by
    assert losses[1] - losses[0] == pytest.approx(expected.sum().item() / target.numel(), rel=1e-3)


@pytest.mark.parametrize("weighted", [False, True])
def test_a_likelihood_of_all_components_together_counts_complete_steps(weighted: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    target = torch.softmax(torch.randn(5, 4, 3, generator=generator), dim=-1)
    target[2, 1, 0] = target[2, 2] = target[4] = NAN
    prediction = torch.randn(5, 4, 3, 1, generator=generator)
    weight = torch.rand(5, 4, 1, generator=generator) if weighted else None
    made = DirichletLikelihood()
    output, kept, weights = leave_out_missing_targets(LossInputs(PLModuleOutput(prediction), target, weight), made)
    loss = made.compute_loss(output.prediction, kept, weights)
    losses = []
    for place in np.ndindex(5, 4):
        if not target[place].isnan().any():
            single = made.compute_loss(prediction[place][None, None], target[place][None, None], None)
            losses.append(single if weight is None else single * weight[place])
    assert len(losses) == 14
    assert loss.item() == pytest.approx(torch.stack(losses).mean().item(), rel=1e-5)


@pytest.mark.parametrize("likelihood", [None, GaussianLikelihood(), QuantileRegression([0.1, 0.5, 0.9])])
@pytest.mark.parametrize("weighted", [False, True])
def test_where_nothing_is_missing_the_loss_is_that_of_a_model_that_does_not_mask(
    model_name: str, likelihood: Any, weighted: bool
) -> None:
    series = make_series(components=2)
    weight = make_series(components=2, seed=3).map(np.abs) if weighted else None
    model = make_masking_model(model_name, likelihood=likelihood).fit(series)
    # without those that begin before the series
    module, batch = model.model, training_batch(model, weight, len(series) - INPUT - OUTPUT + 1, series=series)
    assert not batch.past_target.isnan().any()
    output = module(batch.to_module_input(ModuleStage.TRAIN))
    criterion = torch.nn.MSELoss(reduction="none" if weighted else "mean")
    losses = []
    for masks in (True, False):
        module._masks_missing_values = masks
        losses.append(module._compute_loss(output, batch.future_target, criterion, batch.sample_weight).item())
    assert losses[0] == losses[1]


@pytest.mark.parametrize("likelihood", [None, GaussianLikelihood(), QuantileRegression([0.1, 0.5, 0.9])])
@pytest.mark.parametrize("weighted", [False, True])
def test_a_batch_without_any_target_has_no_loss_and_no_gradient(
    model_name: str, likelihood: Any, weighted: bool
) -> None:
    given = make_inputs()
    weight = make_series(seed=3).map(np.abs) if weighted else None
    model = make_masking_model(model_name, likelihood=likelihood).fit(**given)
    module, batch = model.model, training_batch(model, weight, **given)
    batch = batch.replace(past_target=batch.past_target * NAN, future_target=batch.future_target * NAN)
    output = module(batch.to_module_input(ModuleStage.TRAIN))
    criterion = torch.nn.MSELoss(reduction="none" if weighted else "mean")
    loss = module._compute_loss(output, batch.future_target, criterion, batch.sample_weight)
    assert loss.item() == 0
    module.zero_grad()
    loss.backward()
    assert all(weight.grad is None or not weight.grad.any() for weight in module.parameters())


@pytest.mark.parametrize(
    "arguments", [{}, {"use_reversible_instance_norm": True}, {"likelihood": GaussianLikelihood()}]
)
def test_every_gradient_is_finite_and_every_weight_learns(model_name: str, arguments: dict[str, Any]) -> None:
    given = make_inputs()
    given["series"] = with_gap(given["series"], 10, 10 + INPUT + OUTPUT)  # windows without any value, too
    model = make_masking_model(model_name, **arguments).fit(**given)
    module, batch = model.model, training_batch(model, **given)
    module.zero_grad()
    output = module(batch.to_module_input(ModuleStage.TRAIN))
    module._compute_loss(output, batch.future_target, torch.nn.MSELoss(), None).backward()
    for name, weight in module.named_parameters():
        assert weight.isfinite().all(), name
        assert weight.grad.isfinite().all(), name
        assert weight.grad.any(), name


class RecordLosses(Callback):
    """Keeps what the validation of every epoch gave."""

    def __init__(self) -> None:
        self.epochs: list[dict[str, float]] = []

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        self.epochs.append({name: float(value) for name, value in trainer.callback_metrics.items()})


@pytest.mark.parametrize("batch_size", [5, 64])
def test_validation_loss_and_metrics_are_of_the_targets_that_are_there(model_name: str, batch_size: int) -> None:
    record = RecordLosses()
    model = make_masking_model(
        model_name,
        torch_metrics=torchmetrics.MeanAbsoluteError(),
        batch_size=batch_size,
        pl_trainer_kwargs={"callbacks": [record]},
    )
    validation = with_holes(make_series(40, components=2, seed=9), seed=4)
    validation = with_gap(validation, 22, 32)  # batches without any target, too
    model.fit(make_series(components=2), val_series=validation)
    forecasts = model.historical_forecasts(
        validation, forecast_horizon=OUTPUT, retrain=False, last_points_only=False, show_warnings=False
    )
    errors = np.stack([values_of(forecast) - values_of(validation.slice_intersect(forecast)) for forecast in forecasts])
    assert record.epochs[-1]["val_loss"] == pytest.approx(np.nanmean(errors**2), rel=1e-4)
    complete = errors[~np.isnan(errors).any(axis=(2, 3))]
    assert record.epochs[-1]["val_MeanAbsoluteError"] == pytest.approx(np.abs(complete).mean(), rel=1e-4)


# Reversible instance normalisation


def test_normalisation_takes_its_statistics_from_what_is_there() -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(6, INPUT, 2, generator=generator, dtype=torch.float64) * 3 + 20
    ours, theirs = InstanceNormOfKnownValues(2), RINorm(2)
    torch.testing.assert_close(ours(values), theirs(values))
    holed = values.masked_fill(torch.rand(values.shape, generator=generator) < 0.3, NAN)
    holed[0] = NAN  # no value
    holed[1, :-1], holed[1, -1] = NAN, values[1, -1]  # a single one
    holed[2] = values[2]  # all
    normalised = ours(holed)
    assert torch.equal(normalised.isnan(), holed.isnan())
    for row in range(1, 6):
        for component in range(2):
            known = holed[row, :, component]
            known = known[~known.isnan()]
            theirs(known[None, :, None].expand(1, -1, 2))
            torch.testing.assert_close(ours.mean[row, 0, component], theirs.mean[0, 0, 0])
            torch.testing.assert_close(ours.stdev[row, 0, component], theirs.stdev[0, 0, 0])
    assert not ours.mean[0].any()
    assert (ours.stdev[0] == 1).all()
    forecast = torch.randn(6, OUTPUT, 2, 1, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(ours.inverse(forecast)[0], forecast[0])


@pytest.mark.parametrize("normalisation", [True, {"affine": False}])
def test_normalised_forecasts_move_with_the_level_of_a_series_with_holes(model_name: str, normalisation: Any) -> None:
    target = with_holes(make_series())
    model = make_masking_model(model_name, use_reversible_instance_norm=normalisation).fit(target)
    np.testing.assert_allclose(
        values_of(model.predict(OUTPUT, target + 100)), values_of(model.predict(OUTPUT)) + 100, atol=1e-3
    )
    unknown = values_of(model.predict(OUTPUT, with_gap(target, 0)))
    assert np.isfinite(unknown).all()


# What comes out

CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "shift": {"output_chunk_shift": 2},
    "normalised": {"use_reversible_instance_norm": True},
    "Gaussian": {"likelihood": GaussianLikelihood()},
    "quantiles": {"likelihood": QuantileRegression([0.1, 0.5, 0.9])},
}


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_no_forecast_is_ever_missing(model_name: str, configuration: str) -> None:
    arguments = CONFIGURATIONS[configuration]
    given = make_inputs()
    known = {"series": make_series(components=2), "past_covariates": make_series(60, seed=1)}
    known["future_covariates"] = make_series(60, components=3, seed=2)
    # one of the series has nothing in its last window, and one has covariates without any value
    several = {name: [series, given[name], series] for name, series in known.items()}
    several["series"][1] = with_gap(given["series"], 40 - INPUT)
    for name in ("past_covariates", "future_covariates"):
        several[name][2] = with_gap(known[name], 0)
    model = make_masking_model(model_name, **arguments).fit(**several)
    samples = {"num_samples": 5} if "likelihood" in arguments else {}
    horizons = [OUTPUT] if "output_chunk_shift" in arguments else [OUTPUT, 1, 3 * OUTPUT + 1]
    for n in horizons:
        for forecast in model.predict(n, **several, **samples):
            assert np.isfinite(values_of(forecast)).all()
            assert len(forecast) == n
    for forecasts in model.historical_forecasts(
        forecast_horizon=horizons[-1], retrain=False, last_points_only=False, show_warnings=False, **several, **samples
    ):
        assert all(np.isfinite(values_of(forecast)).all() for forecast in forecasts)


def test_a_model_that_never_saw_a_missing_value_forecasts_from_some(model_name: str) -> None:
    model = make_masking_model(model_name).fit(make_series())
    assert np.isfinite(values_of(model.predict(2 * OUTPUT, with_holes(make_series(), share=0.4)))).all()


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_the_fast_paths_give_what_the_ordinary_ones_give(
    model_name: str, configuration: str, caplog: pytest.LogCaptureFixture
) -> None:
    arguments = dict(CONFIGURATIONS[configuration])
    if configuration == "plain":
        arguments |= {name: 0.3 for name in ("dropout", "recurrent_dropout") if takes(model_name, name)}
    given = make_inputs(dtype=np.float64)
    given["series"] = with_gap(given["series"], 8, 26)  # batches without any target, too
    validation = {f"val_{name}": series for name, series in make_inputs(seed=5, dtype=np.float64).items()}
    made, forecasts = [], []
    for fast in (True, False):
        record = RecordLosses()
        model = make_masking_model(
            model_name,
            n_epochs=3,
            batch_size=5,
            torch_metrics=torchmetrics.MeanSquaredError(),
            pl_trainer_kwargs={"callbacks": [record]},
            **arguments,
        )
        model.fast_training = model.fast_prediction = fast
        with caplog.at_level(logging.DEBUG, logger="seq_plugins"):
            model.fit(**given, **validation)
        assert ("Training takes the fast path." in caplog.text) == fast
        caplog.clear()
        made.append((model.model.state_dict(), record.epochs))
        backtested = model.historical_forecasts(
            forecast_horizon=OUTPUT,
            retrain=False,
            last_points_only=False,
            show_warnings=False,
            predict_likelihood_parameters="likelihood" in arguments,
            **given,
        )
        forecasts.append(np.stack([values_of(forecast) for forecast in backtested]))
    (fast_weights, fast_epochs), (weights, epochs) = made
    for name, weight in weights.items():
        torch.testing.assert_close(fast_weights[name], weight, rtol=1e-8, atol=1e-12, msg=name)
    for ours, theirs in zip(fast_epochs, epochs, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-8)
        assert np.isfinite(list(ours.values())).all()
    np.testing.assert_allclose(forecasts[0], forecasts[1], rtol=1e-8, atol=1e-10)


def test_historical_forecasts_equal_single_predictions_and_are_evaluated_where_values_are_there(
    model_name: str,
) -> None:
    given = make_inputs(50)
    model = make_masking_model(model_name).fit(**given)
    options = {"forecast_horizon": OUTPUT, "retrain": False, "last_points_only": False, "show_warnings": False}
    forecasts = model.historical_forecasts(stride=9, **options, **given)
    covariates = {name: given[name] for name in ("past_covariates", "future_covariates")}
    for forecast in forecasts:
        before = given["series"][: forecast.start_time() - given["series"].freq]
        np.testing.assert_allclose(
            values_of(model.predict(OUTPUT, before, **covariates)), values_of(forecast), rtol=1e-5, atol=1e-6
        )
    errors = [values_of(forecast) - values_of(given["series"].slice_intersect(forecast)) for forecast in forecasts]
    expected = np.mean([np.nanmean(np.nanmean(np.abs(error), axis=0)) for error in errors])
    assert model.backtest(metric=mae, stride=9, **options, **given) == pytest.approx(expected, rel=1e-5)


def test_backtests_with_refits_run(model_name: str) -> None:
    series = with_holes(make_series(50))
    model = make_masking_model(model_name)
    forecasts = model.historical_forecasts(series, start=30, stride=6, retrain=True, show_warnings=False)
    expected = make_masking_model(model_name).fit(series[:30]).predict(1)
    np.testing.assert_array_equal(values_of(forecasts)[0], values_of(expected)[0])
    assert np.isfinite(values_of(forecasts)).all()


# What else a model does


@pytest.mark.parametrize("arguments", [{}, {"use_reversible_instance_norm": True}])
def test_a_saved_model_keeps_masking(model_name: str, arguments: dict[str, Any], tmp_path: Path) -> None:
    given = make_inputs()
    model = make_masking_model(model_name, **arguments).fit(**given)
    model.save(tmp_path / "model.pt")
    loaded = type(model).load(tmp_path / "model.pt", pl_trainer_kwargs={"accelerator": "cpu", "logger": False})
    for each in (loaded, copy.deepcopy(model)):
        assert each.model_params["missing"] == "mask"
        np.testing.assert_array_equal(values_of(each.predict(9, **given)), values_of(model.predict(9, **given)))
    assert np.isfinite(values_of(loaded.fit(**given).predict(OUTPUT, **given))).all()
    other = make_masking_model(model_name, random_state=7, **arguments)
    other.load_weights(str(tmp_path / "model.pt"))
    np.testing.assert_array_equal(values_of(other.predict(9, **given)), values_of(model.predict(9, **given)))
    with pytest.raises(ValueError, match="missing=mask"):
        make_model(model_name, **arguments).load_weights(str(tmp_path / "model.pt"))


@pytest.mark.parametrize("missing", [{}, {"missing": "error"}])
def test_a_model_saved_before_there_was_a_choice_loads(
    model_name: str, missing: dict[str, str], tmp_path: Path
) -> None:
    model = make_model(model_name).fit(make_series())
    model.save(tmp_path / "model.pt")
    checkpoint = torch.load(tmp_path / "model.pt.ckpt", weights_only=False)
    assert "missing" not in model.model_params
    assert checkpoint["hyper_parameters"].pop("missing") == "error"
    torch.save(checkpoint, tmp_path / "model.pt.ckpt")
    saved = torch.load(tmp_path / "model.pt", weights_only=False)
    del saved._checkpoint_digest  # nor was a model tied to its checkpoint then
    torch.save(saved, tmp_path / "model.pt")
    loaded = type(model).load(tmp_path / "model.pt")
    other = make_model(model_name, random_state=7, **missing)
    other.load_weights(str(tmp_path / "model.pt"))
    for each in (loaded, other):
        np.testing.assert_array_equal(values_of(each.predict(OUTPUT, make_series())), values_of(model.predict(OUTPUT)))
        with pytest.raises(ValueError, match="holds NaN"):
            each.predict(OUTPUT, with_gap(make_series(), 30))


@pytest.mark.slow
@pytest.mark.filterwarnings(
    # PyTorch's exporter calls what it has deprecated itself, and names one dimension for several inputs
    "ignore:_check_is_size will be removed:FutureWarning",
    "ignore:# The axis name. batch will not be used",
    # Darts' instance normalisation keeps the statistics of its batch
    "ignore:The tensor attributes? self.pl_module.rin",
)
def test_an_exported_network_takes_missing_values(model_name: str, tmp_path: Path) -> None:
    model = make_masking_model(model_name, use_reversible_instance_norm=True).fit(**make_inputs())
    model.to_onnx(tmp_path / "network.onnx", verbose=False)
    session = onnxruntime.InferenceSession(tmp_path / "network.onnx")
    generator = np.random.default_rng(0)
    values = {
        given.name: generator.standard_normal((5, *given.shape[1:])).astype(np.float32)
        for given in session.get_inputs()
    }
    for array in values.values():
        array[generator.random(array.shape) < 0.2] = NAN
        array[2] = NAN
    model.model.eval()
    with torch.no_grad():
        tensors = {name: torch.from_numpy(array) for name, array in values.items()}
        expected = model.model(PLModuleInput(**tensors)).prediction.numpy()
    (prediction,) = session.run(None, values)
    assert np.isfinite(prediction).all()
    np.testing.assert_allclose(prediction, expected, rtol=1e-5, atol=1e-5)


def test_encoders_and_finetuning_work_with_missing_values(model_name: str) -> None:
    encoders = {"cyclic": {"future": ["dayofweek"]}, "position": {"past": ["relative"]}}
    target = with_holes(make_series())
    model = make_masking_model(model_name, add_encoders=encoders, enable_finetuning={"freeze": ["*bias*"]}).fit(target)
    before = {name: weight.clone() for name, weight in model.model.named_parameters()}
    model.fit(target, epochs=2)
    for name, weight in model.model.named_parameters():
        assert torch.equal(weight, before[name]) == ("bias" in name), name
    assert np.isfinite(values_of(model.predict(2 * OUTPUT))).all()


def test_darts_ensembles_combine_models_that_mask(model_name: str) -> None:
    target = with_holes(make_series(60))
    members = [make_masking_model(model_name, random_state=seed) for seed in (1, 2)]
    ensemble = NaiveEnsembleModel([member.untrained_model() for member in members]).fit(target)
    expected = np.mean([values_of(member.fit(target).predict(OUTPUT)) for member in members], axis=0)
    np.testing.assert_allclose(values_of(ensemble.predict(OUTPUT)), expected, rtol=1e-5, atol=1e-6)
    # its own regression, which is not one of ours, needs the points that it is trained on
    complete_end = with_gap(make_series(60), 20, 24)
    regression = RegressionEnsembleModel([member.untrained_model() for member in members], regression_train_n_points=8)
    assert np.isfinite(values_of(regression.fit(complete_end).predict(OUTPUT))).all()


def test_missing_values_are_masked_in_low_precision(model_name: str) -> None:
    trainer = {"precision": "bf16-true", "accelerator": "cpu", "logger": False}
    model = make_masking_model(model_name, use_reversible_instance_norm=True, pl_trainer_kwargs=trainer)
    given = make_inputs()
    assert np.isfinite(values_of(model.fit(**given).predict(2 * OUTPUT, **given)).astype(np.float32)).all()


# What is learnt


def _error(model: SequenceModel, series: TimeSeries, truth: TimeSeries) -> float:
    forecasts = model.fit(series[:300]).historical_forecasts(
        series, start=300, forecast_horizon=7, retrain=False, last_points_only=False, show_warnings=False
    )
    return statistics.fmean(mae(truth, forecast) for forecast in forecasts)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODEL_NAMES)
def test_with_a_tenth_of_the_values_missing_a_weekly_pattern_is_learnt_nearly_as_well(name: str) -> None:
    generator = np.random.default_rng(0)
    pattern = np.array([0.0, 1.0, 1.2, 1.1, 0.9, 0.3, -0.4])[np.arange(400) % 7]
    complete = TimeSeries.from_values((pattern + 0.2 * generator.standard_normal(400)).astype(np.float32))
    arguments = {"input_chunk_length": 21, "output_chunk_length": 7, "n_epochs": 25, "optimizer_kwargs": {"lr": 0.01}}
    error = _error(make_model(name, **arguments), complete, complete)
    masked_error = _error(make_masking_model(name, **arguments), with_holes(complete, seed=1), complete)
    assert error < 0.25
    assert masked_error < 1.5 * error
