"""Data as people have them: business days, series read when asked for, lists larger than memory allows twice."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from darts import TimeSeries
from darts.utils.data import SequentialTorchInferenceDataset, SequentialTorchTrainingDataset
from darts.utils.data.torch_datasets.utils import (
    TorchTrainingBatch,
    TorchTrainingSample,
    _batch_collate_fn_predict,
    _batch_collate_fn_train,
)

from seq_plugins.windows import WindowsInferenceDataset, WindowsTrainingDataset, collate_training, gathering
from seq_plugins.windows.alignment import find_offset
from tests.conftest import make_series, with_static_covariates
from tests.windows.data_sets import LazySeries, assert_equal_batches, assert_no_time_axis_is_walked, batches_of

HOLIDAYS = pd.offsets.CustomBusinessDay(holidays=["2015-12-25", "2020-01-01", "2020-02-17"])
FREQUENCIES = ["B", "2B", "C", HOLIDAYS, "ME", "BME", "W-FRI", "QS-OCT", "h", 1, 3]

INPUT, OUTPUT = 5, 2


def _ready(dataset: Any) -> Any:
    dataset.returns_batches = True
    return dataset


def _slices(length: int, freq: Any, components: int, seed: int) -> TimeSeries:
    if isinstance(freq, int):
        return make_series(length, components, freq, seed)
    times = pd.date_range("2000-01-03", periods=length, freq=freq)
    values = np.random.default_rng(seed).standard_normal((length, components)).astype(np.float32)
    return TimeSeries.from_times_and_values(times, values)


def _business_days(freq: Any) -> dict[str, Any]:
    """Return targets, covariates from long before to long after them, and some that start with the oldest window."""
    years = _slices(400, freq, 2, 1)
    targets = [_slices(400, freq, 1, seed)[start : start + 30] for seed, start in ((2, 200), (3, 310), (4, 0))]
    recent = [years[start + 20 :] for start in (200, 310, 0)]
    return {"series": targets, "past_covariates": recent, "future_covariates": [years] * 3}


@pytest.mark.parametrize("freq", FREQUENCIES, ids=str)
def test_covariates_from_long_before_are_found_without_a_walk_and_batches_equal_those_of_darts(
    freq: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = _business_days(freq) | {"input_chunk_length": INPUT, "output_chunk_length": OUTPUT}
    training = SequentialTorchTrainingDataset(max_samples_per_ts=3, **arguments)
    inference = SequentialTorchInferenceDataset(n=2 * OUTPUT, **arguments)
    with assert_no_time_axis_is_walked(monkeypatch):
        ours = _ready(WindowsTrainingDataset(max_samples_per_ts=3, **arguments))
        indices = range(len(ours))
        batch = ours.__getitems__(indices)
        forecast_batch = _ready(WindowsInferenceDataset(n=2 * OUTPUT, **arguments)).__getitems__(range(3))
    assert_equal_batches(batch, _batch_collate_fn_train([training[index] for index in indices]))
    assert_equal_batches(forecast_batch, _batch_collate_fn_predict([inference[index] for index in range(3)]))


@pytest.mark.parametrize("freq", FREQUENCIES, ids=str)
def test_the_offset_of_a_series_is_where_its_target_starts(freq: Any) -> None:
    series = _slices(60, freq, 1, 0)
    for start, other_start in ((0, 0), (20, 5), (5, 20), (20, 59), (59, 20)):
        target, other = series[start:], series[other_start:]
        assert find_offset(other, target) == start - other_start
    assert find_offset(series[:10], series[10:]) is None
    assert find_offset(series[10:], series[:10]) is None
    assert find_offset(series[:0], series) is None
    assert find_offset(make_series(60, freq="min"), series) is None


def test_a_series_between_the_steps_of_its_target_has_no_offset() -> None:
    series = make_series(40, freq="2D")
    between = TimeSeries.from_times_and_values(series.time_index + pd.Timedelta("1D"), series.values())
    assert find_offset(between, series) is None
    assert find_offset(series, between[3:]) is None
    assert find_offset(make_series(40, freq=2), TimeSeries(pd.RangeIndex(1, 81, 2), np.zeros((40, 1)))) is None


def _given_lazily(n_series: int = 6) -> dict[str, Any]:
    targets = [with_static_covariates(make_series(40 + seed, seed=seed), seed) for seed in range(n_series)]
    others = {
        name: [make_series(60, 2, seed=seed) for seed in range(n_series)]
        for name in ("past_covariates", "future_covariates")
    }
    return {name: LazySeries(series) for name, series in ({"series": targets} | others).items()}


@pytest.mark.parametrize("max_samples", [1, 4, None])
def test_series_read_lazily_give_the_batches_of_darts_and_are_read_no_more_often(max_samples: int | None) -> None:
    arguments: dict[str, Any] = {"input_chunk_length": INPUT, "max_samples_per_ts": max_samples}
    lazily, by_darts = _given_lazily(), _given_lazily()
    weights, weights_of_darts = (LazySeries([make_series(46, seed=9).map(np.abs)] * 6) for _ in range(2))
    ours = _ready(WindowsTrainingDataset(sample_weight=weights, **lazily, **arguments))
    theirs = SequentialTorchTrainingDataset(sample_weight=weights_of_darts, **by_darts, **arguments)
    for _ in range(2):  # epochs
        batches = batches_of(ours, collate_training)
        for batch, expected in zip(batches, batches_of(theirs, _batch_collate_fn_train), strict=True):
            assert isinstance(batch, TorchTrainingBatch)
            assert_equal_batches(batch, expected)
    _assert_read_no_more_often(lazily | {"weights": weights}, by_darts | {"weights": weights_of_darts})
    assert set(lazily["series"].reads[1:]) == {2}  # one of them is Darts', of the length
    assert set(lazily["past_covariates"].reads[1:]) == {1}


@pytest.mark.parametrize("bounds", [None, np.array([[10, 40]] * 6)], ids=["ends", "bounds"])
def test_forecasts_from_series_read_lazily_read_them_no_more_often_than_darts(bounds: np.ndarray | None) -> None:
    arguments: dict[str, Any] = {"input_chunk_length": INPUT, "bounds": bounds, "stride": 0 if bounds is None else 3}
    lazily, by_darts = _given_lazily(), _given_lazily()
    ours = _ready(WindowsInferenceDataset(**lazily, **arguments))
    theirs = SequentialTorchInferenceDataset(**by_darts, **arguments)
    for start in range(0, len(ours), 4):
        indices = range(start, min(start + 4, len(ours)))
        batch, expected = ours.__getitems__(indices), _batch_collate_fn_predict([theirs[index] for index in indices])
        for name in ("past_target", "past_covariates", "future_covariates", "static_covariates"):
            np.testing.assert_array_equal(getattr(batch, name), getattr(expected, name))
        assert batch.pred_time == expected.pred_time
    _assert_read_no_more_often(lazily, by_darts)


def _assert_read_no_more_often(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    for name, series in ours.items():
        assert all(n <= n_of_darts for n, n_of_darts in zip(series.reads, theirs[name].reads, strict=True)), name


def test_arrays_that_take_the_place_of_others_in_memory_are_not_taken_for_them() -> None:
    """Series made anew at each access, each often at the address of the one before."""
    arguments: dict[str, Any] = {"input_chunk_length": INPUT, "output_chunk_length": OUTPUT}
    made = _ready(WindowsTrainingDataset(series=LazySeries(_small_series(200)), **arguments))
    kept = _ready(WindowsTrainingDataset(series=_small_series(200), **arguments))
    indices = range(len(kept))
    assert_equal_batches(made.__getitems__(indices), kept.__getitems__(indices))
    assert len(np.unique(made.__getitems__(indices).past_target[:, 0, 0])) > 190


def _small_series(n_series: int) -> list[TimeSeries]:
    return [make_series(INPUT + OUTPUT, seed=seed) for seed in range(n_series)]


def _kept_bytes(dataset: Any) -> float:
    n_bytes: float = dataset._gatherer.n_bytes
    return n_bytes


@pytest.mark.parametrize("is_lazy", [False, True])
def test_only_what_windows_need_is_kept(is_lazy: bool) -> None:
    n_series, length = 4, 500

    def give(series: Sequence[TimeSeries]) -> Any:
        return LazySeries(series) if is_lazy else series

    targets = [make_series(length, start=30, seed=seed) for seed in range(n_series)]
    covariates = [make_series(length + 80, 2, seed=seed) for seed in range(n_series)]
    arguments: dict[str, Any] = {
        "series": give(targets),
        "past_covariates": give(covariates),
        "input_chunk_length": INPUT,
        "output_chunk_length": OUTPUT,
    }
    window = INPUT + OUTPUT
    training = WindowsTrainingDataset(max_samples_per_ts=4, stride=2, **arguments)
    assert _kept_bytes(training) == 4 * n_series * ((window + 6) + 2 * (INPUT + 6))
    inference = WindowsInferenceDataset(n=OUTPUT + 3, **arguments)
    assert _kept_bytes(inference) == 4 * n_series * (INPUT + 2 * (INPUT + 3))
    backtest = WindowsInferenceDataset(bounds=np.array([[100, 120]] * n_series), stride=5, n=OUTPUT, **arguments)
    assert _kept_bytes(backtest) == 4 * n_series * 3 * (INPUT + 20)


def test_covariates_that_all_series_share_are_kept_once_for_all_of_their_windows() -> None:
    targets = [make_series(20, start=start) for start in (0, 30, 60)]
    arguments: dict[str, Any] = {"series": targets, "past_covariates": [make_series(90)] * 3, "input_chunk_length": 5}
    dataset = WindowsInferenceDataset(**arguments)
    assert _kept_bytes(dataset) == 4 * (3 * 5 + 65)  # of the covariates, from the first window to the last


@pytest.fixture
def _copies_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "MOST_BYTES_TO_COPY", 0)


@pytest.mark.usefixtures("_copies_nothing")
@pytest.mark.parametrize("window_weights", [False, True])
def test_above_the_size_that_is_copied_batches_are_gathered_from_the_series_of_a_list(window_weights: bool) -> None:
    targets = [with_static_covariates(make_series(30 + seed, start=5, seed=seed), seed) for seed in range(3)]
    covariates = [make_series(50, 2, seed=seed) for seed in range(3)]
    arguments: dict[str, Any] = {
        "series": targets,
        "past_covariates": covariates,
        "future_covariates": [covariates[0]] * 3,
        "sample_weight": [make_series(45, seed=seed) for seed in range(3)],
        "input_chunk_length": INPUT,
        "output_chunk_length": OUTPUT,
        "output_chunk_shift": 2,
    }
    ours = _ready(WindowsTrainingDataset(window_weights=window_weights, **arguments))
    assert not ours.gather_on(ours.__getitems__([0]).past_target.device)
    expected = collate_training([ours[index] for index in range(len(ours))])
    assert_equal_batches(ours.__getitems__(range(len(ours))), expected)
    for series in targets:
        series.all_values(copy=False)[:] += 1
    np.testing.assert_array_equal(ours.__getitems__([3, 9]).past_target, expected.past_target[[3, 9]] + 1)


@pytest.mark.usefixtures("_copies_nothing")
def test_above_the_size_that_is_copied_lazy_series_are_read_sample_by_sample() -> None:
    lazily = _given_lazily()
    ours = _ready(WindowsTrainingDataset(**lazily, input_chunk_length=INPUT))
    samples = ours.__getitems__([2, 5])
    assert [type(sample) for sample in samples] == [TorchTrainingSample] * 2
    theirs = SequentialTorchTrainingDataset(**_given_lazily(), input_chunk_length=INPUT)
    assert_equal_batches(collate_training(samples), _batch_collate_fn_train([theirs[2], theirs[5]]))


class _Labelled:
    """Has a first series and a length, and no second series."""

    def __len__(self) -> int:
        return 2

    def __iter__(self) -> Any:
        return iter([make_series()] * 2)

    def __getitem__(self, index: Any) -> TimeSeries:
        return {0: make_series(), "b": make_series()}[index]


@pytest.mark.parametrize("make", [WindowsTrainingDataset, WindowsInferenceDataset])
def test_a_position_without_a_series_is_told(make: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match="`series` has a length of 2, but no series at position 1"):
        make(series=_Labelled(), input_chunk_length=INPUT)


@pytest.mark.parametrize("make", [WindowsTrainingDataset, WindowsInferenceDataset])
def test_something_else_at_a_later_position_is_told(make: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match=r"Expected `past_covariates\[1\]` to be a Darts TimeSeries .* got str"):
        make(series=[make_series()] * 2, past_covariates=[make_series(), "rain"], input_chunk_length=INPUT)
