"""Darts' ensembles that mix our models with Darts' own."""

from typing import Any

import numpy as np
from darts.models import LinearRegressionModel, NaiveEnsembleModel, RegressionEnsembleModel

from tests.conftest import INPUT, OUTPUT, make_model, make_series, values_of

COVARIATES = make_series(80, seed=1)


def _mixed(model_name: str) -> list[Any]:
    darts_model = LinearRegressionModel(
        lags=INPUT, lags_past_covariates=INPUT, lags_future_covariates=(INPUT, OUTPUT), output_chunk_length=OUTPUT
    )
    return [make_model(model_name), darts_model]


def test_a_naive_ensemble_forecasts_the_mean_of_ours_and_darts(model_name: str) -> None:
    given = {"past_covariates": COVARIATES, "future_covariates": COVARIATES}
    ensemble = NaiveEnsembleModel(_mixed(model_name)).fit(make_series(), **given)
    forecasts = [values_of(model.fit(make_series(), **given).predict(OUTPUT)) for model in _mixed(model_name)]
    np.testing.assert_allclose(values_of(ensemble.predict(OUTPUT)), np.mean(forecasts, axis=0), rtol=1e-5, atol=1e-6)


def test_a_naive_ensemble_of_models_that_were_fitted_before_is_their_mean(model_name: str) -> None:
    given = {"past_covariates": COVARIATES, "future_covariates": COVARIATES}
    fitted = [model.fit(make_series(), **given) for model in _mixed(model_name)]
    ensemble = NaiveEnsembleModel(fitted, train_forecasting_models=False)
    forecast = ensemble.predict(OUTPUT, make_series(), **given)
    expected = np.mean([values_of(model.predict(OUTPUT, make_series(), **given)) for model in fitted], axis=0)
    np.testing.assert_allclose(values_of(forecast), expected, rtol=1e-5, atol=1e-6)


def test_a_regression_ensemble_weighs_ours_and_darts(model_name: str, tmp_path: Any) -> None:
    given = {"past_covariates": COVARIATES, "future_covariates": COVARIATES}
    ensemble = RegressionEnsembleModel(_mixed(model_name), regression_train_n_points=OUTPUT)
    ensemble.fit(make_series(), **given)
    forecast = values_of(ensemble.predict(OUTPUT))
    weights = ensemble.ensemble_model.model.coef_.ravel()
    single = [values_of(model.fit(make_series(), **given).predict(OUTPUT)) for model in _mixed(model_name)]
    intercept = ensemble.ensemble_model.model.intercept_
    expected = sum(weight * values for weight, values in zip(weights, single, strict=True)) + intercept
    np.testing.assert_allclose(forecast, expected, rtol=1e-4, atol=1e-5)
    ensemble.save(tmp_path / "ensemble.pkl")
    loaded = RegressionEnsembleModel.load(tmp_path / "ensemble.pkl")
    np.testing.assert_allclose(values_of(loaded.predict(OUTPUT)), forecast, rtol=1e-5)


def test_an_ensemble_is_backtested() -> None:
    ensemble = NaiveEnsembleModel(_mixed("LinearModel"))
    given = {"past_covariates": COVARIATES, "future_covariates": COVARIATES}
    error = ensemble.fit(make_series(), **given).backtest(
        make_series(60), start=-8, forecast_horizon=OUTPUT, retrain=False, **given
    )
    assert np.isfinite(error)
