"""Bad input ends with a clear error before training starts."""

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
from darts import TimeSeries

import seq_plugins
from seq_plugins.models.arguments import ACTIVATIONS, ARGUMENT_CHECKS
from tests.conftest import INPUT, MODEL_NAMES, OUTPUT, make_model, make_series

BAD_VALUES: dict[str, list[Any]] = {
    "input_chunk_length": [0, -3, 1.5, None, "12", (4, 12)],
    "output_chunk_length": [0, 2.0, None],
    "output_chunk_shift": [-1, 0.5, None],
    "use_static_covariates": [1, None, "yes"],
    "batch_size": [0, 2.5],
    "model": ["rnn", "Transformer", None, 3],
    "hidden_dim": [0, -1, 2.5, "8", True],
    "n_rnn_layers": [0, 1.5, None],
    "dilations": [8, [0], [2.5], "8"],
    "dropout": [-0.1, 1.0, "0.2", float("nan"), True],
    "recurrent_dropout": [-0.1, 1.0, None],
    "layer_norm": [None, 1, "yes"],
    "activation": ["relu", "Softmax", "GLU", "Linear", None, 3],
    "hidden_fc_sizes": [8, [0], [8, 2.5], "64", [None]],
    "segment_length": [0, 2.5, "2", [2]],
    "num_filters": [0, None],
    "kernel_size": [0, 2.5],
    "stride": [0, "2"],
    "pooling": ["mean", 2],
    "pool_size": [0, None],
    "decoding": ["greedy", None, 1],
    "teacher_forcing": [-0.1, 1.5, None, "1", True, [0.5], [1.0, 2.0], (0.5, 0.4, 0.3)],
    "attention": [1, None, "luong"],
    "look_ahead": [1, None],
    "sequence_to_sequence": [None, 1],
    "decoder_starts": [0, None, 1.5],
    "gated": [None, 1],
}


def _own_arguments(model_name: str) -> set[str]:
    return set(getattr(seq_plugins, model_name).__init__.__annotations__) - {"return", "kwargs"}


@pytest.mark.parametrize(
    ("name", "argument"),
    [
        (name, argument)
        for name in MODEL_NAMES
        for argument in BAD_VALUES
        if argument in _own_arguments(name) | {"batch_size"}
    ],
)
def test_a_wrong_argument_is_named_with_what_came(name: str, argument: str) -> None:
    for value in BAD_VALUES[argument]:
        with pytest.raises(ValueError, match=rf"^Expected `{argument}.*got {re.escape(repr(value))}|`{argument}\["):
            make_model(name, **{argument: value})


def test_every_own_argument_is_checked(model_name: str) -> None:
    checks = {**ARGUMENT_CHECKS, **getattr(seq_plugins, model_name)._argument_checks}
    assert _own_arguments(model_name) <= checks.keys()


def test_numbers_of_numpy_are_taken(model_name: str) -> None:
    model = make_model(model_name, input_chunk_length=np.int64(INPUT), output_chunk_length=np.int32(OUTPUT))
    assert len(model.fit(make_series()).predict(OUTPUT)) == OUTPUT


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


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"kernel_size": INPUT + 1}, rf"`kernel_size` to be at most input_chunk_length={INPUT}, got {INPUT + 1}"),
        ({"dilations": [1, INPUT]}, rf"`dilations\[1\]` to be at most {INPUT - 1} .*got {INPUT}.* Make it smaller"),
        ({"dilations": [6], "kernel_size": 3}, r"`dilations\[0\]` to be at most 5 with kernel_size=3 .*got 6"),
        ({"dilations": []}, "`dilations` to hold one for each convolution"),
    ],
)
def test_a_convolution_some_of_whose_weights_would_see_no_step_is_refused(arguments: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        make_model("WaveNetModel", **arguments)


def test_a_window_shorter_than_what_the_convolutions_reach_together_is_taken() -> None:
    for length in (2, 5, INPUT):
        model = make_model("WaveNetModel", input_chunk_length=length).fit(make_series())
        assert all(steps_back[0] < length for steps_back in model.model.encoder.stack.steps_back)
        assert len(model.predict(OUTPUT)) == OUTPUT


@pytest.mark.parametrize("shift", [0, 3])
def test_a_series_that_is_too_short_is_told_how_long_it_must_be(model_name: str, shift: int) -> None:
    model = make_model(model_name, output_chunk_shift=shift)
    needed = INPUT + shift + OUTPUT
    expected = rf"has {needed - 1} time steps, expected at least {needed}: .*output_chunk_shift={shift}"
    with pytest.raises(ValueError, match="`series` " + expected + '.*or make the model with `missing="mask"`'):
        model.fit(make_series(needed - 1))
    with pytest.raises(ValueError, match=r"`series\[1\]` " + expected):
        model.fit([make_series(), make_series(needed - 1)])
    with pytest.raises(ValueError, match="`val_series` " + expected):
        model.fit(make_series(), val_series=make_series(needed - 1))
    assert not model.model_created
    assert model.training_series is None


def test_a_series_too_short_to_forecast_from_is_told_how_long_it_must_be(model_name: str) -> None:
    model = make_model(model_name).fit(make_series())
    with pytest.raises(ValueError, match=rf"`series` has {INPUT - 1} time steps, expected at least {INPUT}"):
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


def test_nan_in_the_gap_of_a_shift_does_no_harm(model_name: str) -> None:
    shift = 3
    model = make_model(model_name, output_chunk_shift=shift)
    length = INPUT + shift + OUTPUT
    gap = INPUT + 1
    future = _with_value(make_series(60, seed=2), gap, np.nan)
    model.fit(_with_value(make_series(length), gap, np.nan), future_covariates=future)
    known = _with_value(make_series(60, seed=2), 41, np.nan)
    assert len(model.predict(OUTPUT, make_series(), future_covariates=known)) == OUTPUT


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_static_covariates_that_are_not_finite_are_told(model_name: str, value: float) -> None:
    good = make_series().with_static_covariates(pd.DataFrame({"size": [1.0], "age": [2.0]}))
    bad = make_series().with_static_covariates(pd.DataFrame({"size": [1.0], "age": [value]}))
    with pytest.raises(ValueError, match="static covariates of `series` hold NaN or infinity in column 'age'"):
        make_model(model_name).fit(bad)
    model = make_model(model_name).fit(good)
    with pytest.raises(ValueError, match="static covariates of `series` hold NaN or infinity in column 'age'"):
        model.predict(OUTPUT, bad)
    ignoring = make_model(model_name, use_static_covariates=False).fit(bad)
    assert len(ignoring.predict(OUTPUT)) == OUTPUT


def test_series_that_differ_in_components_or_static_covariates_are_told(model_name: str) -> None:
    with pytest.raises(ValueError, match=r"`series\[1\]` has 2 components, expected 1 as in `series\[0\]`"):
        make_model(model_name).fit([make_series(), make_series(components=2)])
    with pytest.raises(ValueError, match=r"`past_covariates\[1\]` has 2 components"):
        make_model(model_name).fit(
            [make_series()] * 2, past_covariates=[make_series(seed=1), make_series(components=2, seed=1)]
        )
    described = make_series().with_static_covariates(pd.DataFrame({"size": [1.0]}))
    with pytest.raises(ValueError, match=r"`series\[1\]` has static covariates of shape None, expected \(1, 1\)"):
        make_model(model_name).fit([described, make_series()])
    make_model(model_name, use_static_covariates=False).fit([described, make_series()])


@pytest.mark.parametrize("prefix", ["", "val_"])
@pytest.mark.parametrize("n_given", [1, 3])
@pytest.mark.parametrize("argument", ["past_covariates", "future_covariates", "sample_weight"])
def test_another_number_of_covariates_or_weights_than_of_series_is_told(
    model_name: str, argument: str, n_given: int, prefix: str
) -> None:
    others = make_series(60, seed=1).map(np.abs)
    given: dict[str, Any] = {argument: [others] * 2, "val_series": [make_series()] * 2, f"val_{argument}": [others] * 2}
    expected = f"`{prefix}{argument}` holds {n_given} series, expected 2, one for each of `{prefix}series`"
    # with encoders, too, of which Darts makes as many as there are targets
    for encoders in (None, {"cyclic": {"past": ["month"], "future": ["month"]}}):
        model = make_model(model_name, add_encoders=encoders)
        with pytest.raises(ValueError, match=expected):
            model.fit([make_series()] * 2, **given | {f"{prefix}{argument}": [others] * n_given})
    with pytest.raises(ValueError, match=f"`{argument}` holds 2 series, expected 1"):
        model.fit(make_series(), **{argument: [others] * 2})


def test_values_of_another_type_are_told(model_name: str) -> None:
    covariates = make_series(seed=1, dtype=np.float64)
    with pytest.raises(ValueError, match="`past_covariates` has values of type float64, expected float32"):
        make_model(model_name).fit(make_series(), past_covariates=covariates)
    converting = make_model(model_name, pl_trainer_kwargs={"precision": "64-true"})
    assert converting.fit(make_series(), past_covariates=covariates).model_created


@pytest.mark.parametrize("stride", [0, -1, 1.5])
def test_a_wrong_stride_of_fit_is_told(model_name: str, stride: Any) -> None:
    with pytest.raises(ValueError, match="`stride` must be a positive integer"):
        make_model(model_name).fit(make_series(), stride=stride)


def test_covariates_between_the_time_steps_of_the_target_are_refused(model_name: str) -> None:
    target = make_series(freq="2D")
    off = TimeSeries.from_times_and_values(
        pd.date_range("2019-12-31", periods=60, freq="2D"), np.ones((60, 1), "float32")
    )
    for targets, covariates in ((target, off), ([target] * 2, [make_series(freq="2D"), off])):
        with pytest.raises(ValueError, match=r"has time steps such as 2019-12-31 .* expected those of `series"):
            make_model(model_name).fit(targets, past_covariates=covariates)


@pytest.mark.parametrize(
    ("argument", "start", "length", "first", "last"),
    [
        ("past_covariates", 1, 40, "2020-01-01", "2020-02-05"),
        ("past_covariates", 0, 35, "2020-01-01", "2020-02-05"),
        ("future_covariates", 1, 40, "2020-01-01", "2020-02-09"),
        ("future_covariates", 0, 39, "2020-01-01", "2020-02-09"),
        ("sample_weight", 0, 39, "2020-01-(01|13)", "2020-02-09"),
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
    with pytest.raises(ValueError, match=r"`sample_weight` reaches from .* expected at least from 2020-01-01"):
        make_model("Seq2SeqRNNModel").fit(make_series(), sample_weight=weight)
    # validation looks at the last step only
    validation = {"val_series": make_series(), "val_sample_weight": weight}
    make_model("Seq2SeqRNNModel").fit(make_series(), sample_weight=make_series(seed=1).map(np.abs), **validation)


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


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_no_activation_makes_a_forecast_depend_on_the_rest_of_its_batch(activation: str) -> None:
    for name in ("SimpleRNNModel", "Conv1DGRUModel", "WaveNetModel"):
        model = make_model(name, activation=activation, hidden_fc_sizes=[5]).fit(make_series())
        targets = [make_series(seed=seed) for seed in range(4)]
        together = model.predict(OUTPUT, targets)
        for target, forecast in zip(targets, together, strict=True):
            alone = model.predict(OUTPUT, target)
            np.testing.assert_allclose(forecast.values(), alone.values(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("argument", ["past_covariates", "future_covariates", "sample_weight"])
def test_covariates_without_time_steps_are_refused(model_name: str, argument: str) -> None:
    with pytest.raises(ValueError, match=f"`{argument}` has no time steps, expected those of `series`"):
        make_model(model_name).fit(make_series(), **{argument: make_series()[:0]})


def test_weights_that_are_too_short_are_not_called_covariates(model_name: str) -> None:
    with pytest.raises(ValueError, match=r"`sample_weight` reaches from .* Give longer weights or a shorter target\."):
        make_model(model_name).fit(make_series(), sample_weight=make_series(30).map(np.abs))


def test_a_model_whose_head_has_no_segments_says_that_it_does_not_know_them() -> None:
    with pytest.raises(ValueError, match="LinearModel has no argument `segment_length`"):
        make_model("LinearModel", segment_length=2)
