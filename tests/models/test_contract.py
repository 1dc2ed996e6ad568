"""What every model takes and gives."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from darts.utils.likelihood_models.torch import GaussianLikelihood, LaplaceLikelihood, QuantileRegression

from tests.conftest import INPUT, OUTPUT, make_model, make_series, values_of, with_static_covariates

LIKELIHOODS = {
    "Gaussian": (GaussianLikelihood, 2),
    "Laplace": (LaplaceLikelihood, 2),
    "Quantile": (lambda: QuantileRegression([0.1, 0.5, 0.9]), 3),
}


@pytest.mark.parametrize("components", [1, 3])
@pytest.mark.parametrize("covariates", ["none", "past", "future", "static", "static of each component", "all"])
def test_each_combination_of_covariates_and_components_is_forecast_on_the_steps_that_follow(
    model_name: str, components: int, covariates: str
) -> None:
    target = make_series(components=components)
    given: dict[str, Any] = {}
    if covariates in ("past", "all"):
        given["past_covariates"] = make_series(components=2, seed=1)
    if covariates in ("future", "all"):
        given["future_covariates"] = make_series(length=40 + OUTPUT, components=3, seed=2)
    if covariates.startswith("static") or covariates == "all":
        target = with_static_covariates(target, per_component=covariates == "static of each component")
    model = make_model(model_name).fit(target, **given)
    forecast = model.predict(OUTPUT)
    assert forecast.time_index.equals(pd.date_range(target.end_time() + target.freq, periods=OUTPUT, freq="D"))
    assert forecast.components.equals(target.components)
    assert np.isfinite(values_of(forecast)).all()
    assert (model.uses_past_covariates, model.uses_future_covariates) == (
        "past_covariates" in given,
        "future_covariates" in given,
    )
    assert model.uses_static_covariates == (target.static_covariates is not None)


def test_each_kind_of_covariates_moves_the_forecast(model_name: str) -> None:
    target = with_static_covariates(make_series())
    given = {"past_covariates": make_series(seed=1), "future_covariates": make_series(length=44, seed=2)}
    model = make_model(model_name).fit(target, **given)
    forecast = values_of(model.predict(OUTPUT, target, **given))
    others = {
        "past": {"series": target, **given, "past_covariates": given["past_covariates"] + 1},
        "future": {"series": target, **given, "future_covariates": given["future_covariates"] + 1},
        "static": {"series": with_static_covariates(target, 3.0), **given},
    }
    for kind, arguments in others.items():
        assert np.abs(values_of(model.predict(OUTPUT, **arguments)) - forecast).max() > 1e-4, kind


def test_static_covariates_can_be_left_aside(model_name: str) -> None:
    model = make_model(model_name, use_static_covariates=False).fit(with_static_covariates(make_series()))
    assert not model.uses_static_covariates
    assert np.array_equal(
        values_of(model.predict(OUTPUT)), values_of(make_model(model_name).fit(make_series()).predict(OUTPUT))
    )


def test_many_series_of_unequal_lengths_are_fitted_together_and_forecast_each(model_name: str) -> None:
    targets = [make_series(length, components=2, seed=length) for length in (16, 40, 23)]
    pasts = [make_series(length + OUTPUT, seed=length + 1) for length in (16, 40, 23)]
    futures = [make_series(length + 2 * OUTPUT, seed=length + 2) for length in (16, 40, 23)]
    model = make_model(model_name).fit(targets, past_covariates=pasts, future_covariates=futures)
    forecasts = model.predict(2 * OUTPUT, targets, past_covariates=pasts, future_covariates=futures)
    for target, past, future, forecast in zip(targets, pasts, futures, forecasts, strict=True):
        alone = model.predict(2 * OUTPUT, target, past_covariates=past, future_covariates=future)
        assert forecast.start_time() == target.end_time() + target.freq
        np.testing.assert_allclose(values_of(forecast), values_of(alone), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("freq", ["D", "h", "MS", 1, 3])
def test_each_kind_of_time_index_goes_on_in_the_forecast(model_name: str, freq: str | int) -> None:
    target = make_series(freq=freq)
    covariates = make_series(length=60, freq=freq, seed=1)
    model = make_model(model_name).fit(target, past_covariates=covariates, future_covariates=covariates)
    forecast = model.predict(OUTPUT + 3)
    assert forecast.freq == target.freq
    assert forecast.start_time() == target.end_time() + target.freq
    assert len(forecast) == OUTPUT + 3


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_forecasts_have_the_type_of_the_series(model_name: str, dtype: Any) -> None:
    target = with_static_covariates(make_series(dtype=dtype))
    covariates = make_series(length=44, dtype=dtype, seed=1)
    model = make_model(model_name).fit(target, past_covariates=covariates, future_covariates=covariates)
    assert model.predict(OUTPUT).dtype == dtype
    assert {parameter.dtype.itemsize for parameter in model.model.parameters()} == {np.dtype(dtype).itemsize}


@pytest.mark.parametrize("precision", ["bf16-mixed", "64-true"])
def test_other_precisions_train_and_forecast(model_name: str, precision: str) -> None:
    dtype = np.float64 if precision == "64-true" else np.float32
    target = make_series(dtype=dtype)
    covariates = make_series(length=44, dtype=dtype, seed=1)
    model = make_model(model_name, pl_trainer_kwargs={"precision": precision})
    model.fit(target, future_covariates=covariates)
    assert np.isfinite(values_of(model.predict(OUTPUT))).all()


@pytest.mark.parametrize("n", [1, OUTPUT - 1, OUTPUT, OUTPUT + 1, 3 * OUTPUT + 2])
def test_any_number_of_steps_can_be_forecast(model_name: str, n: int) -> None:
    covariates = make_series(length=60, seed=1)
    model = make_model(model_name).fit(make_series(), past_covariates=covariates, future_covariates=covariates)
    assert len(model.predict(n)) == n
    # Darts lets the last chunk end with the forecast, and cuts the one before
    from_first_chunk = n if n <= OUTPUT else n % OUTPUT
    np.testing.assert_array_equal(
        values_of(model.predict(n))[:from_first_chunk], values_of(model.predict(OUTPUT))[:from_first_chunk]
    )


def test_long_forecasts_feed_forecasts_back_as_inputs(model_name: str) -> None:
    target = make_series()
    model = make_model(model_name).fit(target)
    first = model.predict(OUTPUT)
    second = model.predict(OUTPUT, target.append(first))
    np.testing.assert_allclose(values_of(model.predict(2 * OUTPUT))[OUTPUT:], values_of(second), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shift", [1, 5])
def test_shifted_forecasts_start_after_the_gap(model_name: str, shift: int) -> None:
    target = make_series()
    covariates = make_series(length=60, seed=1)
    model = make_model(model_name, output_chunk_shift=shift)
    model.fit(target, past_covariates=covariates, future_covariates=covariates)
    forecast = model.predict(OUTPUT)
    assert forecast.start_time() == target.end_time() + (shift + 1) * target.freq
    with pytest.raises(ValueError, match="auto-regression"):
        model.predict(OUTPUT + 1)


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("components", [1, 2])
def test_likelihoods_give_samples_and_parameters(model_name: str, likelihood: str, components: int) -> None:
    make_likelihood, n_parameters = LIKELIHOODS[likelihood]
    target = make_series(components=components)
    covariates = make_series(length=60, seed=1)
    model = make_model(model_name, likelihood=make_likelihood()).fit(target, future_covariates=covariates)
    samples = values_of(model.predict(OUTPUT + 2, num_samples=50))
    assert samples.shape == (OUTPUT + 2, components, 50)
    assert (samples.std(axis=2) > 0).all()
    parameters = model.predict(OUTPUT, predict_likelihood_parameters=True)
    assert values_of(parameters).shape == (OUTPUT, components * n_parameters, 1)
    if likelihood == "Quantile":
        assert all("_q" in name for name in parameters.components)


def test_without_anything_random_several_samples_are_refused(model_name: str) -> None:
    model = make_model(model_name).fit(make_series())
    with pytest.raises(ValueError, match="probabilistic"):
        model.predict(OUTPUT, num_samples=2)


@pytest.mark.parametrize("kind", ["dropout", "recurrent_dropout"])
def test_both_dropouts_are_off_in_a_plain_forecast_and_on_with_monte_carlo_dropout(
    recurrent_model_name: str, kind: str
) -> None:
    model = make_model(recurrent_model_name, **{kind: 0.5}).fit(make_series(components=3))
    assert np.array_equal(values_of(model.predict(OUTPUT)), values_of(model.predict(OUTPUT)))
    samples = values_of(model.predict(OUTPUT, num_samples=20, mc_dropout=True))
    assert samples.std(axis=2).min() > 0
    assert np.array_equal(values_of(model.predict(OUTPUT)), values_of(model.predict(OUTPUT)))


@pytest.mark.parametrize("kind", ["dropout", "recurrent_dropout"])
def test_both_dropouts_are_on_in_training(recurrent_model_name: str, kind: str) -> None:
    plain = make_model(recurrent_model_name).fit(make_series(components=3))
    dropped = make_model(recurrent_model_name, **{kind: 0.5}).fit(make_series(components=3))
    assert not np.array_equal(values_of(plain.predict(OUTPUT)), values_of(dropped.predict(OUTPUT)))


@pytest.mark.parametrize("cell", ["RNN", "LSTM", "GRU"])
@pytest.mark.parametrize("hidden_fc_sizes", [None, [5], [6, 5]])
def test_each_cell_and_head_can_be_chosen(
    recurrent_model_name: str, cell: str, hidden_fc_sizes: list[int] | None
) -> None:
    model = make_model(recurrent_model_name, model=cell, hidden_fc_sizes=hidden_fc_sizes, activation="Tanh")
    model.fit(make_series(), future_covariates=make_series(length=44, seed=1))
    layer_name = {"RNN": "SimpleRNN"}.get(cell, cell)
    assert layer_name in {type(module).__name__ for module in model.model.modules()}
    sizes = [module.out_features for module in model.model.head.modules() if hasattr(module, "out_features")]
    assert sizes == [*(hidden_fc_sizes or []), np.prod(model.model.head.output_shape)]
    assert len(model.predict(OUTPUT)) == OUTPUT


@pytest.mark.parametrize("pooling", [None, "max", "average"])
@pytest.mark.parametrize(("kernel_size", "stride", "pool_size"), [(4, 2, 2), (3, 3, 2), (5, 1, 3), (12, 1, 1)])
@pytest.mark.parametrize("sequence_to_sequence", [True, False])
def test_every_way_of_down_sampling_trains_and_forecasts(
    pooling: str | None, kernel_size: int, stride: int, pool_size: int, sequence_to_sequence: bool
) -> None:
    model = make_model(
        "Conv1DGRUModel",
        pooling=pooling,
        kernel_size=kernel_size,
        stride=stride,
        pool_size=pool_size,
        sequence_to_sequence=sequence_to_sequence,
        output_chunk_shift=1,
    )
    assert np.isfinite(values_of(model.fit(make_series()).predict(OUTPUT))).all()


@pytest.mark.parametrize("normalisation", [True, {"affine": False}])
def test_instance_normalisation_moves_forecasts_with_the_level_of_the_series(
    model_name: str, normalisation: bool | dict[str, bool]
) -> None:
    target = make_series()
    model = make_model(model_name, use_reversible_instance_norm=normalisation).fit(target)
    np.testing.assert_allclose(
        values_of(model.predict(OUTPUT, target + 100)), values_of(model.predict(OUTPUT)) + 100, atol=1e-3
    )


def test_lengths_that_darts_counts_forecasts_by_are_those_of_the_windows(model_name: str) -> None:
    model = make_model(model_name, output_chunk_shift=2)
    assert model.extreme_lags == (-INPUT, OUTPUT + 1, -INPUT, -1, -INPUT, OUTPUT + 1, 2)
    assert model.min_train_series_length == INPUT + 2 + OUTPUT
    model.fit(make_series(length=INPUT + 2 + OUTPUT))
    assert len(model.predict(OUTPUT)) == OUTPUT


def test_the_docstring_explains_every_argument_in_the_order_of_the_signature(model_name: str) -> None:
    model = make_model(model_name)
    signature = list(type(model).__init__.__annotations__)
    lines = (type(model).__doc__ or "").splitlines()
    documented = [line.strip("*") for line in lines if line.strip("*") in signature]
    assert documented == [name for name in signature if name != "return"]
    assert "{" not in (type(model).__doc__ or "")
