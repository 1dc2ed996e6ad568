"""With `missing="mask"`, series may be shorter than a window: the oldest steps are missing."""

from typing import Any

import numpy as np
import pytest
from darts import TimeSeries
from darts.utils.likelihood_models.torch import GaussianLikelihood, QuantileRegression

from seq_plugins.models import SequenceModel
from tests.conftest import INPUT, OUTPUT, make_model, make_series, values_of, with_static_covariates

NAN = np.float32("nan")
CONFIGURATIONS: list[dict[str, Any]] = [
    {},
    {"output_chunk_shift": 2},
    {"season_length": 3},
    {"use_reversible_instance_norm": True},
    {"likelihood": GaussianLikelihood()},
    {"likelihood": QuantileRegression([0.1, 0.5, 0.9])},
    {"add_encoders": {"cyclic": {"future": ["dayofweek"]}, "position": {"past": ["relative"]}}},
]


def make_masking_model(name: str, **arguments: Any) -> SequenceModel:
    return make_model(name, missing="mask", **arguments)


def padded(series: TimeSeries, n_steps: int) -> TimeSeries:
    """Put missing values in front of a series, as users would by hand."""
    steps = np.full((n_steps, series.n_components, 1), NAN, series.dtype)
    return series.prepend_values(steps) if n_steps else series


def covariates_of(series: TimeSeries, n_steps: int) -> dict[str, TimeSeries]:
    """Return covariates from the first step of a series up to `n_steps` after its last one."""
    return {
        "past_covariates": make_series(len(series), seed=7),
        "future_covariates": make_series(len(series) + n_steps, seed=8),
    }


@pytest.mark.parametrize("arguments", CONFIGURATIONS)
def test_a_forecast_from_a_short_series_is_that_from_the_series_padded_by_hand(
    model_name: str, arguments: dict[str, Any]
) -> None:
    model = make_masking_model(model_name, **arguments).fit(make_series())
    given: dict[str, Any] = {"predict_likelihood_parameters": True} if "likelihood" in arguments else {}
    for length in (1, 5, INPUT - 1):
        short = make_series(length)
        forecast = model.predict(OUTPUT, short, **given)
        assert forecast.start_time() == short.end_time() + (1 + arguments.get("output_chunk_shift", 0)) * short.freq
        if "add_encoders" not in arguments:  # they know the time steps before a series, whose values are not used
            by_hand = model.predict(OUTPUT, padded(short, INPUT - length), **given)
            np.testing.assert_allclose(values_of(forecast), values_of(by_hand), rtol=1e-5, atol=1e-6)
        assert np.isfinite(values_of(forecast)).all()


def test_covariates_and_longer_forecasts_work_from_short_series(model_name: str) -> None:
    target = with_static_covariates(make_series())
    model = make_masking_model(model_name).fit(target, **covariates_of(target, 0))
    short = [with_static_covariates(make_series(length, seed=length)) for length in (1, 3, INPUT, 30)]
    n = 2 * OUTPUT
    given = {
        "past_covariates": [make_series(len(series) + n, seed=7) for series in short],
        "future_covariates": [make_series(len(series) + n, seed=8) for series in short],
    }
    together = model.predict(n, short, **given)
    for index, series in enumerate(short):
        alone = model.predict(n, series, **{name: listed[index] for name, listed in given.items()})
        np.testing.assert_allclose(values_of(together[index]), values_of(alone), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("arguments", CONFIGURATIONS)
def test_short_series_are_trained_on(model_name: str, arguments: dict[str, Any]) -> None:
    shortest = 1 + arguments.get("output_chunk_shift", 0) + OUTPUT
    model = make_masking_model(model_name, **arguments)
    model.fit([make_series(shortest), make_series(shortest + 3, seed=1)], val_series=make_series(shortest, seed=2))
    assert all(np.isfinite(values_of(model.predict(OUTPUT, make_series(2)))).ravel())
    weighted = make_masking_model(model_name, **arguments)
    weighted.fit(make_series(shortest), sample_weight=make_series(shortest, seed=3).map(np.abs))
    assert np.isfinite(values_of(weighted.predict(OUTPUT, make_series(2)))).all()


@pytest.mark.parametrize("retrain", [False, True])
def test_historical_forecasts_start_where_there_is_a_history(model_name: str, retrain: bool) -> None:
    model = make_masking_model(model_name).fit(make_series())
    short = make_series(OUTPUT + 5)
    forecasts = model.historical_forecasts(short, retrain=retrain, forecast_horizon=OUTPUT, last_points_only=False)
    first = 1 + OUTPUT if retrain else 1
    assert [forecast.start_time() for forecast in forecasts] == list(short.time_index[first : -OUTPUT + 1])
    assert all(np.isfinite(values_of(forecast)).all() for forecast in forecasts)
    if not retrain:
        for forecast in forecasts:
            expected = model.predict(OUTPUT, short.drop_after(forecast.start_time()))
            np.testing.assert_allclose(values_of(forecast), values_of(expected), rtol=1e-5, atol=1e-6)


def test_no_history_at_all_is_one_missing_value_before_the_forecast(model_name: str) -> None:
    model = make_masking_model(model_name).fit(make_series())
    nothing = make_series(1).with_values(np.full((1, 1, 1), NAN))
    assert np.isfinite(values_of(model.predict(OUTPUT, nothing))).all()
    with pytest.raises(
        ValueError, match=r"`series` has 0 time steps, expected at least 1: .*give a missing value at the time step"
    ):
        model.predict(OUTPUT, make_series()[:0])


def test_models_that_do_not_mask_say_which_do(model_name: str) -> None:
    model = make_model(model_name).fit(make_series())
    told = 'make the model with `missing="mask"`'
    with pytest.raises(ValueError, match=rf"`series` has 5 time steps, expected at least {INPUT}: .*{told}"):
        model.predict(OUTPUT, make_series(5))
    with pytest.raises(ValueError, match=rf"`series\[1\]` has 5 time steps, expected at least {INPUT}: .*{told}"):
        model.predict(OUTPUT, [make_series(), make_series(5)])
    for retrain in (False, True):
        with pytest.raises(ValueError, match=told):
            model.historical_forecasts(make_series(5), retrain=retrain, forecast_horizon=OUTPUT)
        with pytest.raises(ValueError, match=told):
            model.backtest(make_series(5), retrain=retrain, forecast_horizon=OUTPUT)


@pytest.mark.parametrize("argument", ["past_covariates", "future_covariates"])
def test_covariates_that_start_after_the_target_are_missing_before_in_forecasts(model_name: str, argument: str) -> None:
    target, covariates = make_series(30), make_series(40, seed=1)
    model = make_masking_model(model_name).fit(target, **{argument: covariates})
    late = covariates[5:]
    forecasts = model.historical_forecasts(
        target, retrain=False, forecast_horizon=OUTPUT, last_points_only=False, **{argument: late}
    )
    assert forecasts[0].start_time() == late.time_index[1]
    missing = padded(late, 5)
    for forecast in forecasts:
        expected = model.predict(OUTPUT, target.drop_after(forecast.start_time()), **{argument: missing})
        np.testing.assert_allclose(values_of(forecast), values_of(expected), rtol=1e-5, atol=1e-6)
    several = model.predict(OUTPUT, [target[:8], target], **{argument: [late, covariates]})
    for series, given, forecast in zip([target[:8], target], [missing, covariates], several, strict=True):
        expected = model.predict(OUTPUT, series, **{argument: given})
        np.testing.assert_allclose(values_of(forecast), values_of(expected), rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match=f"`{argument}` reaches from"):
        make_masking_model(model_name).fit(target, **{argument: late})
