"""The weights of whole windows, beside Darts' own data set and the obvious loop."""

from typing import Any

import numpy as np
import pytest
from darts.utils.data import SequentialTorchTrainingDataset
from hypothesis import given, settings
from hypothesis import strategies as st

from seq_plugins.windows import WeightedWindowsTrainingDataset
from tests.conftest import make_series


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
def test_samples_equal_those_of_darts_and_weights_those_of_their_times(
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
    ours, theirs = WeightedWindowsTrainingDataset(**arguments), SequentialTorchTrainingDataset(**arguments)
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


@pytest.mark.parametrize("name", ["linear", "exponential"])
def test_built_in_weights_cover_the_window(name: str) -> None:
    dataset = WeightedWindowsTrainingDataset(
        series=make_series(20), input_chunk_length=5, output_chunk_length=3, sample_weight=name
    )
    for index in range(len(dataset)):
        assert (np.diff(dataset[index].sample_weight[:, 0]) > 0).all()


def test_weights_that_miss_a_window_s_first_step_are_refused_with_the_times_that_they_must_cover() -> None:
    arguments: dict[str, Any] = {"series": make_series(20), "input_chunk_length": 5, "output_chunk_length": 3}
    with pytest.raises(ValueError, match=r"from 2020-01-02 .* expected at least from 2020-01-01 .* to 2020-01-20"):
        WeightedWindowsTrainingDataset(sample_weight=make_series(19, start=1), **arguments)
    recent = WeightedWindowsTrainingDataset(sample_weight=make_series(19, start=1), max_samples_per_ts=12, **arguments)
    assert len(recent) == 12
