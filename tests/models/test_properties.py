"""What holds for every model, whatever legal combination of arguments and series is drawn.

The ordinary run draws the same 40 cases, and one for each fault; ``make fuzz`` draws ten times as many, others each
time.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from darts import TimeSeries
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import make_series, values_of
from tests.models.drawn_cases import Case, cases


def _draws(n_cases: int) -> settings:
    """Draw `n_cases` cases in the ordinary run, ten times as many in ``make fuzz``."""
    return settings(max_examples=n_cases * settings().max_examples // 100)


def _assert_equal_forecasts(forecast: TimeSeries, expected: TimeSeries) -> None:
    """Compare index, components and values; how many windows are computed at once may change the last digits."""
    assert forecast.time_index.equals(expected.time_index)
    assert forecast.components.equals(expected.components)
    np.testing.assert_allclose(values_of(forecast), values_of(expected), rtol=1e-4, atol=1e-5)


@_draws(12)
@given(case=cases(), number_of_samples=st.integers(2, 3))
def test_forecasts_are_finite_and_stand_on_the_steps_that_follow(case: Case, number_of_samples: int) -> None:
    samples = 1 if case.likelihood is None else number_of_samples
    forecasts = case.fitted().predict(case.n, **case.given, num_samples=samples)
    for target, forecast in zip(case.series, forecasts, strict=True):
        times = [target.end_time() + (case.shift + step) * target.freq for step in range(1, case.n + 1)]
        assert list(forecast.time_index) == times
        assert forecast.freq == target.freq
        assert type(forecast.time_index) is type(target.time_index)
        assert forecast.components.equals(target.components)
        assert forecast.dtype == target.dtype
        assert values_of(forecast).shape == (case.n, target.n_components, samples)
        assert np.isfinite(values_of(forecast)).all()
        assert (forecast.static_covariates is None) == (target.static_covariates is None)


@_draws(10)
@given(
    case=cases(at_least_longer=13),
    stride=st.integers(1, 4),
    start=st.none() | st.integers(0, 12),
    last_points_only=st.booleans(),
    overlap_end=st.booleans(),
)
def test_historical_forecasts_equal_the_loop_over_forecasts(
    case: Case, stride: int, start: int | None, last_points_only: bool, overlap_end: bool
) -> None:
    model = case.fitted()
    n = case.n if case.likelihood is None else min(case.n, case.horizon)
    certain = case.certain(n)
    forecasts = model.historical_forecasts(
        **case.given,
        forecast_horizon=n,
        stride=stride,
        start=start,
        start_format="position",
        last_points_only=last_points_only,
        overlap_end=overlap_end,
        retrain=False,
        show_warnings=False,
        **certain,
    )
    for index, (target, of_target) in enumerate(zip(case.series, forecasts, strict=True)):
        covariates = {kind: series[index] for kind, series in case.covariates.items()}
        first = case.input_length if start is None else start
        while first < case.input_length:
            first += stride
        last = len(target) if overlap_end else len(target) - case.shift - n
        ends = range(first, last + 1, stride)
        expected = [model.predict(n, target[:end], **covariates, **certain) for end in ends]
        if last_points_only:
            assert of_target.freq == stride * target.freq
            of_target = [of_target[position] for position in range(len(of_target))]
            expected = [forecast[-1:] for forecast in expected]
        assert len(of_target) == len(expected)
        for forecast, alone in zip(of_target, expected, strict=True):
            assert list(forecast.time_index) == list(alone.time_index)
            np.testing.assert_allclose(values_of(forecast), values_of(alone), rtol=1e-4, atol=1e-5)


@_draws(6)
@given(
    case=cases(
        normalisations=(True, {"affine": False}), likelihoods=(None, "Quantile"), dtypes=(np.float64,), scale=1e4
    ),
    factor=st.floats(0.1, 100),
    offset=st.floats(-1e5, 1e5),
)
def test_with_instance_normalisation_forecasts_are_scaled_and_shifted_with_the_series(
    case: Case, factor: float, offset: float
) -> None:
    """Up to the little that the normalisation adds to each variance, so that it never divides by zero."""
    model = case.fitted()
    n = case.n if case.likelihood is None else min(case.n, case.horizon)
    forecasts = model.predict(n, **case.given, **case.certain(n))
    moved = [target * factor + offset for target in case.series]
    for forecast, of_moved in zip(
        forecasts, model.predict(n, **case.given | {"series": moved}, **case.certain(n)), strict=True
    ):
        np.testing.assert_allclose(
            values_of(of_moved), values_of(forecast) * factor + offset, rtol=1e-9, atol=0.1 * max(factor, 1.0)
        )


@_draws(6)
@given(case=cases(), order=st.permutations(range(3)), batch_size=st.integers(1, 4))
def test_series_in_another_order_have_the_same_forecasts(case: Case, order: list[int], batch_size: int) -> None:
    model = case.fitted()
    n = case.n if case.likelihood is None else min(case.n, case.horizon)
    order = [position for position in order if position < len(case.series)]
    reordered = {name: [listed[position] for position in order] for name, listed in case.given.items()}
    forecasts = model.predict(n, **case.given, **case.certain(n))
    for position, forecast in zip(
        order, model.predict(n, **reordered, batch_size=batch_size, **case.certain(n)), strict=True
    ):
        _assert_equal_forecasts(forecast, forecasts[position])


@_draws(6)
@given(case=cases(), clean=st.booleans())
def test_a_model_saved_and_loaded_forecasts_the_same(case: Case, clean: bool) -> None:
    model = case.fitted()
    model.save("model.pt", clean=clean)
    # what is drawn at random depends on the precision, which Darts forgets where a trainer is named
    trainer = {"accelerator": "cpu", "enable_progress_bar": False, "precision": model.trainer_params["precision"]}
    loaded = type(model).load("model.pt", pl_trainer_kwargs=trainer)
    samples = {"num_samples": 1 if case.likelihood is None else 2, "random_state": 3}
    for forecast, expected in zip(
        loaded.predict(case.n, **case.given, **samples), model.predict(case.n, **case.given, **samples), strict=True
    ):
        assert forecast == expected


class Fault(NamedTuple):
    """Something that a drawn case must refuse."""

    act: Callable[[Case], Any]
    told: str
    """What the error must say."""
    applies: Callable[[Case], bool] = lambda case: True


def _cut(series: list[TimeSeries], stop: int) -> list[TimeSeries]:
    return [one[:stop] for one in series]


def _widened(series: list[TimeSeries]) -> list[TimeSeries]:
    """Return the series with a component more."""
    plain = _without_statics(series)
    return [one.stack(one[one.components[0]].with_columns_renamed(one.components[0], "more")) for one in plain]


def _other_type(series: list[TimeSeries]) -> list[TimeSeries]:
    return [one.astype(np.float32 if one.dtype == np.float64 else np.float64) for one in series]


def _without_statics(series: list[TimeSeries]) -> list[TimeSeries]:
    return [one.with_static_covariates(None) for one in series]


def _with_nan(series: list[TimeSeries], step: int) -> list[TimeSeries]:
    values = [values_of(one).copy() for one in series]
    values[-1][step] = np.nan
    return [one.with_values(with_nan) for one, with_nan in zip(series, values, strict=True)]


def _fit(case: Case, **changes: Any) -> Any:
    return case.model().fit(**case.given | changes)


def _predict(case: Case, n: Any = None, **changes: Any) -> Any:
    return case.fitted().predict(case.n if n is None else n, **case.given | changes)


def _has(kind: str) -> Callable[[Case], bool]:
    return lambda case: kind in case.covariates


def _covariates(kind: str) -> dict[str, Fault]:
    """Return what can be wrong with one kind of covariates."""
    has = _has(kind)
    return {
        f"{kind} that start too late": Fault(
            lambda case: _fit(case, **{kind: [one[8:] for one in case.covariates[kind]]}), f"`{kind}", has
        ),
        f"{kind} that end too early to train": Fault(
            lambda case: _fit(case, **{kind: _cut(case.covariates[kind], case.input_length - 1)}), f"`{kind}", has
        ),
        f"{kind} that end too early to forecast": Fault(
            lambda case: _predict(case, **{kind: _cut(case.covariates[kind], case.input_length)}), f"`{kind}`", has
        ),
        f"{kind} missing in the forecast": Fault(
            lambda case: _predict(case, **{kind: None}),
            kind.replace("_", "[_ ]"),
            lambda case: has(case) and len(case.series) > 1,  # those of a single series are kept
        ),
        f"{kind} in the forecast only": Fault(
            lambda case: _predict(case, **{kind: case.series}), kind.replace("_", "[_ ]"), lambda case: not has(case)
        ),
        f"{kind} with another component in the forecast": Fault(
            lambda case: _predict(case, **{kind: _widened(case.covariates[kind])}), kind, has
        ),
        f"fewer {kind} than series": Fault(
            lambda case: _fit(case, **{kind: case.covariates[kind][:-1]}),
            kind,
            lambda case: has(case) and len(case.series) > 1,
        ),
        f"{kind} of another type in training": Fault(
            lambda case: _fit(case, **{kind: _other_type(case.covariates[kind])}), f"`{kind}", has
        ),
        f"{kind} of another frequency": Fault(
            lambda case: _fit(case, **{kind: [make_series(200, freq=7) for _ in case.series]}), f"`{kind}", has
        ),
        f"{kind} with NaN": Fault(
            lambda case: _predict(case, **{kind: [with_nan * np.nan for with_nan in case.covariates[kind]]}),
            f"`{kind}",
            has,
        ),
    }


FAULTS: dict[str, Fault] = {
    "series too short to train": Fault(lambda case: _fit(case, series=_cut(case.series, case.total - 1)), "`series"),
    "validation series too short": Fault(
        lambda case: _fit(case, **{f"val_{name}": _cut(listed, case.total - 1) for name, listed in case.given.items()}),
        "`val_series",
    ),
    "validation series of another type": Fault(
        lambda case: _fit(case, **{f"val_{name}": _other_type(listed) for name, listed in case.given.items()}),
        "`val_series",
    ),
    "validation without its covariates": Fault(
        lambda case: _fit(case, val_series=case.series), "covariates", lambda case: bool(case.covariates)
    ),
    "series with another component in validation": Fault(
        lambda case: _fit(
            case,
            **{f"val_{name}": listed for name, listed in case.given.items()} | {"val_series": _widened(case.series)},
        ),
        "val",
    ),
    "one series with another component": Fault(
        lambda case: _fit(case, series=[case.series[0], *_widened(case.series[1:])]),
        r"`series\[1\]",
        lambda case: len(case.series) > 1,
    ),
    "series too short to forecast": Fault(
        lambda case: _predict(case, series=_cut(case.series, case.input_length - 1)),
        "series",
        lambda case: case.input_length > 1,
    ),
    "series with another component in the forecast": Fault(
        lambda case: _predict(case, series=_widened(case.series)), "series|static"
    ),
    "series of another type in the forecast": Fault(
        lambda case: _predict(case, series=_other_type(case.series)),
        "`series",
        lambda case: case.series[0].dtype == np.float32,
    ),
    "series with NaN in the forecast": Fault(lambda case: _predict(case, series=_with_nan(case.series, -1)), "`series"),
    "no static covariates in the forecast": Fault(
        lambda case: _predict(case, series=_without_statics(case.series)),
        "static",
        lambda case: case.series[0].has_static_covariates and case.arguments["use_static_covariates"],
    ),
    "n of zero": Fault(lambda case: _predict(case, n=0), "`n`"),
    "a fraction as n": Fault(lambda case: _predict(case, n=1.5), r"`n`|\(n >"),
    "n beyond the horizon with a shift": Fault(
        lambda case: _predict(case, n=case.horizon + 1), "auto-regression", lambda case: case.shift > 0
    ),
    "samples without a likelihood": Fault(
        lambda case: _predict(case, num_samples=2),
        "num_samples",
        lambda case: (
            case.likelihood is None
            and case.arguments["ensemble_size"] == 1
            and not case.arguments.get("dropout")
            and not case.arguments.get("recurrent_dropout")
        ),
    ),
    "no samples": Fault(lambda case: _predict(case, num_samples=0), "num_samples"),
    "likelihood parameters without a likelihood": Fault(
        lambda case: _predict(case, predict_likelihood_parameters=True),
        "predict_likelihood_parameters",
        lambda case: case.likelihood is None,
    ),
    "likelihood parameters beyond the horizon": Fault(
        lambda case: _predict(case, n=case.horizon + 1, predict_likelihood_parameters=True),
        "predict_likelihood_parameters|auto-regression",
        lambda case: case.likelihood is not None,
    ),
    "a roll size beyond the horizon": Fault(lambda case: _predict(case, roll_size=case.horizon + 1), "roll_size"),
    "a stride of zero": Fault(lambda case: _fit(case, stride=0), "stride"),
    "a sample weight that is too short": Fault(
        lambda case: _fit(case, sample_weight=_cut(case.series, 1)), "`sample_weight"
    ),
    "a sample weight of unknown name": Fault(lambda case: _fit(case, sample_weight="cubic"), "sample_weight"),
    "a sample weight with another component": Fault(
        lambda case: _fit(case, sample_weight=_widened(_widened(case.series))),
        "sample_weight|weights",
    ),
    "a kernel that is too long": Fault(
        lambda case: case.model(kernel_size=case.input_length + 1),
        "kernel_size",
        lambda case: "kernel_size" in case.arguments,
    ),
    "a pool that is too large": Fault(
        lambda case: case.model(pooling="max", pool_size=case.input_length + 1),
        "pool_size",
        lambda case: "pool_size" in case.arguments,
    ),
    "a forecast before training": Fault(lambda case: case.model().predict(case.n, **case.given), "fit"),
    "backtest of series that are too short": Fault(
        lambda case: case.fitted().historical_forecasts(
            **case.given | {"series": _cut(case.series, case.input_length)},
            retrain=False,
            forecast_horizon=case.n,
        ),
        "series|input",
    ),
    **_covariates("past_covariates"),
    **_covariates("future_covariates"),
}


@pytest.mark.parametrize("name", FAULTS)
@_draws(1)
@given(data=st.data())
def test_what_is_illegal_is_refused_by_the_name_of_the_argument(name: str, data: st.DataObject) -> None:
    fault = FAULTS[name]
    case = data.draw(cases().filter(fault.applies))
    with pytest.raises(ValueError, match=fault.told):
        fault.act(case)
