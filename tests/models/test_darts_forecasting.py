"""Forecasts, backtests, ensembles, exports and explanations as Darts' users know them."""

from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
import pytest
from darts import TimeSeries
from darts.dataprocessing.transformers import Scaler
from darts.models import NaiveEnsembleModel, RegressionEnsembleModel
from darts.utils.data import SequentialTorchInferenceDataset
from darts.utils.likelihood_models import torch as likelihoods
from darts.utils.onnx import run_onnx_prediction

from seq_plugins.lightning.prediction_loop import evaluating
from tests.conftest import INPUT, OUTPUT, make_model, make_series, takes, values_of, with_static_covariates

ENCODERS = {"cyclic": {"future": ["dayofweek"]}, "datetime_attribute": {"past": ["day"]}, "transformer": Scaler()}
QUIET: dict[str, Any] = {"show_warnings": False, "forecast_horizon": OUTPUT, "last_points_only": False}
LIKELIHOODS: dict[str, str] = {  # what the targets of each must be
    "BernoulliLikelihood": "binary",
    "BetaLikelihood": "share",
    "CauchyLikelihood": "any",
    "ContinuousBernoulliLikelihood": "share",
    "DirichletLikelihood": "shares",
    "ExponentialLikelihood": "positive",
    "GammaLikelihood": "positive",
    "GaussianLikelihood": "any",
    "GeometricLikelihood": "count",
    "GumbelLikelihood": "any",
    "HalfNormalLikelihood": "positive",
    "LaplaceLikelihood": "any",
    "LogNormalLikelihood": "positive",
    "NegativeBinomialLikelihood": "count",
    "PoissonLikelihood": "count",
    "QuantileRegression": "any",
    "WeibullLikelihood": "positive",
}


def _covariates() -> dict[str, TimeSeries]:
    return {"past_covariates": make_series(60, seed=1), "future_covariates": make_series(60, 2, seed=2)}


def _first_time(counter: int, pred_time: Any, train_series: Any, past_covariates: Any, future_covariates: Any) -> bool:
    return counter == 0


def _assert_close(forecast: TimeSeries, expected: TimeSeries) -> None:
    assert forecast.time_index.equals(expected.time_index)
    np.testing.assert_allclose(values_of(forecast), values_of(expected), rtol=1e-4, atol=1e-5)


def _targets(kind: str) -> TimeSeries:
    """Make two components that a likelihood allows."""
    series = make_series(30, components=2)
    low, high = float(values_of(series).min()), float(values_of(series).max())
    share = (series - low + 0.1) / (high - low + 0.2)
    if kind == "shares":
        return share / share.with_values(values_of(share).sum(axis=1, keepdims=True).repeat(2, axis=1))
    changes: dict[str, Any] = {
        "any": lambda values: values * 2 - 1,
        "share": lambda values: values,
        "positive": lambda values: values + 0.1,
        "count": lambda values: np.floor(10 * values),
        "binary": lambda values: np.round(values),
    }
    return share.map(changes[kind])


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_each_likelihood_of_darts_is_trained_and_sampled(name: str) -> None:
    target = _targets(LIKELIHOODS[name])
    for model_name in ("LinearModel", "Seq2SeqRNNModel"):  # one loss in a window, and many
        model = make_model(model_name, likelihood=getattr(likelihoods, name)()).fit(target)
        samples = values_of(model.predict(OUTPUT, num_samples=5))
        assert samples.shape == (OUTPUT, 2, 5)
        assert np.isfinite(samples).all()
        parameters = model.predict(OUTPUT, predict_likelihood_parameters=True)
        # a Dirichlet's are one for each component, the others' are each component's own
        assert list(parameters.components) == model.likelihood.component_names(series=target)


def test_every_likelihood_of_darts_is_tried() -> None:
    known = {name for name in vars(likelihoods) if name.endswith("Likelihood")} - {"Likelihood", "TorchLikelihood"}
    assert set(LIKELIHOODS) == known | {"QuantileRegression"}


def test_a_stochastic_series_is_forecast_from_drawn_values(model_name: str) -> None:
    model = make_model(model_name).fit(make_series())
    forecasts = []
    for seed in (1, 1, 2):
        np.random.seed(seed)  # noqa: NPY002 (Darts draws from the global generator, whatever `random_state` is)
        forecasts.append(values_of(model.predict(OUTPUT, make_series(samples=20))))
    np.testing.assert_array_equal(forecasts[0], forecasts[1])
    assert not np.array_equal(forecasts[0], forecasts[2])


def test_a_dataset_of_darts_is_forecast_from(model_name: str) -> None:
    targets = [make_series(seed=seed) for seed in range(3)]
    model = make_model(model_name).fit(targets)
    dataset = SequentialTorchInferenceDataset(
        targets, n=OUTPUT + 1, input_chunk_length=INPUT, output_chunk_length=OUTPUT
    )
    for forecast, expected in zip(
        model.predict_from_dataset(OUTPUT + 1, dataset), model.predict(OUTPUT + 1, targets), strict=True
    ):
        _assert_close(forecast, expected)
    with pytest.raises(ValueError, match="roll_size"):
        model.predict_from_dataset(OUTPUT + 1, dataset, roll_size=OUTPUT + 1)
    with pytest.raises(ValueError, match="num_samples"):
        model.predict_from_dataset(OUTPUT + 1, dataset, num_samples=0)


def test_fewer_steps_at_a_time_than_the_horizon_can_be_fed_back(model_name: str) -> None:
    target = make_series()
    model = make_model(model_name).fit(target)
    first = model.predict(1)
    second = model.predict(OUTPUT, target.append(first))
    _assert_close(model.predict(OUTPUT + 1, roll_size=1)[1 : OUTPUT + 1], second)


def test_the_number_of_jobs_changes_no_forecast(model_name: str) -> None:
    targets = [make_series(seed=seed) for seed in range(3)]
    model = make_model(model_name).fit(targets)
    for forecast, expected in zip(model.predict(3, targets, n_jobs=2), model.predict(3, targets), strict=True):
        assert forecast == expected


@pytest.mark.parametrize("n", [0, -1, 1.5, True])
def test_a_number_of_steps_that_is_none_is_refused(model_name: str, n: Any) -> None:
    with pytest.raises(ValueError, match=f"Expected `n` to be an integer of at least 1, got {n}"):
        make_model(model_name).fit(make_series()).predict(n)


def test_a_model_of_several_series_asks_which_to_forecast(model_name: str) -> None:
    model = make_model(model_name).fit([make_series(), make_series(seed=1)])
    with pytest.raises(ValueError, match="`series`"):
        model.predict(OUTPUT)


@pytest.mark.parametrize("shift", [0, 2])
def test_the_fast_backtest_equals_darts_general_one(model_name: str, shift: int) -> None:
    target = make_series(24)
    model = make_model(model_name, output_chunk_shift=shift, add_encoders=ENCODERS)
    model.fit(make_series(30), **_covariates())
    fast, general = (
        model.historical_forecasts(target, retrain=False, enable_optimization=optimized, **_covariates(), **QUIET)
        for optimized in (True, False)
    )
    assert len(fast) > 1
    for forecast, expected in zip(fast, general, strict=True):
        _assert_close(forecast, expected)


def test_a_backtest_may_start_at_the_end(model_name: str) -> None:
    targets = [make_series(length) for length in (24, 30)]
    model = make_model(model_name).fit(targets)
    for (forecast,), target in zip(
        model.historical_forecasts(targets, start="end", retrain=False, **QUIET), targets, strict=True
    ):
        _assert_close(forecast, model.predict(OUTPUT, target))


def test_a_backtest_goes_over_negative_integers(model_name: str) -> None:
    target = TimeSeries.from_times_and_values(pd.RangeIndex(-20, 4), values_of(make_series(24)))
    model = make_model(model_name).fit(target)
    forecasts = model.historical_forecasts(target, start=-4, retrain=False, **QUIET)
    assert [forecast.start_time() for forecast in forecasts] == list(range(-4, 1))
    _assert_close(forecasts[0], model.predict(OUTPUT, target[:16]))


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param({"retrain": 2, "train_length": 20}, id="every second time, on the newest steps"),
        pytest.param({"retrain": _first_time}, id="when a function says so"),
        pytest.param({"val_length": OUTPUT, "train_length": 18}, id="with a validation set"),
    ],
)
def test_a_backtest_retrains_when_and_on_what_it_is_told(model_name: str, arguments: dict[str, Any]) -> None:
    target = make_series(31)
    forecasts = make_model(model_name).historical_forecasts(
        target, start=25, start_format="position", stride=1, **arguments, **QUIET
    )
    assert len(forecasts) == 3
    length = arguments.get("train_length")
    stop = 25 - arguments.get("val_length", 0)
    alone = make_model(model_name).fit(target[0 if length is None else stop - length : stop])
    _assert_close(forecasts[0], alone.predict(OUTPUT, target[:25]))
    if "val_length" not in arguments:  # the second time the first network is still in use
        _assert_close(forecasts[1], alone.predict(OUTPUT, target[:26]))


def test_a_backtest_hands_on_arguments_of_fit_and_predict_and_weights(model_name: str) -> None:
    target, weight = make_series(30), make_series(30, seed=5).map(np.abs)
    forecast, *_ = make_model(model_name).historical_forecasts(
        target,
        start=25,
        start_format="position",
        fit_kwargs={"max_samples_per_ts": 5},
        predict_kwargs={"batch_size": 1},
        sample_weight=weight,
        **QUIET,
    )
    alone = make_model(model_name).fit(target[:25], max_samples_per_ts=5, sample_weight=weight[:25])
    _assert_close(forecast, alone.predict(OUTPUT))


def test_a_backtest_scales_with_what_was_known(model_name: str) -> None:
    target = make_series(30) + 5
    forecast, *_ = make_model(model_name).historical_forecasts(
        target, start=25, start_format="position", data_transformers={"series": Scaler()}, **QUIET
    )
    scaler = Scaler()
    alone = make_model(model_name).fit(scaler.fit_transform(target[:25]))
    _assert_close(forecast, scaler.inverse_transform(alone.predict(OUTPUT)))


def test_a_backtest_over_all_series_trains_one_network_for_them(model_name: str) -> None:
    targets = [make_series(28, seed=seed) for seed in (1, 2)]
    forecasts = make_model(model_name).historical_forecasts(
        targets, start=24, start_format="position", apply_globally=True, **QUIET
    )
    alone = make_model(model_name).fit([target[:24] for target in targets])
    for (forecast, *_), target in zip(forecasts, targets, strict=True):
        _assert_close(forecast, alone.predict(OUTPUT, target[:24]))


def test_samples_of_a_backtest_repeat_with_its_seed(model_name: str) -> None:
    model = make_model(model_name, likelihood=likelihoods.GaussianLikelihood()).fit(make_series())
    first, again = (
        model.historical_forecasts(make_series(20), num_samples=3, random_state=4, retrain=False, **QUIET)
        for _ in range(2)
    )
    assert first == again
    assert first[0].n_samples == 3


def test_fitted_members_are_combined_as_they_are(model_name: str) -> None:
    targets = [make_series(60, seed=seed) for seed in (1, 2)]
    members = [make_model(model_name, random_state=seed).fit(targets) for seed in (1, 2)]
    expected = np.mean([values_of(member.predict(OUTPUT, targets[0])) for member in members], axis=0)
    mean = NaiveEnsembleModel(members, train_forecasting_models=False)
    np.testing.assert_allclose(values_of(mean.predict(OUTPUT, targets[0])), expected, rtol=1e-5)
    weighted = RegressionEnsembleModel(
        members, 10, train_forecasting_models=False, train_using_historical_forecasts=True
    )
    weighted.fit(targets[0])
    inputs = np.concatenate([values_of(member.predict(OUTPUT, targets[0]))[..., 0] for member in members], axis=1)
    np.testing.assert_allclose(
        values_of(weighted.predict(OUTPUT))[:, 0, 0],
        weighted.ensemble_model.model.predict(inputs).ravel(),
        rtol=1e-3,
        atol=1e-4,
    )


def test_an_ensemble_of_samples_and_weights_gives_samples(model_name: str) -> None:
    members = [
        make_model(model_name, random_state=seed, likelihood=likelihoods.QuantileRegression([0.1, 0.5, 0.9]))
        for seed in (1, 2)
    ]
    ensemble = NaiveEnsembleModel(members).fit(make_series(), sample_weight="linear")
    alone = make_model(model_name, random_state=1, likelihood=likelihoods.QuantileRegression([0.1, 0.5, 0.9]))
    alone.fit(make_series(), sample_weight="linear")
    certain: dict[str, Any] = {"predict_likelihood_parameters": True}
    _assert_close(ensemble.forecasting_models[0].predict(OUTPUT, **certain), alone.predict(OUTPUT, **certain))
    assert values_of(ensemble.predict(OUTPUT, num_samples=4)).shape == (OUTPUT, 1, 4)
    assert values_of(ensemble.predict(OUTPUT, **certain)).shape == (OUTPUT, 3, 1)


@pytest.mark.slow
@pytest.mark.filterwarnings(
    # PyTorch's exporter calls what it has deprecated itself, and names one dimension for several inputs
    "ignore:_check_is_size will be removed:FutureWarning",
    "ignore:# The axis name. batch will not be used",
    # Darts' instance normalisation keeps the statistics of its batch
    "ignore:The tensor attributes? self.pl_module.rin",
)
@pytest.mark.parametrize("case", ["long forecasts", "quantiles"])
def test_darts_forecasts_from_an_exported_network_without_pytorch(model_name: str, case: str) -> None:
    quantiles = likelihoods.QuantileRegression([0.1, 0.5, 0.9]) if case == "quantiles" else None
    own = {"hidden_fc_sizes": [4]} if takes(model_name, "hidden_fc_sizes") else {}
    model = make_model(model_name, likelihood=quantiles, use_reversible_instance_norm=quantiles is None, **own)
    targets = [with_static_covariates(make_series(components=2, seed=seed), seed) for seed in (1, 2)]
    given = {name: [covariates] * 2 for name, covariates in _covariates().items()}
    model.fit(targets, **given)
    model.to_onnx("network.onnx", verbose=False)
    n = OUTPUT if quantiles else 2 * OUTPUT + 1
    session = onnxruntime.InferenceSession("network.onnx")
    forecasts = run_onnx_prediction(n, session, targets, **given, verbose=False)
    expected = model.predict(n, targets, **given, predict_likelihood_parameters=quantiles is not None)
    for forecast, of_model in zip(forecasts, expected, strict=True):
        assert forecast.components.equals(of_model.components)
        _assert_close(forecast, of_model)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of shap, when it is imported
def test_shapley_values_and_the_mean_add_up_to_the_forecast(model_name: str) -> None:
    from darts.explainability import ShapExplainer

    target = make_series(14)
    model = make_model(model_name, input_chunk_length=4, output_chunk_length=1).fit(target)
    explained = ShapExplainer(model, target, shap_method="permutation", test_stationarity=False).explain(target)
    explanation = explained.get_shap_explanation_object(horizon=1)
    assert explanation.values.shape[1] == 4  # noqa: PD011
    total = explanation.values.sum(axis=1) + explanation.base_values  # noqa: PD011
    forecasts = model.historical_forecasts(target, retrain=False, show_warnings=False, overlap_end=True)
    np.testing.assert_allclose(total, values_of(forecasts)[: len(total), 0, 0], rtol=1e-3, atol=1e-4)


def test_a_network_stays_in_the_mode_of_prediction_while_a_thread_predicts() -> None:
    network = make_model("SimpleRNNModel", dropout=0.5).fit(make_series()).model
    network.train()
    first, second = evaluating(network), evaluating(network)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert not any(module.training for module in network.modules())
    second.__exit__(None, None, None)
    assert all(module.training for module in network.modules())
