"""Windows to forecast from, compared with Darts' own data set."""

from functools import partial
from typing import Any

import numpy as np
import pytest
from darts.utils.data import SequentialTorchInferenceDataset
from darts.utils.data.torch_datasets.utils import (
    TorchInferenceBatch,
    TorchInferenceSample,
    _batch_collate_fn_predict,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from seq_plugins.windows import WindowsInferenceDataset, collate_inference
from tests.conftest import make_series, with_static_covariates
from tests.windows.data_sets import assert_equal_batches, batches_of, error_of, samples_of


@st.composite
def inference_arguments(draw: st.DrawFn) -> dict[str, Any]:
    """Draw arguments of a data set: few windows, every combination of what may be in them."""
    length, horizon, shift = draw(st.integers(1, 6)), draw(st.integers(1, 4)), draw(st.integers(0, 3))
    n = draw(st.integers(1, horizon if shift else 3 * horizon))
    min_length = draw(st.just(length) | st.integers(1, length))  # shorter inputs begin with NaN
    lengths = [min_length + more for more in draw(st.lists(st.integers(0, 9), min_size=1, max_size=3))]
    freq: str | int = draw(st.sampled_from(["D", "h", "MS", "B"]) | st.sampled_from([1, 2]))
    stochastic = draw(st.sampled_from([None, None, None, "series", "past_covariates"]))
    dtypes, components, start = st.sampled_from([np.float32, np.float64]), st.integers(1, 2), 5

    stride, bounds, stops = 0, None, lengths
    if draw(st.booleans()):
        stride = draw(st.integers(1, 3))
        pairs = [sorted(draw(st.tuples(*[st.integers(min_length, whole)] * 2))) for whole in lengths]
        bounds, stops = np.array(pairs), [stop for _, stop in pairs]

    samples = 3 if stochastic == "series" else 1
    dtype, n_components = draw(dtypes), draw(components)
    series = [make_series(whole, n_components, freq, seed, dtype, start, samples) for seed, whole in enumerate(lengths)]
    statics = draw(st.sampled_from([None, "global", "per component"]))
    if statics is not None:
        series = [with_static_covariates(one, len(one), statics == "per component") for one in series]

    def draw_covariates(name: str, behind: int) -> list[Any] | None:
        if draw(st.booleans()):
            return None
        samples, dtype, n_components = 3 if stochastic == name else 1, draw(dtypes), draw(components)
        if draw(st.booleans()):  # one for all
            return [make_series(max(stops) + behind, n_components, freq, 9, dtype, start, samples)] * len(stops)
        drawn = []
        for seed, stop in enumerate(stops):
            lead, tail = draw(st.integers(0, 3)), draw(st.integers(0, 3))
            length = lead + stop + behind + tail
            drawn.append(make_series(length, n_components, freq, seed, dtype, start - lead, samples))
        return drawn

    return {
        "series": series,
        "past_covariates": draw_covariates("past_covariates", max(n - horizon, 0)),
        "future_covariates": draw_covariates("future_covariates", shift + max(n, horizon)),
        "n": n,
        "stride": stride,
        "bounds": bounds,
        "input_chunk_length": (min_length, length),
        "output_chunk_length": horizon,
        "output_chunk_shift": shift,
        "use_static_covariates": draw(st.booleans()),
    }


def make_data_sets(**arguments: Any) -> tuple[WindowsInferenceDataset, SequentialTorchInferenceDataset]:
    """Make ours, set to hand over batches, and that of Darts."""
    ours, theirs = WindowsInferenceDataset(**arguments), SequentialTorchInferenceDataset(**arguments)
    ours.returns_batches = True
    return ours, theirs


@settings(max_examples=150, deadline=None)
@given(arguments=inference_arguments(), batch_size=st.integers(1, 9), shuffle=st.booleans())
def test_a_loader_s_batches_equal_those_of_darts(arguments: dict[str, Any], batch_size: int, shuffle: bool) -> None:
    ours, theirs = make_data_sets(**arguments)
    assert len(ours) == len(theirs)
    given_series = [one for value in arguments.values() if isinstance(value, list) for one in value]
    is_batch = type(ours.__getitems__([0])) is TorchInferenceBatch
    assert is_batch is all(one.is_deterministic for one in given_series)
    expected = batches_of(theirs, _batch_collate_fn_predict, batch_size, shuffle)
    for batch, expected_batch in zip(batches_of(ours, collate_inference, batch_size, shuffle), expected, strict=True):
        assert_equal_batches(batch, expected_batch)


@settings(max_examples=50, deadline=None)
@given(arguments=inference_arguments())
def test_single_samples_equal_those_of_darts(arguments: dict[str, Any]) -> None:
    ours, theirs = make_data_sets(**arguments)
    samples, expected = samples_of(ours), samples_of(theirs)
    assert all(type(sample) is TorchInferenceSample for sample in samples)
    assert_equal_batches(_batch_collate_fn_predict(samples), _batch_collate_fn_predict(expected))


def test_only_a_loader_that_was_set_up_for_it_is_given_batches() -> None:
    dataset = WindowsInferenceDataset(series=[make_series(20)] * 2, input_chunk_length=5)
    assert [type(sample) for sample in dataset.__getitems__([0, 1])] == [TorchInferenceSample] * 2
    dataset.returns_batches = True
    assert type(dataset.__getitems__([0, 1])) is TorchInferenceBatch


def test_a_changed_schema_changes_no_other_one() -> None:
    targets = [make_series(20), make_series(20)]
    dataset = WindowsInferenceDataset(
        series=targets, stride=1, bounds=np.array([[5, 20]] * 2), input_chunk_length=5, output_chunk_length=2
    )
    dataset.returns_batches = True
    first = dataset.__getitems__(range(len(dataset)))
    for index in (0, 16):
        first.series_schema[index]["time_freq"] *= 3  # as Darts' historical forecasts do
    again = dataset.__getitems__(range(len(dataset)))
    unchanged = [schema for index, schema in enumerate(first.series_schema) if index not in (0, 16)]
    assert all(schema["time_freq"] == targets[0].freq for schema in [*unchanged, *again.series_schema])


def test_windows_of_a_million_are_where_darts_has_them() -> None:
    targets = [make_series(length, freq="min", seed=length) for length in (1_000_069, 75)]
    covariates = [make_series(len(target) + 30, freq="min", seed=1) for target in targets]
    ours, theirs = make_data_sets(
        series=targets,
        future_covariates=covariates,
        n=14,
        stride=1,
        bounds=np.array([[56, 1_000_069], [60, 75]]),
        input_chunk_length=56,
        output_chunk_length=14,
    )
    assert len(theirs) == 1_000_014 + 16
    indices = [*np.random.default_rng(0).integers(0, len(theirs), 200).tolist(), 0, 1_000_013, 1_000_014, 1_000_029]
    assert_equal_batches(ours.__getitems__(indices), _batch_collate_fn_predict([theirs[index] for index in indices]))


@pytest.mark.parametrize("bounds", [None, np.array([[8, 20], [9, 18]])], ids=["ends", "bounds"])
def test_an_index_behind_the_last_is_refused_and_a_negative_one_is_read_as_in_darts(bounds: np.ndarray | None) -> None:
    stride = 0 if bounds is None else 1
    ours, theirs = make_data_sets(
        series=[make_series(20), make_series(25)], input_chunk_length=5, bounds=bounds, stride=stride
    )
    with pytest.raises(IndexError):
        ours.__getitems__([0, len(ours)])
    batch = collate_inference(ours.__getitems__([-1, -2]))
    assert_equal_batches(batch, _batch_collate_fn_predict([theirs[-1], theirs[-2]]))


@pytest.mark.parametrize(
    "changes",
    [
        {"past_covariates": make_series(30, start=26)},
        {"past_covariates": make_series(29)},
        {"future_covariates": make_series(32)},
        {"future_covariates": make_series(30, start=100)},
        {"future_covariates": make_series(60, freq="h")},
        {"n": 6},
        {"past_covariates": make_series(60), "n": 6},
        {"series": make_series(4)},
        {"stride": 1, "bounds": np.array([[5, 30]]), "future_covariates": make_series(30)},
        {"stride": 1, "bounds": np.array([[5, 30]]), "past_covariates": make_series(40, start=3)},
    ],
    ids=lambda changes: "-".join(changes),
)
def test_every_window_that_darts_refuses_is_refused_in_darts_words_whatever_was_asked_before(
    changes: dict[str, Any],
) -> None:
    covariates = {"past_covariates": make_series(40, seed=1), "future_covariates": make_series(33, seed=1)}
    arguments = {"series": make_series(30), **covariates, "n": 3, "input_chunk_length": 5, "output_chunk_length": 3}
    arguments |= changes
    ours = WindowsInferenceDataset(**arguments)
    ours.returns_batches = True
    n_refused = 0
    for index in range(len(ours)):
        theirs = SequentialTorchInferenceDataset(**arguments)  # a new one: it checks only what it is asked for first
        refused = error_of(partial(theirs.__getitem__, index))
        assert error_of(partial(ours.__getitem__, index)) == refused
        assert error_of(partial(ours.__getitems__, [index])) == refused
        if refused is None:
            batch = collate_inference(ours.__getitems__([index]))
            assert_equal_batches(batch, _batch_collate_fn_predict([theirs[index]]))
        n_refused += refused is not None
    assert n_refused > 0
