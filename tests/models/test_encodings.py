"""Values that `add_encoders` makes are checked like those that are given."""

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
from darts.dataprocessing.transformers import BoxCox

from tests.conftest import INPUT, OUTPUT, make_model, make_series, values_of

# the logarithm of a day of the week, of which Monday is zero
LOGARITHM = {"datetime_attribute": {"future": ["dayofweek"]}, "transformer": BoxCox(lmbda=0)}


def infinite_in_march(times: pd.DatetimeIndex) -> np.ndarray:
    return np.where(times.month == 3, np.inf, times.day / 31)


def nothing_in_march(times: pd.DatetimeIndex) -> np.ndarray:
    return np.where(times.month == 3, np.nan, times.day / 31)


def _custom(encoder: Any, kind: str) -> dict[str, Any]:
    return {"custom": {kind: [encoder]}}


def _refused(argument: str, value: str, time: str, component: str) -> Any:
    message = f"`{argument}` holds {value} at {time} 00:00:00 in component '{component}' ("
    return pytest.raises(ValueError, match=rf"^{re.escape(message)}.*\)\. `add_encoders` made it: change that encoder")


@pytest.mark.parametrize("missing", ["error", "mask"])
def test_infinity_made_by_an_encoder_is_told_with_its_time_and_component(model_name: str, missing: str) -> None:
    model = make_model(model_name, missing=missing, add_encoders=LOGARITHM)
    with _refused("future_covariates", "an infinite value", "2020-01-06", "darts_enc_fc_dta_dayofweek"):
        model.fit(make_series())
    assert not model.model_created
    model = make_model(model_name, missing=missing, add_encoders=_custom(infinite_in_march, "past"))
    with _refused(r"past_covariates[1]", "an infinite value", "2020-03-01", "darts_enc_pc_cus_custom"):
        model.fit([make_series(), make_series(80)], past_covariates=[make_series(), make_series(80)])


def test_nan_made_by_an_encoder_is_a_missing_value(model_name: str) -> None:
    encoders, target = _custom(nothing_in_march, "future"), make_series(80)
    with _refused("future_covariates", "NaN", "2020-03-01", "darts_enc_fc_cus_custom"):
        make_model(model_name, add_encoders=encoders).fit(target)
    model = make_model(model_name, missing="mask", add_encoders=encoders).fit(target)
    explicit = target.with_values(nothing_in_march(target.time_index).astype(np.float32)[:, None, None])
    given = make_model(model_name, missing="mask").fit(target, future_covariates=explicit)
    end = 80 - OUTPUT
    np.testing.assert_array_equal(
        values_of(model.predict(OUTPUT, target[:end])),
        values_of(given.predict(OUTPUT, target[:end], future_covariates=explicit)),
    )


@pytest.mark.parametrize("missing", ["error", "mask"])
def test_encodings_of_validation_prediction_and_backtest_are_checked(model_name: str, missing: str) -> None:
    model = make_model(model_name, missing=missing, add_encoders=_custom(infinite_in_march, "future"))
    model.fit(make_series())
    component = "darts_enc_fc_cus_custom"
    with _refused("val_future_covariates", "an infinite value", "2020-03-01", component):
        model.fit(make_series(), val_series=make_series(80))
    with _refused("future_covariates", "an infinite value", "2020-03-01", component):
        model.predict(OUTPUT, make_series(58))
    with _refused("future_covariates", "an infinite value", "2020-03-01", component):
        model.historical_forecasts(make_series(80), start=40, retrain=False)
    with _refused("future_covariates", "an infinite value", "2020-03-01", component):
        model.historical_forecasts(make_series(66), start=64, retrain=True)


def test_encodings_outside_the_windows_do_no_harm(model_name: str) -> None:
    model = make_model(model_name, add_encoders=_custom(infinite_in_march, "future"))
    model.fit(make_series(91 + INPUT + OUTPUT), max_samples_per_ts=1)  # March ends at step 90
    assert len(model.predict(OUTPUT, make_series(91 + INPUT))) == OUTPUT


def test_a_fit_that_is_refused_keeps_the_encoders_of_the_one_before(model_name: str) -> None:
    model = make_model(model_name, add_encoders=_custom(infinite_in_march, "future")).fit(make_series())
    before = values_of(model.predict(OUTPUT))
    encoders, uses_past_covariates = model.encoders, model.uses_past_covariates
    with pytest.raises(ValueError, match="`add_encoders` made it"):
        model.fit(make_series(80), past_covariates=make_series(80))
    assert model.encoders is encoders
    assert model.uses_past_covariates == uses_past_covariates
    np.testing.assert_array_equal(values_of(model.predict(OUTPUT)), before)
