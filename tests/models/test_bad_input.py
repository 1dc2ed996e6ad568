"""Bad input ends with a clear error before training starts."""

import re
from typing import Any

import numpy as np
import pytest
from darts import TimeSeries

import seq_plugins
from tests.conftest import INPUT, OUTPUT, make_model, make_series

RECURRENT: dict[str, list[Any]] = {
    "model": ["rnn", "Transformer", None, 3],
    "hidden_dim": [0, -1, 2.5, "8", True],
    "dropout": [-0.1, 1.0, "0.2", float("nan"), True],
    "recurrent_dropout": [-0.1, 1.0, None],
    "activation": ["relu6x", "Linear", "Threshold", None, 3],
    "hidden_fc_sizes": [8, [0], [8, 2.5], "64", [None]],
}
BAD_ARGUMENTS: dict[str, dict[str, list[Any]]] = {
    "LinearModel": {
        "input_chunk_length": [0, -3, 1.5, None, "12"],
        "output_chunk_length": [0, 2.0, None],
        "output_chunk_shift": [-1, 0.5, None],
        "use_static_covariates": [1, None, "yes"],
        "batch_size": [0, 2.5],
        "n_epochs": [0, -1],
    },
    "SimpleRNNModel": RECURRENT,
    "DeepRNNModel": RECURRENT | {"n_rnn_layers": [0, 1.5, None]},
    "Seq2SeqRNNModel": RECURRENT | {"n_rnn_layers": [0, 1.5, None]},
    "Conv1DGRUModel": RECURRENT
    | {
        "num_filters": [0, None],
        "kernel_size": [0, 2.5],
        "stride": [0, "2"],
        "pooling": ["mean", 2],
        "pool_size": [0, None],
        "n_rnn_layers": [0, None],
        "sequence_to_sequence": [None, 1],
    },
}


@pytest.mark.parametrize(
    ("name", "argument", "value"),
    [
        (name, argument, value)
        for name, arguments in BAD_ARGUMENTS.items()
        for argument, values in arguments.items()
        for value in values
    ],
)
def test_a_wrong_argument_is_named_with_what_came(name: str, argument: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"^Expected `{argument}.*got {re.escape(repr(value))}|`{argument}\["):
        make_model(name, **{argument: value})


def test_every_own_argument_of_every_model_is_checked(model_name: str) -> None:
    checked = BAD_ARGUMENTS[model_name].keys() | BAD_ARGUMENTS["LinearModel"].keys()
    own = set(getattr(seq_plugins, model_name).__init__.__annotations__) - {"return", "kwargs"}
    assert own <= checked


def test_an_unknown_argument_is_named(model_name: str) -> None:
    with pytest.raises(ValueError, match="hiden_dim"):
        make_model(model_name, hiden_dim=3)


@pytest.mark.parametrize(
    "arguments",
    [
        {"kernel_size": 13},
        {"kernel_size": 4, "stride": 2, "pooling": "max", "pool_size": 6},
        {"input_chunk_length": 3},
    ],
)
def test_a_convolution_that_leaves_no_step_is_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="leave no step of input_chunk_length"):
        make_model("Conv1DGRUModel", **arguments)


@pytest.mark.parametrize("shift", [0, 3])
def test_a_series_that_is_too_short_is_told_how_long_it_must_be(model_name: str, shift: int) -> None:
    model = make_model(model_name, output_chunk_shift=shift)
    needed = INPUT + shift + OUTPUT
    expected = rf"has {needed - 1} time steps, expected at least {needed}: .*output_chunk_shift={shift}"
    with pytest.raises(ValueError, match="`series` " + expected):
        model.fit(make_series(needed - 1))
    with pytest.raises(ValueError, match=r"`series\[1\]` " + expected):
        model.fit([make_series(), make_series(needed - 1)])
    with pytest.raises(ValueError, match="`val_series` " + expected):
        model.fit(make_series(), val_series=make_series(needed - 1))
    assert not model.model_created
    assert model.training_series is None


def test_a_series_too_short_to_forecast_from_is_told_how_long_it_must_be(model_name: str) -> None:
    model = make_model(model_name).fit(make_series())
    with pytest.raises(ValueError, match=rf"Expected min length: `{INPUT}`"):
        model.predict(OUTPUT, make_series(INPUT - 1))


def _with_value(series: TimeSeries, step: int, value: float, component: int = 0) -> TimeSeries:
    values = series.all_values()
    values[step, component] = value
    return series.with_values(values)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("argument", ["series", "past_covariates", "future_covariates", "sample_weight"])
def test_nan_and_infinity_are_told_with_their_time_and_component(model_name: str, argument: str, value: float) -> None:
    given = {
        "series": make_series(components=2),
        "past_covariates": make_series(components=2, seed=1),
        "future_covariates": make_series(60, components=2, seed=2),
        "sample_weight": make_series(components=2, seed=3).map(np.abs),
    }
    given[argument] = _with_value(given[argument], 20, value, component=1)
    kind = "NaN" if np.isnan(value) else "an infinite value"
    component = re.escape(given[argument].components[1])
    expected = rf"`{argument}` holds {kind} at 2020-01-21 00:00:00 in component '{component}' \(1 such"
    with pytest.raises(ValueError, match=expected):
        make_model(model_name).fit(**given)
    if argument != "sample_weight":
        inputs = {name: series for name, series in given.items() if name != "sample_weight"}
        finite = inputs | {argument: _with_value(given[argument], 20, 0.0, component=1)}
        validation = {f"val_{name}": series for name, series in inputs.items()}
        model = make_model(model_name)
        with pytest.raises(ValueError, match=expected.replace("`", "`val_", 1)):
            model.fit(**finite, **validation)


def test_nan_outside_the_windows_does_no_harm(model_name: str) -> None:
    given = {
        "past_covariates": _with_value(make_series(60, seed=1), 50, np.nan),
        "future_covariates": _with_value(make_series(60, seed=2), 55, np.nan),
    }
    model = make_model(model_name).fit(make_series(), **given)
    assert len(model.predict(OUTPUT, _with_value(make_series(), 5, np.nan), **given)) == OUTPUT


@pytest.mark.parametrize("argument", ["series", "past_covariates", "future_covariates"])
def test_nan_in_what_is_forecast_from_is_told(model_name: str, argument: str) -> None:
    given = {
        "series": make_series(),
        "past_covariates": make_series(40, seed=1),
        "future_covariates": make_series(60, seed=2),
    }
    model = make_model(model_name).fit(**given)
    given[argument] = _with_value(given[argument], 35, np.nan)
    with pytest.raises(ValueError, match=rf"`{argument}` holds NaN at 2020-02-05"):
        model.predict(OUTPUT, **given)
    with pytest.raises(ValueError, match=rf"`{argument}` holds NaN at 2020-02-05"):
        model.historical_forecasts(retrain=False, show_warnings=False, **given)


def test_nan_in_static_covariates_is_told(model_name: str) -> None:
    import pandas as pd

    target = make_series().with_static_covariates(pd.DataFrame({"size": [1.0], "age": [np.nan]}))
    with pytest.raises(ValueError, match="static covariates of `series` hold NaN in column 'age'"):
        make_model(model_name).fit(target)


@pytest.mark.parametrize(
    ("argument", "start", "length", "first", "last"),
    [
        ("past_covariates", 1, 40, "2020-01-01", "2020-02-05"),
        ("past_covariates", 0, 35, "2020-01-01", "2020-02-05"),
        ("future_covariates", 1, 40, "2020-01-01", "2020-02-09"),
        ("future_covariates", 0, 39, "2020-01-01", "2020-02-09"),
        ("sample_weight", 0, 39, "2020-01-13", "2020-02-09"),
    ],
)
def test_covariates_that_do_not_reach_far_enough_are_told_how_far_they_must(
    model_name: str, argument: str, start: int, length: int, first: str, last: str
) -> None:
    covariates = make_series(length, start=start, seed=1).map(np.abs)
    with pytest.raises(ValueError, match=rf"`{argument}` reaches from .* expected at least from {first}.* to {last}"):
        make_model(model_name).fit(make_series(), **{argument: covariates})
    with pytest.raises(ValueError, match=rf"`{argument}\[1\]` reaches from"):
        make_model(model_name).fit([make_series()] * 2, **{argument: [make_series(44, seed=1), covariates]})


def test_covariates_need_not_reach_further_than_the_windows_that_are_cut(model_name: str) -> None:
    recent = make_series(30, start=10, seed=1)
    model = make_model(model_name).fit(
        make_series(), past_covariates=recent, future_covariates=recent, max_samples_per_ts=10
    )
    assert model.model_created


def test_weights_that_leave_out_the_input_chunk_are_refused_where_they_are_needed() -> None:
    weight = make_series(28, start=12, seed=1).map(np.abs)
    make_model("SimpleRNNModel").fit(make_series(), sample_weight=weight)
    with pytest.raises(ValueError, match="the weights of the input chunk are needed too"):
        make_model("Seq2SeqRNNModel").fit(make_series(), sample_weight=weight)


def test_covariates_of_another_frequency_are_refused(model_name: str) -> None:
    with pytest.raises(ValueError, match="`past_covariates` has a time axis of frequency"):
        make_model(model_name).fit(make_series(), past_covariates=make_series(2000, freq="h"))
    with pytest.raises(ValueError, match="`future_covariates` has a time axis of frequency"):
        make_model(model_name).fit(make_series(), future_covariates=make_series(60, freq=1))


@pytest.mark.parametrize("value", [make_series().to_dataframe(), [], [1.0], "ridership"])
def test_something_else_than_a_series_is_refused(model_name: str, value: Any) -> None:
    with pytest.raises(ValueError, match="Expected `series` to be a Darts TimeSeries or a list of them"):
        make_model(model_name).fit(value)


def test_known_covariates_that_end_before_the_forecast_are_told(model_name: str) -> None:
    model = make_model(model_name).fit(make_series(), future_covariates=make_series(60, seed=1))
    with pytest.raises(ValueError, match="do not extend far enough into the future"):
        model.predict(OUTPUT, make_series(), future_covariates=make_series(41, seed=1))
