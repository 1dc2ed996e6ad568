"""Fits and forecasts on data as people have them: business days, series read when asked for, and what holds them."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from darts import TimeSeries
from darts.models import BlockRNNModel

from tests.conftest import INPUT, OUTPUT, make_model, make_series, values_of, with_static_covariates
from tests.windows.data_sets import LazySeries, assert_no_time_axis_is_walked

HOLIDAYS = pd.offsets.CustomBusinessDay(holidays=["2015-12-25", "2020-01-01", "2020-02-17"])


@pytest.mark.parametrize("freq", ["B", HOLIDAYS, "ME"], ids=str)
def test_no_time_axis_is_walked_to_find_covariates_from_long_before(freq: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    times = pd.date_range("2000-01-03", periods=400, freq=freq)
    covariates = TimeSeries.from_times_and_values(times, np.random.default_rng(0).random((400, 2), np.float32))
    targets = [covariates["0"][300:360], covariates["1"][200:260]]
    given = {"past_covariates": [covariates] * 2, "future_covariates": [covariates] * 2}
    model = make_model("SimpleRNNModel")
    with assert_no_time_axis_is_walked(monkeypatch):
        model.fit(targets, val_series=targets, **given, **{f"val_{name}": value for name, value in given.items()})
        forecasts = model.predict(OUTPUT, targets, **given)
    assert [forecast.start_time() for forecast in forecasts] == [times[360], times[260]]


def _make_darts_model() -> Any:
    trainer = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False}
    return BlockRNNModel(
        INPUT, OUTPUT, hidden_dim=8, n_epochs=1, batch_size=16, random_state=1, pl_trainer_kwargs=trainer
    )


def _described(n_series: int = 3) -> list[TimeSeries]:
    return [with_static_covariates(make_series(seed=seed), seed) for seed in range(n_series)]


@pytest.mark.parametrize("max_samples", [1, 4])
def test_series_are_read_no_more_often_than_by_darts(max_samples: int) -> None:
    reads = []
    for model in (make_model("SimpleRNNModel"), _make_darts_model()):
        given = {name: LazySeries(_described()) for name in ("series", "past_covariates", "val_series")}
        given["val_past_covariates"] = LazySeries(_described())
        model.fit(**given, max_samples_per_ts=max_samples)
        to_forecast = {name: LazySeries(_described()) for name in ("series", "past_covariates")}
        assert len(model.predict(OUTPUT, **to_forecast)) == 3
        reads.append({name: series.reads for name, series in given.items()})
        reads[-1] |= {f"{name} to forecast": series.reads for name, series in to_forecast.items()}
    ours, theirs = reads
    for name, counts in ours.items():
        # Darts looks at the first series some times more, whoever the model is
        assert all(n <= n_of_darts for n, n_of_darts in zip(counts[1:], theirs[name][1:], strict=True)), name
        assert counts[0] <= theirs[name][0] + 1, name


def test_saving_checkpoints_reads_no_series() -> None:
    reads = []
    for save_checkpoints in (False, True):
        series = LazySeries(_described())
        make_model("SimpleRNNModel", n_epochs=3, save_checkpoints=save_checkpoints).fit(series, val_series=_described())
        reads.append(series.reads)
    assert reads[0] == reads[1]


class _Sequence(Sequence[TimeSeries]):
    def __init__(self, series: Sequence[TimeSeries]) -> None:
        self._series = series

    def __len__(self) -> int:
        return len(self._series)

    def __getitem__(self, index: Any) -> Any:
        return self._series[index]


class _LoadingList(list[TimeSeries]):
    """A list that makes its items anew."""

    def __getitem__(self, index: Any) -> Any:
        return super().__getitem__(index).copy()


def _to_array(series: Sequence[TimeSeries]) -> np.ndarray:
    array = np.empty(len(series), dtype=object)
    array[:] = series
    return array


@pytest.mark.parametrize(
    "container", [tuple, pd.Series, _to_array, _Sequence, LazySeries, _LoadingList], ids=lambda each: each.__name__
)
def test_what_holds_several_series_is_taken_like_a_list(container: Callable[[Sequence[TimeSeries]], Any]) -> None:
    forecasts = []
    for give in (list, container):
        targets, known = give(_described()), give([make_series(60, 2, seed=seed) for seed in range(3)])
        covariates = {"past_covariates": known, "future_covariates": known}
        validation = {"val_series": targets} | {f"val_{name}": value for name, value in covariates.items()}
        model = make_model("SimpleRNNModel")
        model.fit(targets, sample_weight=give([make_series().map(np.abs)] * 3), **covariates, **validation)
        forecasts.append(model.predict(OUTPUT, targets, **covariates))
    for forecast, expected in zip(*forecasts, strict=True):
        np.testing.assert_array_equal(values_of(forecast), values_of(expected))
        assert forecast.time_index.equals(expected.time_index)


@pytest.mark.parametrize(
    ("given", "got"),
    [
        ({0: make_series(), 1: make_series()}, "dict"),
        ({1.0}, "set"),
        ((series for series in [make_series()]), "generator"),
        (pd.Series([make_series()] * 2, index=["a", "b"]), "Series"),
        ([[make_series()]], "a list of list"),
        ((), "a tuple of nothing"),
        (np.zeros(3), "ndarray"),
    ],
    ids=["dict", "set", "generator", "labelled", "nested", "empty", "array"],
)
@pytest.mark.parametrize("argument", ["series", "past_covariates", "val_series"])
def test_what_holds_no_series_by_position_is_refused(argument: str, given: Any, got: str) -> None:
    with pytest.raises(
        ValueError, match=f"^Expected `{argument}` to be a Darts TimeSeries or a list of them, got {got}"
    ):
        make_model("SimpleRNNModel").fit(**({"series": make_series()} | {argument: given}))


def test_a_fit_that_is_refused_leaves_no_trace_of_its_covariates() -> None:
    model = make_model("SimpleRNNModel")
    with pytest.raises(ValueError, match="`past_covariates` reaches from"):
        model.fit(with_static_covariates(make_series()), past_covariates=make_series(20))
    assert not model.uses_past_covariates
    assert not model.uses_static_covariates
    assert len(model.fit(make_series()).predict(OUTPUT)) == OUTPUT


def _nothing_on_mondays(times: pd.DatetimeIndex) -> np.ndarray:
    return np.where(times.dayofweek == 0, np.nan, 1.0)


def test_nan_made_by_an_encoder_is_told_with_its_time() -> None:
    model = make_model("SimpleRNNModel", add_encoders={"custom": {"future": [_nothing_on_mondays]}})
    with pytest.raises(ValueError, match="`future_covariates` holds NaN at 2020-01-06 00:00:00 in component"):
        model.fit(make_series())


@pytest.mark.parametrize(
    ("covariates", "expected"),
    [(make_series()[:0], "has no time steps"), (make_series(60, freq=1), "has a time axis of frequency 1")],
    ids=["empty", "numbered"],
)
@pytest.mark.parametrize("prefix", ["", "val_"])
def test_covariates_that_encoders_can_t_extend_are_told_as_without_encoders(
    prefix: str, covariates: TimeSeries, expected: str
) -> None:
    model = make_model("SimpleRNNModel", add_encoders={"cyclic": {"past": ["dayofweek"]}})
    given = {"past_covariates": make_series(60, seed=1), "val_past_covariates": make_series(60, seed=1)}
    given[f"{prefix}past_covariates"] = covariates
    with pytest.raises(ValueError, match=f"^`{prefix}past_covariates` {expected}"):
        model.fit(make_series(), val_series=make_series(), **given)
