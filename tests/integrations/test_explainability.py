"""Darts' SHAP explainer on our models: contributions add up to the forecast."""

import numpy as np
from darts import TimeSeries
from darts.explainability import ShapExplainer

from tests.conftest import INPUT, OUTPUT, make_model, make_series, values_of, with_static_covariates


def test_contributions_of_all_inputs_add_up_to_the_forecast(model_name: str) -> None:
    series, covariates = with_static_covariates(make_series()), make_series(60, seed=1)
    given = {"past_covariates": covariates, "future_covariates": covariates}
    model = make_model(model_name).fit(series, **given)
    explainer = ShapExplainer(model, background_num_samples=8, shap_method="sampling", test_stationarity=False)
    result = explainer.explain(series[-INPUT - 3 :], covariates, covariates)
    windows = [series[: len(series) - left_out] for left_out in (3, 2, 1, 0)]
    forecasts = np.stack([values_of(model.predict(OUTPUT, window, **given)).ravel() for window in windows])
    for step in range(OUTPUT):
        base = result.get_shap_explanation_object(step + 1).base_values
        contributions = values_of(result.get_explanation(step + 1))[:, :, 0]
        np.testing.assert_allclose(base + contributions.sum(axis=1), forecasts[:, step], atol=1e-4)
        assert np.abs(contributions).max() > 1e-4
    # L lags of the target and of the past covariate, L + H of the future covariate, two static covariates
    assert result.get_explanation(1).n_components == 3 * INPUT + OUTPUT + 2


def test_a_model_that_copies_a_lag_is_explained_by_that_lag() -> None:
    model = make_model("LinearModel").fit(make_series(60))
    layer = next(module for module in model.model.modules() if hasattr(module, "in_features"))
    layer.weight.data *= 1e-3
    layer.weight.data[0, INPUT - 7] = 2.0  # the first step is twice the value of seven days before
    explainer = ShapExplainer(model, background_num_samples=8, shap_method="sampling", test_stationarity=False)
    explained: TimeSeries = explainer.explain(make_series(60, seed=3), horizons=1).get_explanation(1)
    sizes = np.abs(values_of(explained)[:, :, 0]).mean(axis=0)
    assert explained.components[int(sizes.argmax())] == "0_target_lag-7"
    assert sizes.max() > 100 * np.delete(sizes, sizes.argmax()).max()
