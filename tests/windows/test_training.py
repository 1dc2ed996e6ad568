"""Training windows compared with Darts' own data set and, for the weights of whole windows, the obvious loop."""

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from darts import TimeSeries
from darts.utils.data import SequentialTorchTrainingDataset
from darts.utils.data.torch_datasets.utils import (
    TorchTrainingBatch,
    TorchTrainingSample,
    _batch_collate_fn_train,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, DistributedSampler

from seq_plugins.windows import WindowsTrainingDataset, collate_training
from tests.conftest import make_series, with_static_covariates
from tests.windows.data_sets import assert_equal_batches, batches_of, error_of, samples_of


@st.composite
def training_arguments(draw: st.DrawFn) -> dict[str, Any]:
    """Draw arguments of a data set: few windows, every combination of what may be in them."""
    input_length, output_length, shift = draw(st.integers(1, 6)), draw(st.integers(1, 4)), draw(st.integers(0, 3))
    min_length = draw(st.just(input_length) | st.integers(1, input_length))  # shorter inputs begin with NaN
    total = min_length + shift + output_length
    lengths = [total + more for more in draw(st.lists(st.integers(0, 9), min_size=1, max_size=3))]
    freq: str | int = draw(st.sampled_from(["D", "h", "MS", "B"]) | st.sampled_from([1, 2]))
    stochastic = draw(st.sampled_from([None, None, None, "series", "past_covariates", "sample_weight"]))

    def draw_series(name: str, first: int, stops: list[int], components: int, dtype: Any) -> list[TimeSeries]:
        samples = 3 if stochastic == name else 1
        if name != "series" and draw(st.booleans()):  # one for all
            return [make_series(max(stops) - first, components, freq, 9, dtype, first, samples)] * len(stops)
        drawn = []
        for seed, stop in enumerate(stops):
            lead, tail = (0, 0) if name == "series" else (draw(st.integers(0, 3)), draw(st.integers(0, 3)))
            length = lead + stop - first + tail
            drawn.append(make_series(length, components, freq, seed, dtype, first - lead, samples))
        return drawn

    dtypes, components = st.sampled_from([np.float32, np.float64]), st.integers(1, 2)
    start, n_components = 5, draw(components)
    stops = [start + length for length in lengths]
    input_stops = [stop - shift - output_length for stop in stops]
    series = draw_series("series", start, stops, n_components, draw(dtypes))
    statics = draw(st.sampled_from([None, "global", "per component"]))
    if statics is not None:
        series = [with_static_covariates(one, len(one), statics == "per component") for one in series]
    past = draw_series("past_covariates", start, input_stops, draw(components), draw(dtypes))
    future = draw_series("future_covariates", start, stops, draw(components), draw(dtypes))
    weight_components = draw(st.sampled_from([1, n_components]))
    weight_start = start + min_length + shift
    weights = draw_series("sample_weight", weight_start, stops, weight_components, draw(dtypes))
    return {
        "series": series,
        "past_covariates": draw(st.sampled_from([None, past])),
        "future_covariates": draw(st.sampled_from([None, future])),
        "input_chunk_length": (min_length, input_length),
        "output_chunk_length": output_length,
        "output_chunk_shift": shift,
        "stride": draw(st.integers(1, 3)),
        "max_samples_per_ts": draw(st.none() | st.integers(1, 5)),
        "use_static_covariates": draw(st.booleans()),
        "sample_weight": draw(st.sampled_from([None, weights, "linear", "exponential"])),
    }


def make_data_sets(**arguments: Any) -> tuple[WindowsTrainingDataset, SequentialTorchTrainingDataset]:
    """Make ours, set to hand over batches, and that of Darts."""
    ours, theirs = WindowsTrainingDataset(**arguments), SequentialTorchTrainingDataset(**arguments)
    ours.returns_batches = True
    return ours, theirs


@settings(max_examples=150, deadline=None)
@given(arguments=training_arguments(), batch_size=st.integers(1, 9))
def test_a_shuffled_loader_s_batches_equal_those_of_darts(arguments: dict[str, Any], batch_size: int) -> None:
    ours, theirs = make_data_sets(**arguments)
    assert len(ours) == len(theirs)
    given_series = [one for value in arguments.values() if isinstance(value, list) for one in value]
    is_batch = type(ours.__getitems__([0])) is TorchTrainingBatch
    assert is_batch is all(one.is_deterministic for one in given_series)
    expected = batches_of(theirs, _batch_collate_fn_train, batch_size)
    for batch, expected_batch in zip(batches_of(ours, collate_training, batch_size), expected, strict=True):
        assert_equal_batches(batch, expected_batch)


@settings(max_examples=50, deadline=None)
@given(arguments=training_arguments())
def test_single_samples_equal_those_of_darts(arguments: dict[str, Any]) -> None:
    ours, theirs = make_data_sets(**arguments)
    samples, expected = samples_of(ours), samples_of(theirs)
    assert all(type(sample) is TorchTrainingSample for sample in samples)
    assert_equal_batches(_batch_collate_fn_train(samples), _batch_collate_fn_train(expected))


@settings(max_examples=50, deadline=None)
@given(
    input_length=st.integers(1, 6),
    output_length=st.integers(1, 4),
    shift=st.integers(0, 3),
    stride=st.integers(1, 3),
    max_samples=st.none() | st.integers(1, 5),
    extra=st.lists(st.integers(0, 9), min_size=1, max_size=3),
    lead=st.integers(0, 3),
    tail=st.integers(0, 3),
    components=st.integers(1, 2),
)
def test_with_window_weights_samples_equal_those_of_darts_and_weights_those_of_their_times(
    input_length: int,
    output_length: int,
    shift: int,
    stride: int,
    max_samples: int | None,
    extra: list[int],
    lead: int,
    tail: int,
    components: int,
) -> None:
    total = input_length + shift + output_length
    targets = [make_series(total + more, components=2, start=5, seed=more) for more in extra]
    weights = [make_series(lead + len(target) + tail, components, start=5 - lead, seed=9) for target in targets]
    arguments: dict[str, Any] = {
        "series": targets,
        "past_covariates": [make_series(60, seed=1)] * len(targets),
        "future_covariates": [make_series(60, seed=2)] * len(targets),
        "input_chunk_length": input_length,
        "output_chunk_length": output_length,
        "output_chunk_shift": shift,
        "stride": stride,
        "max_samples_per_ts": max_samples,
        "sample_weight": weights,
    }
    ours = WindowsTrainingDataset(window_weights=True, **arguments)
    theirs = SequentialTorchTrainingDataset(**arguments)
    assert len(ours) == len(theirs)
    for index in range(len(theirs)):
        sample, expected = ours[index], theirs[index]
        for name in ("past_target", "past_covariates", "historic_future_covariates", "future_covariates"):
            np.testing.assert_array_equal(getattr(sample, name), getattr(expected, name))
        np.testing.assert_array_equal(sample.future_target, expected.future_target)
        np.testing.assert_array_equal(sample.sample_weight[-output_length:], expected.sample_weight)
        assert sample.sample_weight.shape == (input_length + output_length, components)
        # the obvious loop: find the window's times by its values, and look each weight up by its time
        series_index = index // ours.max_samples_per_ts
        target, weight = targets[series_index], weights[series_index]
        (first,) = [
            start
            for start in range(len(target) - total + 1)
            if np.array_equal(target.values()[start : start + input_length], sample.past_target)
            and np.array_equal(target.values()[start + input_length + shift :][:output_length], sample.future_target)
        ]
        steps = [*range(input_length), *range(input_length + shift, total)]
        by_time = [weight.slice(time, time).values()[0] for time in target.time_index[[first + step for step in steps]]]
        np.testing.assert_array_equal(sample.sample_weight, np.stack(by_time))
    samples = ours.__getitems__(range(len(ours)))
    ours.returns_batches = True
    assert_equal_batches(ours.__getitems__(range(len(ours))), collate_training(samples))


@pytest.mark.parametrize("name", ["linear", "exponential"])
def test_built_in_weights_cover_the_window(name: str) -> None:
    dataset = WindowsTrainingDataset(
        series=make_series(20), input_chunk_length=5, output_chunk_length=3, sample_weight=name, window_weights=True
    )
    for index in range(len(dataset)):
        assert dataset[index].sample_weight.shape == (8, 1)
        assert (np.diff(dataset[index].sample_weight[:, 0]) > 0).all()


def test_weights_that_miss_a_window_s_first_step_are_refused_with_the_times_that_they_must_cover() -> None:
    arguments: dict[str, Any] = {"series": make_series(20), "input_chunk_length": 5, "output_chunk_length": 3}
    late = make_series(19, start=1)
    with pytest.raises(ValueError, match=r"from 2020-01-02 .* expected at least from 2020-01-01 .* to 2020-01-20"):
        WindowsTrainingDataset(sample_weight=late, window_weights=True, **arguments)
    two = arguments | {"series": [make_series(20)] * 2, "sample_weight": [make_series(20), make_series(20, start=366)]}
    with pytest.raises(ValueError, match=r"`sample_weight` of series 1 reaches from 2021-01-01"):
        WindowsTrainingDataset(window_weights=True, **two)
    assert len(WindowsTrainingDataset(sample_weight=late, **arguments)) == 13  # those of the outputs are there
    recent = WindowsTrainingDataset(sample_weight=late, window_weights=True, max_samples_per_ts=12, **arguments)
    assert len(recent) == 12
    assert recent[11].sample_weight.shape == (8, 1)


def test_window_weights_without_weights_are_none() -> None:
    dataset = WindowsTrainingDataset(series=make_series(20), input_chunk_length=5, window_weights=True)
    dataset.returns_batches = True
    assert dataset[0].sample_weight is None
    assert dataset.__getitems__([0, 1]).sample_weight is None


def test_only_a_loader_that_was_set_up_for_it_is_given_batches() -> None:
    dataset = WindowsTrainingDataset(series=make_series(20), input_chunk_length=5)
    assert [type(sample) for sample in dataset.__getitems__([3, 1])] == [TorchTrainingSample] * 2
    seen = batches_of(dataset, lambda samples: [sample.past_target.shape for sample in samples])
    assert seen[0] == [(5, 1)] * 4
    dataset.returns_batches = True
    assert type(dataset.__getitems__([3, 1])) is TorchTrainingBatch


def test_a_distributed_sampler_draws_the_same_windows_as_from_darts() -> None:
    ours, theirs = make_data_sets(series=[make_series(30), make_series(22)], input_chunk_length=5)
    for rank in range(2):
        loaders = []
        for dataset, collate in ((ours, collate_training), (theirs, _batch_collate_fn_train)):
            sampler: DistributedSampler[Any] = DistributedSampler(dataset, num_replicas=2, rank=rank, seed=4)
            loaders.append(DataLoader(dataset, 8, sampler=sampler, collate_fn=collate))
        for batch, expected in zip(*loaders, strict=True):
            assert_equal_batches(batch, expected)


def test_windows_of_a_million_are_where_darts_has_them() -> None:
    lengths = (1_000_000 + 69, 75, 500_000)
    targets = [make_series(length, freq=1, seed=length) for length in lengths]
    covariates = [make_series(length + 30, freq=1, start=-7, seed=1) for length in lengths]
    ours, theirs = make_data_sets(
        series=targets, future_covariates=covariates, input_chunk_length=56, output_chunk_length=14
    )
    assert len(theirs) == 3_000_000
    indices = np.random.default_rng(0).integers(0, len(theirs), 300).tolist()
    indices += [0, 999_999, 1_000_000, 1_999_999, 2_000_000, 2_999_999]
    assert_equal_batches(ours.__getitems__(indices), _batch_collate_fn_train([theirs[index] for index in indices]))


def test_an_index_behind_the_last_is_refused_and_a_negative_one_counts_from_the_end_as_in_darts() -> None:
    ours, theirs = make_data_sets(series=[make_series(30), make_series(22)], input_chunk_length=5)
    with pytest.raises(IndexError):
        ours.__getitems__([0, len(ours)])
    batch = collate_training(ours.__getitems__([-1, -3]))
    assert_equal_batches(batch, _batch_collate_fn_train([theirs[-1], theirs[-3]]))


def _fit_arguments(**changes: Any) -> dict[str, Any]:
    covariates = make_series(30, seed=1)
    arguments = {"series": make_series(30), "past_covariates": covariates, "future_covariates": covariates}
    return arguments | {"input_chunk_length": 5, "output_chunk_length": 3} | changes


@pytest.mark.parametrize(
    "changes",
    [
        {"past_covariates": make_series(30, start=4)},
        {"past_covariates": make_series(24)},
        {"future_covariates": make_series(29)},
        {"future_covariates": make_series(30, start=100)},
        {"future_covariates": make_series(60, freq="h")},
        {"past_covariates": make_series(30, freq=1)},
        {"sample_weight": make_series(20)},
        {"sample_weight": make_series(30, freq="W"), "window_weights": True},
        {"series": make_series(30, components=3), "sample_weight": make_series(30, components=2)},
        {"series": make_series(30, freq=2), "past_covariates": make_series(40, freq=1)},
        {"series": [make_series(30), make_series(7)], "past_covariates": None, "future_covariates": None},
    ],
    ids=lambda changes: "-".join(changes),
)
def test_every_window_that_darts_refuses_is_refused_in_darts_words_whatever_was_asked_before(
    changes: dict[str, Any],
) -> None:
    arguments = _fit_arguments(**changes)
    ours = WindowsTrainingDataset(**arguments)
    ours.returns_batches = True
    arguments.pop("window_weights", None)
    n_refused = 0
    for index in range(len(ours)):
        theirs = SequentialTorchTrainingDataset(**arguments)  # a new one: it checks only what it is asked for first
        refused = error_of(partial(theirs.__getitem__, index))
        assert error_of(partial(ours.__getitem__, index)) == refused
        assert error_of(partial(ours.__getitems__, [index])) == refused
        if refused is None:
            batch = collate_training(ours.__getitems__([index]))
            assert_equal_batches(batch, _batch_collate_fn_train([theirs[index]]))
        n_refused += refused is not None
    assert n_refused > 0


def test_weights_off_the_target_s_grid_are_refused_in_darts_words() -> None:
    weights = make_series(60, freq=2)
    off = TimeSeries.from_times_and_values(weights.time_index - 11, weights.values())
    dataset = WindowsTrainingDataset(
        series=make_series(20, freq=2), input_chunk_length=5, sample_weight=off, window_weights=True
    )
    with pytest.raises(ValueError, match="Invalid `sample_weight`; could not find values in index range"):
        dataset[0]


@pytest.mark.parametrize(
    "series",
    [
        [make_series(20), make_series(20, components=2)],
        [with_static_covariates(make_series(20)), make_series(20)],
    ],
    ids=["components", "static covariates"],
)
def test_series_that_do_not_go_together_are_refused_when_they_meet_in_a_batch(series: list[TimeSeries]) -> None:
    ours, theirs = make_data_sets(series=series, input_chunk_length=5)
    n_windows = len(ours) // 2
    assert_equal_batches(collate_training(ours.__getitems__([0, 1])), _batch_collate_fn_train([theirs[0], theirs[1]]))
    with pytest.raises(ValueError, match="must have the same shape"):
        collate_training(ours.__getitems__([0, n_windows]))


def test_series_of_several_types_are_promoted_batch_by_batch_as_in_darts() -> None:
    targets = [make_series(20, dtype=np.float32), make_series(20, dtype=np.float64), make_series(20, dtype=np.float32)]
    ours, theirs = make_data_sets(series=targets, input_chunk_length=5)
    dtypes = set()
    for batch, expected in zip(
        batches_of(ours, collate_training, 2), batches_of(theirs, _batch_collate_fn_train, 2), strict=True
    ):
        assert_equal_batches(batch, expected)
        dtypes.add(batch.past_target.dtype)
    assert dtypes == {torch.float32, torch.float64}


def test_an_input_of_varying_length_is_padded_as_in_darts() -> None:
    ours, theirs = make_data_sets(
        series=[make_series(20), make_series(9)],
        past_covariates=[make_series(20, seed=1)] * 2,
        input_chunk_length=(3, 6),
        output_chunk_length=2,
    )
    for batch, expected in zip(
        batches_of(ours, collate_training), batches_of(theirs, _batch_collate_fn_train), strict=True
    ):
        assert_equal_batches(batch, expected)


def test_a_window_that_begins_before_its_series_has_no_weight_there() -> None:
    target, weight = make_series(6, start=3), make_series(9, seed=1)
    dataset = WindowsTrainingDataset(
        series=target, input_chunk_length=(1, 5), output_chunk_length=2, sample_weight=weight, window_weights=True
    )
    assert len(dataset) == 4
    for index, n_there in enumerate([4, 3, 2, 1]):  # the newest window first
        sample = dataset[index]
        assert np.isnan(sample.past_target[: 5 - n_there]).all()
        assert (sample.sample_weight[: 5 - n_there] == 0).all()
        np.testing.assert_array_equal(sample.sample_weight[5 - n_there :], weight.values()[3 : 5 + n_there])
    samples = dataset.__getitems__(range(4))
    dataset.returns_batches = True
    assert_equal_batches(dataset.__getitems__(range(4)), collate_training(samples))
