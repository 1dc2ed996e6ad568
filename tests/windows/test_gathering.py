"""Where the values of batches come from: memory, its layout, pickling, and the random numbers that Darts draws."""

import pickle
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from darts import TimeSeries
from darts.utils.data import SequentialTorchInferenceDataset, SequentialTorchTrainingDataset
from darts.utils.data.torch_datasets.utils import _batch_collate_fn_predict, _batch_collate_fn_train
from torch.utils.data import DataLoader

from seq_plugins.windows import (
    WindowsInferenceDataset,
    WindowsTrainingDataset,
    collate_inference,
    collate_training,
)
from tests.conftest import make_series, with_static_covariates
from tests.windows.data_sets import assert_equal_batches, batches_of


def _ready(dataset: Any) -> Any:
    dataset.returns_batches = True
    return dataset


def test_values_of_a_single_series_are_not_copied() -> None:
    target, past, future, weight = (make_series(30, 2, seed=seed) for seed in range(4))
    training = WindowsTrainingDataset(
        series=target,
        past_covariates=past,
        future_covariates=future,
        sample_weight=weight,
        input_chunk_length=5,
        window_weights=True,
    )
    inference = WindowsInferenceDataset(series=target, past_covariates=past, input_chunk_length=5)
    before = [_ready(dataset).__getitems__([0]) for dataset in (training, inference)]
    for series in (target, past, future, weight):
        series.all_values(copy=False)[:] += 1
    after = [dataset.__getitems__([0]) for dataset in (training, inference)]
    for name in ("past_target", "future_target", "past_covariates", "historic_future_covariates", "sample_weight"):
        torch.testing.assert_close(getattr(after[0], name), getattr(before[0], name) + 1, msg=name)
    torch.testing.assert_close(after[1].past_target, before[1].past_target + 1)
    torch.testing.assert_close(after[1].past_covariates, before[1].past_covariates + 1)


@pytest.mark.parametrize(
    ("n_series", "n_covariates", "n_copies"), [(1, 1, 0), (10, 1, 1), (10, 10, 2)], ids=["one", "shared", "many"]
)
def test_values_of_many_series_are_copied_once(n_series: int, n_covariates: int, n_copies: int) -> None:
    targets = [make_series(20_000, seed=seed) for seed in range(n_series)]
    covariates = [make_series(20_000, seed=seed) for seed in range(n_covariates)] * (n_series // n_covariates)
    arguments: dict[str, Any] = {"series": targets, "past_covariates": covariates, "input_chunk_length": 100}
    bounds = np.array([[100, 20_000]] * n_series)
    tracemalloc.start()
    try:
        datasets = [
            WindowsTrainingDataset(**arguments),
            WindowsInferenceDataset(bounds=bounds, stride=1, **arguments),
        ]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    n_bytes = n_series * 20_000 * 4
    assert len(datasets) * n_copies * n_bytes <= peak < len(datasets) * n_copies * n_bytes + 100_000


def _with_values(values: np.ndarray, times: pd.Index | None = None) -> TimeSeries:
    times = pd.RangeIndex(len(values)) if times is None else times
    return TimeSeries(times=times, values=values, copy=False)


def _read_only(values: np.ndarray) -> np.ndarray:
    values.flags.writeable = False
    return values


@pytest.mark.filterwarnings("ignore:TimeSeries is using a numeric type")
@pytest.mark.parametrize(
    "series",
    [
        _with_values(np.asfortranarray(np.random.default_rng(0).random((30, 3)))),
        _with_values(np.random.default_rng(0).random((60, 7))[::2, 1:6:2]),
        _with_values(_read_only(np.random.default_rng(0).random((30, 3)))),
        _with_values(np.broadcast_to(np.arange(3.0), (30, 3))),
        _with_values(np.random.default_rng(0).random((30, 3)), pd.RangeIndex(29, -1, -1)),
        _with_values(np.random.default_rng(0).random((30, 3)).astype(np.float16)),
        _with_values(np.zeros(30, dtype=[("a", "i1"), ("b", "f4", 3)])["b"]),
        TimeSeries.from_dataframe(pd.DataFrame(np.random.default_rng(0).random((30, 3)))),
    ],
    ids=["columns", "slice", "read only", "repeated", "backwards", "half", "packed", "table"],
)
@pytest.mark.parametrize("n_series", [1, 2])
def test_values_are_read_as_they_lie_in_memory(series: TimeSeries, n_series: int) -> None:
    arguments: dict[str, Any] = {"series": [series, series[4:]][:n_series], "input_chunk_length": 5}
    ours = _ready(WindowsTrainingDataset(**arguments))
    theirs = SequentialTorchTrainingDataset(**arguments)
    indices = range(len(ours))
    assert_equal_batches(ours.__getitems__(indices), _batch_collate_fn_train([theirs[index] for index in indices]))


def _make_training(cls: Callable[..., Any], n_series: int) -> Any:
    targets = [with_static_covariates(make_series(500 + seed, seed=seed), seed) for seed in range(n_series)]
    return cls(series=targets, future_covariates=[make_series(510)] * n_series, input_chunk_length=5)


def _make_inference(cls: Callable[..., Any], n_series: int) -> Any:
    targets = [make_series(500 + seed, seed=seed) for seed in range(n_series)]
    return cls(series=targets, bounds=np.array([[5, 400]] * n_series), stride=2, input_chunk_length=5)


@pytest.mark.parametrize("n_series", [1, 3])
@pytest.mark.parametrize(
    ("make", "ours", "theirs", "collate"),
    [
        (_make_training, WindowsTrainingDataset, SequentialTorchTrainingDataset, collate_training),
        (_make_inference, WindowsInferenceDataset, SequentialTorchInferenceDataset, collate_inference),
    ],
    ids=["training", "inference"],
)
def test_a_pickled_data_set_gives_the_same_batches_and_is_no_larger_than_that_of_darts(
    make: Callable[..., Any], ours: Any, theirs: Any, collate: Callable[[Any], Any], n_series: int
) -> None:
    dataset = _ready(make(ours, n_series))
    pickled = pickle.dumps(dataset)
    assert len(pickled) < len(pickle.dumps(make(theirs, n_series))) + 2_000
    copy = pickle.loads(pickled)
    for batch, expected in zip(batches_of(copy, collate), batches_of(dataset, collate), strict=True):
        for name in ("past_target", "future_covariates", "pred_time"):
            if getattr(expected, name, None) is not None:
                np.testing.assert_array_equal(getattr(batch, name), getattr(expected, name))


def test_worker_processes_give_the_same_batches() -> None:
    dataset = _ready(_make_training(WindowsTrainingDataset, 2))
    loader: DataLoader[Any] = DataLoader(
        dataset, 256, collate_fn=collate_training, num_workers=1, multiprocessing_context="spawn"
    )
    for batch, expected in zip(loader, batches_of(dataset, collate_training, 256, shuffle=False), strict=True):
        assert_equal_batches(batch, expected)


def test_batches_draw_as_many_random_numbers_as_darts_samples() -> None:
    states = []
    for cls, collate in (
        (WindowsTrainingDataset, collate_training),
        (SequentialTorchTrainingDataset, _batch_collate_fn_train),
    ):
        dataset = _ready(_make_training(cls, 2))
        batches_of(dataset, collate)
        states.append(np.random.random())  # noqa: NPY002
    assert states[0] == states[1]


def test_a_list_of_samples_is_made_into_a_batch_as_in_darts() -> None:
    training = _make_training(SequentialTorchTrainingDataset, 2)
    samples = [training[index] for index in (0, 3)]
    assert_equal_batches(collate_training(samples), _batch_collate_fn_train(samples))
    inference = _make_inference(SequentialTorchInferenceDataset, 2)
    forecasts = [inference[index] for index in (0, 3)]
    assert_equal_batches(collate_inference(forecasts), _batch_collate_fn_predict(forecasts))


@pytest.mark.parametrize("make", [_make_training, _make_inference])
def test_darts_still_remembers_the_first_window_of_a_series_where_we_make_it_forget(make: Callable[..., Any]) -> None:
    cls = SequentialTorchTrainingDataset if make is _make_training else SequentialTorchInferenceDataset
    dataset = make(cls, 2)
    assert dataset._index_memory == {}
    dataset[len(dataset) - 1]
    assert list(dataset._index_memory) == [1]
