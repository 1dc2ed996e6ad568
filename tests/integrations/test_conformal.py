"""Darts' conformal models around ours: intervals are those of the residuals, and cover what they should."""

import numpy as np
import pytest
from darts.metrics import mic
from darts.models import ConformalNaiveModel, ConformalQRModel
from darts.utils.likelihood_models.torch import QuantileRegression

from tests.conftest import OUTPUT, make_model, make_series, values_of

QUANTILES = [0.1, 0.5, 0.9]


def test_naive_intervals_are_the_forecast_and_a_quantile_of_its_past_errors(model_name: str) -> None:
    series, n_errors = make_series(80), 10
    model = make_model(model_name, n_epochs=2).fit(series[:40])
    conformal = ConformalNaiveModel(model, QUANTILES, cal_length=n_errors, cal_stride=OUTPUT)
    forecast = conformal.predict(OUTPUT, series, predict_likelihood_parameters=True)
    low, middle, high = np.moveaxis(values_of(forecast)[:, :, 0], 1, 0)
    np.testing.assert_allclose(middle, values_of(model.predict(OUTPUT, series)).ravel(), rtol=1e-5, atol=1e-6)
    errors = []
    for end in range(len(series), len(series) - n_errors * OUTPUT, -OUTPUT):
        past, future = series[: end - OUTPUT], series[end - OUTPUT : end]
        errors.append(np.abs(values_of(future) - values_of(model.predict(OUTPUT, past))).ravel())
    widths = np.quantile(errors, 0.8, axis=0, method="higher")
    np.testing.assert_allclose(high - middle, widths, rtol=1e-4)
    np.testing.assert_allclose(middle - low, widths, rtol=1e-4)


@pytest.mark.slow
def test_conformal_quantile_regression_corrects_quantiles_that_are_far_too_narrow(model_name: str) -> None:
    series = make_series(200)
    model = make_model(model_name, likelihood=QuantileRegression(QUANTILES), n_epochs=1).fit(series[:60])
    conformal = ConformalQRModel(model, QUANTILES, cal_length=60)
    given = {
        "series": series,
        "start": 150,
        "forecast_horizon": OUTPUT,
        "last_points_only": True,
        "predict_likelihood_parameters": True,
    }
    forecasts = conformal.historical_forecasts(**given)
    assert list(forecasts.components) == [f"0_q{quantile:.3f}" for quantile in QUANTILES]
    values = values_of(forecasts)[:, :, 0]
    assert (np.diff(values, axis=1) >= 0).all()
    calibrated = mic(series, forecasts, q_interval=(0.1, 0.9))
    before = mic(series, model.historical_forecasts(**given, retrain=False), q_interval=(0.1, 0.9))
    assert calibrated == pytest.approx(0.8, abs=0.1)
    assert abs(calibrated - 0.8) < abs(before - 0.8)


def test_conformal_models_draw_samples_and_backtest() -> None:
    series = make_series(80)
    model = make_model("Seq2SeqRNNModel").fit(series[:40])
    conformal = ConformalNaiveModel(model, QUANTILES, cal_length=10, random_state=1)
    samples = conformal.predict(OUTPUT, series, num_samples=50)
    assert values_of(samples).shape == (OUTPUT, 1, 50)
    assert np.isfinite(conformal.backtest(series, start=-8, forecast_horizon=OUTPUT))
