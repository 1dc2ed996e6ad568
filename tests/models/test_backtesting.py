"""Every model inside Darts' backtests, searches, ensembles and conformal models."""

from typing import Any

import numpy as np
import pytest
from darts import TimeSeries
from darts.metrics import mae
from darts.models import ConformalNaiveModel, LinearRegressionModel, NaiveEnsembleModel, RegressionEnsembleModel
from darts.utils.likelihood_models.torch import GaussianLikelihood

from tests.conftest import INPUT, OUTPUT, make_model, make_series, values_of


def _covariates(length: int = 60) -> dict[str, TimeSeries]:
    return {"past_covariates": make_series(length, seed=1), "future_covariates": make_series(length, 2, seed=2)}


@pytest.mark.parametrize("last_points_only", [True, False])
@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param({"forecast_horizon": OUTPUT}, id="horizon of the output chunk"),
        pytest.param({"forecast_horizon": OUTPUT - 2, "stride": 3}, id="shorter horizon, stride"),
        pytest.param({"forecast_horizon": 2 * OUTPUT + 1, "stride": 2}, id="longer horizon"),
        pytest.param({"forecast_horizon": OUTPUT, "start": 30, "start_format": "position"}, id="start"),
        pytest.param({"forecast_horizon": OUTPUT, "overlap_end": True, "start": 0.7}, id="overlapping end"),
    ],
)
def test_historical_forecasts_equal_forecasts_made_one_by_one(
    model_name: str, arguments: dict[str, Any], last_points_only: bool
) -> None:
    target = make_series(45)
    model = make_model(model_name).fit(target[:30], **_covariates())
    forecasts = model.historical_forecasts(
        target,
        retrain=False,
        last_points_only=last_points_only,
        show_warnings=False,
        **_covariates(),
        **arguments,
    )
    horizon = arguments["forecast_horizon"]
    if last_points_only:
        forecasts = [forecasts[position] for position in range(len(forecasts))]
    assert len(forecasts) > 2
    for forecast in forecasts:
        last = forecast.end_time()
        position = target.get_index_at_point(target.start_time()) + (last - target.start_time()).days - horizon + 1
        alone = model.predict(horizon, target[:position], **_covariates())
        assert alone.end_time() == last
        np.testing.assert_allclose(values_of(forecast), values_of(alone)[-len(forecast) :], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shift", [0, 2])
def test_historical_forecasts_that_retrain_equal_models_fitted_one_by_one(model_name: str, shift: int) -> None:
    target = make_series(30)
    model = make_model(model_name, output_chunk_shift=shift)
    forecasts = model.historical_forecasts(
        target,
        start=25,
        start_format="position",
        forecast_horizon=OUTPUT,
        last_points_only=False,
        show_warnings=False,
        overlap_end=True,
        stride=2,
        **_covariates(),
    )
    assert len(forecasts) > 1
    for forecast in forecasts:
        end = (forecast.start_time() - target.start_time()).days - shift
        alone = make_model(model_name, output_chunk_shift=shift).fit(target[:end], **_covariates())
        np.testing.assert_allclose(values_of(forecast), values_of(alone.predict(OUTPUT)), rtol=1e-5, atol=1e-6)


def test_many_series_are_backtested_at_once(model_name: str) -> None:
    targets = [make_series(length, seed=length) for length in (30, 40)]
    model = make_model(model_name).fit(targets)
    errors = model.backtest(targets, forecast_horizon=OUTPUT, retrain=False, metric=mae, show_warnings=False)
    for target, error in zip(targets, errors, strict=True):
        forecasts = [model.predict(OUTPUT, target[:end]) for end in range(INPUT, len(target) - OUTPUT + 1)]
        assert error == pytest.approx(np.mean([mae(target, forecast) for forecast in forecasts]), rel=1e-4)


def test_residuals_are_the_truth_less_the_forecasts(model_name: str) -> None:
    target = make_series(30)
    model = make_model(model_name).fit(target)
    residuals = model.residuals(target, forecast_horizon=2, retrain=False, show_warnings=False)
    forecasts = model.historical_forecasts(target, forecast_horizon=2, retrain=False, show_warnings=False)
    np.testing.assert_allclose(
        values_of(residuals), values_of(target.slice_intersect(forecasts) - forecasts), rtol=1e-5, atol=1e-6
    )


def test_a_grid_of_arguments_is_searched(model_name: str) -> None:
    trainer = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False}
    target, validation = make_series(30), make_series(OUTPUT, start=30)
    fixed = {"output_chunk_length": OUTPUT, "n_epochs": 1, "random_state": 1, "pl_trainer_kwargs": trainer}
    model_class: Any = type(make_model(model_name))
    best, parameters, _ = model_class.gridsearch(
        {"input_chunk_length": [8, INPUT]} | {name: [value] for name, value in fixed.items()},
        target,
        val_series=validation,
        metric=mae,
    )
    errors = {
        length: mae(validation, model_class(input_chunk_length=length, **fixed).fit(target).predict(OUTPUT))
        for length in (8, INPUT)
    }
    assert errors[8] != errors[INPUT]
    assert parameters["input_chunk_length"] == min(errors, key=lambda length: errors[length])
    best.fit(target)
    assert mae(validation, best.predict(OUTPUT)) == pytest.approx(min(errors.values()), rel=1e-5)


@pytest.mark.parametrize("shift", [0, 3])
def test_historical_forecasts_of_many_series_with_shift_and_likelihood_equal_forecasts_made_one_by_one(
    model_name: str, shift: int
) -> None:
    targets = [make_series(length, seed=length) for length in (30, 40)]
    given = {name: [covariates] * 2 for name, covariates in _covariates().items()}
    model = make_model(model_name, output_chunk_shift=shift, likelihood=GaussianLikelihood()).fit(targets, **given)
    forecasts = model.historical_forecasts(
        targets,
        forecast_horizon=OUTPUT,
        retrain=False,
        last_points_only=False,
        predict_likelihood_parameters=True,
        show_warnings=False,
        **given,
    )
    for target, of_target in zip(targets, forecasts, strict=True):
        assert len(of_target) == len(target) - INPUT - shift - OUTPUT + 1
        for forecast in of_target:
            end = (forecast.start_time() - target.start_time()).days - shift
            alone = model.predict(OUTPUT, target[:end], predict_likelihood_parameters=True, **_covariates())
            np.testing.assert_allclose(values_of(forecast), values_of(alone), rtol=1e-5, atol=1e-6)


def test_an_untrained_copy_has_the_same_arguments_and_no_weights(model_name: str) -> None:
    model = make_model(model_name).fit(make_series())
    untrained = model.untrained_model()
    assert not untrained.model_created
    assert untrained.model_params == model.model_params
    np.testing.assert_array_equal(
        values_of(untrained.fit(make_series()).predict(OUTPUT)), values_of(model.predict(OUTPUT))
    )


def test_a_naive_ensemble_of_models_forecasts_their_mean(model_name: str) -> None:
    target, covariates = make_series(), _covariates()
    ensemble = NaiveEnsembleModel([make_model(model_name, random_state=seed) for seed in (1, 2)])
    ensemble.fit(target, **covariates)
    members = [make_model(model_name, random_state=seed).fit(target, **covariates) for seed in (1, 2)]
    expected = np.mean([values_of(member.predict(OUTPUT)) for member in members], axis=0)
    np.testing.assert_allclose(values_of(ensemble.predict(OUTPUT)), expected, rtol=1e-5, atol=1e-6)


def test_models_are_combined_with_darts_models_by_regression(model_name: str) -> None:
    target = make_series(60)
    linear = LinearRegressionModel(lags=INPUT, output_chunk_length=OUTPUT)
    ensemble = RegressionEnsembleModel([make_model(model_name), linear], regression_train_n_points=8)
    forecast = values_of(ensemble.fit(target).predict(OUTPUT))
    members = [make_model(model_name).fit(target), linear.untrained_model().fit(target)]
    inputs = np.concatenate([values_of(member.predict(OUTPUT))[:, :, 0] for member in members], axis=1)
    weights = ensemble.ensemble_model.model
    np.testing.assert_allclose(forecast[:, 0, 0], weights.predict(inputs).ravel(), rtol=1e-4)


def test_conformal_intervals_hold_the_forecast(model_name: str) -> None:
    target = make_series(60)
    model = make_model(model_name).fit(target[:40])
    conformal = ConformalNaiveModel(model, quantiles=[0.1, 0.5, 0.9], cal_length=10)
    low, middle, high = values_of(conformal.predict(OUTPUT, target, predict_likelihood_parameters=True))[..., 0].T
    assert (low < middle).all()
    assert (middle < high).all()
    np.testing.assert_allclose(middle, values_of(model.predict(OUTPUT, target))[:, 0, 0], rtol=1e-5, atol=1e-6)
