"""Darts' anomaly detection with our models: a shock in a series scores highest."""

from typing import Any

import numpy as np
import pytest
from darts import TimeSeries
from darts.ad import ForecastingAnomalyModel, KMeansScorer, NormScorer, QuantileDetector, WassersteinScorer

from tests.conftest import OUTPUT, make_model, make_series, values_of

SHOCK = 60


def _with_a_shock(length: int = 90) -> TimeSeries:
    series = make_series(length, seed=2)
    values = values_of(series).copy()
    values[SHOCK] += 8
    return series.with_values(values)


def test_a_forecasting_anomaly_model_scores_the_shock_highest(model_name: str) -> None:
    model = make_model(model_name, n_epochs=10)
    detector = ForecastingAnomalyModel(model, [NormScorer(), KMeansScorer(k=2, window=1)])
    detector.fit(make_series(90), allow_model_training=True, start=0.3, verbose=False)
    scores = detector.score(_with_a_shock(), forecast_horizon=1, start=0.3, verbose=False)
    for score in scores:
        assert score.time_index[int(values_of(score).argmax())] == _with_a_shock().time_index[SHOCK]


def test_its_scores_are_those_of_the_models_own_forecasts(model_name: str) -> None:
    series = _with_a_shock()
    model = make_model(model_name).fit(make_series(90))
    start: dict[str, Any] = {"start": 30, "start_format": "position"}
    score = ForecastingAnomalyModel(model, NormScorer()).score(series, forecast_horizon=OUTPUT, **start)
    forecasts = model.historical_forecasts(
        series, forecast_horizon=OUTPUT, retrain=False, **start, last_points_only=True
    )
    errors = np.abs(values_of(series.slice_intersect(forecasts)) - values_of(forecasts))
    np.testing.assert_allclose(values_of(score), errors, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("scorer", [KMeansScorer(k=2, window=3), WassersteinScorer(window=5)])
def test_scorers_and_detectors_work_on_residuals(scorer: Any) -> None:
    model = make_model("Seq2SeqRNNModel", n_epochs=10).fit(make_series(90))
    given = {"forecast_horizon": 1, "retrain": False, "start": 20}
    usual, shocked = (model.residuals(series, **given) for series in (make_series(90), _with_a_shock()))
    scores = scorer.fit(usual).score(shocked)
    found = QuantileDetector(high_quantile=0.9).fit_detect(scores)
    shock_time = _with_a_shock().time_index[SHOCK]
    flagged = found.time_index[values_of(found).ravel() == 1]
    assert abs((flagged[0] - shock_time).days) <= scorer.window
